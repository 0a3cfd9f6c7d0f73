"""Numbers and intervals as reports and reasons write them."""

from __future__ import annotations

import math

from benchmark.statistics.bootstrap import Interval


def typographic(text: str) -> str:
    """Return a number with a typographic minus sign; what rounds to zero has no sign."""
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def format_interval(limits: Interval | None, digits: int = 2) -> str | None:
    """Return an estimate with its limits, such as ``0.17 [0.09, 0.24]``.

    Args:
        limits: The interval.
        digits: Number of decimal places.

    Returns:
        The estimate alone where there are no limits; None where there is no estimate.
    """
    if limits is None or math.isnan(limits.estimate):
        return None
    estimate, low, high = (
        typographic(f"{value:.{digits}f}") for value in (limits.estimate, limits.low, limits.high)
    )
    return estimate if math.isnan(limits.low) else f"{estimate} [{low}, {high}]"
