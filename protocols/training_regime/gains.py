"""What regimes gain over full training, from readings: intervals over subjects and refits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.reading import (
    Reading,
    Statistic,
    distributions,
    find,
    shared_bootstrap,
    summarise_all,
)
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from benchmark.statistics.two_way import TwoWayMean, satterthwaite_interval, two_way_mean
from benchmark.training.regimes import Regime
from protocols.training_regime.statistics import (
    BEST,
    FULL,
    MATCHED,
    PROBE,
    TrainingRegimeStatistics,
    regimes_of,
    traced_point,
)

SIGNAL = 0.6  # AUROC that the lower bound of every regime must exceed
MATCH = 0.02  # largest difference of the regimes' mean validation AUROCs that counts as matched

_All = TrainingRegimeStatistics


def regimes_in(readings: Sequence[Reading]) -> tuple[Regime, ...]:
    """Return the regimes that were trained, in their usual order."""
    names = {
        str(reading.conditions["regime"])
        for reading in readings
        if reading.statistic == _All.validation_auroc.name and "encoder" not in reading.conditions
    }
    return regimes_of(names)


def refits_in(readings: Sequence[Reading]) -> tuple[int, ...]:
    """Return the numbers of the refits."""
    return tuple(
        dict.fromkeys(
            int(reading.conditions["refit"])
            for reading in readings
            if reading.statistic == _All.validation_auroc.name
            and "encoder" not in reading.conditions
        )
    )


def mean_auroc(readings: Sequence[Reading], regime: str, point: str) -> Interval:
    """Return the mean AUROC of a regime's refits on the test split, with its interval."""
    own = _log_odds(readings, regime, point)
    if not own:
        return NO_INTERVAL
    estimates, replicates = distributions(own, "auroc")
    bootstrap = shared_bootstrap(own[0].sample.subjects)
    return bootstrap.statistic_interval(float(estimates.mean()), replicates.mean(1))


def _log_odds(readings: Sequence[Reading], regime: str, point: str) -> list[Reading]:
    """Return what each refit of a regime says of the test images."""
    return [
        reading
        for reading in readings
        if reading.statistic == _All.log_odds.name
        and "encoder" not in reading.conditions
        and (reading.conditions["regime"], reading.conditions["point"]) == (regime, point)
    ]


def mean_log_loss(readings: Sequence[Reading], regime: str, point: str) -> float:
    """Return the mean cross-entropy of a regime's refits on the test split."""
    losses = [
        float(reading.values.mean())
        for reading in readings
        if reading.statistic == _All.log_loss.name
        and "encoder" not in reading.conditions
        and (reading.conditions["regime"], reading.conditions["point"]) == (regime, point)
    ]
    return float(np.mean(losses)) if losses else math.nan


def mean_effect(readings: Sequence[Reading], regime: str, point: str) -> FloatArray:
    """Return the effect of removing the top of each map, as the mean over a regime's refits."""
    of_refits = [
        reading.values
        for reading in readings
        if reading.statistic == _All.delta_t.name
        and (reading.conditions.get("regime"), reading.conditions.get("point")) == (regime, point)
    ]
    mean: FloatArray = np.mean(of_refits, axis=0)
    return mean


def traced_epochs(readings: Sequence[Reading], regime: str) -> tuple[int, ...]:
    """Return the further epochs at which the stability of a regime was read."""
    return tuple(
        dict.fromkeys(
            int(reading.values[0])
            for reading in readings
            if reading.statistic == _All.epoch.name
            and reading.conditions["regime"] == regime
            and reading.conditions["point"] == traced_point(int(reading.values[0]))
        )
    )


def excess_of_refits(readings: Sequence[Reading], regime: str, point: str) -> dict[int, float]:
    """Return the mean excess over pairs that a refit is part of, by its number.

    It follows from the mean over all pairs and that over pairs without the refit.
    """
    whole = find(readings, _All.excess, regime=regime, point=point)
    numbers, means = refits_in(readings), {}
    pairs = len(numbers) * (len(numbers) - 1) / 2
    for number in numbers:
        without = find(readings, _All.excess, regime=regime, point=point, without=number)
        if whole is not None and without is not None:
            left = pairs - (len(numbers) - 1)
            total = pairs * np.nanmean(whole.values) - left * np.nanmean(without.values)
            means[number] = float(total / (len(numbers) - 1))
    return means


def unlearned(readings: Sequence[Reading]) -> str | None:
    """Return which regime has not learned the groups, or None where every refit of all has."""
    for regime in regimes_in(readings):
        if not mean_auroc(readings, regime, BEST).low > SIGNAL:
            return f"signal not learned ({regime})"
        intervals = summarise_all(_log_odds(readings, regime, BEST), "auroc")
        numbers = zip(refits_in(readings), intervals, strict=True)
        guessing = [str(number) for number, interval in numbers if not interval.low > SIGNAL]
        if guessing:  # the mean of the others hides it, and maps of a guess agree with none
            return f"signal not learned ({regime}, refit {', '.join(guessing)})"
    return None


def is_matched(readings: Sequence[Reading]) -> bool:
    """Return whether the regimes' accuracies are alike at the matched epochs."""
    means = [validation_auroc(readings, regime, MATCHED) for regime in regimes_in(readings)]
    return max(means) - min(means) <= MATCH


def validation_auroc(readings: Sequence[Reading], regime: str, point: str) -> float:
    """Return the mean validation AUROC of a regime's refits."""
    values = [
        find(readings, _All.validation_auroc, regime=regime, point=point, refit=refit)
        for refit in refits_in(readings)
    ]
    return float(np.mean([reading.values[0] for reading in values if reading is not None]))


def excess_difference(
    readings: Sequence[Reading], regime: str, point: str, minus: str = FULL
) -> Interval:
    """Return how much more stable a regime is than another beyond other subjects' maps.

    The variance is that over subjects plus that of the jackknife over refits, which are the same
    bootstraps of training subjects in both regimes.
    """
    whole = difference_of(readings, regime, minus, {"point": point})
    without = [
        difference_of(readings, regime, minus, {"point": point, "without": refit})
        for refit in refits_in(readings)
    ]
    left_out = [float(differences.mean()) for differences in without if differences is not None]
    if whole is None or len(left_out) < 2 or len(whole) < 2:
        return NO_INTERVAL
    return jackknife_interval(whole, left_out)


def jackknife_interval(
    whole: FloatArray, left_out: Sequence[float], of_encoders: Sequence[float] = ()
) -> Interval:
    """Return the mean of subjects' values [n] with its interval over subjects and refits.

    Args:
        whole: [n] values from all refits.
        left_out: Mean of the values without each refit.
        of_encoders: Mean of the values without each encoder, where encoders are a sample too.
    """
    parts = [(float(whole.var(ddof=1)) / len(whole), len(whole) - 1.0)]
    for means in filter(len, (left_out, of_encoders)):
        count, spread = len(means), np.array(means) - np.mean(means)
        parts.append(((count - 1) / count * float((spread**2).sum()), count - 1.0))
    return satterthwaite_interval(float(whole.mean()), parts, len(whole))


def difference_of(
    readings: Sequence[Reading],
    regime: str,
    minus: str,
    where: dict[str, str | int],
    statistic: Statistic = _All.excess,
) -> FloatArray | None:
    """Return the difference of each subject's excess, where it is known."""
    pair = [find(readings, statistic, regime=name, **where) for name in (regime, minus)]
    if pair[0] is None or pair[1] is None:
        return None
    difference = pair[0].values - pair[1].values
    difference = _by_subject(pair[0], _without_groups(pair[0], difference))
    return difference if len(difference) else None


def _by_subject(reading: Reading, values: FloatArray) -> FloatArray:
    """Return the mean of each subject's values, in the order of names."""
    known = np.isfinite(values)
    subjects = np.array(reading.sample.subjects)[known]
    return np.array([values[known][subjects == name].mean() for name in np.unique(subjects)])


def _without_groups(reading: Reading, values: FloatArray) -> FloatArray:
    """Return values [n] or [n, R] of images as if both groups had the same mean, the mean of all.

    As many subjects of each group are asked by design, so that what groups differ by is no part of
    the error. Removal pulls both groups to the middle: of its effects that is nearly all.
    """
    groups, levelled = np.array(reading.sample.groups), values.copy()
    known = np.isfinite(values)
    grand = values[known].mean() if known.any() else 0.0
    for group in (0, 1):
        own = known & (groups == group).reshape(-1, *[1] * (values.ndim - 1))
        if own.any():
            levelled[own] += grand - values[own].mean()
    return levelled


def table_of(
    readings: Sequence[Reading], statistic: str, regime: str, point: str
) -> FloatArray | None:
    """Return the values [n, R] of subjects on a regime's refits, where all are known."""
    columns = [
        find(readings, statistic, regime=regime, point=point, refit=refit)
        for refit in refits_in(readings)
    ]
    known_readings = [column for column in columns if column is not None]
    if not known_readings or len(known_readings) < len(columns):
        return None
    known = np.isfinite(np.column_stack([column.values for column in known_readings])).all(1)
    if known.sum() < 2:
        return None
    values = np.column_stack(
        [np.where(known, reading.values, np.nan) for reading in known_readings]
    )
    levelled = _without_groups(known_readings[0], values)
    table = np.column_stack([_by_subject(known_readings[0], column) for column in levelled.T])
    return table if len(table) > 1 else None


def two_way(
    readings: Sequence[Reading], statistic: str, regime: str, point: str, minus: str | None = None
) -> TwoWayMean | None:
    """Return the mean over subjects and refits of a regime, or of its difference to another."""
    table = table_of(readings, statistic, regime, point)
    other = None if minus is None else table_of(readings, statistic, minus, point)
    if table is None or (minus is not None and (other is None or other.shape != table.shape)):
        return None
    return two_way_mean(table if other is None else table - other)


def interval_of(result: TwoWayMean | None) -> Interval:
    """Return the interval of a two-way mean, empty where there is none."""
    return NO_INTERVAL if result is None else result.interval


def gains(readings: Sequence[Reading]) -> tuple[Interval, Interval]:
    """Return what a probe gains in stability and in faithfulness, at matched accuracy."""
    faith = two_way(readings, _All.delta_t.name, PROBE, MATCHED, FULL)
    return excess_difference(readings, PROBE, MATCHED), interval_of(faith)
