"""All that a paper is made from: records without their readings, experiments, and chosen values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmark.errors import UnknownNameError
from benchmark.explainer import NO_EXPLAINER
from benchmark.records.experiment import ENDED, ExperimentCard
from benchmark.records.storage.finished import FinishedCell
from benchmark.report.paper.examples import Example
from benchmark.report.paper.sections import Section, find_sections, key_of_card, key_of_cell
from benchmark.report.paper.specification import FIGURES, FigureSpecification, choices_of
from benchmark.report.paper.values import Choice, Value, corrected, values_of_card, values_of_cell
from benchmark.results.lookup import Protocols
from benchmark.results.scores import CONTROLS

MOST_HIGHLIGHTED = 5  # colours that can be told apart with any colour vision
# Shown of each model in the first table, where a protocol reads it.
MODEL_CHOICES = (
    Choice("roi_pointing", "own_probability", of_model=True),
    Choice("roi_pointing", "roi_effect_above_random", of_model=True),
)
Advanced = Callable[[str, int, int], None]


@dataclass(frozen=True)
class People:
    """Subjects of a section that any reading is about.

    Attributes:
        images: Number of images.
        subjects: Number of subjects.
        by_group: Number of subjects of the reference group and of the cases.
    """

    images: int
    subjects: int
    by_group: tuple[int, int]


@dataclass(frozen=True)
class Evidence:
    """All that a paper is made from.

    Attributes:
        cells: Records, in the order given.
        section_of: Section of each record by its identity.
        sections: Sections by name.
        protocols: Protocols of the records by name.
        people: Subjects of each section with records.
        values: All values that a figure or table shows.
        cards: Experiments that ended.
        unfinished: Experiments that did not end, as sentences.
        highlighted: Methods that are drawn in colour where there are many lines.
        examples: Test subject of each section whose maps were kept.
    """

    cells: tuple[FinishedCell, ...]
    section_of: dict[str, Section]
    sections: tuple[Section, ...]
    protocols: Protocols
    people: dict[Section, People]
    values: tuple[Value, ...]
    cards: tuple[ExperimentCard, ...]
    unfinished: tuple[str, ...]
    highlighted: tuple[str, ...]
    examples: Mapping[Section, Example] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of all explainers but the controls, in alphabetical order."""
        names = {cell.names.explainer for cell in self.cells}
        return tuple(sorted(names - {*CONTROLS, NO_EXPLAINER}))

    def values_of(self, figure: FigureSpecification) -> tuple[Value, ...]:
        """Return the values that a figure shows, with p-values corrected over all of them."""
        choices = [choice for band in figure.bands for choice in choices_of(band)]
        chosen = [
            value for value in self.values if any(choice.matches(value) for choice in choices)
        ]
        return corrected(_tested_only(chosen, choices))

    def scores(self) -> tuple[Value, ...]:
        """Return the score of every record that has one."""
        return tuple(value for value in self.values if value.is_score)


def gather(
    cells: Sequence[FinishedCell],
    protocols: Protocols,
    cards: Sequence[ExperimentCard] = (),
    highlighted: Sequence[str] = (),
    advanced: Advanced | None = None,
) -> Evidence:
    """Return the evidence of records and experiments; the readings of one record are held at once.

    Args:
        cells: Records, of protocols that are among ``protocols``.
        protocols: Protocols by name.
        cards: Experiments.
        highlighted: Methods to draw in colour; those of the best mean rank unless given.
        advanced: Listener that is called with a step, the number of records done, and the number of
            records.

    Raises:
        UnknownNameError: If a method to highlight has no record.
    """
    known = {cell.names.explainer for cell in cells}
    if strangers := [name for name in highlighted if name not in known]:
        raise UnknownNameError("explainer", strangers[0], known)
    ended = [card for card in cards if card.present_status in ENDED]
    sections = find_sections(cells, ended)
    values: list[Value] = []
    keys: dict[Section, dict[str, tuple[str, int]]] = {}
    seen: set[tuple[Section, str]] = set()
    for done, cell in enumerate(cells, start=1):
        section = sections[key_of_cell(cell)]
        readings = cell.to_readings() if cell.has_readings else []
        # Conditions may make further images, such as those with a planted signal.
        own = [reading.sample for reading in readings if not reading.conditions]
        for sample in dict.fromkeys(own):
            rows = zip(sample.subjects, sample.groups, strict=True)
            keys.setdefault(section, {}).update(zip(sample.keys, rows, strict=True))
        # What is read of the model is the same in the records of all explainers.
        of_model = (section, cell.names.protocol) not in seen and bool(readings)
        if of_model:
            seen.add((section, cell.names.protocol))
        chosen = [choice for choice in _choices() if of_model or not choice.of_model]
        protocol = protocols[cell.names.protocol]
        values += values_of_cell(cell, section, protocol, readings, chosen)
        if advanced is not None:
            advanced("records summarised", done, len(cells))
    for card in ended:
        values += values_of_card(card, sections[key_of_card(card)])
    return Evidence(
        cells=tuple(cells),
        section_of={cell.identity_sha256: sections[key_of_cell(cell)] for cell in cells},
        sections=tuple(sections.values()),
        protocols=protocols,
        people={section: _count(own) for section, own in keys.items()},
        values=tuple(values),
        cards=tuple(ended),
        unfinished=tuple(
            f"{card.id} ({card.present_status})" for card in cards if card not in ended
        ),
        highlighted=tuple(highlighted)[:MOST_HIGHLIGHTED] or _best(values, protocols),
    )


def _choices() -> list[Choice]:
    """Return every reading that a figure or a table shows."""
    figures = [choice for figure in FIGURES for band in figure.bands for choice in choices_of(band)]
    return [*figures, *MODEL_CHOICES]


def _tested_only(values: Iterable[Value], choices: Sequence[Choice]) -> list[Value]:
    """Return values, without p-values where this figure does not test and for controls."""
    kept = []
    for value in values:
        is_tested = any(choice.is_tested and choice.matches(value) for choice in choices)
        drop = not is_tested or value.method in CONTROLS
        kept.append(replace(value, p=None) if drop else value)
    return kept


def _count(keys: dict[str, tuple[str, int]]) -> People:
    groups: dict[str, int] = {}
    for subject, group in keys.values():
        groups.setdefault(subject, group)
    members = list(groups.values())
    return People(len(keys), len(groups), (members.count(0), members.count(1)))


def _best(values: Sequence[Value], protocols: Protocols) -> tuple[str, ...]:
    """Return the methods whose scores have the best mean rank over protocols and sections."""
    lists: dict[tuple[Section, str], list[Value]] = {}
    for value in values:
        if value.is_score and value.method not in (*CONTROLS, NO_EXPLAINER):
            lists.setdefault((value.section, value.protocol), []).append(value)
    ranks: dict[str, list[float]] = {}
    for (_, name), own in lists.items():
        sign = 1 if protocols[name].statistic(protocols[name].primary).direction == "lower" else -1
        known = [value for value in own if value.estimate is not None]
        known.sort(key=lambda value: (sign * (value.estimate or 0.0), value.method))
        for rank, value in enumerate(known):
            ranks.setdefault(value.method, []).append(rank / max(1, len(known) - 1))
    # A method that was measured by few protocols would win by what it was spared.
    most = max((len(own) for own in ranks.values()), default=0)
    whole = {name: sum(own) / len(own) for name, own in ranks.items() if len(own) == most}
    return tuple(sorted(whole, key=lambda name: (whole[name], name))[:MOST_HIGHLIGHTED])
