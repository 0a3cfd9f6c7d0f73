"""What `delta_t` 2 knows of its own health, from readings alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.reading import Reading, find, summarise
from protocols.v2.delta_t.statistics import DeltaTStatistics
from protocols.v2.delta_t.yardsticks import (
    ATTAINABLE,
    GROWN_TRUTH,
    LARGEST_MOVE,
    TRUE_CHANGE,
    TRUTH,
)

_LARGEST_SHARE_OF_TRUTH = 0.2
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
    missing = dict.fromkeys(
        f"without the {reading.conditions['arm']} network ({reason})"
        for reading in readings
        if reading.statistic == DeltaTStatistics.effect_area.name
        for reason in list(reading.reasons.values())[:1]
    )
    return "; ".join([*parts, *missing]) or None


def faults(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return in which ways the yardsticks lie in the wrong order, under each alteration.

    The true change must lead every map that looks at no network, and the truth grown by distance
    must lead the plain one where more is altered than the plain one holds.
    """
    heights: dict[str, dict[str, float]] = {}
    for reading in readings:
        where = reading.conditions
        if reading.statistic == DeltaTStatistics.yardstick.name and "q" not in where:
            mean = summarise(reading, "mean").estimate
            heights.setdefault(str(where["imputer"]), {})[str(where["map"])] = mean
    messages = []
    for imputer, of_maps in heights.items():
        controls = {name: mean for name, mean in of_maps.items() if name not in _KNOWN}
        change = of_maps.get(TRUE_CHANGE)
        for name, mean in controls.items():
            if change is not None and not change > mean:
                messages.append(
                    f"{name} has an effect of {mean:.2f} under {imputer}, no less than the true "
                    f"change, {change:.2f}"
                )
        grown, plain = (
            find(
                readings,
                DeltaTStatistics.yardstick,
                imputer=imputer,
                map=name,
                q=_LARGEST_SHARE_OF_TRUTH,
            )
            for name in (GROWN_TRUTH, TRUTH)
        )
        if grown is not None and plain is not None and _mean(grown) < _mean(plain):
            messages.append(
                f"the truth grown by distance has a smaller effect under {imputer} than the plain "
                f"one at {100 * _LARGEST_SHARE_OF_TRUTH:g} %"
            )
    return tuple(messages)


def _mean(reading: Reading) -> float:
    return float(np.nanmean(reading.values))
