"""Ranks against SciPy on every resample, and how often their intervals cover."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from benchmark.seeding import stream
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap, ranks_of_replicates

Array = npt.NDArray[np.float64]
PEOPLE = [f"s{number:02d}" for number in range(30)]


def normal(name: str, *shape: int) -> Array:
    """Return standard normal values named by the test."""
    return stream("test_comparison", name).normal(size=shape)


def ranks_of_means(values: Array, bootstrap: SubjectBootstrap) -> list[Interval]:
    return ranks_of_replicates(values.mean(0), bootstrap.replicates(values), bootstrap)


@pytest.fixture(scope="module")
def bootstrap() -> SubjectBootstrap:
    """30 subjects, one row each."""
    return SubjectBootstrap(PEOPLE, resamples=1000)


def test_ranks_are_those_of_the_means_on_every_resample(bootstrap: SubjectBootstrap) -> None:
    """If it fails, explainers meet different resamples, or a better mean has a worse rank."""
    values = normal("ranks", 30, 1) + normal("noise", 30, 4) + [0.0, 0.8, 0.2, 0.3]
    replicates = np.column_stack([bootstrap.replicates(column) for column in values.T])
    drawn = stats.rankdata(-replicates, method="min", axis=1)
    expected = stats.rankdata(-values.mean(0), method="min")
    intervals = ranks_of_means(values, bootstrap)
    for column, interval in enumerate(intervals):
        low, high = np.quantile(drawn[:, column], [0.025, 0.975])
        assert (interval.low, interval.high) == (math.floor(low), math.ceil(high))
        assert interval.estimate == expected[column]
    assert len({(interval.low, interval.high) for interval in intervals}) > 1
    assert ranks_of_means(-values, bootstrap)[1].estimate == 4


def test_equal_explainers_share_the_better_rank(bootstrap: SubjectBootstrap) -> None:
    """If it fails, rounding decides between two names of the same method."""
    values = normal("equal", 30)
    same = np.column_stack([values, values + 5, (values + 0.1) - 0.1, values - 5])
    intervals = ranks_of_means(same, bootstrap)
    assert [(rank.estimate, rank.low, rank.high) for rank in intervals] == [
        (2, 2, 2),
        (1, 1, 1),
        (2, 2, 2),
        (4, 4, 4),
    ]


def test_an_explainer_without_a_value_has_no_rank(bootstrap: SubjectBootstrap) -> None:
    """If it fails, NaN takes a rank from an explainer that was scored."""
    values = np.column_stack([np.full(30, np.nan), normal("valued", 30)])
    missing, valued = ranks_of_means(values, bootstrap)
    assert np.isnan([missing.estimate, missing.low, missing.high]).all()
    assert (valued.estimate, valued.low, valued.high) == (1, 1, 1)


def test_rank_intervals_cover_unless_explainers_are_equal() -> None:
    """If it fails, the docstring misstates when the interval of a rank can be relied upon."""
    bootstrap = SubjectBootstrap([f"s{number}" for number in range(40)], resamples=200)
    covered = {}
    for gap in (0.2, 1e-4):
        noise = normal(f"gap {gap}", 200, 40, 5) - gap * np.arange(5)
        inside = [
            [
                interval.low <= rank <= interval.high
                for rank, interval in enumerate(ranks_of_means(values, bootstrap), start=1)
            ]
            for values in noise
        ]
        covered[gap] = np.mean(inside, axis=0)
    assert covered[0.2].min() > 0.93
    assert max(covered[1e-4][[0, 4]]) < 0.9
