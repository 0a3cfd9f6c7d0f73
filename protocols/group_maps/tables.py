"""Tables of a report: methods side by side, regions, and changes that should not matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import scipy

from benchmark.protocol import Table
from benchmark.reading import Condition, Reading, Statistic, find, interval, summarise
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from protocols.group_maps.decomposition import MOST_DEPARTURE
from protocols.group_maps.statistics import ALL, CHANGE, GroupMapsStatistics

Readings = Mapping[str, Sequence[Reading]]
Row = list[str | int | float | None]
_TFCE = ", by the largest t and, after threshold-free cluster enhancement, by the largest TFCE"
LEAST_SPREAD = 1e-9
"""Relative spread of values below which they differ by rounding alone."""


def group_tables(readings: Readings) -> Iterator[Table]:
    """Yield the tables of all explainers that were measured."""
    measured = {
        name: own
        for name, own in readings.items()
        if find(own, GroupMapsStatistics.recovery) is not None
    }
    if not measured:
        return
    yield _methods(measured)
    yield _regions(measured)
    if any(_changes(own) for own in measured.values()):
        yield _steadiness(measured)


def score_of(
    readings: Sequence[Reading], statistic: Statistic, **conditions: Condition
) -> Interval:
    """Return the aggregate of a reading, or NaN where it was not read."""
    return interval(readings, statistic, **conditions) or NO_INTERVAL


def null_of(readings: Sequence[Reading]) -> float:
    """Return what was subtracted from the recovery."""
    own, whole = (
        score_of(readings, statistic)
        for statistic in (GroupMapsStatistics.own_recovery, GroupMapsStatistics.recovery)
    )
    return round(whole.estimate - own.estimate, 12) + 0.0  # never a rounding error, nor −0


def is_additive(readings: Sequence[Reading]) -> bool:
    """Return whether the sums of a method's maps follow φ closely enough to decompose T."""
    departure = score_of(readings, GroupMapsStatistics.departure).estimate
    whole = score_of(readings, GroupMapsStatistics.share_of_t, region=ALL).estimate
    return bool(departure <= MOST_DEPARTURE and abs(whole - 1) <= MOST_DEPARTURE)


def parts_of(readings: Sequence[Reading]) -> dict[str, float]:
    """Return the share of T that a method's maps put into each part, by its name."""
    name = GroupMapsStatistics.share_of_t.name
    return {
        str(reading.conditions["region"]): summarise(reading, "group_difference").estimate
        for reading in readings
        if reading.statistic == name
    }


def _methods(readings: Readings) -> Table:
    statistics, rows = GroupMapsStatistics, []
    # Of volumes alone, where a suite asks for it.
    is_enhanced = any(find(own, statistics.voxels_tfce) is not None for own in readings.values())
    for name, own in readings.items():
        recovery = score_of(own, statistics.recovery)
        row: Row = [name]
        row += _numbers(
            score_of(own, statistics.difference_p).estimate,
            score_of(own, statistics.reliability).estimate,
            score_of(own, statistics.split_half).estimate,
            score_of(own, statistics.located).estimate,
            recovery.estimate,
            recovery.low,
            recovery.high,
            null_of(own),
        )
        row += [_count(score_of(own, statistics.voxels_fwe))]
        row += _numbers(score_of(own, statistics.voxels_fwe_near).estimate)
        if is_enhanced:
            row += [_count(score_of(own, statistics.voxels_tfce))]
            row += _numbers(score_of(own, statistics.voxels_tfce_near).estimate)
        row += [_count(score_of(own, statistics.voxels_fdr))]
        additive = is_additive(own)
        row += _numbers(parts_of(own).get(CHANGE, np.nan) if additive else np.nan)
        row += _numbers(
            score_of(own, statistics.departure).estimate,
            score_of(own, statistics.recovery, scale="l1").estimate,
            score_of(own, statistics.difference_p, scale="l1").estimate,
            score_of(own, statistics.recovery, covariates="ignored").estimate,
            score_of(own, statistics.difference_p, covariates="ignored").estimate,
        )
        row += [_count(score_of(own, statistics.voxels_fwe, covariates="ignored"))]
        rows.append(row)
    return Table(
        "methods",
        "Where the groups' maps differ",
        "Raw signed maps of φ, adjusted for the covariates; 'l1' divides each map by its own sum "
        "of magnitudes, 'unadjusted' ignores the covariates. p is that of the reliable difference "
        "as a whole, by permutation of the groups. Reliability is the share of the squared "
        "difference that is not sampling, in closed form and from random halves. Located is the "
        "share of the reliable difference where the anatomy differs, above chance; the recovery "
        "is their product, from low to high with 95 % confidence. The null is the mean over "
        f"randomised copies. FWE: family-wise error{_TFCE if is_enhanced else ''}; FDR: false "
        "discovery rate. Departure is how far sums of maps are from φ; a share of T is given only "
        "where they add up to it.",
        (
            "method", "p", "reliability", "split-half reliability", "located", "recovery",
            "low", "high", "null", "voxels (FWE 5 %)", "share of them within 6 mm",
            *(("voxels (TFCE 5 %)", "share of them within 6 mm (TFCE)") if is_enhanced else ()),
            "voxels (FDR 5 %)", "share of T in the change", "departure from φ (T)",
            "recovery (l1)", "p (l1)", "recovery (unadjusted)", "p (unadjusted)",
            "voxels (FWE 5 %, unadjusted)",
        ),
        rows,
    )  # fmt: skip


def _regions(readings: Readings) -> Table:
    rows = []
    for name, own in readings.items():
        of_regions = [
            reading for reading in own if reading.statistic == GroupMapsStatistics.region_mean.name
        ]
        p_values = np.array([welch_p(reading) for reading in of_regions])
        known = np.isfinite(p_values)
        adjusted = np.full(len(p_values), np.nan)
        if known.any():
            adjusted[known] = scipy.stats.false_discovery_control(p_values[known])
        shares = parts_of(own) if is_additive(own) else {}
        for reading, p, q in zip(of_regions, p_values, adjusted, strict=True):
            region = str(reading.conditions["region"])
            mean = summarise(reading, "group_difference")
            row: Row = [name, region]
            row += _numbers(mean.estimate, mean.low, mean.high, p, q)
            rows.append(row + _numbers(shares.get(region, np.nan)))
    return Table(
        "regions",
        "The groups' difference by region",
        "Mean of the smoothed and adjusted map in a region, group A minus group B, in units of T, "
        "from low to high with 95 % confidence, and Welch's p with its q over the regions of a "
        "method (Benjamini and Hochberg). The share of T is that of the sum of the raw map, given "
        "only where maps add up to φ.",
        ("method", "region", "difference (T)", "low", "high", "p", "q", "share of T"),
        rows,
    )


def _steadiness(readings: Readings) -> Table:
    statistics, rows = GroupMapsStatistics, []
    for name, own in readings.items():
        for change in _changes(own):
            of_subjects = score_of(own, statistics.steadiness, change=change)
            row: Row = [name, change]
            row += _numbers(of_subjects.estimate, of_subjects.low, of_subjects.high)
            rows.append(
                row + _numbers(score_of(own, statistics.steadiness_of_groups, change=change))
            )
    return Table(
        "steadiness",
        "Changes that should not matter",
        "Spearman's correlation of smoothed maps before and after a change, mean over subjects "
        "(from low to high with 95 % confidence), and of the groups' difference D. Logistic "
        "heads are fitted on resampled training subjects, and each map is compared with that of "
        "the first, head 0; all else is compared with the map of φ. The twin is a network of "
        "another seed. No verdict is drawn from it.",
        ("method", "change", "maps of subjects", "low", "high", "difference of the groups"),
        rows,
    )


def _changes(readings: Sequence[Reading]) -> list[str]:
    name = GroupMapsStatistics.steadiness.name
    return [str(reading.conditions["change"]) for reading in readings if reading.statistic == name]


def welch_p(reading: Reading) -> float:
    """Return Welch's p of a reading's groups, or NaN where all values are the same."""
    groups, known = np.array(reading.sample.groups), ~np.isnan(reading.values)
    first, second = (reading.values[known & (groups == group)] for group in (0, 1))
    both = np.concatenate([first, second])
    # A map that is the same everywhere differs between subjects by rounding alone.
    if min(len(first), len(second)) < 2 or not np.ptp(both) > LEAST_SPREAD * np.abs(both).max():
        return float("nan")
    return float(scipy.stats.ttest_ind(first, second, equal_var=False).pvalue)


def _count(number: Interval) -> int | None:
    """Return a cell of a whole number, None where it was not read."""
    return round(number.estimate) if np.isfinite(number.estimate) else None


def _numbers(*values: float | Interval) -> Row:
    """Return cells, None of what is no number."""
    plain = [value.estimate if isinstance(value, Interval) else float(value) for value in values]
    return [value if np.isfinite(value) else None for value in plain]
