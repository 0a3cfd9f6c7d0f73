"""A cohort refuses what no protocol could score, and is the same cohort whoever holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.cohort import SPLITS, Anatomy, Cohort, Geometry, Source, split_by_subject
from benchmark.errors import CohortError
from benchmark.plugins.examples import SHAPE_2D, build_cohort


def _with_people(cohort: Cohort, **columns: Any) -> Cohort:
    return replace(cohort, participants=cohort.participants.assign(**columns))


def _with_pixels(cohort: Cohort, value: float) -> Cohort:
    images = cohort.images.copy()
    images[3, 0, 5, 5] = value
    return replace(cohort, images=images)


def _with_foreground(cohort: Cohort, foreground: Any) -> Cohort:
    return replace(cohort, anatomy=replace(cohort.anatomy, foreground=foreground))


def _with_poses(cohort: Cohort, poses: Any, *, registered: bool = False) -> Cohort:
    geometry = replace(cohort.geometry, poses=poses, registered=registered)
    return replace(cohort, geometry=geometry)


def _with_part(cohort: Cohort, **changes: Any) -> Cohort:
    """Return the cohort with a subfield, and these parts of its anatomy exchanged."""
    part: dict[str, Any] = {
        "subfields": {"CA1": cohort.anatomy.rois["left"]},
        "parents": {"CA1": "left"},
    }
    return replace(cohort, anatomy=replace(cohort.anatomy, **part | changes))


def _with_source(cohort: Cohort, **parts: Any) -> Cohort:
    source = Source(cohort.groups, ("left",))
    return replace(cohort, sources={"left": replace(source, **parts)})


BROKEN: dict[str, tuple[Callable[[Cohort], Cohort], str]] = {
    "missing column": (
        lambda c: replace(c, participants=c.participants.drop(columns="split")),
        "lacks the participants column.s. split; it has subject, group",
    ),
    "rows": (lambda c: replace(c, participants=c.participants[1:]), "24 images but 23 rows"),
    "unknown split": (lambda c: _with_people(c, split="holdout"), "holdout; known: train"),
    "third group": (lambda c: _with_people(c, group=2), "groups 0 and 1 only"),
    "torn subject": (lambda c: _with_people(c, subject="s000"), "'s000' in more than one split"),
    "double images": (
        lambda c: replace(c, images=c.images.astype(np.float64)),
        r"needs images .* float32, but got \[24, 1, 24, 24\] float64",
    ),
    "two channels": (lambda c: replace(c, images=np.repeat(c.images, 2, axis=1)), "needs images"),
    "mask of numbers": (
        lambda c: _with_foreground(c, c.anatomy.foreground.astype(np.uint8)),
        "needs the mask 'foreground' as .* bool",
    ),
    "mask of another size": (
        lambda c: _with_foreground(c, c.anatomy.foreground[..., 1:]),
        "needs the mask 'foreground' as",
    ),
    "unknown truth": (
        lambda c: replace(c, anatomy=replace(c.anatomy, truth=("amygdala",))),
        "names 'amygdala' as truth, but its regions are left, right",
    ),
    "control without region": (
        lambda c: replace(
            c, anatomy=replace(c.anatomy, rois={"left": c.anatomy.rois["left"]}, truth=())
        ),
        "control region for 'right'",
    ),
    "spacing": (
        lambda c: replace(c, geometry=Geometry((1.0, 1.0, 1.0), np.eye(4))),
        "needs 2 spacings in mm, but got 3",
    ),
    "no foreground": (
        lambda c: _with_foreground(c, np.zeros_like(c.anatomy.foreground)),
        "foreground of 's000' is empty",
    ),
    "too bright": (lambda c: _with_pixels(c, 1.5), r"'s003' must lie in \[0, 1\]"),
    "too dark": (lambda c: _with_pixels(c, -0.5), r"'s003' must lie in \[0, 1\]"),
    "not finite": (lambda c: _with_pixels(c, np.nan), "'s003' must lie in .* spans .nan"),
    "constant": (lambda c: replace(c, images=np.zeros_like(c.images)), "'s000' is constant"),
    "constant inside": (
        lambda c: replace(c, images=np.where(c.anatomy.foreground, np.float32(0.5), c.images)),
        "'s000' is constant on its foreground",
    ),
    "registered poses": (
        lambda c: _with_poses(c, np.tile(np.eye(4), (len(c), 1, 1)), registered=True),
        "called registered, but its images have poses",
    ),
    "a pose for all": (lambda c: _with_poses(c, np.eye(4)), r"needs poses \[24, 4, 4\]"),
    "flat pose": (lambda c: _with_poses(c, np.zeros((24, 4, 4))), "a pose that cannot be inverted"),
    "pose of NaN": (lambda c: _with_poses(c, np.full((24, 4, 4), np.nan)), "cannot be inverted"),
    "partners missing": (lambda c: replace(c, partners=c.images[1:]), "needs partners .* float32"),
    "partners too bright": (
        lambda c: replace(c, partners=c.images + np.float32(2)),
        r"needs partners in \[0, 1\], but they span",
    ),
    "partner of NaN": (
        lambda c: _with_source(c, partners=np.full_like(c.images, np.nan)),
        "needs partners of source 'left' in .* span .nan",
    ),
    "part of nothing": (
        lambda c: _with_part(c, parents={}),
        "has the subfield 'CA1' in None, but its regions are left, right",
    ),
    "part of the same name": (
        lambda c: _with_part(c, subfields=c.anatomy.rois, parents={"left": "left"}),
        "calls 'left' a region and a subfield",
    ),
    "sign of nothing": (
        lambda c: _with_part(c, volume_signs={"amygdala": 1}),
        "has a volume_sign for 'amygdala', but its regions are left, right",
    ),
    "sign of 2": (
        lambda c: _with_part(c, volume_signs={"CA1": 2}),
        "needs 1 or -1 as the volume_sign of 'CA1', but got 2",
    ),
    "volume of text": (
        lambda c: _with_people(c, left_volume="3,100 mm3"),
        "has the left_volume '3,100 mm3' for 's000'; a volume in mm³ is a number from 0 on",
    ),
    "volume below 0": (
        lambda c: _with_people(c, left_volume=np.where(np.arange(len(c)) == 3, -1.0, np.nan)),
        "has the left_volume -1.0 for 's003'",
    ),
    "endless volume": (lambda c: _with_people(c, left_volume=np.inf), "has the left_volume inf"),
    "normals too small": (lambda c: replace(c, normals=c.images[1:]), "needs normals .* float32"),
    "third label": (lambda c: _with_source(c, labels=2 * c.groups), "labels .* of 0 and 1"),
    "source nowhere": (lambda c: _with_source(c, rois=()), "no region of the source 'left'"),
    "source elsewhere": (
        lambda c: _with_source(c, rois=("amygdala",)),
        "source 'left' in 'amygdala', but its regions are left, right",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_cohort_that_contradicts_itself_is_refused(case: str, tiny_cohort: Cohort) -> None:
    break_it, message = BROKEN[case]
    with pytest.raises(CohortError, match=message):
        break_it(tiny_cohort)


def test_splits_are_even_within_each_group() -> None:
    subjects = [f"sub-{number:03d}" for number in range(100)]
    groups = [int(number >= 60) for number in range(100)]
    splits = np.array(split_by_subject(subjects, groups))
    shares = {
        group: [int((splits[np.array(groups) == group] == split).sum()) for split in SPLITS]
        for group in (0, 1)
    }
    assert shares == {0: [36, 12, 12], 1: [24, 8, 8]}


def test_a_split_follows_the_subject_and_not_the_order() -> None:
    rng = np.random.Generator(np.random.PCG64(0))
    subjects = [f"sub-{number // 3:03d}" for number in range(120)]
    groups = [number // 3 % 2 for number in range(120)]
    first = split_by_subject(subjects, groups)
    split_of = dict(zip(subjects, first, strict=True))
    assert [split_of[subject] for subject in subjects] == first

    order = rng.permutation(120)
    again = split_by_subject([subjects[row] for row in order], [groups[row] for row in order])
    assert again == [first[row] for row in order]
    assert split_by_subject(subjects, groups, seed=1) != first


def test_fingerprint_ignores_the_order_of_rows_and_the_name(tiny_cohort: Cohort) -> None:
    turned = tiny_cohort.take(np.arange(len(tiny_cohort))[::-1])
    assert turned.fingerprint == tiny_cohort.fingerprint
    assert replace(tiny_cohort, name="other").fingerprint == tiny_cohort.fingerprint
    columns = tiny_cohort.participants.columns[::-1]
    assert (
        replace(tiny_cohort, participants=tiny_cohort.participants[columns]).fingerprint
        == tiny_cohort.fingerprint
    )


def _mask_moved(cohort: Cohort) -> Cohort:
    rois = {name: mask.copy() for name, mask in cohort.anatomy.rois.items()}
    rois["left"][7, 0, 12, 12] ^= True
    return replace(cohort, anatomy=replace(cohort.anatomy, rois=rois))


CHANGES: dict[str, Callable[[Cohort], Cohort]] = {
    "a pixel": lambda c: _with_pixels(c, float(c.images[3, 0, 5, 5]) + 1e-6),
    "a mask": _mask_moved,
    "an age": lambda c: _with_people(c, age=c.participants["age"] + 0.1),
    "a group": lambda c: _with_people(c, group=1 - c.participants["group"]),
    "the truth": lambda c: replace(c, anatomy=replace(c.anatomy, truth=())),
    "the space": lambda c: replace(c, geometry=replace(c.geometry, registered=False)),
    "partners": lambda c: replace(c, partners=c.images),
    "a source": _with_source,
    "a subfield": _with_part,
    "the sign of a volume": lambda c: replace(
        c, anatomy=replace(c.anatomy, volume_signs={"left": -1})
    ),
    "the groups' names": lambda c: replace(c, group_names=("CN", "AD")),
    "a missing row": lambda c: c.take(np.arange(1, len(c))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_sees(change: str, tiny_cohort: Cohort) -> None:
    assert CHANGES[change](tiny_cohort).fingerprint != tiny_cohort.fingerprint


def test_fingerprint_sees_a_pose(tiny_cohort: Cohort) -> None:
    poses = np.tile(np.eye(4), (len(tiny_cohort), 1, 1))
    moved = poses + 0.1 * (np.arange(len(poses)) == 3)[:, None, None]
    first, second = (_with_poses(tiny_cohort, each).fingerprint for each in (poses, moved))
    assert first != second


def test_keys_are_unique_where_a_subject_comes_back() -> None:
    cohort = build_cohort(visits=2)
    assert len(set(cohort.keys)) == len(cohort) == 2 * len(set(cohort.subjects))
    turned = cohort.take(np.arange(len(cohort))[::-1])
    assert turned.keys == cohort.keys[::-1]


def test_truth_is_the_union_of_the_regions_it_names(tiny_cohort: Cohort) -> None:
    rois = tiny_cohort.anatomy.rois
    truth = tiny_cohort.truth
    assert truth is not None
    assert np.array_equal(truth, rois["left"] | rois["right"])
    assert build_cohort(truth=False).truth is None


def test_batches_hold_every_row_once_and_in_order(tiny_cohort: Cohort) -> None:
    batches = list(tiny_cohort.batches(7))
    assert np.concatenate([batch.rows for batch in batches]).tolist() == list(range(24))
    assert sum((batch.keys for batch in batches), ()) == tiny_cohort.keys
    images = torch.cat([batch.images for batch in batches])
    assert images.dtype == torch.float32
    assert torch.equal(images, torch.from_numpy(tiny_cohort.images))
    truths = [batch.truth for batch in build_cohort(truth=False).batches(7)]
    assert truths == [None] * 4


def test_select_keeps_a_split_whole(tiny_cohort: Cohort) -> None:
    parts = [tiny_cohort.select(split) for split in SPLITS]
    assert sum(map(len, parts)) == len(tiny_cohort)
    for part, split in zip(parts, SPLITS, strict=True):
        assert set(part.participants["split"]) == {split}
    with pytest.raises(CohortError, match="has no image in its test split"):
        parts[0].select("test")


def test_missing_covariates_are_part_of_the_fingerprint() -> None:
    people = pd.DataFrame(
        {"subject": ["a", "b"], "group": [0, 1], "split": "test", "age": [70.0, np.nan]}
    )
    images = np.linspace(0, 1, 2 * 24 * 24, dtype=np.float32).reshape(2, 1, *SHAPE_2D)
    anatomy = Anatomy(np.ones(images.shape, dtype=np.bool_))
    cohort = Cohort("two", images, people, anatomy, Geometry((1.0, 1.0), np.eye(4)))
    filled = _with_people(cohort, age=[70.0, 71.0])
    assert len({cohort.fingerprint, filled.fingerprint}) == 2
