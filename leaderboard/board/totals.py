"""Totals where scores are owed to the network: sums of means over the subjects of some cohorts.

A score that is owed is a plain mean over subjects, and chance is 0. So a total is a weighted sum of
means, and each subject has an influence on it: the sum of what it adds to each of them. Scores of
one cohort are of the same subjects, so that their errors go together; scores of different cohorts
are independent, and their variances add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.reading import Reading
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from benchmark.statistics.simultaneous import Block, total_intervals
from leaderboard.published.record import PublishedRecord


@dataclass(frozen=True)
class Part:
    """A score of all explainers, with its weight in a total.

    Attributes:
        cohort: Fingerprint of the cohort; parts of one cohort are of the same people.
        weight: Weight in the total.
        readings: A value per image by explainer; who is not among them has chance, 0, everywhere.
    """

    cohort: str
    weight: float
    readings: Mapping[str, Reading]


def part_of(records: Mapping[str, PublishedRecord], weight: float) -> Part:
    """Return a part of totals, made of the records of one protocol on one cohort, by explainer."""
    first = next(iter(records.values()))
    scores = {name: record.score for name, record in records.items()}
    readings = {name: score for name, score in scores.items() if score is not None}
    return Part(first.identity.cohort_fingerprint, weight, readings)


def intervals_of(parts: Sequence[Part], explainers: Sequence[str]) -> dict[str, Interval]:
    """Return the total of each explainer, with the interval of its studentised bootstrap."""
    blocks = make_blocks(parts, explainers)
    if not blocks or not explainers:
        return dict.fromkeys(explainers, NO_INTERVAL)
    return dict(zip(explainers, total_intervals(blocks), strict=True))


def difference_of(parts: Sequence[Part], first: str, second: str) -> Interval:
    """Return the total of one explainer minus that of another, paired where subjects are."""
    return differences_of(parts, (first, second), ((0, 1),))[0]


def differences_of(
    parts: Sequence[Part], explainers: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> list[Interval]:
    """Return the differences of totals of pairs of explainers, given by their positions."""
    if not pairs:
        return []
    first, second = np.array(pairs).T
    blocks = [
        replace(block, values=block.values[:, first] - block.values[:, second])
        for block in make_blocks(parts, explainers)
    ]
    return total_intervals(blocks)


def make_blocks(parts: Sequence[Part], explainers: Sequence[str]) -> list[Block]:
    """Return a block for each cohort, whose means add up to the totals of K explainers.

    The value of a subject is the weighted sum of scores plus the subject's influence on each: n/N
    times the sum of what its images lie above the mean, of n subjects in the block and N images
    with that score; nothing where it has no such score.
    """
    cohorts: dict[str, list[Part]] = {}
    for part in parts:
        cohorts.setdefault(part.cohort, []).append(part)
    blocks = (_block(name, own, explainers) for name, own in cohorts.items())
    return [block for block in blocks if block.subjects]


def _block(name: str, parts: Sequence[Part], explainers: Sequence[str]) -> Block:
    group_of: dict[str, int] = {}
    for sample in {reading.sample for part in parts for reading in part.readings.values()}:
        for subject, group in zip(sample.subjects, sample.groups, strict=True):
            group_of[subject] = max(group, group_of.get(subject, 0))
    subjects = sorted(group_of)
    row_of = {subject: row for row, subject in enumerate(subjects)}
    values = np.zeros((len(subjects), len(explainers)))
    for part in parts:
        for column, explainer in enumerate(explainers):
            if explainer in part.readings:
                values[:, column] += part.weight * _influence(part.readings[explainer], row_of)
    return Block(name, values, tuple(subjects), tuple(group_of[subject] for subject in subjects))


def _influence(reading: Reading, row_of: Mapping[str, int]) -> FloatArray:
    """Return values of n subjects whose mean is the mean of the reading's values."""
    values = np.nan_to_num(reading.values, nan=0.0)
    rows = np.array([row_of[subject] for subject in reading.sample.subjects])
    above = np.bincount(rows, values - values.mean(), minlength=len(row_of))
    spread: FloatArray = values.mean() + len(row_of) / len(values) * above
    return spread
