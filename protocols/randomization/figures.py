"""The cascade: one subject's map as the model forgets, and the similarity under its ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, find, summarise
from benchmark.report.figures.image_rows import Tile, draw_image_rows
from benchmark.report.figures.planes import Planes, find_exhibit_planes
from benchmark.report.figures.sides import describe_sides


def cascade_drawings(
    exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
) -> Iterator[Drawing]:
    """Yield the cascade of every explainer that left one, a row each."""
    kept = {name: exhibits[name] for name in readings if name in exhibits}
    if not kept:
        return
    planes = [_planes(exhibit) for exhibit in kept.values()]
    yield Drawing(
        "cascade",
        "Maps as the model forgets",
        "One subject. From left to right: the trained model, its stages randomised one after the "
        "other from the head down to the stem, the twin trained from another seed, and a network "
        "that learned permuted labels by heart. Each map is scaled by itself, and the number is "
        "the mean Spearman correlation with the map on the trained model over subjects: what "
        "stays high towards the right was never learned, and a similarity above the twin's cannot "
        "be distinguished from a second training run. "
        + describe_sides([letters for plane in planes for letters in plane.letters]),
        lambda: draw_image_rows(
            [(name, _tiles(exhibit, readings[name])) for name, exhibit in kept.items()],
            planes[0].aspect,
            millimetres=planes[0].millimetres,
        ),
        "png",
    )


def _tiles(exhibit: Exhibit, readings: Sequence[Reading]) -> list[Tile]:
    inside = np.asarray(exhibit["foreground"][0, 0], dtype=bool)
    stages = [str(stage) for stage in exhibit["stages"]]
    planes = _planes(exhibit)

    def tile(volume: np.ndarray, text: str) -> Tile:
        values = np.where(inside, volume, 0).astype(np.float32)
        plane = planes.cut(values[None, None])[0].astype(np.float32)
        return Tile(plane, text, is_map=True, letters=planes.letters[0])

    tiles = [tile(exhibit["trained"][0, 0], "trained")]
    for depth, (stage, map_) in enumerate(zip(stages, exhibit["cascade"], strict=True), start=1):
        similarity = find(readings, "similarity", walk="cascade", depth=depth)
        tiles.append(tile(map_[0], f"{stage} {_estimate(similarity)}"))
    for name in ("twin", "memorised"):
        if name in exhibit:
            tiles.append(tile(exhibit[name][0, 0], f"{name} {_estimate(find(readings, name))}"))
    return tiles


def _planes(exhibit: Exhibit) -> Planes:
    """Return the plane through the middle of the subject's regions, where they were kept."""
    regions = np.asarray(exhibit.get("regions", exhibit["foreground"]), dtype=bool)
    return find_exhibit_planes(exhibit, regions if regions.any() else regions | True)


def _estimate(reading: Reading | None) -> str:
    return "" if reading is None else f"{summarise(reading).estimate:.2f}"
