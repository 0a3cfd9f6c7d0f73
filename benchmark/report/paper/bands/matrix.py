"""Squares of numbers: every method by the members of a panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.report.figures.style import INK, MUTED, shorten
from benchmark.report.paper.bands.canvas import CHARACTER, LINE, Canvas
from benchmark.report.paper.bands.view import View, order_methods, signed
from benchmark.report.paper.specification import Matrix
from benchmark.results.scores import CONTROLS

_ROW, _GAP = 3.7, 3.0  # mm
_LONGEST = 22
_CELL = 8.0  # mm, of a number with sign and two decimals
_DARK = 0.6  # above which ink on the colour is white


def width_of_matrix(view: View, band: Matrix, sections: int) -> float:
    """Return the width in mm that the squares of so many sections need; 0 without values."""
    values = view.chosen(band.choice)
    if not values:
        return 0.0
    members = {str(value.condition(band.column)) for value in values}
    left = _left(order_methods(values))
    return left + 1.5 + sections * (_CELL * len(members) + _GAP) - _GAP


def measure_matrix(view: View, band: Matrix) -> float:
    """Return the height of the band in mm; 0 where it has no values."""
    values = view.chosen(band.choice)
    if not values:
        return 0.0
    members = {str(value.condition(band.column)) for value in values}
    names = CHARACTER * max(map(len, members))
    return LINE + 0.5 + _ROW * len(order_methods(values)) + names + LINE + 3


def draw_matrix(canvas: Canvas, top: float, view: View, band: Matrix) -> None:
    """Draw the band below a place."""
    values = view.chosen(band.choice)
    methods = order_methods(values)
    members = sorted({str(value.condition(band.column)) for value in values})
    names = [shorten(name, _LONGEST) for name in methods]
    left = _left(methods)
    sections = [section for section in view.sections if view.chosen(band.choice, section)]
    width = (view.width - left - 1.5 - _GAP * (len(sections) - 1)) / len(sections)
    height, start = _ROW * len(methods), top + LINE + 0.5
    for number, section in enumerate(sections):
        x = left + number * (width + _GAP)
        axes = canvas.axes(x, start, width, height)
        title = shorten(section.title, int(width / CHARACTER))
        canvas.text(x, start - LINE, title, fontweight="bold")
        table = np.full((len(methods), len(members)), np.nan)
        for value in view.chosen(band.choice, section):
            column = members.index(str(value.condition(band.column)))
            table[methods.index(value.method), column] = value.estimate
        axes.imshow(table, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        for row, column in zip(*np.nonzero(np.isfinite(table)), strict=True):
            number_shown = float(table[row, column])
            ink = "white" if abs(number_shown) > _DARK else INK
            text = signed(number_shown)
            axes.text(column, row, text, ha="center", va="center_baseline", color=ink)
        axes.set_xticks(range(len(members)), members, rotation=90)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if number:
            axes.set_yticks([])
            continue
        axes.set_yticks(range(len(methods)), names)
        for label, method in zip(axes.get_yticklabels(), methods, strict=True):
            label.set_color(MUTED if method in CONTROLS else INK)
    below = start + height + CHARACTER * max(map(len, members)) + 2
    canvas.text(left + (view.width - left) / 2, below, band.label, ha="center")


def _left(methods: Sequence[str]) -> float:
    return 2.0 + CHARACTER * max(len(shorten(name, _LONGEST)) for name in methods)
