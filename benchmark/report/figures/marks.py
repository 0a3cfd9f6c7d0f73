"""What pictures of images share: the rims of regions, and the key that explains rims and colours.

Rims have a dark casing, so that they show on dark and on bright images, in print, and with any
colour vision: one is solid, the other dashed in white and black.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from benchmark.arrays import FloatArray, ImageArray
from benchmark.report.figures.style import INK, MUTED

KEY_LINE = 12  # pixels from one line of a key to the next
_SAMPLE, _BAR = 26.0, 90.0  # pixels
_CASING = 0.9  # points on both sides of a rim together


@dataclass(frozen=True)
class Rim:
    """How the rim of a region is drawn.

    Attributes:
        colour: Colour of the line.
        dashes: Dashes of the line, over a casing that is always solid.
        width: Width in points.
    """

    colour: str
    dashes: tuple[float, tuple[float, ...]]
    width: float = 0.7


REGION = Rim("#00e5ff", (0, ()))
CONTROL = Rim("#ffffff", (0, (2.6, 1.8)), width=0.9)


@dataclass(frozen=True)
class Key:
    """What the key of a figure explains; what the figure does not show is left out.

    Attributes:
        colours: Colours [k, 3] from the lowest value of a map to the highest, or None.
        highest: Words for the highest value.
        regions: Words for the solid rims, or None.
        controls: Words for the dashed rims, or None.
        sides: Sentence on the letters at the edges.
        pixels_per_mm: Pixels of the figure along a millimetre of its images; None where nobody
            knows how large these are.
        characters: Characters that fit into a line.
    """

    colours: FloatArray | None = None
    highest: str = "99.5th percentile of each map"
    regions: str | None = None
    controls: str | None = None
    sides: str = ""
    pixels_per_mm: float | None = None
    characters: int = 200

    @property
    def height(self) -> int:
        """Height in pixels."""
        lines = (self.colours, self.regions, self.controls, self.pixels_per_mm)
        return KEY_LINE * (sum(line is not None for line in lines) + len(self.sentences))

    @property
    def sentences(self) -> list[str]:
        """What is said of the sides, by line."""
        return textwrap.wrap(self.sides, self.characters)


def draw_rim(axes: Axes, xs: FloatArray, ys: FloatArray, region: ImageArray, rim: Rim) -> None:
    """Draw the rim of a region [h, w] in [0, 1] whose pixels are centred at ``xs`` and ``ys``."""
    if region.max() > 0.5 > region.min():
        casing = rim.width + _CASING
        axes.contour(xs, ys, region, [0.5], colors=INK, linewidths=casing)
        axes.contour(
            xs, ys, region, [0.5], colors=rim.colour, linestyles=[rim.dashes], linewidths=rim.width
        )


def draw_key(axes: Axes, left: float, top: float, key: Key) -> None:
    """Write a key into axes whose unit is a pixel and whose upright axis runs down.

    Limits of the axes must be set afterwards.
    """
    middle = top + KEY_LINE / 2
    if key.colours is not None:
        _write(axes, left, middle, "0")
        start = left + 9
        box = (start, start + _BAR, middle + 3.5, middle - 3.5)
        axes.imshow(key.colours[None], extent=box, aspect="auto", interpolation="nearest")
        _write(axes, start + _BAR + 4, middle, key.highest)
        middle += KEY_LINE
    for words, rim in ((key.regions, REGION), (key.controls, CONTROL)):
        if words is not None:
            xs, ys = (left, left + _SAMPLE), (middle, middle)
            axes.plot(xs, ys, color=INK, linewidth=rim.width + _CASING, solid_capstyle="butt")
            axes.plot(xs, ys, color=rim.colour, linestyle=rim.dashes, linewidth=rim.width)
            _write(axes, left + _SAMPLE + 5, middle, words)
            middle += KEY_LINE
    if key.pixels_per_mm is not None:
        length = scale_length(_BAR / key.pixels_per_mm)
        end = left + length * key.pixels_per_mm
        axes.plot([left, end], [middle, middle], color=MUTED, linewidth=1.6, solid_capstyle="butt")
        _write(axes, end + 5, middle, f"{length:g} mm")
        middle += KEY_LINE
    for sentence in key.sentences:
        _write(axes, left, middle, sentence)
        middle += KEY_LINE


def scale_length(most: float) -> float:
    """Return the length in mm of a scale bar: 1, 2 or 5 times a power of ten, up to ``most``."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))


def write_cased(
    axes: Axes,
    x: float,
    y: float,
    words: str,
    size: float = 6.0,
    alignment: tuple[str, str] = ("center", "center"),
) -> None:
    """Write words over an image, white with a dark casing.

    Args:
        axes: Axes that hold the image.
        x: Position across.
        y: Position along the upright axis.
        words: Words to write.
        size: Size in points.
        alignment: Side of the words, across and upright, that stands at the position.
    """
    across, upright = alignment
    text = axes.text(x, y, words, ha=across, va=upright, fontsize=size, color="white")
    text.set_fontweight("bold")
    text.set_path_effects([withStroke(linewidth=size / 4, foreground=INK)])


def even_steps() -> FloatArray:
    """Return the values from 0 to 1 at which a key shows a colour."""
    return np.linspace(0, 1, 64)


def _write(axes: Axes, x: float, y: float, words: str) -> None:
    axes.text(x, y, words, ha="left", va="center", fontsize=6, color=MUTED)
