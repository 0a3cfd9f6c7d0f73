"""What `group_maps` knows of its own health, from readings alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.reading import Reading, find, interval, summarise
from benchmark.statistics.wording import format_interval
from benchmark.trial.interventions import region_use
from protocols.group_maps.statistics import GroupMapsStatistics

TRUE_DEVIATION, RANDOM = "true_deviation", "random"


def yardsticks(readings: Sequence[Reading]) -> dict[str, float]:
    """Return what maps recover that look at no network, by name."""
    name = GroupMapsStatistics.yardstick.name
    return {
        str(reading.conditions["map"]): float(np.mean(reading.values))
        for reading in readings
        if reading.statistic == name
    }


def faults(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return which blind maps recover as much as the truth, and whether noise is reliable."""
    heights, messages = yardsticks(readings), []
    if (truth := heights.pop(TRUE_DEVIATION, None)) is not None:
        messages = [
            f"{name} recovers {height:.2f} of the difference, no less than the true deviation, "
            f"{truth:.2f}"
            for name, height in heights.items()
            if not height < truth
        ]
    noise = interval(readings, GroupMapsStatistics.yardstick_reliability, map=RANDOM)
    if noise is not None and noise.low > 0:
        messages.append(f"the difference of noise seems reliable: {format_interval(noise)}")
    return tuple(messages)


def words(readings: Sequence[Reading]) -> str | None:
    """Return what the truth recovers, whether the regions are used, and which copies are missing.

    Returns:
        None where nothing of that kind was measured.
    """
    parts = []
    if find(readings, GroupMapsStatistics.model_auroc) is not None:
        gate = region_use.judge(readings)
        parts.append(f"the model uses the region: {gate.answer} ({gate.reason})")
    truth = find(readings, GroupMapsStatistics.yardstick, map=TRUE_DEVIATION)
    if truth is not None:
        score = summarise(truth, GroupMapsStatistics.yardstick.aggregate)
        parts.append(f"the true deviation recovers {score.estimate:.2f}")
    return "; ".join([*parts, *_missing_copies(readings)]) or None


def _missing_copies(readings: Sequence[Reading]) -> list[str]:
    """Return which copies could not be explained, and why."""
    missing = []
    for reading in readings:
        network = str(reading.conditions.get("network", ""))
        is_null = reading.statistic == GroupMapsStatistics.recovery.name and network
        if is_null and reading.reasons and np.isnan(reading.values).all():
            reason = next(iter(reading.reasons.values()))
            missing.append(f"no maps of randomised {network}: {reason}")
    return missing
