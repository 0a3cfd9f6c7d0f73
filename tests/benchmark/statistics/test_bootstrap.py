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
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap

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


def intervals_of_means(bootstrap: SubjectBootstrap, columns: Array) -> list[Interval]:
    """Return the interval of each column's mean."""
    pairs = zip(columns.mean(0), bootstrap.replicates(columns).T, strict=True)
    return [bootstrap.statistic_interval(float(mean), replicates) for mean, replicates in pairs]


def coverage(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([interval.low <= truth <= interval.high for interval in intervals]))


@pytest.fixture(scope="module")
def bootstrap() -> SubjectBootstrap:
    """12 subjects with two or three rows each."""
    return SubjectBootstrap(PEOPLE, resamples=2000)


def test_intervals_of_clustered_means_cover_as_often_as_they_claim() -> None:
    """If it fails, every interval on the board is too narrow or too wide."""
    subjects = np.repeat([f"s{number}" for number in range(SUBJECTS)], IMAGES)
    bootstrap = SubjectBootstrap(list(subjects), resamples=2000)
    intervals = intervals_of_means(bootstrap, clustered(mean=1.0))
    assert 0.93 <= coverage(intervals, 1.0) <= 0.97
    assert {interval.n_subjects for interval in intervals} == {SUBJECTS}


def test_resampling_images_would_not_cover() -> None:
    """If it fails, the simulation above cannot tell a cluster bootstrap from a naive one."""
    images = [f"i{number}" for number in range(SUBJECTS * IMAGES)]
    intervals = intervals_of_means(SubjectBootstrap(images, resamples=1000), clustered())
    assert coverage(intervals, 0.0) < 0.85


def test_intervals_of_the_auroc_cover() -> None:
    """If it fails, gates on AUROC open or shut too often."""
    generator, truth = stream("auroc coverage"), float(stats.norm.cdf(1 / math.sqrt(2)))
    bootstrap = SubjectBootstrap([f"s{number}" for number in range(80)], resamples=500)
    labels = np.arange(80) % 2
    scores = labels + generator.normal(size=(400, 80))
    assert 0.92 <= coverage([bootstrap.auroc(row, labels) for row in scores], truth) <= 0.98


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
    values[[2, 3, 14, 26]] = np.nan  # Three of them are all rows of subject s02.
    sums = indicator.T @ np.nan_to_num(values)
    counts = indicator.T @ np.isfinite(values).astype(int)
    np.testing.assert_allclose(bootstrap.replicates(values), drawn @ sums / (drawn @ counts))


def test_the_order_of_rows_changes_nothing(bootstrap: SubjectBootstrap) -> None:
    """If it fails, a cohort read in another order gets other intervals."""
    order = stream("order").permutation(len(PEOPLE))
    shuffled = SubjectBootstrap([PEOPLE[row] for row in order], resamples=2000)
    values, labels = rows("values"), np.arange(len(PEOPLE)) % 2
    np.testing.assert_allclose(
        shuffled.replicates(values[order]), bootstrap.replicates(values), atol=1e-12
    )
    first, second = bootstrap.auroc(values, labels), shuffled.auroc(values[order], labels[order])
    assert [second.estimate, second.low, second.high] == pytest.approx(
        [first.estimate, first.low, first.high], abs=1e-12
    )


def test_a_column_without_values_keeps_them_from_no_other(bootstrap: SubjectBootstrap) -> None:
    """If it fails, a missing value takes the whole table with it."""
    values = np.column_stack([rows("a"), rows("b")])
    values[:, 0] = np.nan
    replicates = bootstrap.replicates(values)
    assert np.isnan(replicates[:, 0]).all()
    np.testing.assert_allclose(replicates[:, 1], bootstrap.replicates(values[:, 1]), atol=1e-12)


def test_no_value_at_all_gives_nan_and_no_warning(bootstrap: SubjectBootstrap) -> None:
    """If it fails, an unsupported pair shows a number or stops the run."""
    interval = bootstrap.auroc(np.full(len(PEOPLE), np.nan), np.arange(len(PEOPLE)) % 2)
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()
    assert interval.n_subjects == 0


def test_one_subject_has_an_estimate_but_no_limits() -> None:
    """If it fails, a single subject passes for certainty."""
    interval = SubjectBootstrap(["a", "a"], resamples=10).statistic_interval(1.5, np.ones(10))
    assert (interval.estimate, interval.n_subjects) == (1.5, 1)
    assert np.isnan([interval.low, interval.high]).all()


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


def test_auroc_of_many_subjects_is_not_rounded() -> None:
    """If it fails, wins of a large cohort are summed in too few digits, and its AUROC drifts."""
    people, labels = [f"s{number:04d}" for number in range(3001)], np.arange(3001) % 2
    scores = rows("many", 3001).round(2) + labels
    bootstrap = SubjectBootstrap(people, resamples=2)
    drawn = np.concatenate(list(bootstrap.draws(1)))
    expected = [roc_auc_score(labels, scores, sample_weight=weights) for weights in drawn]
    np.testing.assert_allclose(bootstrap.auroc_replicates(scores, labels), expected, rtol=1e-13)


def test_auroc_of_one_class_is_no_number(bootstrap: SubjectBootstrap) -> None:
    """If it fails, a cohort whose visits are all of one group stops a run."""
    interval = bootstrap.auroc(rows("values"), np.zeros(len(PEOPLE), dtype=int))
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()


@pytest.mark.parametrize("values", [[1.0, 2.0], [[[1.0]]] * 30, [math.inf] * 30])
def test_values_that_cannot_be_averaged_are_refused(
    bootstrap: SubjectBootstrap, values: npt.ArrayLike
) -> None:
    """If it fails, misaligned rows are averaged in silence."""
    with pytest.raises(InputError, match="Expected"):
        bootstrap.replicates(values)
