"""Null maps: drawn once, held once, and found by whoever asks for maps of the same networks."""

from __future__ import annotations

import pytest
import torch
from trials import MemoryArchive, build_trial, cohort_of

from baselines.explainers.controls import Sobel
from baselines.explainers.gradient import Saliency
from benchmark.trial import Study, null_maps
from benchmark.trial.null_networks import MEMORISED, NULL_COPIES, RANDOMISED

# Without a training split, so that no network has to learn permuted labels.
UNTAUGHT = cohort_of().select("test")


def test_null_maps_are_the_importance_of_the_maps_on_each_null_network() -> None:
    """If it fails, scores are read against maps of another network, or against signed ones."""
    study = Study(build_trial(Saliency(), UNTAUGHT), "a protocol").balanced(8)
    nulls = null_maps(study)
    assert list(nulls.randomised) == list(range(NULL_COPIES))
    for copy, maps in nulls.randomised.items():
        assert torch.equal(maps, study.trial.randomised(copy).maps(study.rows).abs())
    assert nulls.memorised is None
    assert list(nulls.left_out) == [MEMORISED]


def test_what_asks_for_maps_of_a_null_network_after_its_null_maps_draws_none() -> None:
    """If it fails, a run that finds null maps in its archive draws the same maps once more."""
    archive = MemoryArchive()
    first = Study(build_trial(Saliency(), UNTAUGHT, archive=archive), "a protocol").balanced(8)
    drawn = null_maps(first).randomised[0]
    later = Study(build_trial(Saliency(), UNTAUGHT, archive=archive), "a protocol").balanced(8)
    null_maps(later)
    copy = later.trial.randomised(0)
    before = copy.passes.snapshot()
    assert torch.equal(copy.maps(later.rows).abs(), drawn)
    assert copy.passes.since(before).forward == 0


def test_a_statistic_is_asked_once_for_null_maps_that_are_equal() -> None:
    """If it fails, a method that looks at no network costs as many effects as there are nulls."""
    study = Study(build_trial(Sobel(), UNTAUGHT), "a protocol").balanced(8)
    asked = []

    def count(maps: torch.Tensor) -> object:
        asked.append(maps)
        return maps.flatten(1).double().mean(1).numpy()

    values = null_maps(study).measure(count, torch.zeros(8).double().numpy())
    assert len(asked) == 1
    assert values[RANDOMISED] == pytest.approx(asked[0].flatten(1).mean(1).tolist())
