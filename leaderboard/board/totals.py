"""Totals where scores are owed to the network: sums of means over the subjects of some cohorts.

A score that is owed is a plain mean over subjects, and chance is 0. So a total is a weighted sum of
means, and each subject has an influence on it: the sum of what it adds to each of them. Scores of
one cohort are of the same subjects, so that their errors go together; scores of different cohorts
are independent, and their variances add.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.reading import Reading
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap
from leaderboard.published.record import PublishedRecord

FEWEST_SUBJECTS = 20  # of an interval
_TAIL = (1 - 0.95) / 2
_EQUAL = 1e-9


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


@dataclass(frozen=True)
class Block:
    """Values of the subjects of one cohort, whose means are parts of K totals.

    Attributes:
        values: [n, K] a value per subject and explainer.
        subjects: Their names.
        groups: Their groups, within which they are resampled.
    """

    values: FloatArray
    subjects: tuple[str, ...]
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Compared:
    """Totals of K explainers, compared all with each other.

    Attributes:
        ranks: 1 + the number of explainers with a larger total.
        low: 1 + the number that are surely better.
        high: K minus the number that are surely worse.
        groups: Number of the tie group, from 1, of those with the same limits.
    """

    ranks: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    groups: tuple[int, ...]


def total_intervals(parts: Sequence[Part], explainers: Sequence[str]) -> list[Interval]:
    """Return the total of each explainer, with the interval of its studentised bootstrap."""
    return _intervals(make_blocks(parts, explainers), len(explainers))


def difference_interval(parts: Sequence[Part], first: str, second: str) -> Interval:
    """Return the total of one explainer minus that of another, paired where subjects are."""
    blocks = make_blocks(parts, (first, second))
    differences = [
        Block(block.values[:, :1] - block.values[:, 1:], block.subjects, block.groups)
        for block in blocks
    ]
    return _intervals(differences, 1)[0]


def compare_totals(parts: Sequence[Part], explainers: Sequence[str]) -> Compared:
    """Compare every two totals at once: max-t step-down (Romano & Wolf 2005).

    A pair is decided where its difference, in standard errors, lies beyond what the largest of all
    pairs that are still open reaches in 95 % of the resamples. Then the others are looked at again,
    until none is added. Ranks follow from the decided pairs (Mogstad et al. 2024).
    """
    blocks, count = make_blocks(parts, explainers), len(explainers)
    totals = np.sum([block.values.mean(0) for block in blocks], axis=0)
    pairs = list(itertools.combinations(range(count), 2))
    better = np.zeros((count, count), dtype=bool)
    if pairs and min(len(block.subjects) for block in blocks) > 1:
        first, second = np.array(pairs).T
        of_pairs = [
            Block(block.values[:, first] - block.values[:, second], block.subjects, block.groups)
            for block in blocks
        ]
        difference = totals[first] - totals[second]
        error = np.sqrt(np.sum([_variances(block) for block in of_pairs], axis=0))
        drawn = [_resample(block, number) for number, block in enumerate(of_pairs)]
        drawn_error = np.sqrt(np.sum([variances for _, variances in drawn], axis=0))
        steps = np.sum([means for means, _ in drawn], axis=0) - difference
        steps = np.divide(
            np.abs(steps), drawn_error, out=np.zeros_like(steps), where=drawn_error > _EQUAL
        )
        size = np.divide(np.abs(difference), error, out=np.zeros_like(error), where=error > _EQUAL)
        open_pairs = np.ones(len(pairs), dtype=bool)
        while open_pairs.any():
            critical = np.quantile(steps[:, open_pairs].max(axis=1), 0.95)
            decided = open_pairs & (size > critical)
            if not decided.any():
                break
            open_pairs &= ~decided
        won = ~open_pairs & (difference > 0)
        lost = ~open_pairs & (difference < 0)
        better[first[won], second[won]] = True
        better[second[lost], first[lost]] = True
    low, high = (1 + better.sum(0)).tolist(), (count - better.sum(1)).tolist()
    limits = list(zip(low, high, strict=True))
    # Groups are numbered by the largest total among them.
    order = sorted(range(count), key=lambda index: (-totals[index], explainers[index]))
    distinct = list(dict.fromkeys(limits[index] for index in order))
    return Compared(
        ranks=tuple(1 + int((totals > total + _EQUAL).sum()) for total in totals),
        low=tuple(low),
        high=tuple(high),
        groups=tuple(1 + distinct.index(pair) for pair in limits),
    )


def _intervals(blocks: Sequence[Block], width: int) -> list[Interval]:
    moments = [_resample(block, number) for number, block in enumerate(blocks)]
    totals = np.sum([block.values.mean(0) for block in blocks], axis=0) if blocks else []
    count = sum(len(block.subjects) for block in blocks)
    smallest = min((len(block.subjects) for block in blocks), default=0)
    if smallest < FEWEST_SUBJECTS:
        return [Interval(float(total), math.nan, math.nan, count) for total in totals]
    errors = np.sqrt(np.sum([_variances(block) for block in blocks], axis=0))
    drawn = np.sum([means for means, _ in moments], axis=0)
    drawn_errors = np.sqrt(np.sum([variances for _, variances in moments], axis=0))
    steps = np.divide(
        drawn - totals, drawn_errors, out=np.full_like(drawn, np.nan), where=drawn_errors > _EQUAL
    )
    intervals = []
    for column in range(width):
        total, error, known = float(totals[column]), errors[column], steps[:, column]
        known = known[np.isfinite(known)]
        low, high = np.quantile(known, (_TAIL, 1 - _TAIL)) if len(known) else (0.0, 0.0)
        intervals.append(
            Interval(total, total - float(high * error), total - float(low * error), count)
        )
    return intervals


def make_blocks(parts: Sequence[Part], explainers: Sequence[str]) -> list[Block]:
    """Return a block for each cohort, whose means add up to the totals of K explainers.

    The value of a subject is the weighted sum of scores plus the subject's influence on each: n/N
    times the sum of what its images lie above the mean, of n subjects in the block and N images
    with that score; nothing where it has no such score.
    """
    cohorts: dict[str, list[Part]] = {}
    for part in parts:
        cohorts.setdefault(part.cohort, []).append(part)
    return [_block(own, explainers) for own in cohorts.values()]


def _block(parts: Sequence[Part], explainers: Sequence[str]) -> Block:
    group_of: dict[str, int] = {}
    for part in parts:
        for reading in part.readings.values():
            for subject, group in zip(reading.sample.subjects, reading.sample.groups, strict=True):
                group_of[subject] = max(group, group_of.get(subject, 0))
    subjects = sorted(group_of)
    row_of = {subject: row for row, subject in enumerate(subjects)}
    values = np.zeros((len(subjects), len(explainers)))
    for part in parts:
        for column, explainer in enumerate(explainers):
            if explainer in part.readings:
                values[:, column] += part.weight * _influence(part.readings[explainer], row_of)
    return Block(values, tuple(subjects), tuple(group_of[subject] for subject in subjects))


def _influence(reading: Reading, row_of: Mapping[str, int]) -> FloatArray:
    """Return values of n subjects whose mean is the mean of the reading's values."""
    values = np.nan_to_num(reading.values, nan=0.0)
    rows = np.array([row_of[subject] for subject in reading.sample.subjects])
    above = np.bincount(rows, values - values.mean(), minlength=len(row_of))
    spread: FloatArray = values.mean() + len(row_of) / len(values) * above
    return spread


def _resample(block: Block, number: int) -> tuple[FloatArray, FloatArray]:
    """Return means [R, K] and their variances [R, K] in resamples within groups.

    Cohorts of one size are resampled alike, so the resamples are put in an order of the block's
    own: otherwise the errors of independent cohorts would cancel or add up.
    """
    groups = np.asarray(block.groups)
    bootstrap = SubjectBootstrap(block.subjects, strata=groups)
    means = variances = np.zeros(1)
    for group in np.unique(groups):
        own = (groups == group)[:, None]
        share, size = own.mean(), own.sum()
        first = bootstrap.replicates(np.where(own, block.values, np.nan))
        second = bootstrap.replicates(np.where(own, block.values**2, np.nan))
        means = means + share * first
        variances = variances + share**2 * np.maximum(second - first**2, 0) / size
    order = stream("board", "block", number).permutation(len(means))
    return means[order], variances[order]


def _variances(block: Block) -> FloatArray:
    """Return the variance of each mean, [K], of subjects drawn within groups."""
    groups = np.asarray(block.groups)
    variances = np.zeros(block.values.shape[1])
    for group in np.unique(groups):
        own = groups == group
        variances += own.mean() ** 2 * block.values[own].var(0) / own.sum()
    return variances
