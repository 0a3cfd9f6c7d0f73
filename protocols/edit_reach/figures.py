"""Pictures of edits: where they are made and what they do, and what the twin makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmark.arrays import FloatArray
from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, find
from benchmark.report.figures.image_rows import Tile, draw_image_rows
from benchmark.report.figures.planes import Planes, find_exhibit_planes
from benchmark.report.figures.sides import describe_sides
from benchmark.report.figures.style import COLOURS, MUTED, WIDTH, styled
from benchmark.results.scores import CONTROLS
from protocols.edit_reach.exhibits import (
    AFTER,
    BEFORE,
    EDITED,
    GROUPS,
    IMAGE,
    IMPORTANCE,
    SHARE,
    TOP,
)
from protocols.edit_reach.statistics import EditReachStatistics as Read

Readings = Mapping[str, Sequence[Reading]]
Points = Mapping[str, tuple[FloatArray, FloatArray]]

_ACROSS = 5


def edit_drawings(exhibits: Mapping[str, Exhibit], readings: Readings) -> Iterator[Drawing]:
    """Yield the edits of two subjects, and the twin's answer to the edits of all."""
    edited = {name: own for name, own in exhibits.items() if EDITED in own}
    if edited:
        planes = {name: _planes(own) for name, own in edited.items()}
        first = next(iter(edited))
        share = 100 * float(np.asarray(edited[first][SHARE]))
        letters = planes[first].letters
        yield Drawing(
            "edits",
            "Edits of one subject of each group",
            f"The image, the importance of the map, its top {share:g} % of the foreground, what "
            "the best plausible edit inside it changes, and the edited image. The change is drawn "
            "on grey: brighter than before is light, darker is dark, and the largest change of the "
            "row is black or white. Numbers are s·φ in units of T before and after: up is more "
            "like the own group. "
            f"{describe_sides(letters)}",
            lambda: draw_image_rows(
                [row for name, own in edited.items() for row in _rows(name, own, planes[name])],
                planes[first].aspect,
                outlined="top of the map",
                millimetres=planes[first].millimetres,
            ),
            "png",
        )
    points = {name: pair for name, own in readings.items() if (pair := _points(own)) is not None}
    if points:
        yield Drawing(
            "transfer",
            "What the twin makes of the same edits",
            "A point is a subject: by how much the edits inside the top of its map lower s·φ on "
            "the model (right) and on its twin, the same network trained from another seed (up), "
            "each in units of its own T and in the mean over the shares. On the line both fall "
            "alike: the edit changes what both networks learned. Far below it, the edit has found "
            "where this network can be fooled.",
            lambda: draw_transfer(points),
        )


@styled
def draw_transfer(figure: Figure, points: Points) -> None:
    """Fill the figure with a small scatter for each explainer, all on one scale."""
    rows = -(-len(points) // _ACROSS)
    high = 1.9 * rows + 0.6  # inches
    figure.set_size_inches(WIDTH, high)
    grid = figure.add_gridspec(
        rows, _ACROSS, left=0.07, right=0.99, top=1 - 0.25 / high, bottom=0.55 / high,
        wspace=0.12, hspace=0.3,
    )  # fmt: skip
    everything = np.concatenate([value for pair in points.values() for value in pair])
    limits = min(0.0, float(everything.min())) - 0.1, float(everything.max()) + 0.1
    last_row = len(points) - _ACROSS
    for number, (name, (model, twin)) in enumerate(points.items()):
        axes = figure.add_subplot(grid[number // _ACROSS, number % _ACROSS])
        axes.plot(limits, limits, color=MUTED, linewidth=0.7)
        colour = MUTED if name in CONTROLS else COLOURS[0]
        axes.scatter(model, twin, s=7, color=colour, alpha=0.7, linewidths=0)
        axes.set_xlim(limits)
        axes.set_ylim(limits)
        axes.set_title(name, loc="left")
        axes.tick_params(labelbottom=number >= last_row, labelleft=number % _ACROSS == 0, length=2)
    figure.text(0.53, 0.12 / high, "fall on the model (T)", ha="center", color=MUTED)
    figure.text(0.01, 0.5, "fall on the twin (T)", rotation=90, va="center", color=MUTED)


def _points(readings: Sequence[Reading]) -> tuple[FloatArray, FloatArray] | None:
    """Return the falls of s·φ on the model and on its twin, both [n]."""
    model = find(readings, Read.reach, arm="map")
    twin = find(readings, Read.on_twin, arm="map")
    return None if model is None or twin is None else (model.values, twin.values)


def _rows(name: str, exhibit: Exhibit, planes: Planes) -> list[tuple[str, list[Tile]]]:
    rows, groups = [], [str(group) for group in np.asarray(exhibit[GROUPS])]
    for position, group in enumerate(groups):
        parts = (IMAGE, IMPORTANCE, TOP, EDITED)
        stack = {part: planes.cut_one(exhibit[part], position) for part in parts}
        change = stack[EDITED] - stack[IMAGE]
        largest = float(np.abs(change).max()) or 1.0
        grey = (0.5 + change / (2 * largest)).astype(np.float32)
        letters, top = planes.letters[position], stack[TOP] > 0
        before, after = (float(exhibit[part][position]) for part in (BEFORE, AFTER))
        rows.append(
            (
                f"{name},\N{NO-BREAK SPACE}{group}",
                [
                    Tile(stack[IMAGE], f"s·φ {before:.2f}".replace("-", "−"), letters=letters),
                    Tile(stack[IMAGE], "map", stack[IMPORTANCE], letters=letters),
                    Tile(stack[IMAGE], "top", outline=top, letters=letters),
                    Tile(grey, f"change, up to {largest:.2f}", letters=letters),
                    Tile(stack[EDITED], f"s·φ {after:.2f}".replace("-", "−"), letters=letters),
                ],
            )
        )
    return rows


def _planes(exhibit: Exhibit) -> Planes:
    """Return the plane of each subject that cuts through the top of its map."""
    return find_exhibit_planes(exhibit, np.asarray(exhibit[TOP], dtype=np.bool_))
