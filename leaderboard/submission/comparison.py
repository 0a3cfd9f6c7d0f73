"""Compares the results that a submission claims with those of running it again."""

from __future__ import annotations

import numpy as np

from leaderboard.published.fault import Fault
from leaderboard.published.record import PublishedRecord, Row

# Both sides are rounded to six digits.
_ROUNDING = 1e-5
# Rounding moves few scores by as much as is allowed, and not all of them upwards.
_MEAN_SHARE = 0.04


def compare(submitted: PublishedRecord, again: PublishedRecord, location: str) -> list[Fault]:
    """Return the faults of a cell whose submitted results differ from those measured here."""
    if submitted.identity != again.identity:
        return [Fault("identity-differs", location, "what was measured here is another cell")]
    claim, result = _state_and_verdict(submitted), _state_and_verdict(again)
    if claim != result:
        return [Fault("state-differs", location, f"it says {claim}, and here it is {result}")]
    faults = []
    method = again.method.model_dump()
    if wrong := [name for name in method if getattr(submitted.method, name) != method[name]]:
        detail = f"{', '.join(wrong)} are not what the class says"
        faults.append(Fault("method-differs", location, detail))
    claimed = {row[0]: row for row in submitted.scores}
    measured = {row[0]: row for row in again.scores}
    if claimed.keys() != measured.keys():
        detail = f"{len(claimed)} images are scored there and {len(measured)} here"
        return [*faults, Fault("score-differs", location, detail)]
    # Two kinds of processors round differently, too.
    same_device = submitted.provenance.device == again.provenance.device
    tolerance = again.scale.tolerance if same_device else again.scale.device_tolerance
    differing = [key for key in claimed if not _close(claimed[key], measured[key], tolerance)]
    if differing:
        key = max(differing, key=lambda key: _distance(claimed[key], measured[key]))
        detail = (
            f"{len(differing)} of {len(claimed)} scores differ by more than {tolerance:g}, "
            f"most of all {key} with {_as_text(claimed[key])} there and "
            f"{_as_text(measured[key])} here"
        )
        return [*faults, Fault("score-differs", location, detail)]
    # Over images that have a value on both sides.
    pairs = [(claimed[key][3], measured[key][3]) for key in claimed]
    differences = [new - old for old, new in pairs if old is not None and new is not None]
    shift = abs(float(np.mean(differences))) if differences else 0.0
    if not same_device and shift > _MEAN_SHARE * tolerance:
        detail = f"the mean score is {shift:.3g} away from that here, more than rounding explains"
        faults.append(Fault("score-differs", location, detail))
    return faults


def _state_and_verdict(record: PublishedRecord) -> str:
    return f"{record.state}, {record.verdict}" if record.verdict else record.state


def _close(first: Row, second: Row, tolerance: float) -> bool:
    return first[:3] == second[:3] and all(
        old is new
        if old is None or new is None
        else abs(old - new) <= tolerance + _ROUNDING * max(abs(old), abs(new))
        for old, new in zip(first[3:], second[3:], strict=True)
    )


def _distance(first: Row, second: Row) -> float:
    old, new = first[3], second[3]
    return float("inf") if old is None or new is None else abs(old - new)


def _as_text(row: Row) -> str:
    value = "no value" if row[3] is None else f"{row[3]:.6g}"
    return value if row[4] is None else f"{value} / {row[4]:.6g}"
