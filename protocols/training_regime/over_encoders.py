"""What regimes gain over encoders of one recipe, from readings: encoders are a sample too.

Maps on refits of one encoder agree because they share a trunk. Over encoders, stability is that on
pairs of refits of different ones. For the effect, encoders are crossed with subjects, and refits
are nested in encoders: the variance of the encoders' means holds that of their refits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.reading import Reading
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from benchmark.statistics.two_way import two_way_mean
from protocols.training_regime.gains import (
    difference_of,
    is_matched,
    jackknife_interval,
    refits_in,
    table_of,
    unlearned,
)
from protocols.training_regime.statistics import (
    BEST,
    FULL,
    MATCHED,
    PROBE,
    TrainingRegimeStatistics,
)

FEWEST_SAMPLE = 3  # encoders from which on a pair is left when one of them is taken away

_All = TrainingRegimeStatistics


def names_of(readings: Sequence[Reading]) -> dict[int, str]:
    """Return the names of the other encoders by number."""
    return {
        int(reading.conditions["encoder"]): str(reading.conditions["name"])
        for reading in readings
        if reading.statistic == _All.other_encoder.name
    }


def encoder_count(readings: Sequence[Reading]) -> int:
    """Return the number of encoders, that of the model on trial among them."""
    return 1 + len(names_of(readings))


def on_encoder(readings: Sequence[Reading], number: int) -> list[Reading]:
    """Return what was read on one encoder alone, as if there were no other; 0 is the model's."""
    return [
        replace(reading, conditions={k: v for k, v in reading.conditions.items() if k != "encoder"})
        for reading in readings
        if reading.conditions.get("encoder", 0) == number
    ]


def untold(readings: Sequence[Reading]) -> str | None:
    """Return why other encoders tell nothing, or None where they do or there are none."""
    for number, name in names_of(readings).items():
        own = on_encoder(readings, number)
        reason = unlearned(own)
        if reason is None and not is_matched(own):
            reason = "accuracy cannot be matched"
        if reason is not None:
            return f"{reason} on {name}"
    return None


def stability_gains(readings: Sequence[Reading], point: str) -> FloatArray | None:
    """Return what each image gains in stability over encoders by a probe; None where untold."""
    if untold(readings) is not None:
        return None
    pair = [
        reading.values
        for name in (PROBE, FULL)
        for reading in readings
        if reading.matches(_All.excess_over_encoders.name, regime=name, point=point)
    ]
    return pair[0] - pair[1] if len(pair) == 2 else None


def stability_over_encoders(readings: Sequence[Reading], point: str) -> Interval:
    """Return what a probe gains in stability on pairs of refits of different encoders.

    The variance is that over subjects, plus the jackknife's over refits, plus the jackknife's over
    encoders where there are three or more: of two there is one pair, whose spread is not seen.
    """

    def mean_without(kind: str, left: int) -> float | None:
        values = difference_of(
            readings, PROBE, FULL, {"point": point, kind: left}, _All.excess_over_encoders
        )
        return None if values is None else float(values.mean())

    whole = difference_of(readings, PROBE, FULL, {"point": point}, _All.excess_over_encoders)
    refits = [mean_without("without", refit) for refit in refits_in(readings)]
    count = encoder_count(readings)
    encoders = [
        mean_without("without encoder", number)
        for number in range(count if count >= FEWEST_SAMPLE else 0)
    ]
    known = [[mean for mean in part if mean is not None] for part in (refits, encoders)]
    if whole is None or len(whole) < 2 or len(known[0]) < 2:
        return NO_INTERVAL
    return jackknife_interval(whole, known[0], known[1])


def effect_over_encoders(readings: Sequence[Reading], point: str) -> Interval:
    """Return what a probe gains in the effect of what maps mark, over subjects and encoders."""
    tables = [_effects(readings, regime, point) for regime in (PROBE, FULL)]
    if tables[0] is None or tables[1] is None or tables[0].shape != tables[1].shape:
        return NO_INTERVAL
    return two_way_mean((tables[0] - tables[1]).mean(2)).interval


def gains_over_encoders(
    readings: Sequence[Reading], point: str = MATCHED
) -> tuple[Interval, Interval] | None:
    """Return the gains of a probe over encoders; None where there is one, or nothing is told."""
    if encoder_count(readings) < 2 or untold(readings) is not None:
        return None
    return stability_over_encoders(readings, point), effect_over_encoders(readings, point)


@dataclass(frozen=True)
class NestedVariance:
    """Variance of a subject's value on one refit of one encoder.

    Attributes:
        of_subjects: Part that comes from subjects.
        of_encoders: Part that comes from encoders.
        of_refits: Part that comes from refits within encoders.
        residual: Part that comes from a subject on a refit.
    """

    of_subjects: float
    of_encoders: float
    of_refits: float
    residual: float


def effect_components(readings: Sequence[Reading], regime: str) -> NestedVariance | None:
    """Return what the effect varies with at the best epochs; None where there is one encoder."""
    table = _effects(readings, regime, BEST) if encoder_count(readings) > 1 else None
    if table is None:
        return None
    within = [two_way_mean(table[:, number]) for number in range(table.shape[1])]
    across = two_way_mean(table.mean(2))
    of_refits = float(np.mean([variance.of_runs for variance in within]))
    return NestedVariance(
        across.of_subjects,
        max(0.0, across.of_runs - of_refits / table.shape[2]),
        of_refits,
        float(np.mean([variance.residual for variance in within])),
    )


def _effects(readings: Sequence[Reading], regime: str, point: str) -> FloatArray | None:
    """Return the effects [n, K, R] of n subjects on R refits of each of K encoders."""
    tables = [
        table_of(on_encoder(readings, number), _All.delta_t.name, regime, point)
        for number in range(encoder_count(readings))
    ]
    known = [table for table in tables if table is not None]
    if len(known) < len(tables) or len({table.shape for table in known}) != 1:
        return None
    return np.stack(known, axis=1)
