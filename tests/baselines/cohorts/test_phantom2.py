"""`phantom2` is `phantom` in poses of its own, with the images of the other group's anatomy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from scipy.stats import kstest

from baselines.cohorts import phantom2
from baselines.cohorts.generator import SIDES
from baselines.cohorts.phantom import Phantom
from baselines.cohorts.phantom2 import Phantom2, make_subject, motion_of
from baselines.cohorts.posed import MAX_ANGLE, MAX_SHIFT
from baselines.cohorts.template import coronal_view
from benchmark.cohort import Cohort
from benchmark.plugins.catalogue import Catalogue

FINGERPRINT = "32f29d9446cd5a1752be0025f6e4c3f92efe26f70ea136ba64151a482197dd16"
SAMPLE = range(0, 600, 40)


@pytest.fixture(scope="module")
def committed() -> Cohort:
    return Phantom2().load()


@pytest.fixture(scope="module")
def unposed() -> Cohort:
    return Phantom().load()


def test_the_fingerprint_is_the_same_on_every_machine(committed: Cohort) -> None:
    """If it fails, no score of suite v2 can be compared with another machine's."""
    assert committed.fingerprint == FINGERPRINT


def test_the_committed_cohort_is_the_one_that_the_code_makes(committed: Cohort) -> None:
    """If it fails, nobody can say how the pixels that everybody is scored on came about."""
    assert committed.partners is not None
    assert committed.geometry.poses is not None
    wrong_voxels = 0
    for row in SAMPLE:
        subject = make_subject(row + 1, int(committed.groups[row]), motion_of(row + 1))
        pairs = (
            (committed.images, subject.image),
            (committed.partners, subject.partners[phantom2.OTHER_GROUP]),
        )
        for stored, image in pairs:
            assert np.abs(np.rint(stored[row, 0] * 255) - image).max() <= 1
        np.testing.assert_allclose(committed.geometry.poses[row], subject.pose, atol=1e-9)
        anatomy = committed.anatomy
        for name, region in {"foreground": anatomy.foreground, **anatomy.rois}.items():
            wrong_voxels += int((region[row, 0] != subject.masks[name]).sum())
    assert wrong_voxels <= 5


def test_without_a_pose_each_subject_is_that_of_phantom(unposed: Cohort) -> None:
    """If it fails, what differs between the suites is more than the pose."""
    for row in SAMPLE:
        subject = make_subject(row + 1, int(unposed.groups[row]), np.eye(4))
        stored = np.rint(unposed.images[row, 0] * 255)
        # The committed bytes are one machine's; another may tip the rounding of a few pixels.
        assert np.abs(stored - subject.image).max() <= 1
        assert (stored != subject.image).mean() < 1e-3
        for name, region in unposed.anatomy.rois.items():
            assert (region[row, 0] != subject.masks[name]).sum() <= 1


def test_subjects_groups_and_splits_are_those_of_phantom(
    committed: Cohort, unposed: Cohort
) -> None:
    """If it fails, the two suites cannot be compared subject by subject."""
    assert committed.participants.equals(unposed.participants)


def test_poses_are_uniform_and_lose_no_region(committed: Cohort) -> None:
    """If it fails, a fixed place is right too often, or a truth lies outside the image."""
    poses = committed.geometry.poses
    assert poses is not None
    assert not committed.geometry.registered
    motions = poses @ np.linalg.inv(coronal_view().affine)
    angles = np.rad2deg(np.arctan2(motions[:, 0, 2], motions[:, 0, 0]))
    assert np.abs(angles).max() <= MAX_ANGLE
    assert kstest(angles, "uniform", (-MAX_ANGLE, 2 * MAX_ANGLE)).pvalue > 0.01
    for axis in (0, 2):
        shifts = motions[:, axis, 3]
        assert kstest(shifts, "uniform", (-MAX_SHIFT, 2 * MAX_SHIFT)).pvalue > 0.01
    truth = committed.truth
    assert truth is not None
    assert truth.sum((1, 2, 3)).min() >= 60
    edge = np.ones(committed.shape, dtype=np.bool_)
    edge[1:-1, 1:-1] = False
    assert not (truth & edge).any()


def test_a_pose_says_where_the_anatomy_is(committed: Cohort) -> None:
    """If it fails, a common region is carried to the wrong pixels of a subject."""
    poses = committed.geometry.poses
    assert poses is not None
    for name, side in SIDES.items():
        centres = []
        for pose, region in zip(poses, committed.anatomy.rois[name], strict=True):
            row, column = np.argwhere(region[0]).mean(0)
            centres.append((pose @ [row, column, 0, 1])[:3])
        # What is left is the subjects' own anatomy: sizes of heads and deformations.
        assert np.mean(centres, axis=0) == pytest.approx((27 * side, -21, -14.5), abs=1)
        assert np.std(centres, axis=0).max() < 4


def test_a_partner_differs_round_the_hippocampi_alone(committed: Cohort) -> None:
    """If it fails, exchanging pixels far from the truth changes the model, and pays."""
    truth, change = committed.truth, committed.change
    assert truth is not None
    assert change is not None
    for row in range(0, 600, 5):
        distance = distance_transform_edt(~truth[row, 0], sampling=1.5)
        assert not change[row, 0][distance > 20].any()
        assert change[row][truth[row]].any()
    assert (change * truth).sum() > 0.45 * change.sum()


def test_partners_exchange_what_the_groups_differ_in(committed: Cohort) -> None:
    """If it fails, partners are not counterfactuals: they make no case of a control."""
    truth, partners = committed.truth, committed.partners
    assert truth is not None
    assert partners is not None
    count = truth.sum((1, 2, 3))
    own = (committed.images * truth).sum((1, 2, 3)) / count
    other = (partners * truth).sum((1, 2, 3)) / count
    # An atrophied region holds dark fluid.
    darker = other < own
    assert darker[committed.groups == 0].mean() > 0.95
    assert darker[committed.groups == 1].mean() < 0.05


@pytest.mark.parametrize("name", ["phantom2_resnet", "phantom2_vgg", "phantom2_vit"])
def test_partners_undo_what_separates_the_groups(name: str, committed: Cohort) -> None:
    """If it fails, exchanging the true change means more in one group than in the other."""
    test = committed.select("test")
    assert test.partners is not None
    classifier = Catalogue().models.find(name).create().load(test.shape)
    with torch.no_grad():
        projections = [
            classifier(torch.from_numpy(images))[0].diff(dim=1)[:, 0].numpy()
            for images in (test.images, test.partners)
        ]
    is_case = test.groups == 1
    distance = projections[0][is_case].mean() - projections[0][~is_case].mean()
    effect = np.where(is_case, 1, -1) * (projections[0] - projections[1]) / distance
    for group in (is_case, ~is_case):
        assert 0.8 < effect[group].mean() < 1.2


def test_writing_twice_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a cohort that was made anew looks changed where nothing did."""
    monkeypatch.setattr(phantom2, "COUNTS", {"train": 4, "test": 2})
    paths = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for path in paths:
        phantom2.write_phantom2(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
