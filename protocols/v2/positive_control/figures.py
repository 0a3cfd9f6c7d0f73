"""Pictures of two marks: what each network's map shows of them, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, find, summarise
from benchmark.report.figures.image_rows import Tile, draw_image_rows
from benchmark.report.figures.planes import Planes, find_exhibit_planes
from benchmark.report.figures.sides import describe_sides
from benchmark.report.figures.style import COLOURS, GREYS, WIDTH, styled
from protocols.v2.positive_control.exhibits import MARKED, UNMARKED, map_array, region_array
from protocols.v2.positive_control.statistics import MAIN, PositiveControlStatistics, marks_of

Readings = Mapping[str, Sequence[Reading]]


def mark_drawings(exhibits: Mapping[str, Exhibit], readings: Readings) -> Iterator[Drawing]:
    """Yield the scores of own and other networks' maps, and the maps of one subject."""
    measured = {name: own for name, own in readings.items() if marks_of(own)}
    if not measured:
        return
    marks = marks_of(next(iter(measured.values())))
    yield Drawing(
        "own_and_other_networks",
        "Who shows the mark",
        "Average precision of each method's maps on a mark, on the network that was taught to see "
        "it, on the network of the other mark, and on the network before it was taught either. "
        "Means over subjects with 95 % intervals. The score is the distance from the first to the "
        "higher of the other two: a method that finds a mark by its looks shows it on every "
        "network, and has 0.",
        lambda: draw_precisions(measured, marks),
    )
    marked = {name: own for name, own in exhibits.items() if MARKED in own}
    if not marked:
        return
    planes = _planes(next(iter(marked.values())), marks[0])
    yield Drawing(
        "marks",
        "Maps of one image with two marks",
        "Above: the image without and with its two marks, and what they change together. Below: "
        "the importance of each network's map over the image, scaled by itself. Cyan outlines the "
        "mark of the column; the number is the mean average precision on that mark over all "
        "subjects. "
        f"{describe_sides(planes.letters)}",
        lambda: draw_image_rows(
            [*_image_row(marked, marks), *_map_rows(marked, marks, measured)],
            planes.aspect,
            outlined="mark",
            millimetres=planes.millimetres,
        ),
        "png",
    )


@styled
def draw_precisions(figure: Figure, readings: Readings, marks: Sequence[str]) -> None:
    """Fill the figure with a panel for each mark, the methods side by side in each."""
    figure.set_size_inches(WIDTH, 3.4)
    grid = figure.add_gridspec(
        1, len(marks), left=0.06, right=0.99, top=0.82, bottom=0.34, wspace=0.12
    )
    for column, (mark, other) in enumerate(zip(marks, reversed(marks), strict=True)):
        axes = figure.add_subplot(grid[column])
        networks = {mark: COLOURS[0], other: COLOURS[1], MAIN: GREYS[0]}
        for position, (network, colour) in enumerate(networks.items()):
            _draw_network(axes, readings, mark, network, 0.24 * (position - 1), colour)
        axes.set_title(f"average precision on {mark}", loc="left")
        axes.set_xticks(range(len(readings)), list(readings), rotation=60, ha="right")
        axes.set_ylim(bottom=0)
    labels = ("network of this mark", "network of the other mark", "network before")
    colours = (COLOURS[0], COLOURS[1], GREYS[0])
    handles = [
        axes.plot([], [], color=colour, marker="o", markersize=3, label=label)[0]
        for label, colour in zip(labels, colours, strict=True)
    ]
    figure.legend(handles=handles, loc="upper left", ncol=len(labels), frameon=False)


def _draw_network(
    axes: Axes, readings: Readings, mark: str, network: str, shift: float, colour: str
) -> None:
    """Draw a point with its interval for each method, beside those of other networks."""
    for position, own in enumerate(readings.values()):
        reading = find(own, PositiveControlStatistics.mark_ap, network=network, mark=mark)
        if reading is None:
            continue
        score = summarise(reading)
        axes.plot(position + shift, score.estimate, color=colour, marker="o", markersize=3)
        axes.vlines(position + shift, score.low, score.high, color=colour, linewidth=1.0)


def _image_row(
    exhibits: Mapping[str, Exhibit], marks: Sequence[str]
) -> list[tuple[str, list[Tile]]]:
    exhibit, tiles = next(iter(exhibits.values())), []
    for mark in marks:
        planes = _planes(exhibit, mark)
        before, after, region = (
            planes.cut_one(exhibit[name]) for name in (UNMARKED, MARKED, region_array(mark))
        )
        letters = planes.letters[0]
        tiles += [
            Tile(before, "without marks", letters=letters),
            Tile(after, f"with both, {mark} outlined", outline=region > 0, letters=letters),
            Tile(np.abs(after - before), "change", is_map=True, letters=letters),
        ]
    return [("image", tiles)]


def _map_rows(
    exhibits: Mapping[str, Exhibit], marks: Sequence[str], readings: Readings
) -> list[tuple[str, list[Tile]]]:
    rows = []
    for name, exhibit in exhibits.items():
        tiles = []
        for mark, other in zip(marks, reversed(marks), strict=True):
            planes = _planes(exhibit, mark)
            image, region = (planes.cut_one(exhibit[part]) for part in (MARKED, region_array(mark)))
            for network in (mark, other, MAIN):
                map_ = planes.cut_one(exhibit[map_array(network)])
                text = _caption(readings.get(name, ()), network, mark)
                tiles.append(Tile(image, text, map_, region > 0, letters=planes.letters[0]))
        rows.append((name, tiles))
    return rows


def _caption(readings: Sequence[Reading], network: str, mark: str) -> str:
    """Return whose map it is, and its mean average precision on a mark."""
    reading = find(readings, PositiveControlStatistics.mark_ap, network=network, mark=mark)
    return f"{network} network" + ("" if reading is None else f" {summarise(reading).estimate:.2f}")


def _planes(exhibit: Exhibit, mark: str) -> Planes:
    """Return the plane of each subject, through the middle of a mark."""
    return find_exhibit_planes(exhibit, np.asarray(exhibit[region_array(mark)], dtype=np.bool_))
