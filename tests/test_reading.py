"""Aggregates of readings: each is the one its statistic names, with its interval."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.reading import Reading, Sample, distributions, find, summarise

RNG = np.random.default_rng(0)
GROUPS = tuple(int(group) for group in np.repeat([0, 1], [30, 10]))
KEYS = tuple(f"s{number}" for number in range(40))
SAMPLE = Sample(KEYS, KEYS, GROUPS)
VALUES = RNG.normal(size=40) + 3 * np.array(GROUPS)


def test_each_aggregate_is_the_one_it_is_called() -> None:
    """If it fails, a table shows another number than its heading says."""
    reading, groups = Reading("x", SAMPLE, VALUES), np.array(GROUPS)
    mean_a, mean_b = VALUES[groups == 0].mean(), VALUES[groups == 1].mean()
    assert summarise(reading).estimate == pytest.approx(VALUES.mean())
    assert summarise(reading, "balanced_mean").estimate == pytest.approx((mean_a + mean_b) / 2)
    assert summarise(reading, "group_difference").estimate == pytest.approx(mean_a - mean_b)
    auroc = summarise(reading, "auroc").estimate
    assert auroc == pytest.approx(roc_auc_score(groups, VALUES))


def test_the_balanced_mean_does_not_resample_the_mix_of_groups() -> None:
    """If it fails, opposite responses of the groups drown a clear effect."""
    reading = Reading("x", SAMPLE, VALUES)
    plain, balanced = summarise(reading), summarise(reading, "balanced_mean")
    spreads = [VALUES[:30].std() ** 2 / 30, VALUES[30:].std() ** 2 / 10]
    width = 2 * 1.96 * np.sqrt(sum(spreads)) / 2
    assert balanced.high - balanced.low == pytest.approx(width, rel=0.1)
    assert plain.high - plain.low > 1.3 * width


def test_a_subject_without_a_value_is_left_out_and_not_counted() -> None:
    """If it fails, a failed map counts as a number."""
    values = VALUES.copy()
    values[:5] = np.nan
    interval = summarise(Reading("x", SAMPLE, values), "balanced_mean")
    assert interval.n_subjects == 35
    assert interval.estimate == pytest.approx((values[5:30].mean() + values[30:].mean()) / 2)


def test_replicates_of_one_sample_are_paired() -> None:
    """If it fails, a constant shift between methods has an interval."""
    pair = [Reading("x", SAMPLE, VALUES), Reading("x", SAMPLE, VALUES + 1)]
    replicates = distributions(pair, "balanced_mean")[1]
    np.testing.assert_allclose(replicates[:, 1] - replicates[:, 0], 1)


def test_a_group_without_a_value_leaves_the_balanced_mean_to_the_other() -> None:
    """If it fails, the values of one group alone cannot be shown, or vanish into NaN."""
    only_b = np.where(np.array(GROUPS) == 1, VALUES, np.nan)
    interval = summarise(Reading("x", SAMPLE, only_b), "balanced_mean")
    assert interval.estimate == pytest.approx(VALUES[30:].mean())
    assert interval.low < interval.estimate < interval.high
    nothing = summarise(Reading("x", SAMPLE, np.full(40, np.nan)), "balanced_mean")
    assert np.isnan(nothing.estimate)
    assert nothing.n_subjects == 0


def test_find_wants_exactly_the_conditions() -> None:
    """If it fails, the score of one imputer is read for another."""
    score = Reading("x", SAMPLE, VALUES)
    blurred = Reading("x", SAMPLE, VALUES, {"imputer": "blur"})
    assert find([blurred, score], "x") is score
    assert find([blurred, score], "x", imputer="blur") is blurred
    assert find([blurred, score], "x", imputer="mean") is None
