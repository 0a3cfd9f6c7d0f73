"""Comparisons of explainers against plain loops, and how often rank intervals cover."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.rank_intervals import probability_of_improvement, rank_intervals

Array = npt.NDArray[np.float64]
PEOPLE = [f"s{number:02d}" for number in range(30)]


def normal(name: str, *shape: int) -> Array:
    """Return standard normal values named by the test."""
    return stream("test_comparison", name).normal(size=shape)


@pytest.fixture(scope="module")
def bootstrap() -> SubjectBootstrap:
    """30 subjects, one row each."""
    return SubjectBootstrap(PEOPLE, resamples=1000)


def test_improvement_counts_pairs_and_ties_half(bootstrap: SubjectBootstrap) -> None:
    """If it fails, ties count as losses, or subjects are compared with one another."""
    first, second = normal("first", 30).round(0), normal("second", 30).round(0)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(first, second, strict=True)]
    assert 0.5 in wins
    assert probability_of_improvement(first, second, bootstrap) == bootstrap.mean(wins)
    assert probability_of_improvement(first, first, bootstrap).estimate == 0.5
    spread = 100 * normal("spread", 30)
    always = probability_of_improvement(spread + 0.1, spread, bootstrap)
    assert (always.estimate, always.low, always.high) == (1, 1, 1)


def test_improvement_leaves_out_missing_values_and_mirrors(bootstrap: SubjectBootstrap) -> None:
    """If it fails, a missing value loses, or the two directions do not add up to one."""
    first, second = normal("a", 30) + 0.3, normal("b", 30)
    first[4], second[9] = np.nan, np.nan
    forth = probability_of_improvement(first, second, bootstrap)
    back = probability_of_improvement(second, first, bootstrap)
    assert forth.n_subjects == 28
    assert [1 - back.estimate, 1 - back.high, 1 - back.low] == pytest.approx(
        [forth.estimate, forth.low, forth.high]
    )
    for wrong in (second[1:], np.full(30, math.inf)):
        with pytest.raises(InputError, match="Expected two times"):
            probability_of_improvement(first, wrong, bootstrap)


def test_intervals_of_improvement_cover() -> None:
    """If it fails, a coin toss counts as an improvement more often than claimed."""
    bootstrap = SubjectBootstrap([f"s{number}" for number in range(60)], resamples=500)
    truth = float(stats.norm.cdf(0.3 / math.sqrt(2)))
    pairs = normal("coverage", 400, 2, 60)
    covered = [
        one.low <= truth <= one.high
        for first, second in pairs
        for one in [probability_of_improvement(first + 0.3, second, bootstrap)]
    ]
    assert 0.91 <= np.mean(covered) <= 0.98


def test_ranks_are_those_of_the_means_on_every_resample(bootstrap: SubjectBootstrap) -> None:
    """If it fails, explainers meet different resamples, or a better mean has a worse rank."""
    values = normal("ranks", 30, 1) + normal("noise", 30, 4) + [0.0, 0.8, 0.2, 0.3]
    replicates = np.column_stack([bootstrap.replicates(column) for column in values.T])
    drawn = stats.rankdata(-replicates, method="min", axis=1)
    expected = stats.rankdata(-values.mean(0), method="min")
    intervals = rank_intervals(values, bootstrap)
    for place, interval in enumerate(intervals):
        low, high = np.quantile(drawn[:, place], [0.025, 0.975])
        assert (interval.low, interval.high) == (math.floor(low), math.ceil(high))
        assert interval.estimate == expected[place]
    assert len({(one.low, one.high) for one in intervals}) > 1
    assert rank_intervals(-values, bootstrap, higher_is_better=False) == intervals
    assert rank_intervals(values, bootstrap, higher_is_better=False)[1].estimate == 4


def test_equal_explainers_share_the_better_rank(bootstrap: SubjectBootstrap) -> None:
    """If it fails, rounding decides between two names of the same method."""
    values = normal("equal", 30)
    same = np.column_stack([values, values + 5, (values + 0.1) - 0.1, values - 5])
    intervals = rank_intervals(same, bootstrap)
    assert [(one.estimate, one.low, one.high) for one in intervals] == [
        (2, 2, 2),
        (1, 1, 1),
        (2, 2, 2),
        (4, 4, 4),
    ]


def test_ranks_are_read_off_shared_subjects(bootstrap: SubjectBootstrap) -> None:
    """If it fails, an explainer that fails on hard subjects climbs, or NaN takes a rank."""
    ease = np.linspace(0, 10, 30)
    better, worse = ease + 0.1, np.where(ease > 5, ease, np.nan)
    nothing = np.full(30, np.nan)
    assert np.nanmean(worse) > better.mean()
    first, second, third = rank_intervals(np.column_stack([worse, nothing, better]), bootstrap)
    assert (third.estimate, first.estimate) == (1, 2)
    assert first.n_subjects == third.n_subjects == 15
    assert np.isnan([second.estimate, second.low, second.high]).all()
    apart = rank_intervals(np.column_stack([worse, np.where(ease > 5, np.nan, ease)]), bootstrap)
    assert all(math.isnan(one.estimate) and one.n_subjects == 0 for one in apart)
    assert len(rank_intervals(np.column_stack([nothing, nothing]), bootstrap)) == 2


def test_rank_intervals_cover_unless_explainers_are_equal() -> None:
    """If it fails, the docstring misstates when the interval of a rank can be relied upon."""
    bootstrap = SubjectBootstrap([f"s{number}" for number in range(40)], resamples=200)
    covered = {}
    for gap in (0.2, 1e-4):
        noise = normal(f"gap {gap}", 200, 40, 5) - gap * np.arange(5)
        sets = [rank_intervals(one, bootstrap) for one in noise]
        inside = [[one.low <= 1 + e <= one.high for e, one in enumerate(some)] for some in sets]
        covered[gap] = np.mean(inside, axis=0)
    assert covered[0.2].min() > 0.93
    assert max(covered[1e-4][[0, 4]]) < 0.9
