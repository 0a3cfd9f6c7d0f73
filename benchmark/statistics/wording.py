"""Numbers and intervals as reports and reasons write them."""

from __future__ import annotations

import math

from benchmark.statistics.bootstrap import Interval

NO_NUMBER = "no value"


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


def format_number(value: float | None, *beside: float | None) -> str:
    """Return a number with three decimals, or three digits where those say little; or words.

    The largest of the number and those that it stands beside, such as limits, decides the form.
    """
    if value is None or not math.isfinite(value):
        return NO_NUMBER
    numbers = [abs(number) for number in (value, *beside) if number is not None]
    largest = max(filter(math.isfinite, numbers))
    text = f"{value:.3f}" if largest == 0 or 0.01 <= largest < 1000 else f"{value:.3g}"
    return typographic(text)


def format_range(low: float | None, high: float | None) -> str:
    """Return ``[low, high]``, or nothing where there is no interval."""
    if low is None or high is None or not math.isfinite(low + high):
        return ""
    return f"[{format_number(low, high)}, {format_number(high, low)}]"
