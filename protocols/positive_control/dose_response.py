"""What rises with the strength of a planted signal, as badges beside a score.

A method can find the site and still not rise: a model that saturates moves its gradients elsewhere.
So the three trends are reported, and none of them enters the score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.protocol import Badge
from benchmark.reading import Condition, Reading, find, summarise
from benchmark.statistics.significance import page_trend
from protocols.positive_control.statistics import LEVEL, PROBE, TUNED


def dose_badges(readings: Sequence[Reading], strengths: Sequence[str]) -> tuple[Badge, ...]:
    """Return the badges of detection limit, T, IoU and ΔT over strengths, the weakest first."""
    return (
        _detection(readings, strengths),
        _distance(readings, strengths),
        _trend("IoU rises", readings, strengths, "iou", {"arm": TUNED}),
        _trend("ΔT rises", readings, strengths, "restored_above_random", {}),
    )


def _detection(readings: Sequence[Reading], strengths: Sequence[str]) -> Badge:
    for strength in strengths:
        reading = find(readings, "found", arm=TUNED, strength=strength)
        if reading is not None and summarise(reading).low > 0:
            return Badge("finds the signal", True, f"detection limit: {strength}")
    return Badge("finds the signal", False, "found at no strength")


def _distance(readings: Sequence[Reading], strengths: Sequence[str]) -> Badge:
    """Judge T of the frozen model, where it is on one scale for all strengths."""
    doses_read = [find(readings, "group_distance", arm=PROBE, strength=name) for name in strengths]
    known = [reading for reading in doses_read if reading is not None]
    if len(known) < len(strengths):
        return Badge("T rises", None, "not measured at every strength")
    doses = np.arange(len(known)) - (len(known) - 1) / 2
    slopes = np.column_stack([reading.values for reading in known]) @ doses / (doses @ doses)
    slope = summarise(Reading("slope", known[0].sample, slopes))
    detail = f"by {slope.estimate:.3g} [{slope.low:.3g}, {slope.high:.3g}] a step, frozen model"
    return Badge("T rises", slope.low > 0, detail)


def _trend(
    name: str,
    readings: Sequence[Reading],
    strengths: Sequence[str],
    statistic: str,
    where: dict[str, Condition],
) -> Badge:
    """Judge a statistic by Page's trend within subjects."""
    doses_read = [find(readings, statistic, **where, strength=name) for name in strengths]
    columns = [reading.values for reading in doses_read if reading is not None]
    if len(columns) < len(strengths) or np.isnan(columns).any(axis=0).all():
        return Badge(name, None, "not measured at every strength")
    table = np.column_stack(columns)
    trend = page_trend(table)
    risen = np.nanmean(np.sign(table[:, -1] - table[:, 0]) / 2 + 0.5)
    detail = f"Page's L {trend.statistic:.0f}, p {trend.p:.2g}; {risen:.0%} of subjects rise"
    return Badge(name, bool(trend.p <= LEVEL), detail)
