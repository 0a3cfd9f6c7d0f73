"""Tests of hypotheses against SciPy and statsmodels, and their error rates by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.significance import (
    Alternative,
    benjamini_hochberg,
    holm,
    page_trend,
    probability_of_improvement,
    rank_intervals,
    sign_flip_p,
    swap_p,
)

PEOPLE = [f"s{number:03d}" for number in range(60)]


def test_holm_matches_the_textbook_and_skips_missing_tests() -> None:
    """If it fails, several gated cells raise false alarms or hide true ones."""
    adjusted = holm([0.01, np.nan, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, np.nan, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).max() <= 1


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_sign_flips_match_scipy(alternative: Alternative) -> None:
    """If it fails, the p-value is of another test."""
    differences = stream("differences").normal(size=12) + 0.4
    exact = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", alternative=alternative
    )
    ours = sign_flip_p(differences, alternative=alternative)
    assert ours == pytest.approx(exact.pvalue, abs=0.015)


def test_sign_flips_are_exact_at_the_edges() -> None:
    """If it fails, p is 0, rounding breaks ties, or row order and missing rows matter."""
    assert sign_flip_p(np.full(40, 0.1), permutations=99) == 0.01
    assert sign_flip_p(np.zeros(5), permutations=99) == 1
    assert math.isnan(sign_flip_p([np.nan]))
    differences = stream("edges").normal(size=20) + 0.3
    padded = np.append(differences[::-1], np.nan)
    assert sign_flip_p(padded) == sign_flip_p(differences)
    # All positive: one sign pattern in 2⁹ ties with the data, up to the order of summation.
    positive = stream("test_statistics", "positive").random((20, 9))
    assert min(sign_flip_p(one) for one in positive) > 0.0005


def test_sign_flip_p_values_are_uniform_under_the_null() -> None:
    """If it fails, a null effect is significant more often than claimed."""
    p_values = [
        sign_flip_p(one, permutations=199, seed=number)
        for number, one in enumerate(stream("null").normal(size=(500, 20)))
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


@pytest.mark.parametrize(("ours", "method"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_corrections_are_those_of_statsmodels(ours: object, method: str) -> None:
    """If it fails, many tests raise more false alarms than claimed."""
    for count in (1, 2, 7, 50):
        p_values = stream("corrections", count).random(count) ** 3
        wanted = multipletests(p_values, method=method)[1]
        np.testing.assert_allclose(ours(p_values), wanted)  # type: ignore[operator]
    padded = ours([0.2, np.nan, 0.01])  # type: ignore[operator]
    np.testing.assert_allclose(padded[[0, 2]], multipletests([0.2, 0.01], method=method)[1])
    assert np.isnan(padded[1])
    assert np.isnan(ours([np.nan])).all()  # type: ignore[operator]


def test_the_false_discovery_rate_is_held() -> None:
    """If it fails, too large a share of what is reported is not there."""
    generator, shares = stream("discoveries"), []
    for _ in range(400):
        effects = np.repeat([0.0, 3.0], [40, 10])
        p_values = stats.norm.sf(generator.normal(effects, 1))
        found = benjamini_hochberg(p_values) <= 0.1
        shares.append(found[:40].sum() / max(1, found.sum()))
    assert np.mean(shares) < 0.1


def test_pages_trend_is_scipys_and_skips_incomplete_rows() -> None:
    """If it fails, a dose rises that does not, or one missing value voids all."""
    values = stream("page").normal(size=(40, 4)) + 0.2 * np.arange(4)
    wanted = stats.page_trend_test(values, method="asymptotic")
    found = page_trend(values)
    assert (found.statistic, found.p) == pytest.approx((wanted.statistic, wanted.pvalue))
    holed = np.vstack([values, [np.nan, 1, 2, 3]])
    assert page_trend(holed) == found
    assert page_trend(values[:, ::-1]).p > 0.9
    assert math.isnan(page_trend(values[:1]).p)
    with pytest.raises(InputError, match="k at least 3"):
        page_trend(values[:, :2])


def test_pages_trend_holds_its_level() -> None:
    """If it fails, doses rise by chance more often than one time in twenty."""
    generator = stream("page level")
    p_values = [page_trend(generator.normal(size=(30, 3))).p for _ in range(1000)]
    assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.07
    tied = [page_trend(generator.integers(0, 2, (30, 3))).p for _ in range(500)]
    assert np.mean(np.array(tied) < 0.05) < 0.07


def test_swapping_labels_is_uniform_under_the_null_and_sees_a_shift() -> None:
    """If it fails, T is significant where nothing was planted."""
    generator, p_values = stream("swaps"), []
    for number in range(300):
        pair = generator.normal(size=(2, 20, 6)) + generator.normal(size=(20, 6))
        p_values.append(swap_p(*pair, PEOPLE[:20], permutations=199, seed=number))
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    clean = generator.normal(size=(20, 6))
    altered = clean + 0.5
    assert swap_p(clean, altered, PEOPLE[:20], permutations=199) == 1 / 200
    order = generator.permutation(20)
    noisy = clean + generator.normal(size=(20, 6))
    assert swap_p(clean, noisy, PEOPLE[:20]) == swap_p(
        clean[order], noisy[order], [PEOPLE[row] for row in order]
    )


def test_improvement_is_paired_and_ties_count_half() -> None:
    """If it fails, a method beats its own copy."""
    first = np.array([1.0, 2, 3, 4, np.nan, 5])
    second = np.array([0.0, 2, 4, 1, 1, 5])
    found = probability_of_improvement(first, second, PEOPLE[:6])
    assert found.estimate == pytest.approx((1 + 0.5 + 0 + 1 + 0.5) / 5)
    assert found.n_subjects == 5
    same = probability_of_improvement(first, first, PEOPLE[:6])
    assert (same.estimate, same.low, same.high) == (0.5, 0.5, 0.5)


def test_ranks_come_with_their_uncertainty() -> None:
    """If it fails, a lead by chance looks certain, or a clear one does not."""
    noise = stream("ranks").normal(size=(60, 4))
    values = noise + np.array([5.0, 0.0, 0.05, -5.0])
    best, second, third, last = rank_intervals(values, PEOPLE)
    assert (best.estimate, best.low, best.high) == (1, 1, 1)
    assert (last.estimate, last.low, last.high) == (4, 4, 4)
    assert (second.low, second.high) == (third.low, third.high) == (2, 3)
    assert next(one.estimate for one in rank_intervals(values, PEOPLE, higher=False)) == 4


def test_equal_methods_share_the_better_rank() -> None:
    """If it fails, the order of names decides a rank."""
    column = stream("equal").normal(size=60)
    ranks = rank_intervals(np.column_stack([column, column, column - 1]), PEOPLE)
    assert [one.estimate for one in ranks] == [1, 1, 3]
    assert (ranks[1].low, ranks[1].high) == (1, 1)


def test_rank_intervals_cover() -> None:
    """If it fails, a rank's interval misses the true rank more often than claimed."""
    generator, hits = stream("rank coverage"), 0
    for _ in range(120):
        values = generator.normal(size=(60, 3)) + np.array([0.0, 0.3, 0.6])
        intervals = rank_intervals(values, PEOPLE)
        hits += all(
            one.low <= rank <= one.high for one, rank in zip(intervals, (3, 2, 1), strict=True)
        )
    assert hits / 120 > 0.9
