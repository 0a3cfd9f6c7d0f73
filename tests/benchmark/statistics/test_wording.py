"""Tests of how numbers and intervals are written."""

from __future__ import annotations

import math

import pytest

from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from benchmark.statistics.wording import format_interval


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (Interval(-0.25, -0.3, 0.2, 30), "−0.25 [−0.30, 0.20]"),
        (Interval(-0.001, -0.004, 0.001, 30), "0.00 [0.00, 0.00]"),
        (Interval(0.25, math.nan, math.nan, 1), "0.25"),
        (NO_INTERVAL, None),
        (None, None),
    ],
)
def test_an_interval_is_written_one_way(limits: Interval | None, wanted: str | None) -> None:
    """If it fails, pages mix hyphens and minus signs, write −0.00, or show limits of nothing."""
    assert format_interval(limits) == wanted
