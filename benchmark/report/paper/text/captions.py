"""Captions of figures: what is shown, of how many subjects, with which intervals and tests."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from benchmark.protocol import SanityProtocol
from benchmark.report.figures.marks import Key
from benchmark.report.figures.sides import describe_sides
from benchmark.report.paper.bands.rows import columns_of
from benchmark.report.paper.bands.scatter import associations
from benchmark.report.paper.bands.view import View, signed
from benchmark.report.paper.evidence import Evidence
from benchmark.report.paper.figures import PaperFigure
from benchmark.report.paper.specification import (
    Band,
    Curves,
    Images,
    Matrix,
    Rows,
    Scatter,
    Series,
    choices_of,
)
from benchmark.report.paper.values import EXPERIMENT, LEVEL, Choice, Value, declared
from benchmark.results.scores import CONTROLS
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.significance import sign_flip_p


def default_of(function: Callable[..., Any], name: str) -> int:
    """Return the default of a parameter, so that a text tells the number that was used."""
    return int(inspect.signature(function).parameters[name].default)


_NO_IMAGES = "No image is shown, since maps, model or cohort were not at hand beside the records."
RESAMPLES = default_of(SubjectBootstrap, "resamples")
PERMUTATIONS = default_of(sign_flip_p, "permutations")


def caption_of(evidence: Evidence, figure: PaperFigure) -> str:
    """Return the caption of a figure, without its number."""
    specification, view = figure.specification, figure.view
    sentences = [f"{specification.title}.", specification.question]
    for index, band in enumerate(figure.bands):
        letter = f"({'abcdefgh'[index]}) " if len(figure.bands) > 1 else ""
        sentences.append(letter + _describe(evidence, view, band))
    if Images() in specification.bands and Images() not in figure.bands:
        sentences.append(_NO_IMAGES)
    sentences += [
        _lines(view, figure.bands),
        _models(view),
        _numbers(evidence, view, figure.bands),
        _tests(view),
        _controls(view),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _describe(evidence: Evidence, view: View, band: Band) -> str:
    match band:
        case Rows():
            parts = [
                f"{column.label}: {'; '.join(_describe_series(evidence, view, series))}"
                for column, series in columns_of(view, band)
            ]
            return _sentence(". ".join(_capital(part) for part in parts))
        case Curves():
            text = f"{_meaning(evidence, band.choice)}, over {band.x[1]}"
            if band.choice.of_model:
                text += "; it is read of the model, and is the same for all methods"
            return _sentence(_capital(text))
        case Matrix():
            return _sentence(
                _capital(_meaning(evidence, band.choice))
                + ". The mean over subjects, rows in the order of their means; cells are empty "
                "where a method would be compared with itself, or one of both does not fit the "
                "model. Colours run from −1, blue, to 1, red"
            )
        case Scatter():
            return _scatter(view, band)
        case Images():
            return _images(view)


def _describe_series(evidence: Evidence, view: View, series: Sequence[Series]) -> list[str]:
    """Return what each series of a column is; what a statistic means is said once."""
    parts, said = [], set()
    for one in series:
        values = view.chosen(one.choice)
        name = values[0].statistic if values else one.label
        conditions = [f"{key} {text}" for key, text in one.choice.where if key != "split"]
        text = f"“{one.label}” is {name}" if len(series) > 1 else name
        text += f" with {', '.join(conditions)}" if conditions else ""
        meaning = _meaning(evidence, one.choice)
        if name not in said and meaning != name:
            text += f", {meaning}"
        said.add(name)
        parts.append(text)
    return parts


def _meaning(evidence: Evidence, choice: Choice) -> str:
    """Return what a protocol says of the statistic."""
    protocol = evidence.protocols.get(choice.protocol)
    if protocol is None:
        return choice.statistic
    statistic = declared(protocol, choice.statistic or protocol.primary)
    return choice.statistic if statistic is None else statistic.description


def _lines(view: View, bands: Sequence[Band]) -> str:
    if not any(isinstance(band, Curves | Scatter) and not _by(band) for band in bands):
        return ""
    return (
        f"In colour: {', '.join(view.highlighted)}, which were named or have the best mean rank "
        "over all scores and models among methods that were scored everywhere."
        if view.highlighted
        else ""
    )


def _by(band: Band) -> str:
    return band.by if isinstance(band, Curves) else ""


def _scatter(view: View, band: Scatter) -> str:
    parts = []
    for one in associations(view, band):
        name, count = one.section.title, len(one.points)
        if one.rho is None:
            parts.append(f"{name}: {count} methods, too few or too alike for a correlation")
        else:
            parts.append(
                f"{name}: Spearman's ρ {signed(one.rho)} over {count} methods, "
                f"p {p_text(one.p_holm)}"
            )
    return _sentence(
        f"Each point is a method, without controls: {band.x_label} (Spearman, corrected for that "
        f"of different subjects) against {band.y_label}. {'; '.join(parts)}; two-sided, by "
        f"{PERMUTATIONS:,} permutations of the methods and after Holm over the models"
    )


def _images(view: View) -> str:
    """Return who is shown, under which maps, and what lines and letters mean."""
    examples = [view.examples[own] for own in view.sections if own in view.examples]
    people = " and ".join(
        f"one of group {own.group}, of which the model gives it a probability of "
        f"{own.probability:.2f}"
        for own in examples
    )
    methods = list(dict.fromkeys(name for own in examples for name in own.methods))
    letters = [tile.letters for own in examples for _, tile in own.tiles]
    return (
        f"Test subject, {people}, chosen by this probability alone: the image, and the maps of "
        f"{', '.join(methods)} over it, each with a colour scale of its own, from 0 to the "
        f"{Key.highest}. Solid lines enclose the regions that the disease changes, dashed lines "
        f"the control regions. {describe_sides(letters)}"
    )


def _models(view: View) -> str:
    titles = [section.title for section in view.sections]
    return "" if len(titles) == 1 else f"Columns are the models {', '.join(titles)}."


def _numbers(evidence: Evidence, view: View, bands: tuple[Band, ...]) -> str:
    """Return how many subjects there are, and which intervals."""
    choices = [choice for band in bands for choice in choices_of(band)]
    values = [v for choice in choices for v in view.chosen(choice)]
    counts = sorted({value.n_subjects for value in values})
    if not counts:
        return ""
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    text = f"n = {many} subjects."
    if all(isinstance(band, Matrix) for band in bands):
        return text
    kinds = {_aggregate(evidence, value) for value in values if value.protocol != EXPERIMENT}
    ways = []
    if kinds - {"studentised", "constant"}:
        ways.append("percentile bootstrap")
    if "studentised" in kinds:
        ways.append("studentised bootstrap")
    counted = sorted(
        {value.protocol for value in values if value.is_score and _has_own(evidence, value)}
    )
    own = ""
    if counted:
        own = (
            f" That of the score of {' and '.join(counted)} counts more than subjects as a sample."
        )
    by = f", by the {' or the '.join(ways)} with {RESAMPLES:,} resamples" if ways else ""
    return f"{text} Lines through points are 95 % intervals over subjects{by}.{own}"


def _has_own(evidence: Evidence, value: Value) -> bool:
    """Return whether the protocol has an interval of its own for its score."""
    protocol = evidence.protocols.get(value.protocol)
    bases = () if protocol is None else protocol.__mro__
    owner = next((base for base in bases if "score_interval" in vars(base)), SanityProtocol)
    return owner is not SanityProtocol


def _aggregate(evidence: Evidence, value: Value) -> str:
    statistic = declared(evidence.protocols[value.protocol], value.statistic)
    return "mean" if statistic is None else statistic.aggregate


def _tests(view: View) -> str:
    tested = [value for value in view.values if value.p_holm is not None]
    if not tested:
        return ""
    above = sum(bool(value.is_significant) for value in tested)
    return (
        f"Tests: {len(tested)} one-sided sign-flip tests over subjects against 0 "
        f"({PERMUTATIONS:,} permutations), corrected together by Holm; {above} have p < {LEVEL:g}. "
        "An open mark is a value that was tested and is not above 0; controls were not tested."
    )


def _controls(view: View) -> str:
    names = sorted({value.method for value in view.values} & set(CONTROLS))
    return f"Controls, in grey: {', '.join(names)}." if names else ""


def p_text(p: float | None) -> str:
    """Return a p-value as a text shows it."""
    if p is None:
        return "unknown"
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
