"""Letters at the edges of pictures: what lies beside a letter lies on that side of the patient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from nibabel.affines import apply_affine

from benchmark.report.figures.sides import EdgeLetters, describe_sides, draw_letters, edge_letters

SHAPE = (9, 11, 7)
# World axis and direction of each letter, in RAS+ millimetres.
DIRECTIONS = {"L": (0, -1), "R": (0, 1), "P": (1, -1), "A": (1, 1), "I": (2, -1), "S": (2, 1)}
ROTATION = np.array([[0.96, -0.24, 0.14], [0.26, 0.95, -0.17], [-0.09, 0.2, 0.97]])


def make_affine(order: tuple[int, ...], signs: tuple[int, ...], oblique: bool) -> np.ndarray:
    """Return an affine whose array axes run along these world axes, in these directions."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * (1.0 + axis)
    if oblique:
        affine[:3, :3] = ROTATION @ affine[:3, :3]
    affine[:3, 3] = (10, -20, 30)
    return affine


@pytest.mark.parametrize("oblique", [False, True])
def test_a_blob_lies_beside_the_letter_of_its_side(oblique: bool) -> None:
    """If it fails, a lesion on the patient's left is reported on the right."""
    middle = (np.array(SHAPE) - 1) / 2
    orders = itertools.permutations(range(3))
    for order, signs in itertools.product(orders, itertools.product((-1, 1), repeat=3)):
        affine = make_affine(order, signs, oblique)
        for rows, columns in itertools.permutations(range(3), 2):
            for flips in ((False, False), (False, True), (True, False), (True, True)):
                letters = edge_letters(affine, (rows, columns), flips)
                for edge in ("left", "right", "top", "bottom"):
                    # The voxel in the middle of this edge of the picture, in array indices.
                    axis, flip = (
                        (columns, flips[1]) if edge in ("left", "right") else (rows, flips[0])
                    )
                    is_last = (edge in ("right", "bottom")) != flip
                    voxel = middle.copy()
                    voxel[axis] = SHAPE[axis] - 1 if is_last else 0
                    offset = apply_affine(affine, voxel) - apply_affine(affine, middle)
                    world, direction = DIRECTIONS[getattr(letters, edge)]
                    assert int(np.abs(offset).argmax()) == world
                    assert np.sign(offset[world]) == direction


def test_an_axis_without_direction_has_no_letter() -> None:
    """If it fails, a picture claims a side that its file does not know, or breaks."""
    affine = np.diag([0.0, 2.0, 2.0, 1.0])
    assert edge_letters(affine) == EdgeLetters("P", "A", "", "")


@pytest.mark.parametrize(
    ("pictures", "phrases"),
    [
        ([EdgeLetters("L", "R", "S", "I")], ["left is on the left (neurological)"]),
        ([EdgeLetters("L", "R", "I", "S")], ["S head", "left is on the left (neurological)"]),
        ([EdgeLetters("R", "L", "S", "I")], ["the right is on the left (radiological)"]),
        ([EdgeLetters("P", "A", "S", "I")], ["A front, P back, S head, I feet."]),
        (
            [EdgeLetters("L", "R", "A", "P"), EdgeLetters("R", "L", "A", "P"), None],
            ["L left, R right", "differ between images", "Where letters are absent"],
        ),
        ([None, None], ["Sides unknown"]),
        ([], ["Sides unknown"]),
    ],
)
def test_a_caption_says_where_left_is(
    pictures: list[EdgeLetters | None], phrases: list[str]
) -> None:
    """If it fails, a picture stored radiologically is called neurological."""
    caption = describe_sides(pictures)
    assert all(phrase in caption for phrase in phrases)
    assert ("neurological" in caption) == ("left is on the left" in caption)


def test_letters_stand_inside_the_picture_at_their_edges() -> None:
    """If it fails, L stands at the right edge, or on the neighbouring picture."""
    axes = Figure().add_subplot(xlim=(0, 3), ylim=(2, 0))
    draw_letters(axes, EdgeLetters("P", "A", "S", "I"), (1.0, 2.0, 2.0, 1.0))
    where = {text.get_text(): text.get_position() for text in axes.texts}
    assert 1 < where["P"][0] < 1.1 < 1.9 < where["A"][0] < 2
    assert 1 < where["S"][1] < 1.1 < 1.9 < where["I"][1] < 2


@pytest.mark.parametrize(
    ("letters", "written"),
    [("LRSI", "LR"), ("RLAP", "RL"), ("LRIS", "LRIS"), ("SILR", "SILR"), ("PASI", "PASI")],
)
def test_left_and_right_are_always_written(letters: str, written: str) -> None:
    """If it fails, a picture that lies on its side or on its head does not say so."""
    axes = Figure().add_subplot()
    draw_letters(axes, EdgeLetters(*letters), (0.0, 1.0, 0.0, 1.0))
    assert [text.get_text() for text in axes.texts] == list(written)
