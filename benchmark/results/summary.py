"""Records in, results out: estimates with intervals, and calibrated scores.

Every aggregate is made here from the values per subject that records hold, with one bootstrap for
all records of the same subjects, so differences between explainers are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmark.reading import SCORED, Reading, summarise
from benchmark.records.record import Record
from benchmark.results.calibration import calibrate
from benchmark.results.lookup import group_records
from benchmark.results.result import (
    Mark,
    Number,
    Passes,
    Primary,
    Result,
    estimate_readings,
    numbers,
)
from benchmark.statistics.bootstrap import Interval

if TYPE_CHECKING:
    from benchmark.protocol import SanityProtocol
    from benchmark.results.lookup import Protocols


def summarise_records(
    records: Sequence[Record], protocols: Protocols, details: bool = True
) -> list[Result]:
    """Return one result a record, in the order given.

    Args:
        records: Records of any models and cohorts; controls among them calibrate the others.
        protocols: Classes by name, for direction and aggregate of each statistic.
        details: Whether to summarise every reading, which takes some 0.2 s a record, or the score
            alone.

    Raises:
        UnknownNameError: If a record's protocol is not among them.
    """
    results = {}
    for group in group_records(records, protocols):
        intervals = calibrate(group.scores)
        for record, entry, calibrated in zip(
            group.records, group.scores.entries, intervals, strict=True
        ):
            result = _result(record, group.protocol, entry.reading, calibrated, details)
            results[id(record)] = result
    return [results[id(record)] for record in records]


def _result(
    record: Record,
    protocol: type[SanityProtocol[Any]],
    score: Reading | None,
    calibrated: Interval | None,
    details: bool,
) -> Result:
    names, readings = record.names, record.to_readings()
    statistic = protocol.statistic(protocol.primary)
    badges = protocol.badges(readings) if record.state == SCORED else ()
    return Result(
        cohort=names.cohort,
        model=names.model,
        explainer=names.explainer,
        protocol=names.protocol,
        protocol_version=record.identity.protocol.version,
        state=record.state,
        reason=record.reason,
        verdict=record.verdict,
        primary=Primary(
            **numbers(
                statistic.name, None if score is None else summarise(score, statistic.aggregate)
            ),
            direction=statistic.direction,
            calibrated=None if calibrated is None else Number.of(calibrated),
        ),
        badges=[Mark(name=badge.name, held=badge.held, detail=badge.detail) for badge in badges],
        statistics=estimate_readings(readings, protocol) if details else [],
        passes=Passes(forward=record.resources.forward, backward=record.resources.backward),
        seconds=record.resources.seconds,
    )
