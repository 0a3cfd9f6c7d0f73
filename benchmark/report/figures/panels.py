"""A grid of small panels on one scale, drawn in a single axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.arrays import FloatArray
from benchmark.report.figures.style import BELOW, BETWEEN, MUTED, WIDTH, Limits


@dataclass(frozen=True)
class Layout:
    """Sizes of a grid of panels, in inches but for the number of columns.

    Attributes:
        columns: Number of panels side by side.
        height: Height of a panel, without title and tick labels.
        left: Space left of the first column.
        gutter: Space right of every panel.
        top: Space above the first row.
    """

    columns: int
    height: float
    left: float
    gutter: float
    top: float


class PanelGrid:
    """Small panels on one scale in a single axes; an axes for each takes ten times as long.

    The axes' coordinates are inches; ``right`` and ``up`` take values to positions in a panel.

    Args:
        figure: Figure to fill; made as high as the panels need.
        titles: Title of each panel, row by row.
        layout: Sizes of the grid.
        x_limits: Range of values from left to right.
        y_limits: Range of values from bottom to top; may fall.

    Attributes:
        axes: Axes of the whole figure.
    """

    def __init__(
        self,
        figure: Figure,
        titles: Sequence[str],
        layout: Layout,
        x_limits: Limits,
        y_limits: Limits,
    ) -> None:
        self._layout, self._x, self._y = layout, x_limits, y_limits
        self._count, self._rows = len(titles), -(-len(titles) // layout.columns)
        self._width = (WIDTH - layout.left) / layout.columns - layout.gutter
        self._step = layout.height + BETWEEN
        self._high = layout.top + self._rows * self._step - BETWEEN + BELOW
        figure.set_size_inches(WIDTH, self._high)
        self.axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, self._high))
        self.axes.set_axis_off()
        self.axes.set_autoscale_on(False)
        for panel, title in enumerate(titles):
            left, bottom = self._corner(panel)
            self.axes.text(left, bottom + layout.height + 0.05, title, va="bottom")

    def right(self, panel: int, values: Iterable[float]) -> FloatArray:
        """Return how far right the values stand; those beyond the limits stand on them."""
        low, high = self._x
        inside: FloatArray = np.clip(np.fromiter(values, float), low, high)
        return self._corner(panel)[0] + (inside - low) / (high - low) * self._width

    def up(self, panel: int, values: Iterable[float]) -> FloatArray:
        """Return how far up the values stand."""
        low, high = self._y
        share = (np.fromiter(values, float) - low) / (high - low)
        return self._corner(panel)[1] + share * self._layout.height

    def frame(self, x_label: str, y_label: str, names: Sequence[str] = ()) -> None:
        """Draw scales: numbers below the lowest panels and left of the first column.

        Names stand at 0, 1, 2 … in place of numbers on the upright scale.
        """
        xs, ys = _ticks(self._x), [] if names else _ticks(self._y)
        lines: list[FloatArray] = []
        for panel in range(self._count):
            left, bottom = self._corner(panel)
            at_x, at_y = self.right(panel, xs), self.up(panel, ys)
            lines.append(np.array([[left, bottom], [left + self._width, bottom]]))
            lines.extend(np.array([[x, bottom], [x, bottom - 0.04]]) for x in at_x)
            if not names:
                lines.append(np.array([[left, bottom], [left, bottom + self._layout.height]]))
                lines.extend(np.array([[left, y], [left - 0.04, y]]) for y in at_y)
            if panel % self._layout.columns == 0:
                labels = list(names) or [_format_tick(value) for value in ys]
                heights = self.up(panel, range(len(names))) if names else at_y
                for height, label in zip(heights, labels, strict=True):
                    self._write(left - 0.07, height, label, ha="right", va="center")
            if panel + self._layout.columns >= self._count:
                for x, value in zip(at_x, xs, strict=True):
                    self._write(x, bottom - 0.07, _format_tick(value), ha="center", va="top")
        self.axes.add_collection(LineCollection(lines, colors="#8a8a8a", linewidths=0.7))
        self.axes.text(WIDTH / 2, 0.06, x_label, ha="center", va="bottom")
        middle = (self._high - self._layout.top + BELOW) / 2
        self.axes.text(0.06, middle, y_label, ha="left", va="center", rotation=90)

    def _corner(self, panel: int) -> tuple[float, float]:
        row, column = divmod(panel, self._layout.columns)
        left = self._layout.left + column * (self._width + self._layout.gutter)
        return left, self._high - self._layout.top - row * self._step - self._layout.height

    def _write(self, x: float, y: float, text: str, *, ha: str, va: str) -> None:
        self.axes.text(x, y, text, ha=ha, va=va, fontsize=7, color=MUTED)


def _ticks(values: Limits) -> list[float]:
    low, high = sorted(values)
    slack = 1e-9 * (high - low)
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low - slack <= tick <= high + slack]


def _format_tick(value: float) -> str:
    """Return a number with up to six digits and a typographic minus sign."""
    return f"{value:.6g}".replace("-", "−")
