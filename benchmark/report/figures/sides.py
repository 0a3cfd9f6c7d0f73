"""Letters at the edges of a picture: which side of the patient lies there.

L and R are the patient's left and right, A and P front and back, S and I head and feet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import nibabel
from matplotlib.axes import Axes

from benchmark.arrays import FloatArray
from benchmark.report.figures.marks import write_cased

_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S", "": ""}
_NAMES = {"L": "left", "R": "right", "A": "front", "P": "back", "S": "head", "I": "feet"}
_INSET = 0.025  # of the picture's width or height, between its edge and a letter


@dataclass(frozen=True)
class EdgeLetters:
    """Side of the patient at each edge of a picture, one of L, R, A, P, S and I.

    A letter is empty where the affine gives the axis no direction.

    Attributes:
        left: Letter at the left edge.
        right: Letter at the right edge.
        top: Letter at the upper edge.
        bottom: Letter at the lower edge.
    """

    left: str
    right: str
    top: str
    bottom: str

    @property
    def drawn(self) -> EdgeLetters:
        """Letters that a picture needs: of an upright one with left and right, these alone."""
        is_upright = (self.top, self.bottom) in (("S", "I"), ("A", "P"))
        if is_upright and {self.left, self.right} == {"L", "R"}:
            return replace(self, top="", bottom="")
        return self


def edge_letters(
    affine: FloatArray,
    array_axes: tuple[int, int] = (0, 1),
    flips: tuple[bool, bool] = (False, False),
) -> EdgeLetters:
    """Return which side of the patient lies at each edge of a picture of an image.

    In an oblique image, an axis takes the letter of the direction that it runs closest to.

    Args:
        affine: [4, 4] map from array indices to RAS+ millimetres. A two-dimensional image counts
            as [H, W, 1].
        array_axes: Axis of the array that runs down the picture, and the one that runs across it.
            The defaults are those of a two-dimensional image that is shown as it is stored.
        flips: Whether each of the two is shown from its last index to its first.
    """
    # nibabel names, for each axis, the side that its indices grow towards.
    codes = [code or "" for code in nibabel.aff2axcodes(affine)]
    bottom, right = (
        _OPPOSITE[codes[axis]] if is_flipped else codes[axis]
        for axis, is_flipped in zip(array_axes, flips, strict=True)
    )
    return EdgeLetters(_OPPOSITE[right], right, _OPPOSITE[bottom], bottom)


def draw_letters(
    axes: Axes, letters: EdgeLetters, box: tuple[float, float, float, float], size: float = 6.0
) -> None:
    """Write the letters inside a picture, white with a dark casing, so that they show on any grey.

    Of an upright picture with left and right, only L and R are written.

    Args:
        axes: Axes that hold the picture.
        letters: Letters of its four edges.
        box: Left, right, bottom and top of the picture in the coordinates of the axes, as
            ``extent`` of ``imshow``.
        size: Size of the letters in points.
    """
    left, right, bottom, top = box
    drawn = letters.drawn
    x_inset, y_inset = _INSET * (right - left), _INSET * (top - bottom)
    middle_x, middle_y = (left + right) / 2, (bottom + top) / 2
    for letter, x, y, alignment in (
        (drawn.left, left + x_inset, middle_y, ("left", "center")),
        (drawn.right, right - x_inset, middle_y, ("right", "center")),
        (drawn.top, middle_x, top - y_inset, ("center", "top")),
        (drawn.bottom, middle_x, bottom + y_inset, ("center", "bottom")),
    ):
        if letter:
            write_cased(axes, x, y, letter, size, alignment)


def describe_sides(pictures: Sequence[EdgeLetters | None]) -> str:
    """Return the sentence of a caption that says where left is in these pictures.

    Args:
        pictures: Letters of each picture; None where the image does not say where left is.
    """
    known = [letters.drawn for letters in pictures if letters is not None]
    if not known:
        return "Sides unknown: the images do not say where the patient's left is."
    sides = sorted({letter for letters in known for letter in astuple(letters)}, key=_order)
    names = ", ".join(f"{letter} {_NAMES[letter]}" for letter in sides if letter)
    sentence = f"Letters mark the sides of the patient: {names}"
    left_edges = {letters.left for letters in known}
    if left_edges == {"L"}:
        sentence += "; left is on the left (neurological)"
    elif left_edges == {"R"}:
        sentence += "; as stored, the right is on the left (radiological)"
    elif left_edges == {"L", "R"}:
        sentence += "; they differ between images"
    unknown = len(known) < len(pictures)
    return f"{sentence}." + (" Where letters are absent, the sides are unknown." * unknown)


def answer_sides(pictures: Sequence[EdgeLetters | None]) -> str:
    """Return whether left is on the left in these pictures, and where that is written.

    Args:
        pictures: Letters of each picture; None where the image does not say where left is.
    """
    left_edges = {None if letters is None else letters.left for letters in pictures}
    if left_edges == {"L"}:
        return "Yes: the patient's left is on the left of every picture, marked L."
    if left_edges == {"R"}:
        return "No: the patient's right is on the left of every picture, marked R."
    if left_edges <= {None}:
        return "Not known: the images do not say where the patient's left is."
    if left_edges & {"L", "R"}:
        return "Not in every picture: look for the letters L and R at the edges of each."
    return "The pictures show neither left nor right: letters at their edges say what they show."


def _order(letter: str) -> int:
    return list(_NAMES).index(letter) if letter else -1
