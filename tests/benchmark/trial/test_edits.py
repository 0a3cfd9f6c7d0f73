"""Plausible edits inside masks: their subspace, their limits, and the closed form on a line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from linear_models import linear
from torch import Tensor
from trials import build_trial, cohort_of

from baselines.explainers.gradient import Saliency
from benchmark.cohort import Cohort
from benchmark.errors import NotAssessableError
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D
from benchmark.trial import Trial
from benchmark.trial.interventions.edits import Budget, Editor, feathered
from benchmark.trial.interventions.plausible import PlausibleSubspace, plausible_subspace
from benchmark.trial.projection import group_axis

ROWS = np.arange(6)


def subspace_of(cohort: Cohort, count: int = 6) -> PlausibleSubspace:
    return plausible_subspace(build_trial(Saliency(), cohort), count, 8)


def nested_masks(trial: Trial) -> Tensor:
    """Return masks [n, 3, *S] of test images: a truth, half of the foreground and all of it."""
    foreground = torch.from_numpy(trial.test.anatomy.foreground[ROWS])[:, 0]
    half = foreground.clone()
    half[:, : half.shape[1] // 2] = False
    truth = trial.test.truth
    assert truth is not None
    return torch.stack([torch.from_numpy(truth[ROWS])[:, 0] & half, half, foreground], dim=1)


@pytest.mark.parametrize("shape", [SHAPE_2D, SHAPE_3D], ids=["2-D", "3-D"])
def test_an_edit_of_a_linear_model_reaches_the_closed_form(shape: tuple[int, ...]) -> None:
    """If it fails, the search stops short, and every reach is too small."""
    classifier, _ = linear(shape)
    trial = build_trial(Saliency(), cohort_of(len(shape)), classifier)
    subspace = plausible_subspace(trial, 6, 8)
    masks, budget = nested_masks(trial), Budget(radius=0.2)
    edits = Editor(trial, subspace, budget).edits(ROWS, lambda chunk: masks[chunk])
    axis = group_axis(trial)
    slope = torch.from_numpy(axis.directions[0]).view(shape)
    components = torch.from_numpy(subspace.components)[:, 0].double()
    for row, own in zip(ROWS, masks, strict=True):
        weighted = feathered(own).double() * slope
        length = torch.einsum("k...,m...->mk", components, weighted).norm(dim=1)
        expected = budget.radius * length / axis.separation
        np.testing.assert_allclose(edits.reach[row], expected, rtol=0.01)


def test_edits_stay_inside_their_mask_their_size_and_the_grey_values() -> None:
    """If it fails, an edit touches what the map does not mark, or is no image any more."""
    trial = build_trial(Saliency())
    subspace, budget = plausible_subspace(trial, 6, 8), Budget(radius=4)
    editor, masks = Editor(trial, subspace, budget), nested_masks(trial)
    edits = editor.edits(ROWS, lambda chunk: masks[chunk])
    assert (edits.reach >= 0).all()
    assert (edits.reach[:, -1] > 0).all()
    lengths = np.linalg.norm(edits.coordinates, axis=2)
    assert (lengths <= budget.radius * (1 + 1e-6)).all()
    for row in ROWS.tolist():
        edited = editor.edited(row, masks[row], edits.coordinates[row])
        change = edited[:, 0] - torch.from_numpy(trial.test.images[row])
        assert not change[~masks[row]].any()
        assert change[masks[row]].any()
        assert edited.min() >= 0
        assert edited.max() <= 1


def test_larger_edits_reach_further() -> None:
    """If it fails, an edit stops at a smaller one that it could have kept."""
    trial = build_trial(Saliency())
    subspace, masks = plausible_subspace(trial, 6, 8), nested_masks(trial)
    reaches = [
        Editor(trial, subspace, Budget(radius)).edits(ROWS, lambda chunk: masks[chunk]).reach
        for radius in (0.25, 0.5, 1)
    ]
    assert (np.diff([reach.mean(0) for reach in reaches], axis=0) > 0).all()


def test_the_same_edits_fall_alike_on_a_copy_of_the_network() -> None:
    """If it fails, what carries over to a twin is measured on other edits than the model's."""
    trial = build_trial(Saliency())
    twin = trial.on(classifier=trial.classifier.copy())
    editor = Editor(trial, plausible_subspace(trial, 6, 8), others={"twin": twin})
    masks = nested_masks(trial)
    edits = editor.edits(ROWS, lambda chunk: masks[chunk])
    np.testing.assert_allclose(edits.elsewhere["twin"], edits.reach, atol=1e-5)


def test_the_subspace_depends_on_no_order_and_orders_its_variance() -> None:
    """If it fails, scores of a cohort depend on the order of its rows."""
    cohort = cohort_of()
    first = subspace_of(cohort)
    second = subspace_of(cohort.take(np.arange(len(cohort))[::-1]))
    np.testing.assert_array_equal(first.components, second.components)
    variances = np.square(first.components).sum(axis=(1, 2, 3))
    assert (np.diff(variances) <= 0).all()
    assert 0 < first.explained < 1
    assert subspace_of(cohort, 2).explained < first.explained


def test_components_follow_the_pose_of_an_image() -> None:
    """If it fails, edits of a posed cohort move anatomy that lies elsewhere in the image."""
    cohort = cohort_of()
    affine = cohort.geometry.affine
    plain = subspace_of(cohort)
    poses = np.repeat(affine[None], len(cohort), axis=0)
    geometry = replace(cohort.geometry, registered=False, poses=poses)
    posed = subspace_of(replace(cohort, geometry=geometry))
    np.testing.assert_allclose(posed.components, plain.components, atol=1e-5)
    moved = poses.copy()
    moved[:, 0, 3] += 2 * affine[0, 0]  # the image's first row is the common space's third
    other = replace(cohort, geometry=replace(geometry, poses=moved))
    carried = plain.on_grid_of(other, 0)
    np.testing.assert_allclose(carried[:, :-2], plain.components[:, 0, 2:], atol=1e-6)


def test_who_has_no_plausible_edits_is_told_why() -> None:
    """If it fails, a cohort whose voxels mean nothing in common is edited all the same."""
    cohort = cohort_of()
    geometry = replace(cohort.geometry, registered=False)
    with pytest.raises(NotAssessableError, match="cohort not registered"):
        subspace_of(replace(cohort, geometry=geometry))
    with pytest.raises(NotAssessableError, match="from 16 training images, fewer than 100"):
        plausible_subspace(build_trial(Saliency()), 6, 100)
    tested = cohort.take(np.flatnonzero(cohort.participants["split"] != "train"))
    with pytest.raises(NotAssessableError, match="no training split"):
        subspace_of(tested)
