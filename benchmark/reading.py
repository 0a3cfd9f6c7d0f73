"""What a protocol measures: values per subject, from which every aggregate is made in one place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap
from benchmark.statistics.studentised import studentised_intervals

__all__ = [
    "Aggregate",
    "Condition",
    "Direction",
    "Plot",
    "Reading",
    "Sample",
    "State",
    "Statistic",
    "Verdict",
    "distributions",
    "find",
    "interval",
    "statistic",
    "subject_means",
    "summarise",
    "summarise_all",
]

Direction = Literal["higher", "lower", "none"]
Aggregate = Literal[
    "mean", "studentised", "balanced_mean", "group_difference", "auroc", "ratio", "constant"
]
Condition = str | int | float

SCORED = "scored"
FAILED = "failed"
State = Literal["scored", "not assessable", "unsupported", "failed"]


@dataclass(frozen=True)
class Plot:
    """How a report draws a statistic whose readings differ by conditions.

    Attributes:
        kind: ``curve`` over a number, or ``bars`` over names.
        x: The condition along the axis.
        series: The conditions whose values tell lines or neighbouring bars apart.
        panel: The condition with a panel of its own for each value, or None.
        label: Label of the vertical axis, with its unit.
    """

    kind: Literal["curve", "bars"]
    x: str
    series: tuple[str, ...]
    panel: str | None
    label: str


@dataclass(frozen=True)
class Statistic:
    """A quantity that a protocol reads on every subject.

    Attributes:
        name: Name in records; that of the class attribute that it is assigned to, if empty.
        description: One sentence for tables and reports.
        direction: Direction that is better, or none.
        aggregate: Rule by which subjects make one number: their mean; their mean with the interval
            of the studentised bootstrap, which has no limits below 20 subjects; the mean of the two
            groups' means (of one, where the other has no value), where groups respond so
            differently that chance in their mix would swamp the rest; the mean of group A minus
            that of group B; the AUROC of telling B from A; the ratio of the mean to that of the
            reading's denominators, which is no number where the interval of the latter holds 0; or
            constant, one number of the model that every subject bears.
        plot: Plot of a report, or None where a table says enough.
    """

    name: str
    description: str
    direction: Direction = "none"
    aggregate: Aggregate = "mean"
    plot: Plot | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name of the attribute, so that it is written once."""
        if not self.name:
            object.__setattr__(self, "name", name)


def statistic(
    description: str,
    direction: Direction = "none",
    aggregate: Aggregate = "mean",
    plot: Plot | None = None,
    name: str = "",
) -> Statistic:
    """Return a statistic for a protocol to declare as a class attribute, which names it.

    Arguments are the attributes of ``Statistic``; ``name`` only where the attribute's is another.
    """
    return Statistic(name, description, direction, aggregate, plot)


@dataclass(frozen=True)
class Sample:
    """The images that readings are about.

    Attributes:
        keys: Unique name of each image.
        subjects: Subject of each image; intervals resample these.
        groups: [n] group of each image, 0 or 1.
    """

    keys: tuple[str, ...]
    subjects: tuple[str, ...]
    groups: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.keys)


@dataclass(frozen=True)
class Reading:
    """One statistic under one set of conditions, a value per image.

    Attributes:
        statistic: Name of the statistic.
        sample: The images.
        values: [n] float64; NaN where there is no value.
        conditions: Such as ``{"q": 0.05, "imputer": "blur"}``; empty for the score itself.
        reasons: Reason for each key without a value.
        denominators: [n] float64 for the aggregate ``ratio``, else None.
    """

    statistic: str
    sample: Sample
    values: FloatArray
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    denominators: FloatArray | None = None

    def matches(self, statistic: str, **conditions: Condition) -> bool:
        """Return whether this is that statistic under exactly these conditions."""
        return self.statistic == statistic and dict(self.conditions) == conditions


@dataclass(frozen=True)
class Verdict:
    """What a protocol concludes from its readings.

    Attributes:
        state: ``scored``, or ``not assessable`` where the model gives nothing to assess.
        passed: Whether the explanation passed; None where it was not scored.
        reason: One sentence; always given where ``passed`` is not True.
    """

    state: State
    passed: bool | None
    reason: str | None = None


def find(
    readings: Sequence[Reading], statistic: Statistic | str, **conditions: Condition
) -> Reading | None:
    """Return the reading of that statistic under exactly these conditions, or None."""
    name = statistic if isinstance(statistic, str) else statistic.name
    return next((reading for reading in readings if reading.matches(name, **conditions)), None)


def interval(
    readings: Sequence[Reading], statistic: Statistic, **conditions: Condition
) -> Interval | None:
    """Return the aggregate of that reading with its 95 % bootstrap interval, or None."""
    reading = find(readings, statistic, **conditions)
    return None if reading is None else summarise(reading, statistic.aggregate)


def subject_means(reading: Reading) -> FloatArray:
    """Return the mean of each subject's values, for tests whose unit is the subject."""
    subjects, known = np.array(reading.sample.subjects), ~np.isnan(reading.values)
    if len(set(reading.sample.subjects)) == len(subjects):
        return reading.values[known]
    names = np.unique(subjects[known])
    return np.array([reading.values[known & (subjects == name)].mean() for name in names])


def summarise(reading: Reading, aggregate: Aggregate = "mean") -> Interval:
    """Return the reading's aggregate over subjects with its 95 % bootstrap interval."""
    return summarise_all([reading], aggregate)[0]


def summarise_all(readings: Sequence[Reading], aggregate: Aggregate = "mean") -> list[Interval]:
    """Return the same for several readings of one sample, which is faster than one by one.

    A studentised mean of fewer than 20 subjects has no limits: they are NaN.
    """
    if not readings or not len(readings[0].sample):
        return [Interval(math.nan, math.nan, math.nan, 0)] * len(readings)
    subjects = np.asarray(readings[0].sample.subjects)
    bootstrap = shared_bootstrap(readings[0].sample.subjects)
    if aggregate == "studentised":
        columns = np.column_stack([reading.values for reading in readings])
        return studentised_intervals(bootstrap, columns)
    estimates, replicates = distributions(readings, aggregate)
    counts = [len(np.unique(subjects[~np.isnan(reading.values)])) for reading in readings]
    parts = zip(estimates.tolist(), replicates.T, counts, strict=True)
    return [bootstrap.statistic_interval(*part) for part in parts]


def distributions(
    readings: Sequence[Reading], aggregate: Aggregate = "mean"
) -> tuple[FloatArray, FloatArray]:
    """Return the aggregates of M readings of one sample, [M], and their replicates, [R, M].

    Replicates of readings on the same sample come from the same resamples, so any function of
    several aggregates is bootstrapped by applying it to their replicates.
    """
    sample = readings[0].sample
    columns = np.column_stack([reading.values for reading in readings])
    bootstrap, groups = shared_bootstrap(sample.subjects), np.asarray(sample.groups)
    if aggregate == "auroc":
        estimates = [bootstrap.auroc_estimate(column, groups) for column in columns.T]
        drawn = [bootstrap.auroc_replicates(column, groups) for column in columns.T]
        return np.array(estimates), np.column_stack(drawn)
    if aggregate == "constant":
        # What the model has, it has in every resample.
        return _means(columns), np.broadcast_to(_means(columns), (1, columns.shape[1]))
    if aggregate == "ratio":
        return _ratios(readings, columns, bootstrap)
    if aggregate in ("mean", "studentised"):
        return _means(columns), bootstrap.replicates(columns)
    halves = [np.where((groups == group)[:, None], columns, np.nan) for group in (0, 1)]
    means, replicates = [_means(half) for half in halves], [bootstrap.replicates(h) for h in halves]
    if aggregate == "group_difference":
        return means[0] - means[1], replicates[0] - replicates[1]
    present = ~np.isnan(np.stack(means))
    count = np.maximum(present.sum(0), 1)
    balanced = np.where(present, means, 0.0).sum(0) / np.where(present.any(0), count, np.nan)
    of_present = np.where(present[:, None, :], np.stack(replicates), 0.0).sum(0) / count
    return balanced, of_present


def _ratios(
    readings: Sequence[Reading], columns: FloatArray, bootstrap: SubjectBootstrap
) -> tuple[FloatArray, FloatArray]:
    """Return mean over mean, [M] and [R, M]; NaN where what is divided by may be nothing."""
    ones, denominators = np.ones(len(columns)), [reading.denominators for reading in readings]
    below = np.column_stack([ones if column is None else column for column in denominators])
    either = np.isnan(columns) | np.isnan(below)
    columns, below = np.where(either, np.nan, columns), np.where(either, np.nan, below)
    means, replicates = _means(below), bootstrap.replicates(below)
    limits = [bootstrap.statistic_interval(*pair) for pair in zip(means, replicates.T, strict=True)]
    is_sound = np.array([limit.low > 0 or limit.high < 0 for limit in limits])
    safe = np.where(is_sound, means, np.nan)
    safe_replicates = np.where(is_sound & (replicates != 0), replicates, np.nan)
    return _means(columns) / safe, bootstrap.replicates(columns) / safe_replicates


def _means(columns: FloatArray) -> FloatArray:
    known = ~np.isnan(columns)
    counts = known.sum(0)
    means: FloatArray = np.where(known, columns, 0.0).sum(0) / np.where(counts > 0, counts, np.nan)
    return means


@lru_cache(maxsize=8)
def shared_bootstrap(subjects: tuple[str, ...]) -> SubjectBootstrap:
    """Return the bootstrap of these subjects: one index matrix, whoever is being scored."""
    return SubjectBootstrap(subjects)
