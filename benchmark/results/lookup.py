"""Finds records and readings, and names the controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.errors import UnknownNameError
from benchmark.protocol import SanityProtocol
from benchmark.reading import (
    SCORED,
    Condition,
    Reading,
    find,
    summarise,
)
from benchmark.records.record import Record
from benchmark.statistics.bootstrap import Interval

Protocols = Mapping[str, type[SanityProtocol[Any]]]


ORACLE, RANDOM = "oracle", "random"


# Maps that look at no model and know no truth; where one passes, the protocol proves nothing.
BLIND = (RANDOM, "centre", "intensity", "sobel")


ALIGNED = "_aligned"


def primary_estimate(record: Record, protocol: type[SanityProtocol[Any]]) -> Interval | None:
    """Return the score over subjects with its interval, or None where there is none."""
    score = find(record.to_readings(), protocol.primary) if record.state == SCORED else None
    if score is None:
        return None
    return summarise(score, protocol.statistic(protocol.primary).aggregate)


def reading_of(record: Record, statistic: str, conditions: Mapping[str, Condition]) -> Reading:
    """Return the reading of a record under exactly these conditions.

    Raises:
        UnknownNameError: If the record has no such reading.
    """
    reading = find(record.to_readings(), statistic, **conditions)
    if reading is None:
        names, known = record.names, {one.statistic for one in record.readings}
        kind = f"reading of {names.explainer} under {names.protocol}"
        raise UnknownNameError(kind, statistic, known)
    return reading


def has_reading(record: Record, statistic: str) -> bool:
    """Return whether a record holds the statistic without conditions."""
    return any(one.statistic == statistic and not one.conditions for one in record.readings)


def is_of(record: Record, explainer: str, protocol: str) -> bool:
    """Return whether a record is of this explainer and protocol."""
    return (record.names.explainer, record.names.protocol) == (explainer, protocol)


def model_and_cohort(record: Record) -> tuple[str, ...]:
    """Return suite, cohort and model of a record."""
    return record.identity.suite, record.names.cohort, record.names.model


def is_beside(one: Record, record: Record, explainer: str) -> bool:
    """Return whether ``one`` scores ``explainer`` just as ``record`` was scored."""
    return (
        one.state == SCORED
        and one.names.explainer == explainer
        and one.identity.protocol == record.identity.protocol
        and one.identity.cohort_fingerprint == record.identity.cohort_fingerprint
        and one.identity.weights_sha256 == record.identity.weights_sha256
        and (one.identity.suite, one.identity.seed) == (record.identity.suite, record.identity.seed)
    )


def protocol_of(record: Record, protocols: Protocols) -> type[SanityProtocol[Any]]:
    """Return the class of a record's protocol.

    Raises:
        UnknownNameError: If it is not among ``protocols``.
    """
    name = record.names.protocol
    if name not in protocols:
        raise UnknownNameError("protocol", name, protocols)
    return protocols[name]
