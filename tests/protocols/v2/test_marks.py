"""Two marks in one image: where they lie, what they change, and what a training draws."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError
from trials import RECIPE, cohort_of, trained

from baselines.cohorts.phantom2 import Phantom2
from benchmark.cohort import Cohort
from benchmark.plugins.examples import build_cohort
from benchmark.training import fine_tune
from protocols.v2.positive_control import BLUR, SHADE, Mark, PositiveControlConfig
from protocols.v2.positive_control.marks import Marking
from protocols.v2.positive_control.windows import Window

MARKS = (BLUR, SHADE)
RECIPE_OF_3 = replace(RECIPE, epochs=3)
GRAIN = Mark(name="grain", texture=0.1, grain=1)


def phantom2(images: int) -> Cohort:
    """Return the first images of the cohort."""
    return Phantom2().load().take(np.arange(images))


def test_sites_depend_on_the_subject_and_lie_apart() -> None:
    """If it fails, the order of subjects moves scores, or one mark covers the other."""
    cohort = phantom2(40)
    drawn = Marking(cohort, MARKS).draw("test", present=(True, True))
    turned = Marking(cohort.take(np.arange(40)[::-1]), MARKS).draw("test", present=(True, True))
    np.testing.assert_array_equal(drawn.images, turned.images[::-1])
    distances = np.linalg.norm(drawn.sites[:, 0] - drawn.sites[:, 1], axis=1)
    assert distances.min() >= 26
    inside = [
        cohort.anatomy.foreground[row, 0][tuple(site)] for row, site in enumerate(drawn.sites[:, 0])
    ]
    assert all(inside)


def test_a_mark_changes_its_window_alone_and_sites_do_not_depend_on_presence() -> None:
    """If it fails, the image without a mark is no counterpart of the one with it."""
    cohort = phantom2(6)
    marking = Marking(cohort, (BLUR, GRAIN))
    none, first, both = (
        marking.draw("test", present=present)
        for present in ((False, False), (True, False), (True, True))
    )
    np.testing.assert_array_equal(none.images, cohort.images)
    np.testing.assert_array_equal(none.sites, both.sites)
    for before, after, mark in ((none, first, 0), (first, both, 1)):
        windows = np.stack([marking.window.values(site)[None] for site in both.sites[:, mark]])
        changed = before.images != after.images
        assert not (changed & (windows == 0)).any()
        assert (changed.sum((1, 2, 3)) > 100).all()
        truth = after.truth(mark, marking.window)
        np.testing.assert_array_equal(truth, windows > 0.5)


def test_a_training_draws_presence_and_sites_anew_in_every_epoch() -> None:
    """If it fails, a network may learn sites by heart, or one mark from the other."""
    marking = Marking(phantom2(60), MARKS)
    epochs = [marking.draw("train", 0, epoch) for epoch in range(3)]
    for before, after in pairwise(epochs):
        assert (before.sites != after.sites).any(axis=(1, 2)).mean() > 0.9
    present = np.concatenate([epoch.present for epoch in epochs])
    assert np.abs(present.mean(0) - 0.5).max() < 0.12
    assert abs(np.corrcoef(present.T)[0, 1]) < 0.25


@pytest.mark.parametrize("slices", [42, 14])
def test_a_window_of_a_volume_is_round_in_mm_and_as_large_as_in_a_slice(slices: int) -> None:
    """If it fails, a mark in a volume is so small that no network learns it."""
    plane = Window((96, 96), (1.5, 1.5))
    assert plane.radius == pytest.approx(16 * 1.5)
    spacing = (42 / slices, 1.0, 1.0)
    window = Window((slices, 48, 44), spacing)
    middle = np.array([slices // 2, 24, 22])
    widths = [
        np.count_nonzero(window.truth(middle).any(axis=tuple({0, 1, 2} - {axis}))) * spacing[axis]
        for axis in range(3)
    ]
    assert max(widths) - min(widths) <= 2 * max(spacing)
    in_plane, in_volume = (
        np.mean(one.values(site) > 0)
        for one, site in ((plane, np.array([48, 48])), (window, middle))
    )
    assert 0.5 < in_volume / in_plane < 1.5


def test_a_narrow_foreground_gets_the_marks_that_lie_farthest_apart() -> None:
    """If it fails, a small organ ends in an error, or both marks lie on one pixel."""
    for shape in ((24, 24), (12, 14, 16)):
        cohort = build_cohort(shape)
        sites = Marking(cohort, MARKS).draw("test").sites
        distances = np.linalg.norm(sites[:, 0] - sites[:, 1], axis=1)
        assert distances.min() > 0.25 * min(shape)


def test_a_mark_that_changes_nothing_is_refused() -> None:
    """If it fails, a slip in a suite makes a mark that no network can learn."""
    with pytest.raises(ValidationError, match="changes nothing"):
        Mark(name="nothing")
    with pytest.raises(ValidationError, match="two marks of different names"):
        PositiveControlConfig(marks=(BLUR, BLUR))
    table = {"marks": [{"name": "blur", "sigma": 3}, {"name": "grain", "texture": 0.1}]}
    assert PositiveControlConfig.model_validate(table).marks[1] == Mark(name="grain", texture=0.1)


def test_images_made_anew_are_what_is_learned() -> None:
    """If it fails, a training sees other images than it was given, or one epoch again and again."""
    epochs: list[int] = []

    def examples(train: Cohort, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        epochs.append(epoch)
        return train.images, train.groups

    def turned(train: Cohort, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        return train.images, 1 - train.groups

    same, other, plain = (
        fine_tune(trained(), cohort_of(), RECIPE_OF_3, examples=made)
        for made in (examples, turned, None)
    )
    assert epochs == [0, 1, 2]
    assert same.weights_sha256 == plain.weights_sha256
    assert other.weights_sha256 != plain.weights_sha256
