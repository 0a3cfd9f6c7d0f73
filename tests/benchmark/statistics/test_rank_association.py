"""Rank correlations on weighted subjects are those of SciPy on the subjects repeated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.rank_association import (
    Weighted,
    association_interval,
    auroc_gain_of,
    influence_values,
    permutation_p,
    spearman_of,
    thirds_of,
)

GENERATOR = np.random.Generator(np.random.PCG64(3))
COUNT = 40
# Rounded, so that values tie.
X = GENERATOR.normal(size=COUNT).round(1)
Y = (X + GENERATOR.normal(size=COUNT)).round(1)
Z = (0.5 * X - Y + GENERATOR.normal(size=COUNT)).round(1)
GROUP = (np.arange(COUNT) % 2).astype(float)
NAMES = tuple(f"s{row:02d}" for row in range(COUNT))
WEIGHTS = GENERATOR.multinomial(COUNT, np.full(COUNT, 1 / COUNT), 20).astype(float)


def _repeated(statistic: Weighted, times: np.ndarray, *columns: np.ndarray) -> list[np.ndarray]:
    return [np.repeat(column, times.astype(int)) for column in columns]


def _partial(first: np.ndarray, second: np.ndarray, *given: np.ndarray) -> float:
    """Return the correlation of what is left of ranks after least squares on ranks."""
    ranks = [stats.rankdata(column) for column in (first, second, *given)]
    design = np.column_stack([np.ones(len(first)), *ranks[2:]])
    left = [one - design @ np.linalg.lstsq(design, one, rcond=None)[0] for one in ranks[:2]]
    return float(np.corrcoef(*left)[0, 1])


def test_weights_stand_for_repeated_subjects() -> None:
    """If it fails, the bootstrap of a rank correlation ranks the sample and not the resample."""
    plain, partial = spearman_of(X, Y), spearman_of(X, Y, Z, GROUP)
    for times, value, given in zip(WEIGHTS, plain(WEIGHTS), partial(WEIGHTS), strict=True):
        x, y, z, group = _repeated(plain, times, X, Y, Z, GROUP)
        assert value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert given == pytest.approx(_partial(x, y, z, group), abs=1e-9)


def test_thirds_and_errors_are_those_of_the_repeated_subjects() -> None:
    """If it fails, thirds are cut where the sample's are, or an AUROC counts ties as wins."""
    wrong = Z > 0
    thirds, gain = thirds_of(X, Y)(WEIGHTS), auroc_gain_of(X, Y, wrong)(WEIGHTS)
    for times, third, value in zip(WEIGHTS, thirds, gain, strict=True):
        x, y, label = _repeated(thirds_of(X, Y), times, X, Y, wrong)
        shares = (stats.rankdata(x) - 0.5) / len(x)
        wanted = y[shares < 1 / 3].mean() - y[shares > 2 / 3].mean()
        assert third == pytest.approx(wanted, abs=1e-12)
        areas = [
            stats.mannwhitneyu(one[label], one[~label]).statistic / (label.sum() * (~label).sum())
            for one in (x, y)
        ]
        assert value == pytest.approx(areas[0] - areas[1], abs=1e-12)


def test_values_of_subjects_have_the_statistic_as_their_mean() -> None:
    """If it fails, a record's values and its score are two different numbers."""
    statistic = spearman_of(X, Y)
    values = influence_values(statistic, NAMES)
    assert values.mean() == pytest.approx(stats.spearmanr(X, Y).statistic, abs=1e-12)
    interval = association_interval(statistic, SubjectBootstrap(NAMES), COUNT)
    assert interval.estimate == pytest.approx(values.mean(), abs=1e-12)
    error = values.std(ddof=1) / math.sqrt(COUNT)
    assert (interval.high - interval.low) / 3.92 == pytest.approx(error, rel=0.25)


def test_subjects_move_together_with_all_their_images() -> None:
    """If it fails, a subject with two images counts as two subjects."""
    twice = np.repeat(np.arange(COUNT), 2)
    statistic = spearman_of(X[twice], Y[twice])
    names = [NAMES[row] for row in twice]
    interval = association_interval(statistic, SubjectBootstrap(names), 2 * COUNT)
    once = association_interval(spearman_of(X, Y), SubjectBootstrap(NAMES), COUNT)
    assert (interval.low, interval.high) == pytest.approx((once.low, once.high), abs=1e-12)


def test_what_does_not_vary_has_no_correlation() -> None:
    """If it fails, a constant gets a number, or takes the others with it."""
    ones = np.ones((1, COUNT))
    assert np.isnan(spearman_of(X, np.ones(COUNT))(ones)).all()
    constant = spearman_of(X, Y, np.ones(COUNT))(ones)
    np.testing.assert_allclose(constant, spearman_of(X, Y)(ones))
    missing = np.where(np.arange(COUNT) < 5, np.nan, Y)
    np.testing.assert_allclose(
        spearman_of(X, missing)(ones), stats.spearmanr(X[5:], Y[5:]).statistic
    )


def test_the_permutation_p_is_that_of_scipy_and_keeps_no_order() -> None:
    """If it fails, p depends on who comes first, or is not a p-value of this correlation."""
    p = permutation_p(X, Z)
    assert p == pytest.approx(stats.spearmanr(X, Z).pvalue, abs=0.02)
    order = GENERATOR.permutation(COUNT)
    assert permutation_p(X[order], Z[order]) == p


@pytest.mark.parametrize("count", [64, 128])
def test_without_a_relation_one_interval_in_twenty_excludes_none(count: int) -> None:
    """If it fails, a claim about uncertainty is made of noise more often than the page says."""
    generator = np.random.Generator(np.random.PCG64(count))
    bootstrap = SubjectBootstrap([f"s{row:03d}" for row in range(count)], resamples=1000)
    entropy = generator.gamma(1.0, size=count)
    intervals = [
        association_interval(spearman_of(generator.permutation(entropy), noise), bootstrap, count)
        for noise in generator.normal(size=(200, count))
    ]
    excluded = np.mean([one.low > 0 or one.high < 0 for one in intervals])
    assert 0.02 <= excluded <= 0.09
