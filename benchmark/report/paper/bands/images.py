"""Pictures of an example subject: bare, and under the maps of methods, with regions and scales."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from benchmark.report.figures.image_rows import draw_tile, key_of
from benchmark.report.figures.marks import Key, draw_key
from benchmark.report.figures.style import DPI, shorten, wrap_name
from benchmark.report.paper.bands.canvas import CHARACTER, LINE, Canvas
from benchmark.report.paper.bands.view import View
from benchmark.report.paper.examples import Example
from benchmark.report.paper.sections import Section

_ACROSS = 3  # pictures side by side
_LEFT, _GAP, _WIDEST = 4.0, 1.0, 30.0  # mm
_PIXEL = 25.4 / DPI  # mm; keys are measured in the pixels of a report


def measure_images(view: View) -> float:
    """Return the height of the band in mm; 0 where no section has an example."""
    return max((layout.height for _, _, layout in _blocks(view)), default=0.0)


def draw_images(canvas: Canvas, top: float, view: View) -> None:
    """Draw the band below a place."""
    left = _LEFT
    for section, example, layout in _blocks(view):
        canvas.text(left, top, shorten(section.title, int(layout.block / CHARACTER)),
                    fontweight="bold")  # fmt: skip
        _draw_block(canvas, (left, top + LINE), example, layout)
        left += layout.block + _GAP


@dataclass(frozen=True)
class _Layout:
    """Sizes in mm of the pictures of a section.

    Attributes:
        block: Width that the section has.
        width: Width of a picture.
        picture: Height of a picture.
        heads: Height of the names above each row of pictures.
        key: Key below the pictures.
    """

    block: float
    width: float
    picture: float
    heads: tuple[float, ...]
    key: Key

    @classmethod
    def of(cls, example: Example, block: float) -> Self:
        """Return the layout of an example in a block of that width."""
        width = min(_WIDEST, (block - _GAP * (_ACROSS - 1)) / _ACROSS)
        pixels_high, pixels_wide = example.tiles[0][1].image.shape
        names = [_name(title, width) for title, _ in example.tiles]
        rows = [names[start : start + _ACROSS] for start in range(0, len(names), _ACROSS)]
        tiles = [tile for _, tile in example.tiles]
        millimetres = example.millimetres
        return cls(
            block,
            width,
            width * pixels_high / pixels_wide * example.aspect,
            tuple(LINE * max(name.count("\n") + 1 for name in row) for row in rows),
            replace(
                key_of(tiles, Key.highest, "regions that the disease changes"),
                sides="",  # the caption has room for it
                pixels_per_mm=millimetres and width / (_PIXEL * pixels_wide * millimetres),
            ),
        )

    @property
    def above_key(self) -> float:
        """Height of the pictures with their names."""
        return sum(self.heads) + len(self.heads) * (self.picture + _GAP)

    @property
    def height(self) -> float:
        """Height of the whole."""
        return LINE + self.above_key + self.key.height * _PIXEL


def _blocks(view: View) -> list[tuple[Section, Example, _Layout]]:
    own = [section for section in view.sections if section in view.examples]
    width = (view.width - _LEFT - 1 - _GAP * (len(own) - 1)) / max(1, len(own))
    examples = [view.examples[section] for section in own]
    return [
        (section, example, _Layout.of(example, width))
        for section, example in zip(own, examples, strict=True)
    ]


def _draw_block(
    canvas: Canvas, corner: tuple[float, float], example: Example, layout: _Layout
) -> None:
    left, top = corner
    pictures = canvas.axes(left, top, layout.block, layout.above_key)
    pictures.set_axis_off()
    bottom = 0.0
    for number, (title, tile) in enumerate(example.tiles):
        row, column = divmod(number, _ACROSS)
        if column == 0:
            upper = bottom + layout.heads[row]
            bottom = upper + layout.picture + _GAP
        x = column * (layout.width + _GAP)
        draw_tile(pictures, tile, (x, x + layout.width, upper + layout.picture, upper))
        pictures.text(
            x + layout.width / 2, upper - 0.6, _name(title, layout.width), ha="center", va="bottom"
        )
    pictures.set_xlim(0, layout.block)
    pictures.set_ylim(layout.above_key, 0)
    high = layout.key.height
    key = canvas.axes(left, top + layout.above_key, layout.block, high * _PIXEL)
    key.set_axis_off()
    draw_key(key, 0, 0, layout.key)
    key.set_xlim(0, layout.block / _PIXEL)
    key.set_ylim(high, 0)


def _name(title: str, width: float) -> str:
    return wrap_name(title, int(width / CHARACTER))
