"""The checklist: what was done, what was not, and which command would do it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.paper.evidence import Evidence
from benchmark.report.paper.figures import PaperFigure
from benchmark.report.paper.specification import FIGURES, FigureSpecification, choices_of
from benchmark.report.paper.values import EXPERIMENT
from benchmark.results.scores import BLIND, ORACLE, RANDOM

COMMAND = "python -m benchmark"


@dataclass(frozen=True)
class Item:
    """A line of the checklist.

    Attributes:
        is_done: Whether it was done.
        text: Sentence that says what, with numbers.
        command: Command that would do it; empty where it was done or none does.
    """

    is_done: bool
    text: str
    command: str = ""


def checklist_of(
    evidence: Evidence, figures: Sequence[PaperFigure], left_out: Sequence[str]
) -> list[Item]:
    """Return the checklist.

    Args:
        evidence: All that the paper is made from.
        figures: Figures that were made.
        left_out: Sentences on records that were not used.
    """
    made = {figure.specification.number for figure in figures}
    items = [_figure(evidence, own, own.number in made) for own in FIGURES]
    items += [item for own in FIGURES if own.number in made for item in _lacking(evidence, own)]
    items += [*_cells(evidence), *_controls(evidence), *_breadth(evidence), *_training(evidence)]
    items += [Item(False, sentence) for sentence in left_out]
    return items


def _figure(evidence: Evidence, figure: FigureSpecification, is_made: bool) -> Item:
    name = f"Figure {figure.number}, {figure.title}"
    if is_made:
        return Item(True, f"{name}, was made.")
    text = f"{name}, was left out: there is no record of {figure.protocol} that it could show."
    return Item(False, text, _command(evidence, figure.needs, figure.protocol))


def _lacking(evidence: Evidence, figure: FigureSpecification) -> list[Item]:
    """Return a line for each protocol of a figure that is made without it."""
    drawn = {value.protocol for value in evidence.values_of(figure)}
    protocols = dict.fromkeys(
        choice.protocol for band in figure.bands for choice in choices_of(band)
    )
    return [
        Item(
            False,
            f"Figure {figure.number} shows nothing of {name}.",
            "" if name == EXPERIMENT else _command(evidence, figure.needs, name),
        )
        for name in protocols
        if name not in drawn
    ]


def _command(evidence: Evidence, needs: str, protocol: str) -> str:
    section = next(iter(evidence.people), None) or next(iter(evidence.sections), None)
    cohort, model = ("COHORT", "MODEL") if section is None else (section.cohort, section.model)
    return f"{COMMAND} {needs.format(cohort=cohort, model=model, protocol=protocol)}"


def _cells(evidence: Evidence) -> list[Item]:
    if not evidence.cells:
        return []
    states = Counter(cell.state for cell in evidence.cells)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    items = [Item(not states["failed"], f"{len(evidence.cells)} cells were measured: {counts}.")]
    names = {(cell.names.cohort, cell.names.model) for cell in evidence.cells}
    methods, protocols = evidence.methods, sorted(evidence.protocols)
    have = {
        (cell.names.cohort, cell.names.model, cell.names.explainer, cell.names.protocol)
        for cell in evidence.cells
    }
    missing = [
        (*pair, method, protocol)
        for pair in sorted(names)
        for method in methods
        for protocol in protocols
        if (*pair, method, protocol) not in have
    ]
    if missing:
        cohort, model, method, protocol = missing[0]
        items.append(
            Item(
                False,
                f"Not every method was measured by every protocol on every model: {len(missing)} "
                f"cells are missing, such as {method} by {protocol} on {model}.",
                f"{COMMAND} run --explainer {method} --protocol {protocol} --cohort {cohort} "
                f"--model {model}",
            )
        )
    else:
        items.append(Item(True, "Every method was measured by every protocol on every model."))
    return items


def _controls(evidence: Evidence) -> list[Item]:
    if not evidence.cells:
        return []
    have = {cell.names.explainer for cell in evidence.cells}
    items = []
    for name, what in (
        (ORACLE, "The truth was scored as a map, so that the best possible is known."),
        (RANDOM, "Noise was scored as a map, so that chance is known."),
    ):
        if name in have:
            items.append(Item(True, what))
        else:
            items.append(
                Item(
                    False,
                    f"The control {name} was not scored.",
                    f"{COMMAND} run --explainer {name}",
                )
            )
    blind = sorted(have & set(BLIND) - {RANDOM})
    items.append(
        Item(
            bool(blind),
            f"Maps that look at no model were scored: {', '.join(blind)}."
            if blind
            else "No map that looks at no model was scored beside noise.",
        )
    )
    return items


def _breadth(evidence: Evidence) -> list[Item]:
    if not evidence.cells:
        return []
    models = sorted({cell.names.model for cell in evidence.cells})
    cohorts = sorted({cell.names.cohort for cell in evidence.cells})
    seeds = sorted({cell.identity.seed for cell in evidence.cells})
    dirty = sum(cell.provenance.git is not None and cell.provenance.git.dirty
                for cell in evidence.cells)  # fmt: skip
    devices = {cell.provenance.device_type for cell in evidence.cells}
    return [
        Item(
            len(models) > 1,
            f"{len(models)} {'models were' if len(models) > 1 else 'model was'} explained: "
            f"{', '.join(models)}.",
        ),
        Item(
            len(cohorts) > 1,
            f"{len(cohorts)} {'cohorts were' if len(cohorts) > 1 else 'cohort was'} used: "
            f"{', '.join(cohorts)}.",
        ),
        Item(
            len(seeds) > 1,
            f"{len(seeds)} {'seeds were' if len(seeds) > 1 else 'seed was'} used: "
            f"{', '.join(map(str, seeds))}. Intervals are over subjects, not over seeds.",
        ),
        Item(len(devices) == 1, f"Kinds of devices that measured: {', '.join(sorted(devices))}."),
        Item(
            not dirty,
            f"{dirty} records were measured by a checkout with uncommitted changes."
            if dirty
            else "No record was measured by a checkout with uncommitted changes.",
        ),
    ]


def _training(evidence: Evidence) -> list[Item]:
    if not evidence.cards:
        return [
            Item(
                False,
                "No experiment was given, so nothing is told of training and validation; "
                "name their folder with --experiments.",
            )
        ]
    items = []
    for card in evidence.cards:
        validation = card.validation
        if validation is None:
            items.append(Item(False, f"{card.id} was not validated."))
            continue
        suspicious = [probe.name for probe in validation.shortcuts if probe.suspicious]
        items += [
            Item(
                bool(validation.cross_validation),
                f"{card.id}: {len(validation.folds)} folds of cross-validation by subject.",
            ),
            Item(
                bool(validation.shortcuts) and not suspicious,
                f"{card.id}: {len(validation.shortcuts)} shortcut probes"
                + (
                    f", suspicious: {', '.join(suspicious)}."
                    if suspicious
                    else ", none suspicious."
                ),
            ),
        ]
        items += [
            Item(False, f"{card.id}: {text}") for text in (*card.warnings, *validation.left_out)
        ]
    items += [Item(False, f"{text} is left out.") for text in evidence.unfinished]
    return items
