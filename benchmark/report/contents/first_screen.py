"""What the first screen of a report says: a bottom line for each method, and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.explainer import NO_EXPLAINER
from benchmark.reading import SCORED
from benchmark.report.contents.section import Section
from benchmark.results.conclusions.bottom_line import BottomLine
from benchmark.results.scores import CONTROLS
from benchmark.statistics.wording import format_interval


@dataclass(frozen=True)
class Answer:
    """The answer to a question that a clinician would ask.

    Attributes:
        anchor: Name of its place on the page, to which a link can lead.
        question: The question.
        texts: Sentences; one for each model and cohort where these differ.
        link: Place with more of it, or nothing.
        more: Words of the link.
    """

    anchor: str
    question: str
    texts: Sequence[str]
    link: str = ""
    more: str = ""


@dataclass(frozen=True)
class FirstScreen:
    """The part of the page that is seen before anything else.

    Attributes:
        lines: Bottom lines of each model and cohort, by their names.
        controls: Controls that were scored beside the methods.
        answers: Questions with their answers, in the order of the page.
    """

    lines: Sequence[tuple[str, Sequence[BottomLine]]]
    controls: Sequence[str]
    answers: Sequence[Answer]


def build_first_screen(sections: Sequence[Section], made: Mapping[str, str]) -> FirstScreen:
    """Return the first screen of a report.

    Args:
        sections: Parts of the page; at least one.
        made: Provenance of the records, by name.
    """

    def each(describe: Callable[[Section], str]) -> list[str]:
        """Return what is said of each section, under its name where several differ."""
        texts = [describe(section) for section in sections]
        if len(set(texts)) == 1:
            return texts[:1]
        return [f"{_name(own)}: {text}" for own, text in zip(sections, texts, strict=True)]

    explainers = {result.explainer for section in sections for result in section.results}
    passes_mean = "A pass is about averages over subjects, and clears neither map nor model."
    answers = (
        Answer("trust", "Can these scores be trusted?", each(_trust), "pair-1", "Scores"),
        Answer("unmeasured", "What was not measured?", each(_unmeasured)),
        Answer("model", "Is the model itself any good?", each(_model)),
        Answer("images", "Whose images are these?", each(_images)),
        Answer("sides", "Is left left?", each(_sides)),
        Answer("maps", "Where do I see the maps?", each(_maps), _first_maps(sections), "Maps"),
        Answer("better", "Is one method better than another?", [_BETTER], "how", "How to read"),
        Answer("patients", "May I rely on a map for a patient?", [f"No. {passes_mean}"]),
        Answer("made", "When was this made, and with what?", [_made(made)], "provenance", "All"),
    )
    return FirstScreen(
        [(_name(section), section.lines) for section in sections],
        [name for name in CONTROLS if name in explainers],
        answers,
    )


_BETTER = (
    "Only a difference on the same people can tell. Overlapping intervals do not make two methods "
    "equal."
)


def _name(section: Section) -> str:
    return f"{section.model} on {section.cohort}"


def _trust(section: Section) -> str:
    """Say under how many protocols scores mean anything."""
    known = {health.protocol: health.healthy for health in section.health}
    if not known:
        return "Nothing here was compared with controls."
    unhealthy = [name for name, healthy in known.items() if healthy is False]
    unknown = [name for name, healthy in known.items() if healthy is None]
    if not unhealthy and not unknown:
        return f"Yes: all {len(known)} tests work on this model and these images."
    parts = {
        "Not those of": unhealthy,
        "It is not known of": unknown,
        "Yes, those of": [name for name, healthy in known.items() if healthy],
    }
    return " ".join(f"{words} {', '.join(names)}." for words, names in parts.items() if names)


def _unmeasured(section: Section) -> str:
    """Say which methods have no score, and under what."""
    absent: dict[str, list[str]] = {}
    others = (*CONTROLS, NO_EXPLAINER)
    methods = [result for result in section.results if result.explainer not in others]
    measured = {(result.explainer, result.protocol) for result in methods}
    for name in dict.fromkeys(result.explainer for result in methods):
        for protocol in dict.fromkeys(result.protocol for result in methods):
            if (name, protocol) not in measured:
                absent.setdefault(f"{name} (not run)", []).append(protocol)
    for result in section.results:
        if result.state != SCORED and result.explainer not in CONTROLS:
            absent.setdefault(f"{result.explainer} ({result.state})", []).append(result.protocol)
    if not absent:
        return "Nothing: every method has a score in every test of this report."
    listed = "; ".join(f"{name}: {', '.join(tests)}" for name, tests in absent.items())
    return f"{listed}. That is neither a pass nor a fail."


def _model(section: Section) -> str:
    """Say how well the model tells the groups apart."""
    if section.metrics is None:
        return "Not known: its output was not kept with these records."
    rates, auroc = section.metrics.rates, format_interval(section.metrics.auroc)
    return (
        f"It names the group of {rates.accuracy:.0%} of the test images rightly; "
        f"AUROC {auroc}, where 0.5 is guessing."
    )


def _images(section: Section) -> str:
    """Say whose images were explained."""
    most = max(result.primary.n_subjects for result in section.results)
    if section.metrics is None:
        return f"Test images of the cohort {section.cohort}, of up to {most} subjects."
    groups = zip(section.metrics.subjects, section.metrics.group_names, strict=True)
    listed = " and ".join(f"{count} subjects of group {name}" for count, name in groups)
    return f"Test images of the cohort {section.cohort}: {listed}."


def _sides(section: Section) -> str:
    return section.sides or "There are no pictures: the maps were not kept with these records."


def _maps(section: Section) -> str:
    if not section.sides:
        return "Nowhere: the maps were not kept with these records."
    return "Below the scores, and beside this page as NIfTI files."


def _first_maps(sections: Sequence[Section]) -> str:
    """Return the place of the first picture of maps."""
    numbers = [number for number, section in enumerate(sections, 1) if section.sides]
    return f"maps-{numbers[0]}" if numbers else ""


def _made(made: Mapping[str, str]) -> str:
    day = made["measured"].split("T")[0].split(" ")[0]
    return (
        f"Suite {made['suite']}, measured from {day}; software, settings and hashes are at the end."
    )
