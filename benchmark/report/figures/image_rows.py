"""Rows of images side by side, each under a line of text, such as maps of ever weaker models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmark.arrays import BoolArray, FloatArray, ImageArray
from benchmark.report.figures.style import DPI, INK, MUTED, WIDTH, styled

_GAP = 4  # pixels between tiles
_TEXT = 30  # pixels above a row
_LABEL = 118  # pixels left of a row
_ROBUST = 99.5  # percentile that a map is scaled to


@dataclass(frozen=True)
class Tile:
    """One image of a row.

    Attributes:
        image: Plane [h, w]: grey in [0, 1], or a map of any scale.
        text: Text above the image.
        over: Map [h, w] laid over the image, or None.
        outline: Region [h, w], bool, whose rim is drawn as a line, or None.
        scale: Value that a map without an image is divided by; its 99.5th percentile if None.
        is_map: Whether ``image`` itself is a map.
    """

    image: ImageArray
    text: str = ""
    over: ImageArray | None = None
    outline: BoolArray | None = None
    scale: float | None = None
    is_map: bool = False


@styled
def draw_image_rows(figure: Figure, rows: Sequence[tuple[str, Sequence[Tile]]]) -> None:
    """Fill the figure with rows of tiles, all of one shape, each row behind its label."""
    pixels_high, pixels_wide = rows[0][1][0].image.shape
    columns = max(len(tiles) for _, tiles in rows)
    # Sizes on the page, in pixels of the figure.
    width = min(200.0, (WIDTH * DPI - _LABEL) / columns - _GAP)
    height = width * pixels_high / pixels_wide
    figure_width, figure_height = WIDTH * DPI, len(rows) * (height + _TEXT + _GAP)
    figure.set_size_inches(WIDTH, figure_height / DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for row, (label, tiles) in enumerate(rows):
        top = row * (height + _TEXT + _GAP) + _TEXT
        axes.text(4, top + height / 2, label, va="center", color=INK)
        for column, tile in enumerate(tiles):
            left = _LABEL + column * (width + _GAP)
            box = (left, left + width, top + height, top)
            axes.imshow(_colours(tile), extent=box, interpolation="nearest", aspect="auto")
            if tile.outline is not None and tile.outline.any():
                xs = left + (np.arange(pixels_wide) + 0.5) * width / pixels_wide
                ys = top + (np.arange(pixels_high) + 0.5) * height / pixels_high
                axes.contour(xs, ys, tile.outline, levels=[0.5], colors="#00e5ff", linewidths=0.9)
            axes.text(left + width / 2, top - 5, tile.text, ha="center", va="bottom", color=MUTED)
    # Images set the limits to their own.
    axes.set_xlim(0, figure_width)
    axes.set_ylim(figure_height, 0)


def _colours(tile: Tile) -> FloatArray:
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
