"""Numbers as a board shows them, without the last bits of a processor."""

from __future__ import annotations

import math

from benchmark.results.result import Number
from benchmark.statistics.bootstrap import Interval

DECIMALS = 4


def number_of(interval: Interval) -> Number:
    """Return the estimate and interval that a board shows."""
    estimate, low, high = map(rounded, (interval.estimate, interval.low, interval.high))
    return Number(estimate=estimate, low=low, high=high)


def rounded(value: float) -> float | None:
    """Return the value that a board shows, None where it is not finite."""
    # The sum takes the sign from a negative zero.
    return round(value, DECIMALS) + 0.0 if math.isfinite(value) else None
