"""Paired differences between two scores on the images that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.reading import Aggregate, Reading, Sample, distributions, shared_bootstrap, summarise
from benchmark.records.storage.finished import FinishedCell
from benchmark.results.lookup import Protocols, group_records
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval, SubjectBootstrap

_ALIGNED = "_aligned"


@dataclass(frozen=True)
class Comparison:
    """The paired difference between the scores of two explainers, ``first`` − ``second``.

    Attributes:
        interval: The difference over the subjects that have both.
    """

    cohort: str
    model: str
    protocol: str
    statistic: str
    first: str
    second: str
    interval: Interval


def aligned_pairs(records: Sequence[FinishedCell], protocols: Protocols) -> list[Comparison]:
    """Return, for each method scored as published and at true centres, aligned − published."""
    comparisons = []
    for group in group_records(records, protocols):
        names, statistic = group.records[0].names, group.scores.scoring.statistic
        about = names.cohort, names.model, names.protocol, statistic.name
        for entry in group.scores.entries:
            first, second = entry.explainer + _ALIGNED, entry.explainer
            aligned = group.scores.reading_of(first)
            if aligned is not None and entry.reading is not None:
                interval = paired_difference(aligned, entry.reading, statistic.aggregate)
                comparisons.append(Comparison(*about, first, second, interval))
    return [comparison for comparison in comparisons if comparison.interval.n_subjects]


def paired_difference(
    first: Reading, second: Reading, aggregate: Aggregate, sign: float = 1.0
) -> Interval:
    """Return the aggregate of ``first`` minus that of ``second`` on the images that both score.

    A sign of −1 turns the difference round. The interval of studentised means is the bootstrap-t of
    the differences of single images, which has no limits below 20 subjects.
    """
    if aggregate == "studentised":
        pair = on_common_images([first, second])
        differences = sign * (pair[0].values - pair[1].values)
        return summarise(replace(pair[0], values=differences), aggregate)
    resampled = resample_pair(first, second, aggregate)
    if resampled is None:
        return NO_INTERVAL
    estimates, replicates, bootstrap = resampled
    return bootstrap.statistic_interval(
        sign * float(estimates[0] - estimates[1]), sign * (replicates[:, 0] - replicates[:, 1])
    )


def resample_pair(
    first: Reading, second: Reading, aggregate: Aggregate
) -> tuple[FloatArray, FloatArray, SubjectBootstrap] | None:
    """Return the aggregates of two readings on the images that both score, or None without any.

    Returns:
        The aggregates, [2]; their replicates from the same resamples, [R, 2]; and the bootstrap.
    """
    pair = on_common_images([first, second])
    sample = pair[0].sample
    if not len(sample):
        return None
    return *distributions(pair, aggregate), shared_bootstrap(sample.subjects)


def on_common_images(readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings on the images for which all have a value, in the order of their keys.

    Otherwise a method that scores only the easy images would be measured against controls that
    scored the others too.
    """
    valued = (compress(reading.sample.keys, np.isfinite(reading.values)) for reading in readings)
    keys = sorted(set.intersection(*map(set, valued)))
    return [on_images(reading, keys) for reading in readings]


def on_images(reading: Reading, keys: Sequence[str]) -> Reading:
    """Return the reading on these of its images, in their order."""
    sample = reading.sample
    if sample.keys == tuple(keys):
        return reading
    row_of = {key: row for row, key in enumerate(sample.keys)}
    rows = [row_of[key] for key in keys]
    subset = Sample(
        tuple(keys),
        tuple(sample.subjects[row] for row in rows),
        tuple(sample.groups[row] for row in rows),
    )
    denominators = None if reading.denominators is None else reading.denominators[rows]
    return replace(reading, sample=subset, values=reading.values[rows], denominators=denominators)
