"""Aggregates of readings: each is the one its statistic names, with its interval."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.reading import (
    Reading,
    Sample,
    distributions,
    find,
    shared_bootstrap,
    subject_means,
    summarise,
)

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


def test_a_ratio_is_the_mean_over_the_mean_with_both_resampled() -> None:
    """If it fails, a share is a mean of shares, which subjects with little blow up."""
    rng = np.random.default_rng(0)
    below = rng.normal(0.5, 0.1, 40)
    above = 0.6 * below + rng.normal(0, 0.02, 40)
    people = tuple(f"s{row}" for row in range(40))
    sample = Sample(people, people, tuple(row % 2 for row in range(40)))
    reading = Reading("share", sample, above, denominators=below)
    interval = summarise(reading, "ratio")
    assert interval.estimate == pytest.approx(above.mean() / below.mean())
    replicates = shared_bootstrap(people).replicates(np.column_stack([above, below]))
    limits = np.quantile(replicates[:, 0] / replicates[:, 1], (0.025, 0.975))
    assert (interval.low, interval.high) == pytest.approx(tuple(limits))


def test_a_group_difference_ignores_resamples_without_a_group() -> None:
    """If it fails, a rare group makes its difference NaN or biases it."""
    people = tuple(f"s{row}" for row in range(6))
    sample = Sample(people, people, (0, 0, 0, 0, 0, 1))
    reading = Reading("x", sample, np.array([3.0, 3, 3, 3, 3, 1]))
    interval = summarise(reading, "group_difference")
    assert (interval.estimate, interval.low, interval.high) == (2, 2, 2)


def test_a_ratio_to_what_may_be_nothing_is_no_number() -> None:
    """If it fails, noise over noise gets a score."""
    rng = np.random.default_rng(1)
    people = tuple(f"s{row}" for row in range(30))
    sample = Sample(people, people, (0, 1) * 15)
    noise = rng.normal(0, 1, 30)
    interval = summarise(Reading("share", sample, noise, denominators=noise), "ratio")
    assert np.isnan(interval.estimate)


def test_a_number_of_the_model_has_no_interval_of_its_own() -> None:
    """If it fails, a p-value is resampled over subjects."""
    sample = Sample(("a", "b", "c"), ("a", "b", "c"), (0, 1, 0))
    interval = summarise(Reading("p", sample, np.full(3, 0.25)), "constant")
    assert (interval.estimate, interval.low, interval.high) == (0.25, 0.25, 0.25)


def test_the_unit_of_a_test_is_the_subject() -> None:
    """If it fails, images of one subject count as independent."""
    sample = Sample(("a1", "a2", "b"), ("a", "a", "b"), (0, 0, 1))
    assert subject_means(Reading("x", sample, np.array([1.0, 3.0, 5.0]))).tolist() == [2.0, 5.0]
