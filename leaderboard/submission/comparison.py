"""Compares what a submission claims with what running it again gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from leaderboard.published.fault import Fault
from leaderboard.published.record import PublishedRecord, Row
from leaderboard.submission.process import Maps

# Both sides are rounded to six digits.
_ROUNDING = 1e-5
# Rounding moves few scores by as much as is allowed, and not all of them upwards.
_MEAN_SHARE = 0.04
# As explainers are held to when one image is explained alone: rounding moves no map by more.
_SAME_MAP = 0.05


def compare(submitted: PublishedRecord, again: PublishedRecord, place: str) -> list[Fault]:
    """Return where a cell came out otherwise.

    Args:
        submitted: As in the bundle; its scale was held to the protocol's before.
        again: As measured here.
        place: For messages.
    """
    if submitted.identity != again.identity:
        return [Fault("identity-differs", place, "what was measured here is another cell")]
    told, here = _ending(submitted), _ending(again)
    if told != here:
        return [Fault("state-differs", place, f"it says {told}, and here it is {here}")]
    faults = []
    one, two = submitted.method, again.method
    if one != two:
        wrong = [name for name, value in one.model_dump().items() if getattr(two, name) != value]
        detail = f"{', '.join(wrong)} are not what the class says"
        faults.append(Fault("method-differs", place, detail))
    rows = {row[0]: row for row in submitted.scores}
    others = {row[0]: row for row in again.scores}
    if rows.keys() != others.keys():
        detail = f"{len(rows)} images are scored there and {len(others)} here"
        return [*faults, Fault("score-differs", place, detail)]
    # Two kinds of processors round differently, too.
    alike = submitted.provenance.device == again.provenance.device
    scale = again.scale
    tolerance = scale.tolerance if alike else scale.device_tolerance
    apart = [key for key, row in rows.items() if not _close(row, others[key], tolerance)]
    if apart:
        key = max(apart, key=lambda key: _distance(rows[key], others[key]))
        detail = (
            f"{len(apart)} of {len(rows)} scores differ by more than {tolerance:g}, most of all "
            f"{key} with {_told(rows[key])} there and {_told(others[key])} here"
        )
        faults.append(Fault("score-differs", place, detail))
    elif not alike and (ahead := _ahead(rows, others)) > _MEAN_SHARE * tolerance:
        detail = f"the mean score is {ahead:.3g} away from that here, more than rounding explains"
        faults.append(Fault("score-differs", place, detail))
    return faults


def maps_apart(first: Maps, second: Maps) -> float:
    """Return by how much the most different of some maps differ, as a share of their L2 norm."""
    if first.shape != second.shape:
        return float("inf")
    largest = 0.0
    for one, other in zip(first.astype(float), second.astype(float), strict=True):
        if not np.array_equal(np.isfinite(one), np.isfinite(other)):
            return float("inf")
        one, other = (np.nan_to_num(each, nan=0.0, posinf=0.0, neginf=0.0) for each in (one, other))
        size = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
        if size:
            largest = max(largest, float(np.linalg.norm(one - other)) / size)
    return largest


def map_faults(kept: Maps, blind: Maps, place: str) -> list[Fault]:
    """Return whether the maps of a protocol are not those that are made without one.

    Args:
        kept: Of some images, as a protocol was given them, [n, 1, *S].
        blind: Of the same images by themselves.
        place: For messages.
    """
    apart = maps_apart(kept, blind)
    if apart <= _SAME_MAP:
        return []
    detail = (
        f"an image gets another map under the protocol than by itself, with no truth at hand and "
        f"another model asked before: they are {apart:.0%} of their norm apart, not 5 % at most"
    )
    return [Fault("map-differs", place, detail)]


def _ending(record: PublishedRecord) -> str:
    return f"{record.state}, {record.verdict}" if record.verdict else record.state


def _close(one: Row, other: Row, tolerance: float) -> bool:
    return one[:3] == other[:3] and all(
        (here is None) == (there is None)
        and (
            here is None
            or there is None
            or abs(here - there) <= tolerance + _ROUNDING * max(abs(here), abs(there))
        )
        for here, there in zip(one[3:], other[3:], strict=True)
    )


def _distance(one: Row, other: Row) -> float:
    here, there = one[3], other[3]
    return float("inf") if here is None or there is None else abs(here - there)


def _ahead(rows: Mapping[str, Row], others: Mapping[str, Row]) -> float:
    """Return by how much the mean scores differ, over images that have a value on both sides."""
    apart = [
        there - here
        for key, row in rows.items()
        if (there := row[3]) is not None and (here := others[key][3]) is not None
    ]
    return abs(float(np.mean(apart))) if apart else 0.0


def _told(row: Row) -> str:
    numbers = ["no value" if one is None else f"{one:.6g}" for one in row[3:4]]
    if row[4] is not None:
        numbers.append(f"{row[4]:.6g}")
    return " / ".join(numbers)
