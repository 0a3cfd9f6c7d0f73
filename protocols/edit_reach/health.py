"""What `edit_reach` knows of its own health, from readings alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.reading import Reading, find, interval
from benchmark.reading import summarise as estimate_of
from protocols.edit_reach.statistics import EditReachStatistics
from protocols.edit_reach.yardsticks import best_known

LARGEST_LEAD = 0.02


def smallest_share(readings: Sequence[Reading]) -> float | None:
    """Return the smallest share of the foreground that was edited, or None where none was."""
    shares = [
        float(reading.conditions["q"])
        for reading in readings
        if reading.statistic == EditReachStatistics.edit_reach.name and "q" in reading.conditions
    ]
    return min(shares, default=None)


def lead_of_truth(readings: Sequence[Reading]) -> Reading | None:
    """Return by how much the map reaches further than the best that is known of the anatomy.

    That is the true change, or else the truth, at the smallest share: there alone does the truth
    fill its share, and at larger ones most of what is edited beside it is drawn at random. None
    where neither is known.
    """
    q = smallest_share(readings)
    if q is None:
        return None
    best = best_known(_heights(readings))
    if best is None:
        return None
    truth = find(readings, EditReachStatistics.yardstick, map=best, q=q)
    own = find(readings, EditReachStatistics.above, null="chance", q=q)
    if truth is None or own is None:
        return None
    return Reading(EditReachStatistics.above.name, own.sample, own.values - truth.values)


def faults(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return whether the map surely leads the truth: edits then find where the model is fooled."""
    lead = lead_of_truth(readings)
    if lead is None:
        return ()
    limits = estimate_of(lead, EditReachStatistics.above.aggregate)
    if np.isnan(limits.low) or limits.low <= LARGEST_LEAD:
        return ()
    return (
        f"edits inside {100 * (smallest_share(readings) or 0):g} % of the foreground reach "
        f"{limits.estimate:.2f} T further than those inside the {best_known(_heights(readings))}",
    )


def words_of_model(readings: Sequence[Reading]) -> list[str]:
    """Return how far the model can be moved, and how far inside maps that need no explainer."""
    words = []
    if (whole := interval(readings, EditReachStatistics.whole_reach)) is not None:
        words.append(f"edits of the whole foreground reach {whole.estimate:.2f} T")
    if (explained := interval(readings, EditReachStatistics.explained)) is not None:
        words.append(f"they can make {explained.estimate:.0%} of how training images differ")
    heights = _heights(readings)
    if heights:
        listed = ", ".join(f"{name} {height:.2f} T" for name, height in heights.items())
        words.append(f"above random places: {listed}")
    return words


def _heights(readings: Sequence[Reading]) -> dict[str, float]:
    """Return how far edits reach inside each yardstick above random places, in units of T."""
    return {
        str(reading.conditions["map"]): estimate_of(reading).estimate
        for reading in readings
        if reading.statistic == EditReachStatistics.yardstick.name and "q" not in reading.conditions
    }
