"""Places scores between that of noise and that of the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.reading import Reading, Sample, distributions, shared_bootstrap, summarise
from benchmark.results.paired import on_common_images, paired_difference
from benchmark.results.scores import ORACLE, RANDOM, Scores
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval


class Calibration:
    """The scale of a protocol's calibrated scores on one model and cohort; higher is better.

    c = (s − s_noise) / (s_truth − s_noise), on the images that all three score. Where no truth was
    scored, or the interval of the range from noise to truth holds 0, that range can be no unit of
    measurement. Then c = ± (s − s_noise), in the unit of the score. The scale is decided once, on
    the images that noise and truth score, so that the scores of a protocol are all in one unit.

    Args:
        scores: Scores of a protocol, those of noise among them.

    Attributes:
        truth_is_one: Whether the truth scores 1, or scores are distances from noise.
    """

    def __init__(self, scores: Scores) -> None:
        scoring, noise, truth = scores.scoring, scores.reading_of(RANDOM), scores.reading_of(ORACLE)
        if noise is None:
            raise ValueError("Expected a score of noise, from which scores are measured.")
        self._aggregate, self._sign = scoring.statistic.aggregate, scoring.sign
        self.truth_is_one = truth is not None and self._is_clear(noise, truth)
        self._ends = [noise, truth] if truth is not None and self.truth_is_one else [noise]

    def intervals(self, readings: Sequence[Reading]) -> list[Interval]:
        """Return the calibrated score of each reading, over subjects with a common image."""
        return [
            shared_bootstrap(sample.subjects).statistic_interval(estimate, replicates)
            if len(sample)
            else NO_INTERVAL
            for sample, estimate, replicates in self._calibrate(readings, lambda reading: reading)
        ]

    def replicates(
        self, readings: Sequence[Reading], spread: Callable[[Reading], Reading]
    ) -> FloatArray:
        """Return replicates of the M calibrated scores, [R, M], over subjects of a larger sample.

        Args:
            readings: Scores of M explainers.
            spread: Returns a reading on the larger sample, NaN on images that it lacks.
        """
        return np.stack([drawn for *_, drawn in self._calibrate(readings, spread)], axis=1)

    def _calibrate(
        self, readings: Sequence[Reading], spread: Callable[[Reading], Reading]
    ) -> list[tuple[Sample, float, FloatArray]]:
        """Return the common images, the calibrated score and its replicates of each reading."""
        common = [on_common_images([reading, *self._ends]) for reading in readings]
        alike: dict[Sample, list[int]] = {}
        for index, (own, *_) in enumerate(common):
            alike.setdefault(own.sample, []).append(index)
        calibrated: dict[int, tuple[Sample, float, FloatArray]] = {}
        for sample, indices in alike.items():
            ends = common[indices[0]][1:]
            stacked = [*(common[index][0] for index in indices), *ends]
            estimates, drawn = self._above_noise([spread(reading) for reading in stacked])
            if self.truth_is_one and not self._is_clear(*ends):
                estimates, drawn = np.full_like(estimates, np.nan), np.full_like(drawn, np.nan)
            for column, index in enumerate(indices):
                calibrated[index] = sample, float(estimates[column]), drawn[:, column]
        return [calibrated[index] for index in range(len(readings))]

    def _above_noise(self, readings: Sequence[Reading]) -> tuple[FloatArray, FloatArray]:
        """Return scores [M] and replicates [R, M] on the scale; the ends come last."""
        noise = len(readings) - len(self._ends)
        if not len(readings[0].sample):
            return np.full(len(readings), np.nan), np.full((1, len(readings)), np.nan)
        estimates, drawn = distributions(readings, self._aggregate)
        above, drawn_above = estimates - estimates[noise], drawn - drawn[:, noise : noise + 1]
        if not self.truth_is_one:
            return self._sign * above, self._sign * drawn_above
        span = drawn_above[:, -1:]
        shares = np.full_like(drawn_above, np.nan)
        np.divide(drawn_above, span, out=shares, where=span != 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return above / above[-1], shares

    def _is_clear(self, noise: Reading, truth: Reading) -> bool:
        """Return whether truth and noise certainly differ."""
        span = paired_difference(truth, noise, self._aggregate)
        return span.low > 0 or span.high < 0


def calibrate(scores: Scores) -> list[Interval | None]:
    """Return the calibrated score of each entry; None where there is none, and at a gate.

    A score that is owed to the network stands as it is: chance is 0 and the most is 1 by
    construction, and the truth, which follows no network, is not what to divide by.
    """
    if not scores.can_be_calibrated:
        return [None] * len(scores.entries)
    readings = [entry.reading for entry in scores.entries if entry.reading is not None]
    scoring = scores.scoring
    if scoring.owed:
        intervals = iter([summarise(reading, scoring.statistic.aggregate) for reading in readings])
    else:
        intervals = iter(Calibration(scores).intervals(readings))
    calibrated = [None if entry.reading is None else next(intervals) for entry in scores.entries]
    return [
        None if interval is None or math.isnan(interval.estimate) else interval
        for interval in calibrated
    ]
