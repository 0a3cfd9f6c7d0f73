"""Pictures of `uncertainty`: entropy against stability, and maps that stay and maps that do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading
from benchmark.report.figures.image_rows import Tile, draw_image_rows
from benchmark.report.figures.planes import Planes, find_exhibit_planes
from benchmark.report.figures.sides import describe_sides
from benchmark.report.figures.style import CHANCE, COLOURS, INK, WIDTH, styled
from benchmark.statistics.wording import format_interval, typographic
from protocols.uncertainty.statistics import association_of, columns_of

Readings = Mapping[str, Sequence[Reading]]

_ACROSS = 4
_MAPS = ("member 1", "member 2")


def uncertainty_drawings(exhibits: Mapping[str, Exhibit], readings: Readings) -> Iterator[Drawing]:
    """Yield the scatter of every method, and maps of the most and the least stable subjects."""
    measured = {
        name: own
        for name, own in readings.items()
        if columns_of(own) and np.isfinite(columns_of(own)["stability"]).any()
    }
    if measured:
        yield Drawing(
            "uncertainty",
            "Uncertainty of the prediction against stability of the map",
            "A point is a subject: the entropy of the members' mean prediction, and the mean rank "
            "correlation of the subject's maps on pairs of members. Crosses are misclassified. In "
            "the title the rank correlation with its 95 % interval: below 0, maps are less stable "
            "where the model is uncertain.",
            lambda: draw_scatters(measured),
        )
    with_members = {name: own for name, own in exhibits.items() if "member 1" in own}
    if with_members:
        first = next(iter(with_members.values()))
        yield Drawing(
            "members",
            "Maps of one subject on several members",
            "For each method the two subjects whose maps are the most stable on the left, and the "
            "two whose maps are the least on the right: the image, and its map on two members, "
            "each scaled by itself. The number is the mean correlation over all pairs of members. "
            f"{describe_sides(_planes(first).letters)}",
            lambda: draw_image_rows(
                _rows(with_members), _planes(first).aspect, millimetres=_planes(first).millimetres
            ),
            "png",
        )


@styled
def draw_scatters(figure: Figure, readings: Readings) -> None:
    """Fill the figure with a panel for each method, errors marked."""
    rows = -(-len(readings) // _ACROSS)
    high = 2.3 * rows + 0.8  # inches
    figure.set_size_inches(WIDTH, high)
    grid = figure.add_gridspec(
        rows, _ACROSS, left=0.07, right=0.99, top=1 - 0.5 / high, bottom=0.5 / high,
        wspace=0.25, hspace=0.5,
    )  # fmt: skip
    for number, (name, own) in enumerate(readings.items()):
        axes = figure.add_subplot(grid[number // _ACROSS, number % _ACROSS])
        columns, relation = columns_of(own), association_of(own, "relation")
        wrong = columns["error"] == 1
        entropy, stability = columns["entropy"], columns["stability"]
        right = entropy[~wrong], stability[~wrong]
        axes.plot(*right, ".", color=COLOURS[0], markersize=4, alpha=0.6)
        axes.plot(entropy[wrong], stability[wrong], "x", color=CHANCE, markersize=4)
        axes.set_title(f"{name}\n{format_interval(relation) or ''}", loc="left")
        axes.set_xlim(0, np.log(2) * 1.02)
    figure.text(0.5, 0.08 / high, "entropy of the prediction (nats)", ha="center", color=INK)
    figure.text(0.01, 0.5, "stability of the map", rotation=90, va="center", color=INK)


def _rows(exhibits: Mapping[str, Exhibit]) -> list[tuple[str, list[Tile]]]:
    """Return two rows a method: a subject of stable maps, and one of unstable maps beside it."""
    rows = []
    for name, exhibit in exhibits.items():
        tiles = [_tiles(exhibit, image) for image in range(len(exhibit["stability"]))]
        half = len(tiles) // 2
        rows += [
            (name, stable + unstable)
            for stable, unstable in zip(tiles[:half], tiles[half:], strict=True)
        ]
    return rows


def _tiles(exhibit: Exhibit, image: int) -> list[Tile]:
    planes, stability = _planes(exhibit), float(np.asarray(exhibit["stability"])[image])
    grey, letters = planes.cut_one(exhibit["image"], image), planes.letters[image]
    maps = [
        Tile(grey, member, planes.cut_one(exhibit[member], image), letters=letters)
        for member in _MAPS
    ]
    return [Tile(grey, f"stability {typographic(f'{stability:.2f}')}", letters=letters), *maps]


def _planes(exhibit: Exhibit) -> Planes:
    """Return the plane of each subject through the middle of its image."""
    return find_exhibit_planes(exhibit, np.ones_like(exhibit["image"], dtype=np.bool_))
