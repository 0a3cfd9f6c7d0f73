"""What `delta_t` 2 knows of its own health, from readings alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.maps.imputers import Exchange
from benchmark.reading import Reading, find, summarise
from benchmark.trial.null_networks import name_left_out
from protocols.v2.delta_t.statistics import DeltaTStatistics
from protocols.v2.delta_t.yardsticks import (
    ATTAINABLE,
    GROWN_TRUTH,
    LARGEST_MOVE,
    TRUE_CHANGE,
    TRUTH,
)

_LARGEST_SHARE = 0.2
_KNOWN = (TRUE_CHANGE, GROWN_TRUTH, TRUTH, ATTAINABLE)


def moves(readings: Sequence[Reading]) -> dict[str, dict[float, float]]:
    """Return by how much scattered pixels lower T_w, by imputer and share, in units of T."""
    table: dict[str, dict[float, float]] = {}
    for reading in readings:
        if reading.statistic == DeltaTStatistics.scattered_effect_t_w.name:
            where = reading.conditions
            move = summarise(reading, "group_difference").estimate
            table.setdefault(str(where["imputer"]), {})[float(where["q"])] = move
    return table


def kept_shares(readings: Sequence[Reading]) -> dict[str, tuple[float, ...]]:
    """Return the shares at which each imputer is fit for the model."""
    return {
        name: tuple(q for q, move in of_imputer.items() if abs(move) <= LARGEST_MOVE)
        for name, of_imputer in moves(readings).items()
    }


def words_of_shares(readings: Sequence[Reading]) -> str | None:
    """Return which imputers are fit at which shares of the foreground, and which nulls are missing.

    Returns:
        None where nothing of that kind was measured.
    """
    parts = []
    for name, of_imputer in moves(readings).items():
        is_fit = find(readings, DeltaTStatistics.delta_t, imputer=name) is not None
        kept = [f"{100 * q:g} %" for q, move in of_imputer.items() if abs(move) <= LARGEST_MOVE]
        left = [
            f"{100 * q:g} % (T_w moves by {abs(move):.2f} T)"
            for q, move in of_imputer.items()
            if abs(move) > LARGEST_MOVE
        ]
        words = f"{name} fit at {', '.join(kept)}" if is_fit else f"{name} unfit"
        parts.append(f"{words}, not at {', '.join(left)}" if left else words)
    missing = name_left_out(readings, DeltaTStatistics.effect_area, "arm")
    return "; ".join([*parts, *missing]) or None


def faults(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return in which ways the yardsticks lie in the wrong order, under each alteration.

    The true change must lead every map that looks at no network. Where partners are exchanged, the
    truth grown by distance must lead the plain one where more is altered than the plain one holds.
    Not so in removal, where more may do less: on `phantom` a fifth of the foreground around the
    truth moves the model by 0.57 T, and the truth with scattered pixels by 0.88 T.
    """
    heights: dict[str, dict[str, float]] = {}
    for reading in readings:
        where = reading.conditions
        if reading.statistic == DeltaTStatistics.yardstick.name and "q" not in where:
            heights.setdefault(str(where["imputer"]), {})[str(where["map"])] = _mean(reading)
    messages = [
        f"{name} has an effect of {mean:.2f} under {imputer}, no less than the true change, "
        f"{of_maps[TRUE_CHANGE]:.2f}"
        for imputer, of_maps in heights.items()
        for name, mean in of_maps.items()
        if name not in _KNOWN and TRUE_CHANGE in of_maps and not mean < of_maps[TRUE_CHANGE]
    ]
    grown, plain = (_largest_effect(readings, name) for name in (GROWN_TRUTH, TRUTH))
    if grown is not None and plain is not None and not grown > plain:
        messages.append(
            f"exchanging {100 * _LARGEST_SHARE:g} % around the truth has an effect of {grown:.2f}, "
            f"no more than the truth and scattered pixels, {plain:.2f}"
        )
    return tuple(messages)


def _largest_effect(readings: Sequence[Reading], name: str) -> float | None:
    """Return the effect of exchanging the largest share of a yardstick, where it was measured."""
    reading = find(
        readings, DeltaTStatistics.yardstick, imputer=Exchange.name, map=name, q=_LARGEST_SHARE
    )
    return None if reading is None else _mean(reading)


def _mean(reading: Reading) -> float:
    return float(np.nanmean(reading.values))
