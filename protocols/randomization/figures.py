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
    shown = {name: exhibits[name] for name in readings if name in exhibits}
    if not shown:
        return
    yield Drawing(
        "cascade",
        "Maps as the model forgets",
        "One subject. From left to right: the trained model, its stages randomised one after the "
        "other from the head down to the stem, the twin trained from another seed, and a network "
        "that learned permuted labels by heart. Each map is scaled by itself, and the number is "
        "the mean Spearman correlation with the map on the trained model over subjects: what "
        "stays high towards the right was never learned, and no map can be told from another "
        "training run above the twin.",
        lambda: draw_image_rows(
            [(name, _tiles(one, readings[name])) for name, one in shown.items()]
        ),
        "png",
    )


def _tiles(exhibit: Exhibit, readings: Sequence[Reading]) -> list[Tile]:
    inside = np.asarray(exhibit["foreground"][0, 0], dtype=bool)
    stages = [str(one) for one in exhibit["stages"]]
    image = np.asarray(exhibit["image"][0, 0], dtype=np.float32)
    middle = None if image.ndim == 2 else image.shape[0] // 2

    def tile(volume: np.ndarray, text: str) -> Tile:
        values = np.where(inside, volume, 0).astype(np.float32)
        plane = values if middle is None else values[middle]
        return Tile(plane, text, is_map=True)

    tiles = [tile(exhibit["trained"][0, 0], "trained")]
    for depth, (stage, one) in enumerate(zip(stages, exhibit["cascade"], strict=True), start=1):
        at = find(readings, "similarity", walk="cascade", depth=depth)
        tiles.append(tile(one[0], f"{stage} {_told(at)}"))
    for name in ("twin", "memorised"):
        if name in exhibit:
            tiles.append(tile(exhibit[name][0, 0], f"{name} {_told(find(readings, name))}"))
    return tiles


def _told(reading: Reading | None) -> str:
    return "" if reading is None else f"{summarise(reading).estimate:.2f}"
