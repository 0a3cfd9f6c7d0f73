"""Rows of images side by side, each under a line of text, such as maps of ever weaker models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.arrays import BoolArray, FloatArray, ImageArray
from benchmark.report.figures.marks import CONTROL, REGION, Key, draw_key, draw_rim, even_steps
from benchmark.report.figures.sides import EdgeLetters, describe_sides, draw_letters
from benchmark.report.figures.style import CHARACTER, DPI, INK, MUTED, WIDTH, styled, wrap_name

_GAP = 4  # pixels between tiles
_TEXT = 30  # pixels above a row
_LABEL = 118  # pixels left of a row
_ROBUST = 99.5  # percentile that a map is scaled to
_MARGIN = 6  # pixels around the key


@dataclass(frozen=True)
class Tile:
    """One image of a row.

    Attributes:
        image: Plane [h, w]: grey in [0, 1], or a map of any scale.
        text: Text above the image.
        over: Map [h, w] laid over the image, or None.
        outline: Region [h, w], bool, whose rim is drawn as a line, or None.
        controls: Control regions [h, w], bool, whose rim is dashed, or None.
        scale: Value that a map without an image is divided by; its 99.5th percentile if None.
        is_map: Whether ``image`` itself is a map.
        letters: Sides of the patient at its edges; None where they are not known.
    """

    image: ImageArray
    text: str = ""
    over: ImageArray | None = None
    outline: BoolArray | None = None
    scale: float | None = None
    is_map: bool = False
    letters: EdgeLetters | None = None
    controls: BoolArray | None = None


@styled
def draw_image_rows(
    figure: Figure,
    rows: Sequence[tuple[str, Sequence[Tile]]],
    aspect: float = 1.0,
    highest: str = Key.highest,
    outlined: str = "region",
    millimetres: float | None = None,
) -> None:
    """Fill the figure with rows of tiles, all of one shape, each row behind its label.

    Args:
        figure: Figure to fill.
        rows: Label and tiles of each row.
        aspect: Height of an image's pixel over its width, both in mm.
        highest: Words for the value that has the brightest colour.
        outlined: Words for what the tiles' rims enclose.
        millimetres: Width of an image's pixel in mm, for a scale bar; None where it is not known.
    """
    pixels_high, pixels_wide = rows[0][1][0].image.shape
    columns = max(len(tiles) for _, tiles in rows)
    # Sizes on the page, in pixels of the figure.
    width = min(200.0, (WIDTH * DPI - _LABEL) / columns - _GAP)
    key = replace(
        key_of([tile for _, tiles in rows for tile in tiles], highest, outlined),
        pixels_per_mm=millimetres and width / (pixels_wide * millimetres),
    )
    height = width * pixels_high / pixels_wide * aspect
    above_key = len(rows) * (height + _TEXT + _GAP) + _MARGIN
    figure_width, figure_height = WIDTH * DPI, above_key + key.height + _MARGIN
    figure.set_size_inches(WIDTH, figure_height / DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for row, (label, tiles) in enumerate(rows):
        top = row * (height + _TEXT + _GAP) + _TEXT
        name = wrap_name(label, int(_LABEL / (CHARACTER * DPI)))
        axes.text(4, top + height / 2, name, va="center", color=INK)
        for column, tile in enumerate(tiles):
            left = _LABEL + column * (width + _GAP)
            draw_tile(axes, tile, (left, left + width, top + height, top))
            axes.text(left + width / 2, top - 5, tile.text, ha="center", va="bottom", color=MUTED)
    draw_key(axes, _LABEL, above_key, key)
    # Images set the limits to their own.
    axes.set_xlim(0, figure_width)
    axes.set_ylim(figure_height, 0)


def draw_tile(axes: Axes, tile: Tile, box: tuple[float, float, float, float]) -> None:
    """Draw a tile into a box: left, right, bottom and top, in units of the axes.

    Limits of the axes must be set afterwards, and their upright axis runs down.
    """
    left, right, bottom, top = box
    axes.imshow(_colours(tile), extent=box, interpolation="nearest", aspect="auto")
    pixels_high, pixels_wide = tile.image.shape
    xs: FloatArray = left + (np.arange(pixels_wide) + 0.5) * (right - left) / pixels_wide
    ys: FloatArray = top + (np.arange(pixels_high) + 0.5) * (bottom - top) / pixels_high
    for region, rim in ((tile.controls, CONTROL), (tile.outline, REGION)):
        if region is not None:
            draw_rim(axes, xs, ys, region.astype(np.float32), rim)
    if tile.letters is not None:
        draw_letters(axes, tile.letters, box)


def key_of(tiles: Sequence[Tile], highest: str, outlined: str) -> Key:
    """Return the key of these tiles.

    Args:
        tiles: Tiles of the figure.
        highest: Words for the value that has the brightest colour.
        outlined: Words for what the solid rims enclose.
    """
    steps = even_steps()[None].astype(np.float32)
    samples = [
        Tile(steps, is_map=True, scale=1.0)
        if tile.is_map
        else Tile(np.full_like(steps, 0.5), over=steps)
        for tile in tiles
        if tile.is_map or tile.over is not None
    ]
    return Key(
        colours=_colours(samples[0])[0] if samples else None,
        highest=highest,
        regions=outlined if any(tile.outline is not None for tile in tiles) else None,
        controls="control regions" if any(tile.controls is not None for tile in tiles) else None,
        sides=describe_sides([tile.letters for tile in tiles]),
    )


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
