"""The forest plot of a run: every score with its interval, beside it the calibrated score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.protocol import SanityProtocol
from benchmark.reading import SCORED
from benchmark.report.figures.style import (
    CHANCE,
    CHARACTER,
    COLOURS,
    GREYS,
    INK,
    MUTED,
    WIDTH,
    extent,
    known,
    limits,
    styled,
)
from benchmark.results.result import Estimate, Number, Result
from benchmark.results.scores import CONTROLS, RANDOM

Protocols = Mapping[str, type[SanityProtocol[Any]]]

_CALIBRATED_LIMITS = (-1.0, 2.5)
_DASHED = (0, (4, 3))


def arrange(results: Sequence[Result], protocols: Protocols) -> list[Result]:
    """Return results by explainer: methods before controls, the best of the first protocol first.

    Args:
        results: Of one model and cohort.
        protocols: Classes by name, in the order in which their figures stand.
    """
    names = [name for name in protocols if any(one.protocol == name for one in results)]
    first = {one.explainer: one.primary for one in results if one.protocol == names[0]}

    def rank(result: Result) -> tuple[bool, bool, float, str, int]:
        score, explainer = first.get(result.explainer), result.explainer
        control, place = explainer in CONTROLS, names.index(result.protocol)
        if score is None or score.estimate is None:
            return control, True, 0.0, explainer, place
        sign = 1 if score.direction == "lower" else -1
        return control, False, sign * score.estimate, explainer, place

    return sorted(results, key=rank)


@styled
def draw_forest(figure: Figure, results: Sequence[Result], protocols: Protocols) -> None:
    """Draw every score with its interval, and beside it the calibrated score.

    Controls are grey. The dashed line is the score of a map of noise; on the calibrated axis noise
    is 0 and the truth 1.

    Args:
        figure: Given by the decorator.
        results: Of one model and cohort, from ``arrange``.
        protocols: Classes by name.
    """
    names = [name for name in protocols if any(one.protocol == name for one in results)]
    explainers = list(dict.fromkeys(one.explainer for one in results))
    shown = [(name, kind) for name in names for kind in _forest_kinds(results, name)]
    height = 1.22 + 0.24 * len(explainers)
    figure.set_size_inches(WIDTH, height)
    ratios = [3 if kind == "score" else 2 for _, kind in shown]
    grid = figure.subplots(
        1, len(shown), sharey=True, squeeze=False, gridspec_kw={"width_ratios": ratios}
    )
    left = min(0.3, (0.2 + CHARACTER * max(map(len, explainers))) / WIDTH)
    figure.subplots_adjust(left, 0.62 / height, 0.985, 1 - 0.35 / height, 0.09)
    places = {name: place for place, name in enumerate(reversed(explainers))}
    for axes, (name, kind) in zip(grid[0], shown, strict=True):
        own = [one for one in results if one.protocol == name]
        if kind == "score":
            _draw_scores(axes, own, places)
            axes.set_title(name, loc="left", y=1.0, fontweight="bold")
        else:
            _draw_calibrated(axes, own, places)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    first: Axes = grid[0][0]
    first.set_yticks(list(places.values()), list(places), fontsize=8)
    first.set_ylim(-0.7, len(places) - 0.3)
    for label in first.get_yticklabels():
        label.set_color(MUTED if label.get_text() in CONTROLS else INK)


def _draw_scores(axes: Axes, results: Sequence[Result], places: Mapping[str, int]) -> None:
    noise = next((one.primary.estimate for one in results if one.explainer == RANDOM), None)
    if noise is not None:
        axes.axvline(noise, color=CHANCE, linewidth=0.9, linestyle=_DASHED, zorder=1)
    for one in results:
        place = places[one.explainer]
        if one.primary.estimate is not None:
            _draw_whisker(axes, one.primary, place, one.explainer)
            continue
        # In shares of the axes, so that a word says nothing about a score.
        axes.text(
            0.02,
            place,
            one.state if one.state != SCORED else "no value",
            transform=axes.get_yaxis_transform(),
            fontsize=7,
            style="italic",
            va="center",
        )
    if all(one.primary.estimate is None for one in results):
        axes.set_xticks([])
    better = {"higher": "\n(higher is better)", "lower": "\n(lower is better)"}
    primary = results[0].primary
    axes.set_xlabel(primary.statistic + better.get(primary.direction, ""), fontsize=7)


def _draw_calibrated(axes: Axes, results: Sequence[Result], places: Mapping[str, int]) -> None:
    axes.axvline(0, color=CHANCE, linewidth=0.9, linestyle=_DASHED, zorder=1)
    axes.axvline(1, color="#8a8a8a", linewidth=0.9, zorder=1)
    numbers = [-0.1, 1.1]
    for one in results:
        calibrated = one.primary.calibrated
        if calibrated is not None and calibrated.estimate is not None:
            _draw_whisker(axes, calibrated, places[one.explainer], one.explainer)
            numbers.extend(extent([calibrated]))
    low, high = limits(numbers, 0.02)
    axes.set_xlim(max(low, _CALIBRATED_LIMITS[0]), min(high, _CALIBRATED_LIMITS[1]))
    axes.set_xlabel("calibrated\n(0 noise, 1 truth)", fontsize=7)


def _draw_whisker(axes: Axes, value: Estimate | Number, place: int, explainer: str) -> None:
    estimate = known(value.estimate)
    colour = GREYS[0] if explainer in CONTROLS else COLOURS[0]
    axes.hlines(
        place, known(value.low, estimate), known(value.high, estimate), color=colour, linewidth=1.6
    )
    axes.plot([estimate], [place], "o", color=colour, markersize=4.5)


def _forest_kinds(results: Sequence[Result], protocol: str) -> tuple[str, ...]:
    own = [one.primary.calibrated for one in results if one.protocol == protocol]
    return ("score",) if all(one is None for one in own) else ("score", "calibrated")
