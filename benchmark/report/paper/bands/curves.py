"""Lines over a condition, a panel for each section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmark.reading import Condition
from benchmark.report.figures.style import COLOURS, shorten, span
from benchmark.report.paper.bands.canvas import CHARACTER, LINE, Canvas, draw_legend, legend_lines
from benchmark.report.paper.bands.view import (
    MARKERS,
    OTHER_CONTROLS,
    OTHERS,
    View,
    axis_limits,
    order_methods,
)
from benchmark.report.paper.sections import Section
from benchmark.report.paper.specification import Curves
from benchmark.report.paper.values import Value
from benchmark.results.scores import CONTROLS, ORACLE, RANDOM

_HEIGHT, _LEFT, _GAP, _BELOW = 30.0, 13.0, 9.0, 9.5  # mm

Lines = dict[str, list[Value]]


def measure_curves(view: View, band: Curves) -> float:
    """Return the height of the band in mm; 0 where it has no values."""
    if not any(_lines(view, band, section) for section in view.sections):
        return 0.0
    lines = legend_lines(list(_entries(view, band)), view.width - _LEFT)
    legend = LINE * len(lines) * band.has_legend
    return legend + LINE + 0.5 + _HEIGHT + _BELOW


def draw_curves(canvas: Canvas, top: float, view: View, band: Curves) -> None:
    """Draw the band below a place."""
    sections = [section for section in view.sections if _lines(view, band, section)]
    if band.has_legend:
        top += draw_legend(canvas, _LEFT, top, view.width - _LEFT, _entries(view, band))
    top += LINE + 0.5
    width = (view.width - _LEFT - 1.5 - _GAP * (len(sections) - 1)) / len(sections)
    points = [
        v for section in sections for own in _lines(view, band, section).values() for v in own
    ]
    ends, ticks = axis_limits(points), _ticks(points, band)
    for number, section in enumerate(sections):
        left = _LEFT + number * (width + _GAP)
        axes = canvas.axes(left, top, width, _HEIGHT)
        canvas.text(left, top - LINE, shorten(section.title, int(width / CHARACTER)),
                    fontweight="bold")  # fmt: skip
        _draw_panel(axes, view, band, _lines(view, band, section), ticks)
        axes.set_ylim(*ends)
        axes.set_xlim(-0.3, len(ticks) - 0.7)
        axes.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.axhline(0, color="#8a8a8a", linewidth=0.5, zorder=1)
        if number == 0:
            axes.set_ylabel(band.label)
    canvas.text(_LEFT + (view.width - _LEFT) / 2, top + _HEIGHT + 5.0, band.x[1], ha="center")


def _draw_panel(
    axes: Axes, view: View, band: Curves, lines: Lines, ticks: Sequence[Condition]
) -> None:
    for number, (name, points) in enumerate(lines.items()):
        style = _style(view, band, name, number)
        # Marks of several methods at one place would hide each other.
        shift = 0.05 * (number % 5 - 2) if "marker" in style else 0.0
        xs = [ticks.index(point.condition(band.x[0])) + shift for point in points]
        spans = [span(point) for point in points]
        axes.plot(xs, [middle for _, middle, _ in spans], **style)
        if "marker" in style:
            lows, highs = [low for low, *_ in spans], [high for *_, high in spans]
            axes.vlines(xs, lows, highs, color=style["color"], linewidth=0.6, zorder=2.5)


def _style(view: View, band: Curves, name: str, number: int) -> dict[str, Any]:
    if not band.by:
        return view.style_of(name)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 3.2,
        "linewidth": 1.1,
        "zorder": 4,
    }


def _lines(view: View, band: Curves, section: Section) -> Lines:
    """Return the points of each line by its name, in the order of the axis."""
    values = [
        value
        for value in view.chosen(band.choice, section)
        if value.condition(band.x[0]) not in band.without
    ]
    if band.first_of and values:
        first = values[0].condition(band.first_of)
        values = [value for value in values if value.condition(band.first_of) == first]
    lines: Lines = {}
    for value in values:
        name = str(value.condition(band.by)) if band.by else value.method
        lines.setdefault(name, []).append(value)
    # Those in colour last, so that they lie on top.
    order = order_methods(values) if not band.by else list(lines)
    ranked = sorted(order, key=lambda name: (name in view.highlighted, name in CONTROLS))
    return {name: lines[name] for name in ranked}


def _entries(view: View, band: Curves) -> dict[str, dict[str, Any]]:
    """Return the entries of the legend: methods in colour, controls, and all others as one."""
    names = list(dict.fromkeys(
        name for section in view.sections for name in _lines(view, band, section)
    ))  # fmt: skip
    if band.by:
        return {name: _style(view, band, name, number) for number, name in enumerate(names)}
    entries = [name for name in view.highlighted if name in names]
    entries += [name for name in (ORACLE, RANDOM) if name in names and name not in entries]
    rest = set(names) - set(entries)
    entries += [OTHER_CONTROLS] * bool(rest & set(CONTROLS)) + [OTHERS] * bool(rest - set(CONTROLS))
    return {name: view.style_of(name) for name in entries}


def _ticks(points: Sequence[Value], band: Curves) -> list[Condition]:
    ticks = dict.fromkeys(point.condition(band.x[0]) for point in points)
    if all(isinstance(tick, int | float) for tick in ticks):
        return sorted(ticks, key=float)
    return list(ticks)
