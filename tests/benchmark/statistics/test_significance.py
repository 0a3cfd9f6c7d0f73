"""Tests of hypotheses against SciPy and statsmodels, and their error rates by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.significance import holm, page_trend, sign_flip_p, swap_p

Array = npt.NDArray[np.float64]


def normal(name: str, *shape: int) -> Array:
    """Return standard normal values named by the test."""
    return stream("test_significance", name).normal(size=shape)


def shares_below(p_values: list[float], *levels: float) -> Array:
    """Return how often p is at most each level."""
    return np.array([np.mean(np.array(p_values) <= level) for level in levels])


def test_sign_flips_match_scipy() -> None:
    """If it fails, the p-value is of another test."""
    differences = normal("differences", 12) + 0.4
    exact = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", alternative="greater"
    )
    assert sign_flip_p(differences) == pytest.approx(exact.pvalue, abs=0.015)


def test_sign_flips_are_exact_at_the_edges() -> None:
    """If it fails, p is 0, rounding breaks ties, or row order and missing rows matter."""
    assert sign_flip_p(np.full(40, 0.1), permutations=99) == 0.01
    assert sign_flip_p(np.zeros(5), permutations=99) == 1
    assert math.isnan(sign_flip_p([np.nan]))
    differences = normal("edges", 20) + 0.3
    padded = np.append(differences[::-1], np.nan)
    assert sign_flip_p(padded) == sign_flip_p(differences)
    # All positive: one sign pattern in 2⁹ ties with the data, up to the order of summation.
    positive = stream("test_significance", "positive").random((20, 9))
    assert min(sign_flip_p(one) for one in positive) > 0.0005


def test_sign_flip_p_values_are_uniform_under_the_null() -> None:
    """If it fails, a null effect is significant more often than claimed."""
    p_values = [
        sign_flip_p(one, permutations=199, seed=number)
        for number, one in enumerate(stream("null").normal(size=(500, 20)))
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def embeddings(name: str, subjects: int = 12) -> tuple[Array, Array, list[str]]:
    """Return clean and altered embeddings that differ by noise alone, and their keys."""
    base, noise = normal(f"{name} base", subjects, 4), normal(f"{name} noise", 2, subjects, 4)
    return base + noise[0], base + noise[1], [f"s{number:02d}" for number in range(subjects)]


def test_swaps_match_every_possible_swap() -> None:
    """If it fails, T's null is not that of labels swapped within pairs."""
    clean, altered, keys = embeddings("exact", 8)
    altered = altered + 0.7
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    null = np.linalg.norm(np.einsum("pn,nd->pd", signs, clean - altered) / 8, axis=1)
    observed = np.linalg.norm(clean.mean(0) - altered.mean(0))
    expected = np.mean(null >= observed - 1e-12)
    assert 0.01 < expected < 0.5
    assert swap_p(clean, altered, keys, permutations=20_000) == pytest.approx(expected, abs=0.01)


def test_swaps_do_not_care_about_rows_or_which_arm_is_which() -> None:
    """If it fails, a cohort read in another order gets another p."""
    clean, altered, keys = embeddings("order")
    order = stream("test_significance", "order").permutation(len(keys))
    p = swap_p(clean, altered, keys)
    assert swap_p(clean[order], altered[order], [keys[row] for row in order]) == p
    assert swap_p(altered, clean, keys) == p


def test_swaps_are_exact_at_the_edges() -> None:
    """If it fails, p is 0, equal arms differ, or an effect in all subjects is not seen."""
    clean, altered, keys = embeddings("edges")
    assert swap_p(clean, clean, keys, permutations=99) == 1
    assert swap_p(clean, altered + 50, keys, permutations=99) == 0.01
    assert math.isnan(swap_p(np.empty((0, 3)), np.empty((0, 3)), []))
    with pytest.raises(InputError, match="finite"):
        swap_p(clean, np.full_like(clean, np.nan), keys)
    with pytest.raises(InputError, match=r"\[12, 4\] and \[11, 4\]"):
        swap_p(clean, altered[1:], keys)


def test_swap_p_values_are_uniform_under_the_null() -> None:
    """If it fails, an artefact of strength 0 is found more or less often than claimed."""
    arms = [embeddings(f"null {number}", 20) for number in range(400)]
    p_values = [swap_p(*arm, permutations=199, seed=number) for number, arm in enumerate(arms)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_visits_of_a_subject_are_swapped_together() -> None:
    """If it fails, repeated visits count as independent, and noise of subjects is significant."""
    person = normal("visits", 200, 10, 1, 3)
    visit = 0.2 * normal("visit", 200, 10, 5, 3)
    differences = (person + visit).reshape(200, 50, 3)
    keys = np.repeat([f"s{number}" for number in range(10)], 5)
    alone = [f"i{number}" for number in range(50)]
    zeros = np.zeros((50, 3))
    clustered = [swap_p(one, zeros, list(keys), permutations=99) for one in differences]
    naive = [swap_p(one, zeros, alone, permutations=99) for one in differences]
    assert shares_below(clustered, 0.1) < 0.16
    assert shares_below(naive, 0.1) > 0.3


@pytest.mark.parametrize(("rows", "conditions"), [(3, 3), (8, 4), (12, 5)])
def test_page_matches_scipy_without_ties(rows: int, conditions: int) -> None:
    """If it fails, a dose-response is read off another statistic than Page's."""
    values = normal("page", rows, conditions) + 0.3 * np.arange(conditions)
    ours = page_trend(values)
    exact = stats.page_trend_test(values, method="exact")
    assert ours.statistic == exact.statistic
    assert ours.p == pytest.approx(exact.pvalue, rel=1e-9)


def test_page_by_random_orders_matches_scipy() -> None:
    """If it fails, p depends on the number of conditions."""
    values = normal("page 7", 6, 7) + 0.2 * np.arange(7)
    exact = stats.page_trend_test(values, method="exact").pvalue
    assert 0.005 < exact < 0.2
    assert page_trend(values, permutations=20_000).p == pytest.approx(exact, abs=0.005)


def test_page_counts_the_orders_of_tied_ranks() -> None:
    """If it fails, ties are broken, or the null is that of untied ranks."""
    values = np.array([[0, 0, 1, 2], [0, 1, 1, 1], [3, 1, 2, 2], [5, 5, 5, 5]])
    ranks, weights = stats.rankdata(values, axis=1), np.arange(1, 5)
    orders = np.array(list(itertools.permutations(range(4))))
    rows = [row[orders] @ weights for row in ranks]
    null = np.array([sum(drawn) for drawn in itertools.product(*rows[:3])]) + rows[3][0]
    observed = float((ranks @ weights).sum())
    ours = page_trend(values)
    assert ours.statistic == observed
    assert ours.p == pytest.approx(np.mean(null >= observed))


@pytest.mark.parametrize("conditions", [3, 8])
def test_page_leaves_out_rows_with_a_missing_value(conditions: int) -> None:
    """If it fails, a missing strength ranks as a value, or the order of rows moves p."""
    values = normal("page missing", 9, conditions)
    padded = np.vstack([values[::-1], [[np.nan, *range(conditions - 1)]]])
    assert page_trend(padded) == page_trend(values)


def test_page_without_rows_or_spread_finds_no_trend() -> None:
    """If it fails, an unsupported pair shows a number, or a flat response a trend."""
    nothing = page_trend([[np.nan, 1.0]])
    assert np.isnan([nothing.statistic, nothing.p]).all()
    assert page_trend(np.ones((4, 3))).p == 1


@pytest.mark.parametrize("conditions", [4, 8])
def test_page_is_wrong_as_often_as_it_claims(conditions: int) -> None:
    """If it fails, a flat dose-response rises more often than claimed, or never."""
    tables = normal(f"page null {conditions}", 400, 15, conditions).round(1)
    p_values = [page_trend(table, permutations=99).p for table in tables]
    # Three binomial standard errors, and p in steps, which is why it may be below.
    np.testing.assert_array_less(
        np.abs(shares_below(p_values, 0.05, 0.2, 0.5) - [0.05, 0.2, 0.5]), [0.033, 0.06, 0.075]
    )


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0], [2.0]], [[1.0, math.inf]]])
def test_tables_without_an_order_are_refused(values: npt.ArrayLike) -> None:
    """If it fails, a trend is tested over one condition or over infinities."""
    with pytest.raises(InputError, match="two or more conditions"):
        page_trend(values)


@pytest.mark.parametrize("permutations", [0, -1])
def test_no_permutations_are_refused(permutations: int) -> None:
    """If it fails, p is 1 whatever the data."""
    clean, altered, keys = embeddings("none")
    for call in (
        lambda: sign_flip_p([1.0], permutations=permutations),
        lambda: swap_p(clean, altered, keys, permutations=permutations),
        lambda: page_trend(np.eye(8), permutations=permutations),
    ):
        with pytest.raises(InputError, match="at least one permutation"):
            call()


def test_adjusted_p_values_match_statsmodels_and_skip_missing_tests() -> None:
    """If it fails, several gated cells raise false alarms or hide true ones."""
    raw = stream("test_significance", "raw").random((20, 7)) ** 3
    raw[:, 5] = raw[:, 1]  # A tie.
    for row in raw:
        np.testing.assert_allclose(holm(row), multipletests(row, method="holm")[1])
        padded = np.insert(row, 3, np.nan)
        np.testing.assert_array_equal(holm(padded), np.insert(holm(row), 3, np.nan))
    assert np.isnan(holm([np.nan, np.nan])).all()
    assert holm([0.6, 0.9]).max() <= 1
    with pytest.raises(InputError, match=r"between 0 and 1 but got 1\.5"):
        holm([0.2, 1.5])


def test_the_rate_of_false_alarms_is_held() -> None:
    """If it fails, families of nulls raise false alarms more often than claimed."""
    families = stats.norm.sf(normal("families", 400, 10))
    assert np.mean([holm(family).min() <= 0.1 for family in families]) < 0.145
