"""The direction between the groups, and signed maps along it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from trials import build_trial, cohort_of

from baselines.explainers.controls import Random, Sobel
from baselines.explainers.gradient import Saliency
from benchmark.cohort import Cohort
from benchmark.errors import NotAssessableError
from benchmark.records.arrays import ArrayFolder
from benchmark.trial.projection import group_axis, signed_maps


def without_training(cohort: Cohort) -> Cohort:
    return replace(cohort, participants=cohort.participants.assign(split="test"))


def test_the_direction_is_that_of_the_training_split() -> None:
    """If it fails, test subjects decide the direction, and random networks tell them apart."""
    trial = build_trial(Saliency())
    axis = group_axis(trial)
    train = trial.train
    with torch.inference_mode():
        embeddings = trial.classifier(torch.from_numpy(train.images))[1].double().numpy()
    wanted = embeddings[train.groups == 0].mean(0) - embeddings[train.groups == 1].mean(0)
    np.testing.assert_allclose(axis.directions[0], wanted / np.linalg.norm(wanted), atol=1e-6)
    values = axis.values
    assert axis.separation == pytest.approx(
        values[trial.test.groups == 0].mean() - values[trial.test.groups == 1].mean()
    )
    assert axis.separation > 0


def test_without_a_training_split_no_subject_meets_a_direction_of_its_own() -> None:
    """If it fails, φ of a subject is larger because the subject itself bent the direction."""
    cohort = without_training(cohort_of())
    trial = build_trial(Saliency(), cohort)
    axis = group_axis(trial)
    row = int(np.flatnonzero(axis.fold == 0)[0])
    images = cohort.images.copy()
    images[row] = 1 - images[row]
    altered = group_axis(build_trial(Saliency(), replace(cohort, images=images)))
    np.testing.assert_array_equal(altered.fold, axis.fold)
    np.testing.assert_allclose(altered.directions[0], axis.directions[0], atol=1e-9)
    assert not np.allclose(altered.directions[1], axis.directions[1])


def test_too_few_subjects_and_no_training_split_is_refused() -> None:
    """If it fails, a direction of a handful of subjects passes for one of the groups."""
    cohort = without_training(cohort_of())
    few = cohort.take(np.arange(12))
    with pytest.raises(NotAssessableError, match="fewer than 20 subjects"):
        group_axis(build_trial(Saliency(), few))


def test_maps_follow_the_direction_and_not_the_label(tmp_path: Path) -> None:
    """If it fails, shuffled groups differ in their maps, since the sign of a map is the label's."""
    trial = build_trial(Saliency(), archive=ArrayFolder(tmp_path, lambda: None))
    rows = np.arange(4)
    maps = signed_maps(trial, rows)
    images = torch.from_numpy(trial.test.images[rows]).requires_grad_()
    embedding = trial.classifier(images)[1]
    (embedding @ torch.from_numpy(group_axis(trial).directions[0]).float()).sum().backward()
    assert images.grad is not None
    torch.testing.assert_close(maps.own, images.grad, rtol=1e-4, atol=1e-7)
    assert len(maps.copies) == 3
    assert not maps.left_out
    assert not any(torch.equal(copy, maps.own) for copy in maps.copies.values())

    passes = trial.passes.backward
    again = signed_maps(trial, rows[::-1].copy())
    assert trial.passes.backward == passes
    torch.testing.assert_close(again.own.flip(0), maps.own, rtol=0, atol=0)


def test_a_map_that_looks_at_no_network_is_the_same_on_the_copies() -> None:
    """If it fails, something is left of a blind map once its null is taken away."""
    blind = signed_maps(build_trial(Sobel()), np.arange(3))
    assert all(torch.equal(copy, blind.own) for copy in blind.copies.values())
    noise = signed_maps(build_trial(Random()), np.arange(3))
    assert not any(torch.equal(copy, noise.own) for copy in noise.copies.values())
