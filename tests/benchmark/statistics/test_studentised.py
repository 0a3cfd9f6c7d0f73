"""The bootstrap-t: against a plain loop, by simulation, and where there is nothing to resample."""

from __future__ import annotations

import math

import numpy as np
import pytest
import simulations
from numpy.testing import assert_allclose

from benchmark.errors import InputError
from benchmark.reading import Reading, Sample, summarise, summarise_all
from benchmark.results.paired import paired_difference
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.significance import sign_flip_p
from benchmark.statistics.studentised import studentised_intervals

SUBJECTS = simulations.names_of(24)
PEOPLE = [SUBJECTS[row % 24] for row in range(60)]  # two or three rows each


def skewed(name: str, count: int) -> simulations.Array:
    """Return values of which few are large, named by the test."""
    return stream("test_studentised", name).lognormal(size=count)


def reading_of(values: simulations.Array) -> Reading:
    names = simulations.names_of(len(values))
    return Reading("own", Sample(names, names, (0, 1) * (len(values) // 2)), values)


def test_limits_are_those_of_a_plain_loop_over_resamples() -> None:
    """If it fails, subjects with several rows, or without, have intervals of something else."""
    values = skewed("loop", 60)
    values[::24] = np.nan  # a subject without any row, which is never drawn into a mean
    bootstrap = SubjectBootstrap(PEOPLE, resamples=400)
    (drawn,) = list(bootstrap.draws(1))
    of_subject = [
        [value for value, person in zip(values, PEOPLE, strict=True) if person == name]
        for name in SUBJECTS
    ]

    def mean_and_error(times: list[int]) -> tuple[float, float]:
        rows = [of_subject[subject] for subject, count in enumerate(times) for _ in range(count)]
        known = [[value for value in row if not math.isnan(value)] for row in rows]
        size = sum(map(len, known))
        mean = sum(map(sum, known)) / size
        residuals = [sum(value - mean for value in row) for row in known]
        return mean, math.sqrt(sum(residual**2 for residual in residuals)) / size

    mean, error = mean_and_error([1] * 24)
    parts = [mean_and_error([int(count) for count in row]) for row in drawn]
    low, high = np.quantile([(part - mean) / own for part, own in parts], (0.025, 0.975))
    (interval,) = studentised_intervals(bootstrap, values[:, None])
    assert interval.n_subjects == 23
    expected = (mean, mean - high * error, mean - low * error)
    assert_allclose((interval.estimate, interval.low, interval.high), expected, rtol=1e-9)


@pytest.mark.parametrize("noise", simulations.NOISES)
@pytest.mark.parametrize("subjects", [20, 64, 136])
def test_intervals_cover_as_often_as_they_claim(noise: str, subjects: int) -> None:
    """If it fails, verdicts of skewed scores pass or fail more often than is said."""
    covered = simulations.coverage_of_mean(noise, subjects, 1500, 1000)
    # With a tail as long as the lognormal's, no bootstrap is exact at these sizes.
    lowest = 0.91 if noise == "lognormal" else 0.93
    assert lowest <= covered <= 0.97


def test_below_20_subjects_no_limits_are_stated() -> None:
    """If it fails, a score of a handful of subjects looks certain."""
    few, enough = (summarise(reading_of(skewed("few", n)), "studentised") for n in (18, 20))
    assert few.estimate == pytest.approx(skewed("few", 18).mean())
    assert (math.isnan(few.low), math.isnan(few.high), few.n_subjects) == (True, True, 18)
    assert enough.low < enough.estimate < enough.high
    many_images = SubjectBootstrap([f"s{row % 19}" for row in range(60)])
    (interval,) = studentised_intervals(many_images, skewed("images", 60)[:, None])
    assert (math.isnan(interval.low), interval.n_subjects) == (True, 19)
    nobody = summarise(reading_of(np.full(20, np.nan)), "studentised")
    assert (math.isnan(nobody.estimate), nobody.n_subjects) == (True, 0)


def test_equal_values_are_certain_and_rounding_is_not_above_zero() -> None:
    """If it fails, a map that owes exactly nothing passes by the last bit of a sum."""
    for value in (0.0, 0.3, 1 / 3):
        equal = summarise(reading_of(np.full(64, value)), "studentised")
        assert (equal.low, equal.high) == (equal.estimate, equal.estimate)
        assert equal.estimate == pytest.approx(value)
    noise = summarise(reading_of(1e-17 * skewed("rounding", 64)), "studentised")
    assert (noise.estimate, noise.low, noise.high) == (0, 0, 0)


def test_resamples_of_equal_values_leave_finite_limits() -> None:
    """If it fails, one subject among many that owe nothing makes the interval endless."""
    values = np.zeros(64)
    values[:2] = 1.0  # in a seventh of the resamples neither is drawn
    interval = summarise(reading_of(values), "studentised")
    assert math.isfinite(interval.low)
    assert math.isfinite(interval.high)
    assert interval.low < 2 / 64 < interval.high


def test_another_reading_changes_no_bit_of_an_interval() -> None:
    """If it fails, scores depend on which explainers were scored beside them."""
    first, second = reading_of(skewed("a", 64)), reading_of(skewed("b", 64))
    missing = reading_of(np.full(64, np.nan))
    alone = summarise(first, "studentised")
    for others in ([second], [missing, second]):
        assert summarise_all([*others, first], "studentised")[-1] == alone


def test_a_difference_is_studentised_subject_by_subject() -> None:
    """If it fails, two methods that differ in every subject by the same are called equal."""
    values = skewed("paired", 64)
    first, second = reading_of(values + 0.1), reading_of(values)
    difference = paired_difference(first, second, "studentised")
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))
    own = paired_difference(first, reading_of(skewed("other", 64)), "studentised")
    turned = paired_difference(first, reading_of(skewed("other", 64)), "studentised", -1.0)
    assert (turned.low, turned.high) == pytest.approx((-own.high, -own.low), abs=1e-3)
    nothing = paired_difference(first, reading_of(np.full(64, np.nan)), "studentised")
    assert nothing.n_subjects == 0


def test_flipping_signs_of_a_studentised_mean_gives_the_p_value_of_the_mean() -> None:
    """If it fails, skewed differences need a test of their own.

    A flip keeps the sum of squares, so that mean/error rises with the mean.
    """
    values = skewed("flip", 12) - 1.0
    signs = np.array(np.meshgrid(*[[-1, 1]] * 12)).reshape(12, -1).T
    flipped = signs * values
    t_values = flipped.mean(1) / flipped.std(1)
    exact = (t_values >= values.mean() / values.std() - 1e-12).mean()
    assert sign_flip_p(values) == pytest.approx(float(exact), abs=0.015)


def test_infinite_values_are_refused() -> None:
    """If it fails, one division by zero turns a whole interval into no number in silence."""
    bootstrap = SubjectBootstrap(SUBJECTS, resamples=10)
    with pytest.raises(InputError, match="an infinite one"):
        studentised_intervals(bootstrap, np.full((24, 1), np.inf))
