"""What a value owes to the network, and ratios of means to their linear order."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.errors import InputError
from benchmark.statistics.own import of_mean, own


def test_a_map_that_ignores_the_network_owes_it_exactly_nothing() -> None:
    """If it fails, an atlas or an edge filter would have a score that no network gave it."""
    values = np.random.default_rng(0).random(64)
    nulls = {"chance": np.full(64, 0.02), "memorised": values, "randomised": values}
    assert (own(values, nulls).values == 0).all()


def test_the_strongest_null_is_chosen_once_by_its_mean() -> None:
    """If it fails, noise would choose a null for each subject, and the score would depend on R."""
    values, chance = np.array([0.5, 0.5]), np.array([0.1, 0.1])
    nulls = {"chance": chance, "memorised": np.array([0.4, 0.0]), "randomised": np.full(2, 0.15)}
    result = own(values, nulls)
    assert result.null == "memorised"
    assert result.values.tolist() == pytest.approx([0.1, 0.5])


def test_a_map_that_ranks_nothing_counts_as_chance_against_the_same_null() -> None:
    """If it fails, a method would gain by abstaining where it would score below its null."""
    nulls = {"chance": np.array([0.0, 0.0, 0.1]), "memorised": np.array([np.nan, 0.4, 0.0])}
    result = own(np.array([0.5, np.nan, np.nan]), nulls)
    assert result.null == "memorised"
    # Where the null is below chance, a map that shows nothing is not better than it either.
    assert result.values.tolist() == [0.5, -0.4, 0.0]


@pytest.mark.parametrize("seed", range(20))
def test_nobody_rises_by_giving_no_map_where_they_do_badly(seed: int) -> None:
    """If it fails, six subjects without a map lift a method over those that give them all."""
    generator = np.random.default_rng(seed)
    values, null = generator.beta(1, 3, 64), generator.beta(1, 4, 64)
    nulls = {"chance": np.zeros(64), "memorised": null}
    honest = own(values, nulls)
    abstaining = values.copy()
    abstaining[np.argsort(honest.values)[:6]] = np.nan
    assert own(abstaining, nulls).values.mean() <= honest.values.mean()
    # The same is not true of a mean over the others, nor where such a subject counts 0.
    without = np.delete(honest.values, np.argsort(honest.values)[:6])
    assert without.sum() / 64 > honest.values.mean()


def test_a_blind_map_below_chance_owes_nothing_where_chance_is_no_null() -> None:
    """If it fails, a filter that lies beside the truth would seem to follow the network."""
    values, chance = np.array([0.01, 0.03]), np.array([0.05, 0.05])
    assert (own(values, {"other": values}, chance).values == 0).all()
    unknown = own(values, {"other": np.array([0.01, np.nan])}, chance)
    assert unknown.subtracted.tolist() == [0.01, 0.05]


def test_chance_is_always_known() -> None:
    """If it fails, a method whose nulls all failed would be measured from nothing."""
    with pytest.raises(InputError, match="chance"):
        own(np.ones(3), {"memorised": np.zeros(3)})


def test_a_linearised_ratio_has_the_ratio_as_its_mean_and_its_spread() -> None:
    """If it fails, intervals of scores in units of the full effect would be too narrow."""
    rng = np.random.default_rng(1)
    top, bottom = rng.normal(2, 1, 400), rng.normal(4, 1, 400)
    linear = of_mean(top, bottom)
    assert linear.mean() == pytest.approx(top.mean() / bottom.mean(), abs=1e-12)
    draws = rng.integers(0, 400, (4000, 400))
    ratios = top[draws].mean(1) / bottom[draws].mean(1)
    assert linear.std() / 20 == pytest.approx(ratios.std(), rel=0.05)
