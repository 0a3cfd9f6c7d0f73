"""The contact sheet of a cohort: who is on it, and whether its pictures say where left is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmark.cohort import Cohort, Geometry
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_cohort
from benchmark.report.figures.contact_sheet import choose_subjects, draw_contact_sheet

# Axes of a volume that runs towards back, left and head, 2 mm apart along its first.
AFFINE = np.array([[0.0, -1, 0, 5], [-2, 0, 0, 9], [0, 0, 1, 0], [0, 0, 0, 1]])


def texts(cohort: Cohort) -> list[str]:
    figure = draw_contact_sheet(cohort, choose_subjects(cohort, 2))
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_groups_and_splits_are_all_shown() -> None:
    """If it fails, a fault in the test split alone is not on the sheet."""
    cohort = build_cohort(subjects=72)
    rows = choose_subjects(cohort)
    people = cohort.participants.iloc[rows]
    assert Counter(zip(people["group"], people["split"], strict=True)) == {
        (group, split): 2 for group in (0, 1) for split in ("train", "validation", "test")
    }
    order = np.random.default_rng(0).permutation(len(cohort))
    shuffled = cohort.take(order)
    assert [shuffled.subjects[row] for row in choose_subjects(shuffled)] == [
        cohort.subjects[row] for row in rows
    ]


def test_a_small_cohort_is_shown_whole() -> None:
    """If it fails, places on the sheet stay empty, or a subject is drawn twice."""
    cohort = build_cohort(subjects=24).take(np.arange(5))
    assert sorted(choose_subjects(cohort)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("shape", "planes"), [(SHAPE_2D, 1), (SHAPE_3D, 3)])
def test_every_mask_is_in_the_legend(shape: tuple[int, ...], planes: int) -> None:
    """If it fails, a contour on the sheet has no name, or a volume shows one plane only."""
    cohort = build_cohort(shape)
    words = texts(cohort)
    for title in ("foreground", "left", "right", "control of left", "control of right"):
        assert title in words, title
    figure = draw_contact_sheet(cohort, choose_subjects(cohort, 2))
    assert sum(len(axes.images) for axes in figure.axes) == 2 * planes


def test_sides_are_those_of_the_affine() -> None:
    """If it fails, L stands on the patient's right, or on an image that does not say."""
    cohort = build_cohort(SHAPE_3D)
    placed = replace(cohort, geometry=Geometry((2.0, 1.0, 1.0), AFFINE))
    shown = Counter(text for text in texts(placed) if len(text) == 1)
    # Coronal and axial planes have L and R; sagittal ones P, A, S and I.
    assert shown == {"L": 4, "R": 4, "P": 2, "A": 2, "S": 2, "I": 2}
    unplaced = replace(placed, geometry=replace(placed.geometry, oriented=False))
    assert not [text for text in texts(unplaced) if len(text) == 1]
    assert any(text.startswith("Sides unknown") for text in texts(unplaced))
