"""Records in, results out: estimates with intervals, calibration, health, paired differences.

Every aggregate is made here from the values per subject that records hold, with one bootstrap for
all records of the same subjects, so differences between explainers are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.protocol import SanityProtocol
from benchmark.reading import (
    SCORED,
)
from benchmark.records.record import Record
from benchmark.results.calibration import calibrated_score
from benchmark.results.lookup import Protocols, primary_estimate, protocol_of
from benchmark.results.result import (
    ConditionedEstimate,
    Mark,
    Passes,
    Primary,
    Result,
    estimate_readings,
    numbers,
)


def summarise_records(
    records: Sequence[Record], protocols: Protocols, details: bool = True
) -> list[Result]:
    """Return one result a record, in the order given.

    Args:
        records: Of any models and cohorts; controls among them calibrate the others.
        protocols: Classes by name, for direction and aggregate of each statistic.
        details: Whether to summarise every reading, which takes some 0.2 s a record, or the score
            alone.

    Raises:
        UnknownNameError: If a record's protocol is not among them.
    """
    results = []
    for one in records:
        protocol = protocol_of(one, protocols)
        statistics = estimate_readings(one.to_readings(), protocol) if details else []
        results.append(_result(one, records, protocol, statistics))
    return results


def _result(
    record: Record,
    records: Sequence[Record],
    protocol: type[SanityProtocol[Any]],
    statistics: list[ConditionedEstimate],
) -> Result:
    names, interval = record.names, primary_estimate(record, protocol)
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
            **numbers(protocol.primary, interval),
            direction=protocol.statistic(protocol.primary).direction,
            calibrated=calibrated_score(record, records, protocol),
        ),
        badges=_badges(record, protocol),
        statistics=statistics,
        passes=Passes(forward=record.resources.forward, backward=record.resources.backward),
        seconds=record.resources.seconds,
    )


def _badges(record: Record, protocol: type[SanityProtocol[Any]]) -> list[Mark]:
    if record.state != SCORED:
        return []
    found = protocol.badges(record.to_readings())
    return [Mark(name=one.name, held=one.held, detail=one.detail) for one in found]
