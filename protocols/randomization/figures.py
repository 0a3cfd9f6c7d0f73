"""The cascade: one subject's map as the model forgets, and the similarity under its ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, find, summarise
from benchmark.report.figures.image_rows import Tile, draw_image_rows


def cascade_drawings(
    exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
) -> Iterator[Drawing]:
    """Yield the cascade of every explainer that left one, a row each."""
    kept = {name: exhibits[name] for name in readings if name in exhibits}
    if not kept:
        return
    yield Drawing(
        "cascade",
        "Maps as the model forgets",
        "One subject. From left to right: the trained model, its stages randomised one after the "
        "other from the head down to the stem, the twin trained from another seed, and a network "
        "that learned permuted labels by heart. Each map is scaled by itself, and the number is "
        "the mean Spearman correlation with the map on the trained model over subjects: what "
        "stays high towards the right was never learned, and a similarity above the twin's cannot "
        "be distinguished from a second training run.",
        lambda: draw_image_rows(
            [(name, _tiles(exhibit, readings[name])) for name, exhibit in kept.items()]
        ),
        "png",
    )


def _tiles(exhibit: Exhibit, readings: Sequence[Reading]) -> list[Tile]:
    inside = np.asarray(exhibit["foreground"][0, 0], dtype=bool)
    stages = [str(stage) for stage in exhibit["stages"]]
    image = np.asarray(exhibit["image"][0, 0], dtype=np.float32)
    middle = None if image.ndim == 2 else image.shape[0] // 2

    def tile(volume: np.ndarray, text: str) -> Tile:
        values = np.where(inside, volume, 0).astype(np.float32)
        plane = values if middle is None else values[middle]
        return Tile(plane, text, is_map=True)

    tiles = [tile(exhibit["trained"][0, 0], "trained")]
    for depth, (stage, map_) in enumerate(zip(stages, exhibit["cascade"], strict=True), start=1):
        similarity = find(readings, "similarity", walk="cascade", depth=depth)
        tiles.append(tile(map_[0], f"{stage} {_estimate(similarity)}"))
    for name in ("twin", "memorised"):
        if name in exhibit:
            tiles.append(tile(exhibit[name][0, 0], f"{name} {_estimate(find(readings, name))}"))
    return tiles


def _estimate(reading: Reading | None) -> str:
    return "" if reading is None else f"{summarise(reading).estimate:.2f}"
