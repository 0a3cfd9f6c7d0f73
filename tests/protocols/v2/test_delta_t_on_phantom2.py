"""`delta_t` 2 on the committed cohort and network: the truth leads, and noise has no effect."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from baselines.cohorts.phantom2 import Phantom2
from baselines.explainers.controls import Sobel
from baselines.models.phantom2_resnet import Phantom2ResNet
from benchmark.arrays import FloatArray
from benchmark.maps.imputers import Exchange
from benchmark.seeding import stream
from benchmark.trial import Runtime, Study, Trial
from benchmark.trial.removal import respond, substitutes
from protocols.v2.delta_t.effects import Alteration, drops_of, full_effect, moves_of_t_w
from protocols.v2.delta_t.yardsticks import scattered_drops

SHARES = (0.01, 0.02, 0.05, 0.10, 0.20)


@lru_cache(maxsize=1)
def images_of() -> Study:
    cohort = Phantom2().load()
    runtime = Runtime(torch.device("cpu"), suite="v2#0")
    trial = Trial(Sobel(), Phantom2ResNet().load(cohort.shape), cohort, runtime)
    return Study(trial, "delta_t").balanced(64)


@lru_cache(maxsize=2)
def alteration_of(name: str) -> Alteration:
    imputer = substitutes(images_of().trial)[name]
    full = full_effect(images_of(), imputer) if isinstance(imputer, Exchange) else None
    return Alteration(imputer, SHARES, full)


def above_rings(importance: FloatArray | Tensor, name: str, repeats: int = 4) -> FloatArray:
    """Return the effect of each image above that of random places, [n, Q]."""
    alteration = alteration_of(name)
    maps = torch.as_tensor(importance)
    drops, turned = drops_of(images_of(), maps, alteration, repeats)
    return (alteration.effects(drops) - alteration.effects(turned).mean(2)) / alteration.unit


@lru_cache(maxsize=1)
def true_change() -> FloatArray:
    change = images_of().trial.test.change
    assert change is not None
    return change[images_of().rows].astype(np.float64)


@lru_cache(maxsize=2)
def effect_of_change(name: str) -> FloatArray:
    return above_rings(true_change(), name)


def half_map() -> FloatArray:
    """Return the true change in the second group and noise in the first."""
    shape = true_change().shape[1:]
    noise = np.stack([stream("half map", key).random(shape) for key in images_of().keys])
    is_case = (images_of().groups == 1)[:, None, None, None]
    return np.where(is_case, true_change(), noise)


def test_exchanging_the_whole_foreground_has_an_effect_of_1() -> None:
    """If it fails, the ceiling of the score is not 1."""
    images, alteration = images_of(), alteration_of("exchange")
    response = respond(images.trial, images.rows, images.foreground, alteration.imputer)
    assert response.drops.mean() / alteration.unit == pytest.approx(1, abs=1e-5)


def test_the_true_change_has_most_of_the_effect_in_both_groups() -> None:
    """If it fails, the one map that is known to be right does not lead, or leads in one group."""
    effect = effect_of_change("exchange").mean(1)
    assert effect.mean() >= 0.8
    groups = images_of().groups
    assert abs(effect[groups == 0].mean() - effect[groups == 1].mean()) < 0.25
    sobel = images_of().trial.on(explainer=Sobel()).maps(images_of().rows)
    assert above_rings(sobel, "exchange").mean() < 0.1


def test_missing_the_truth_in_one_group_costs() -> None:
    """If it fails, a map may be noise in one group and lose nothing, as under suite v1."""
    exchange = above_rings(half_map(), "exchange").mean()
    assert exchange <= 0.6 * effect_of_change("exchange").mean()
    removal = above_rings(half_map(), "noisy_linear").mean()
    assert removal < effect_of_change("noisy_linear").mean() - 0.05


@pytest.mark.parametrize("sigma", [0, 2, 5])
def test_noise_has_no_effect_above_that_of_random_places(sigma: int) -> None:
    """If it fails, the null is easier than noise of the same shape, and any blob has a score."""
    shape = images_of().trial.cohort.shape
    drawn = [stream("noise", sigma, key).standard_normal(shape) for key in images_of().keys]
    maps = np.stack([gaussian_filter(noise, sigma)[None] for noise in drawn])
    effect = above_rings(maps, "noisy_linear").mean(0)
    assert -0.06 <= effect.mean() <= 0.03
    assert (np.abs(effect) < 0.08).all()


def test_scattered_pixels_leave_the_groups_apart() -> None:
    """If it fails, removal itself moves the groups, whatever a map marks."""
    drops = scattered_drops(images_of(), alteration_of("noisy_linear"), 2)
    assert (np.abs(moves_of_t_w(drops, images_of().groups)) <= 0.1).all()


def test_rings_move_every_foreground_of_the_cohort() -> None:
    """If it fails, the null of some subject is the map itself, or holds what is no organ."""
    images = images_of()
    permutations = images.ring_permutations(2).numpy()
    for row, of_image in zip(images.rows, permutations, strict=True):
        inside = np.flatnonzero(images.trial.test.anatomy.foreground[row])
        for permutation in of_image:
            np.testing.assert_array_equal(np.sort(permutation[inside]), inside)
            assert np.mean(permutation[inside] != inside) >= 0.99
