"""Plates: rows of images side by side, each with a line of text, such as a cascade or a dose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmark.report.figures.style import DPI, INK, MUTED, WIDTH, styled

Plane = npt.NDArray[np.float32]

_GAP = 4  # pixels between tiles
_TEXT = 30  # pixels above a row
_LABEL = 118  # pixels left of a row
_ROBUST = 99.5  # percentile that a map is scaled to


@dataclass(frozen=True)
class Tile:
    """One picture of a plate.

    Attributes:
        image: [h, w]; grey in [0, 1], or a map of any scale.
        text: Above it.
        over: Map [h, w] laid over the image, or None.
        outline: [h, w] bool, drawn as a line, or None.
        scale: What a map without an image is divided by; its own 99.5th percentile if None.
        is_map: Whether ``image`` itself is a map.
    """

    image: Plane
    text: str = ""
    over: Plane | None = None
    outline: npt.NDArray[np.bool_] | None = None
    scale: float | None = None
    is_map: bool = False


@styled
def draw_image_rows(figure: Figure, rows: Sequence[tuple[str, Sequence[Tile]]]) -> None:
    """Fill the figure with rows of tiles, each under its label."""
    height, width = rows[0][1][0].image.shape
    columns = max(len(tiles) for _, tiles in rows)
    size = min(200.0, (WIDTH * DPI - _LABEL) / columns - _GAP)  # pixels across a tile
    tall = size * height / width
    total = len(rows) * (tall + _TEXT + _GAP)
    figure.set_size_inches(WIDTH, total / DPI)
    across = WIDTH * DPI
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, across), ylim=(total, 0))
    axes.set_axis_off()
    for number, (label, tiles) in enumerate(rows):
        top = number * (tall + _TEXT + _GAP) + _TEXT
        axes.text(4, top + tall / 2, label, va="center", color=INK)
        for place, tile in enumerate(tiles):
            left = _LABEL + place * (size + _GAP)
            box = (left, left + size, top + tall, top)
            axes.imshow(_colours(tile), extent=box, interpolation="nearest", aspect="auto")
            if tile.outline is not None and tile.outline.any():
                xs = left + (np.arange(width) + 0.5) * size / width
                ys = top + (np.arange(height) + 0.5) * tall / height
                axes.contour(xs, ys, tile.outline, levels=[0.5], colors="#00e5ff", linewidths=0.9)
            axes.text(left + size / 2, top - 5, tile.text, ha="center", va="bottom", color=MUTED)
    axes.set_xlim(0, across)
    axes.set_ylim(total, 0)


def _colours(tile: Tile) -> npt.NDArray[np.float64]:
    """Return the tile as RGB, [h, w, 3]."""
    ramp = matplotlib.colormaps["inferno"]
    if tile.is_map:
        scale = tile.scale or float(np.percentile(tile.image, _ROBUST)) or 1.0
        return np.asarray(ramp(np.clip(tile.image / scale, 0, 1)))[..., :3]
    grey = np.repeat(np.clip(tile.image, 0, 1)[..., None], 3, axis=2).astype(np.float64)
    if tile.over is None:
        return grey
    high = float(np.percentile(tile.over, _ROBUST)) or float(tile.over.max())
    share = np.clip(tile.over / high, 0, 1) if high > 0 else np.zeros_like(tile.over)
    weight = 0.85 * np.sqrt(share)[..., None]
    return grey * (1 - weight) + np.asarray(ramp(share))[..., :3] * weight
