"""Names beside the points of a scatter plot, none over another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from benchmark.report.figures.style import CHARACTER, MUTED

_SIZE = 7.0  # points
_HEIGHT = 0.125  # inches, of a line
_POINT = 0.055  # inches, half a marker
# Inches from a point to its name, tried from near to far.
_REACH = (0.07, 0.16, 0.28, 0.42, 0.6, 0.8, 1.05, 1.35)
_ANGLES = (0, 180, 45, -45, 135, -135, 90, -90, 22, -22, 158, -158, 68, -68, 112, -112)


class Spot(NamedTuple):
    """A point with an upright interval, in the axes' own units."""

    name: str
    x: float
    y: float
    low: float
    high: float


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )


def place_labels(axes: Axes, points: Sequence[Spot]) -> None:
    """Write a name beside every point, over no point, interval or other name.

    A thin line leads to one that stands further off. The axes have their final limits already.
    """
    figure = axes.figure
    to_inches = axes.transData + figure.dpi_scale_trans.inverted()
    inside = axes.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    frame = _Box(inside.x0 + 0.02, inside.y0 + 0.02, inside.x1, inside.y1)
    spots = [tuple(map(float, to_inches.transform((point.x, point.y)))) for point in points]
    taken = [_Box(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in spots]
    for point in points:
        (x, low), (_, high) = to_inches.transform(
            [(point.x, point.low), (point.x, point.high)]
        ).tolist()
        taken.append(_Box(x - 0.015, low, x + 0.015, high))
    back = to_inches.inverted()
    # Crowded points first: they have the fewest places to choose from.
    neighbours = [sum(math.dist(spot, other) < 0.7 for other in spots) for spot in spots]
    for index in sorted(range(len(points)), key=lambda index: (-neighbours[index], index)):
        name, at = points[index].name, spots[index]
        box = _free_box(name, at, taken, frame)
        if box is None:
            continue
        taken.append(box)
        middle = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        nearest = (
            min(max(at[0], box.left + 0.03), box.right - 0.03),
            min(max(at[1], box.bottom), box.top),
        )
        if math.dist(nearest, at) > 2 * _REACH[0]:
            ends = [tuple(back.transform(end)) for end in (at, nearest)]
            axes.plot(*zip(*ends, strict=True), color="#b0b0b0", linewidth=0.6, zorder=2)
        x, y = map(float, back.transform(middle))
        axes.text(x, y, name, fontsize=_SIZE, color=MUTED, ha="center", va="center")


def _free_box(name: str, at: tuple[float, ...], taken: Sequence[_Box], frame: _Box) -> _Box | None:
    width = CHARACTER * _SIZE / 8 * len(name) + 0.06
    for reach in _REACH:
        for angle in map(math.radians, _ANGLES):
            x = at[0] + math.cos(angle) * (_POINT + reach * 0.6)
            y = at[1] + math.sin(angle) * (_POINT + reach)
            # From the middle of its left end to that of its right end, as the angle turns.
            left = x - width * (1 - math.cos(angle)) / 2
            box = _Box(left, y - _HEIGHT / 2, left + width, y + _HEIGHT / 2)
            within = (
                frame.left <= box.left
                and box.right <= frame.right
                and frame.bottom <= box.bottom
                and box.top <= frame.top
            )
            if within and not any(box.meets(other) for other in taken):
                return box
    return None
