"""Inference over subjects: coverage by simulation, and SciPy and scikit-learn as references."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap, slope_over

Array = npt.NDArray[np.float64]

SUBJECTS, IMAGES, DATA_SETS = 40, 5, 2000
PEOPLE = [f"s{number % 12:02d}" for number in range(30)]


def rows(name: str, count: int = len(PEOPLE)) -> Array:
    """Return standard normal values named by the test."""
    return stream("test_statistics", name).normal(size=count)


def clustered(mean: float = 0.0) -> Array:
    """Return data sets of ICC 0.5, [SUBJECTS · IMAGES, DATA_SETS]."""
    generator = stream("clustered")
    person = generator.normal(size=(SUBJECTS, 1, DATA_SETS))
    image = generator.normal(size=(SUBJECTS, IMAGES, DATA_SETS))
    values: Array = mean + (person + image).reshape(-1, DATA_SETS)
    return values


def coverage(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([one.low <= truth <= one.high for one in intervals]))


@pytest.fixture(scope="module")
def bootstrap() -> SubjectBootstrap:
    """12 subjects with two or three rows each."""
    return SubjectBootstrap(PEOPLE, resamples=2000)


def test_intervals_of_clustered_means_cover_as_often_as_they_claim() -> None:
    """If it fails, every interval on the board is too narrow or too wide."""
    subjects = np.repeat([f"s{number}" for number in range(SUBJECTS)], IMAGES)
    intervals = SubjectBootstrap(list(subjects), resamples=2000).means(clustered(mean=1.0))
    assert 0.93 <= coverage(intervals, 1.0) <= 0.97
    assert {one.n_subjects for one in intervals} == {SUBJECTS}


def test_resampling_images_would_not_cover() -> None:
    """If it fails, the simulation above cannot tell a cluster bootstrap from a naive one."""
    images = [f"i{number}" for number in range(SUBJECTS * IMAGES)]
    intervals = SubjectBootstrap(images, resamples=1000).means(clustered())
    assert coverage(intervals, 0.0) < 0.85


def test_intervals_of_the_auroc_cover() -> None:
    """If it fails, gates on AUROC open or shut too often."""
    generator, truth = stream("auroc coverage"), float(stats.norm.cdf(1 / math.sqrt(2)))
    bootstrap = SubjectBootstrap([f"s{number}" for number in range(80)], resamples=500)
    labels = np.arange(80) % 2
    scores = labels + generator.normal(size=(400, 80))
    assert 0.92 <= coverage([bootstrap.auroc(one, labels) for one in scores], truth) <= 0.98


def test_replicates_are_means_over_redrawn_subjects(bootstrap: SubjectBootstrap) -> None:
    """If it fails, rows of a subject do not move together, or weights go to the wrong subject."""
    indicator = np.array([[person == name for name in sorted(set(PEOPLE))] for person in PEOPLE])
    shares = bootstrap.replicates(indicator.astype(float))
    sizes = indicator.sum(0)
    drawn = shares / sizes
    drawn = drawn / drawn.sum(1, keepdims=True) * len(sizes)
    np.testing.assert_allclose(drawn, drawn.round(), atol=1e-9)
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.1)
    values = rows("values")
    sums = indicator.T @ values
    np.testing.assert_allclose(bootstrap.replicates(values), drawn @ sums / (drawn @ sizes))


def test_the_order_of_rows_changes_nothing(bootstrap: SubjectBootstrap) -> None:
    """If it fails, a cohort read in another order gets other intervals."""
    order = stream("order").permutation(len(PEOPLE))
    shuffled = SubjectBootstrap([PEOPLE[row] for row in order], resamples=2000)
    values, labels = rows("values"), np.arange(len(PEOPLE)) % 2
    for first, second in (
        (bootstrap.mean(values), shuffled.mean(values[order])),
        (bootstrap.auroc(values, labels), shuffled.auroc(values[order], labels[order])),
    ):
        assert [second.estimate, second.low, second.high] == pytest.approx(
            [first.estimate, first.low, first.high], abs=1e-12
        )


def test_rows_without_a_value_are_left_out(bootstrap: SubjectBootstrap) -> None:
    """If it fails, a missing value counts as zero or takes the whole column with it."""
    values = np.column_stack([rows("a"), rows("b")])
    values[[2, 14, 26], 0] = np.nan  # All rows of subject s02.
    partly, fully = bootstrap.means(values)
    assert partly.estimate == pytest.approx(np.nanmean(values[:, 0]))
    assert (partly.n_subjects, fully.n_subjects) == (11, 12)
    assert fully == bootstrap.mean(values[:, 1])


def test_no_value_at_all_gives_nan_and_no_warning(bootstrap: SubjectBootstrap) -> None:
    """If it fails, an unsupported pair shows a number or stops the run."""
    nothing = np.full(len(PEOPLE), np.nan)
    for interval in (
        bootstrap.mean(nothing),
        bootstrap.ratio(nothing, nothing),
        bootstrap.auroc(nothing, np.arange(len(PEOPLE)) % 2),
        bootstrap.group_difference(nothing, np.arange(len(PEOPLE)) % 2),
    ):
        assert np.isnan([interval.estimate, interval.low, interval.high]).all()
        assert interval.n_subjects == 0


def test_one_subject_has_an_estimate_but_no_limits() -> None:
    """If it fails, a single subject passes for certainty."""
    interval = SubjectBootstrap(["a", "a"], resamples=10).mean([1.0, 2.0])
    assert (interval.estimate, interval.n_subjects) == (1.5, 1)
    assert np.isnan([interval.low, interval.high]).all()


def test_differences_are_paired(bootstrap: SubjectBootstrap) -> None:
    """If it fails, a constant advantage drowns in the spread between subjects."""
    first = 10 * rows("spread")
    second = first - 0.5
    second[3] = np.nan
    interval = bootstrap.difference(first, second)
    assert [interval.low, interval.high] == pytest.approx([0.5, 0.5])


def test_ratio_is_that_of_the_means_over_common_rows(bootstrap: SubjectBootstrap) -> None:
    """If it fails, learned_share averages ratios or mixes different subjects."""
    denominator = 2 + 0.1 * rows("denominator")
    numerator = 0.25 * denominator
    numerator[0], denominator[5] = np.nan, np.nan
    interval = bootstrap.ratio(numerator, denominator)
    assert [interval.estimate, interval.low, interval.high] == pytest.approx([0.25] * 3)


def test_group_difference_ignores_replicates_without_a_group() -> None:
    """If it fails, a rare group makes its difference NaN or biases it."""
    bootstrap = SubjectBootstrap([f"s{number}" for number in range(6)], resamples=2000)
    interval = bootstrap.group_difference([3, 3, 3, 3, 3, 1], [0, 0, 0, 0, 0, 1])
    assert (interval.estimate, interval.low, interval.high) == (2, 2, 2)


def test_auroc_with_ties_matches_scikit_learn_on_every_resample() -> None:
    """If it fails, ties or multiplicities are counted wrongly."""
    bootstrap = SubjectBootstrap(PEOPLE, resamples=50)
    scores, labels = rows("scores").round(0), (rows("labels") > 0).astype(int)
    names = sorted(set(PEOPLE))
    indicator = np.array([[person == name for name in names] for person in PEOPLE]).astype(float)
    shares = bootstrap.replicates(indicator) / indicator.sum(0)
    drawn = (shares / shares.sum(1, keepdims=True) * len(names)).round().astype(int)
    weights = drawn @ indicator.T
    expected = [roc_auc_score(labels, scores, sample_weight=weight) for weight in weights]
    np.testing.assert_allclose(bootstrap.auroc_replicates(scores, labels), expected)
    assert bootstrap.auroc(scores, labels).estimate == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0]] * 30, [math.inf] * 30])
def test_values_that_cannot_be_averaged_are_refused(
    bootstrap: SubjectBootstrap, values: list[float]
) -> None:
    """If it fails, misaligned rows are averaged in silence."""
    with pytest.raises(InputError, match="Expected"):
        bootstrap.mean(values)


def test_slopes_are_those_of_least_squares_and_need_every_condition() -> None:
    """If it fails, trends over strengths are of another line, or of part of the conditions."""
    x = np.array([0.0, 0.3, 0.5, 2.0])
    values = stream("test_statistics", "slopes").normal(size=(6, 4))
    expected = [stats.linregress(x, row).slope for row in values]
    np.testing.assert_allclose(slope_over(values, x), expected)
    values[2, 1] = np.nan
    slopes = slope_over(values, x)
    assert math.isnan(slopes[2])
    np.testing.assert_allclose(np.delete(slopes, 2), np.delete(expected, 2))


@pytest.mark.parametrize("x", [[0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, math.nan]])
def test_conditions_without_a_slope_are_refused(x: list[float]) -> None:
    """If it fails, a trend is read off no spread, or columns are paired with other conditions."""
    with pytest.raises(InputError, match=r"Expected .*x .* but got"):
        slope_over(np.zeros((4, 3)), x)
