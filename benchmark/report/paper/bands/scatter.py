"""A point for each method: one quantity against another, with their rank correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from matplotlib.ticker import MaxNLocator

from benchmark.report.figures.style import shorten
from benchmark.report.paper.bands.canvas import CHARACTER, LINE, Canvas, draw_legend, legend_lines
from benchmark.report.paper.bands.view import OTHERS, View, signed
from benchmark.report.paper.sections import Section
from benchmark.report.paper.specification import Scatter
from benchmark.results.scores import CONTROLS
from benchmark.seeding import stream
from benchmark.statistics.significance import holm

_HEIGHT, _LEFT, _GAP, _BELOW = 38.0, 13.0, 9.0, 9.5  # mm
_FEWEST = 4  # methods of which a correlation says anything
_PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Point:
    """A method in a scatter."""

    method: str
    x: float
    y: float


@dataclass(frozen=True)
class Association:
    """Spearman's correlation over methods.

    Attributes:
        section: Section of the methods.
        points: Methods, the controls left out.
        rho: The correlation; None of fewer than four methods.
        p_holm: Two-sided p-value of a permutation test, after Holm over the sections.
    """

    section: Section
    points: tuple[Point, ...]
    rho: float | None
    p_holm: float | None


def associations(view: View, band: Scatter) -> list[Association]:
    """Return the points of each section and how the two quantities go together."""
    found = []
    for section in view.sections:
        points = _points(view, band, section)
        if points:
            rho, p = _spearman(points)
            found.append((section, points, rho, p))
    adjusted = holm([p for *_, p in found])
    return [
        Association(section, points, None if math.isnan(rho) else rho, None if math.isnan(p) else p)
        for (section, points, rho, _), p in zip(found, adjusted.tolist(), strict=True)
    ]


def measure_scatter(view: View, band: Scatter) -> float:
    """Return the height of the band in mm; 0 where it has no values."""
    if not associations(view, band):
        return 0.0
    legend = LINE * len(legend_lines([*view.highlighted, OTHERS], view.width - _LEFT))
    return legend + LINE + 0.5 + _HEIGHT + _BELOW


def draw_scatter(canvas: Canvas, top: float, view: View, band: Scatter) -> None:
    """Draw the band below a place."""
    drawn = associations(view, band)
    names = {point.method for one in drawn for point in one.points}
    shown = [name for name in view.highlighted if name in names]
    entries = {name: {**view.style_of(name), "linestyle": "", "markersize": 4} for name in shown}
    if names - set(shown):
        entries[OTHERS] = {
            "marker": "o", "color": "#a8a8a8", "linestyle": "", "markersize": 2.5
        }  # fmt: skip
    top += draw_legend(canvas, _LEFT, top, view.width - _LEFT, entries) + LINE + 0.5
    width = (view.width - _LEFT - 1.5 - _GAP * (len(drawn) - 1)) / len(drawn)
    for number, one in enumerate(drawn):
        left = _LEFT + number * (width + _GAP)
        axes = canvas.axes(left, top, width, _HEIGHT)
        rho = "" if one.rho is None else f"  ρ = {signed(one.rho)}"
        title = shorten(one.section.title, int(width / CHARACTER) - len(rho))
        canvas.text(left, top - LINE, title + rho, fontweight="bold")
        for point in sorted(one.points, key=lambda point: point.method in shown):
            style = entries[point.method if point.method in shown else OTHERS]
            axes.plot([point.x], [point.y], **style)
        axes.axhline(0, color="#8a8a8a", linewidth=0.5, zorder=1)
        axes.axvline(0, color="#8a8a8a", linewidth=0.5, zorder=1)
        axes.margins(0.08)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        if number == 0:
            axes.set_ylabel(band.y_label)
    canvas.text(_LEFT + (view.width - _LEFT) / 2, top + _HEIGHT + 5.0, band.x_label, ha="center")


def _points(view: View, band: Scatter, section: Section) -> tuple[Point, ...]:
    others: dict[str, list[float]] = {}
    for value in view.chosen(band.x, section):
        others.setdefault(value.method, []).append(value.estimate or 0.0)
    heights = {value.method: value.estimate for value in view.chosen(band.y, section)}
    return tuple(
        Point(method, math.fsum(own) / len(own), height)
        for method, own in sorted(others.items())
        if method not in CONTROLS and (height := heights.get(method)) is not None
    )


def _spearman(points: Sequence[Point]) -> tuple[float, float]:
    """Return the correlation and its two-sided p-value by permuting methods."""
    if len(points) < _FEWEST:
        return math.nan, math.nan
    xs = scipy.stats.rankdata([point.x for point in points])
    ys = scipy.stats.rankdata([point.y for point in points])
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        return math.nan, math.nan
    rho = float(np.corrcoef(xs, ys)[0, 1])
    drawn = stream("paper scatter", 0).permuted(np.tile(ys, (_PERMUTATIONS, 1)), axis=1)
    centred = (drawn - ys.mean()) @ (xs - xs.mean())
    null = centred / (len(xs) * xs.std() * ys.std())
    count = int(np.count_nonzero(np.abs(null) >= abs(rho) - 1e-12))
    return rho, (count + 1) / (_PERMUTATIONS + 1)
