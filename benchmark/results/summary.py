"""Records in, results out: estimates with intervals, and calibrated scores.

Every aggregate is made here from the values per subject that records hold, with one bootstrap for
all records of the same subjects, so differences between explainers are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmark.reading import SCORED, Aggregate, Reading, Sample, summarise_all
from benchmark.records.storage.finished import FinishedCell
from benchmark.results.calibration import calibrate
from benchmark.results.conclusions.sizes import SizeWord, size_word
from benchmark.results.lookup import Protocols, group_records
from benchmark.results.result import (
    ConditionedEstimate,
    Mark,
    Number,
    Passes,
    Primary,
    Result,
    truth_is_one,
)
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval

if TYPE_CHECKING:
    from benchmark.protocol import SanityProtocol


def summarise_records(
    records: Sequence[FinishedCell], protocols: Protocols, details: bool = True
) -> list[Result]:
    """Return one result a record, in the order given.

    Args:
        records: Records of any models and cohorts; controls among them calibrate the others.
        protocols: Protocols of the records.
        details: Whether to summarise every reading, which takes some 0.2 s a record, or the score
            alone.

    Raises:
        UnknownNameError: If a record's protocol is not among them.
    """
    results = {}
    for group in group_records(records, protocols):
        entries, intervals = group.scores.entries, calibrate(group.scores)
        numbers = [None if interval is None else Number.of(interval) for interval in intervals]
        named = zip(entries, numbers, strict=True)
        known = {entry.explainer: number for entry, number in named if number is not None}
        reaches_best = group.scores.scoring.owed or truth_is_one(known)
        for record, entry, number in zip(group.records, entries, numbers, strict=True):
            size = None if entry.reading is None else _size(number, reaches_best)
            result = _result(record, group.protocol, entry.reading, (number, size), details)
            results[id(record)] = result
    return [results[id(record)] for record in records]


def _result(
    record: FinishedCell,
    protocol: type[SanityProtocol[Any]],
    score: Reading | None,
    calibrated: tuple[Number | None, SizeWord | None],
    details: bool,
) -> Result:
    names, readings, resources = record.names, record.to_readings(), record.resources
    statistic = protocol.statistic(protocol.primary)
    interval = NO_INTERVAL if score is None else protocol.score_interval(readings)
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
            **_numbers(statistic.name, interval),
            direction=statistic.direction,
            calibrated=calibrated[0],
            size=calibrated[1],
        ),
        badges=[Mark(name=badge.name, held=badge.held, detail=badge.detail) for badge in badges],
        statistics=_estimate_readings(readings, protocol) if details else [],
        passes=Passes(forward=resources.forward, backward=resources.backward),
        seconds=resources.seconds,
    )


def _size(calibrated: Number | None, reaches_best: bool) -> SizeWord:
    """Return the word for a calibrated score; what has none has no known size."""
    if calibrated is None:
        return "not known"
    return size_word(calibrated.estimate, calibrated.low, calibrated.high, reaches_best)


def intervals_of(
    readings: Sequence[Reading], protocol: type[SanityProtocol[Any]]
) -> list[Interval]:
    """Return the interval of each reading; those of one sample and aggregate are made together."""
    aggregates = {statistic.name: statistic.aggregate for statistic in protocol.statistics}
    alike: dict[tuple[Sample, Aggregate], list[int]] = {}
    for index, reading in enumerate(readings):
        key = reading.sample, aggregates.get(reading.statistic, "mean")
        alike.setdefault(key, []).append(index)
    intervals: dict[int, Interval] = {}
    for (_, aggregate), indices in alike.items():
        summaries = summarise_all([readings[index] for index in indices], aggregate)
        intervals |= dict(zip(indices, summaries, strict=True))
    return [intervals[index] for index in range(len(readings))]


def _estimate_readings(
    readings: Sequence[Reading], protocol: type[SanityProtocol[Any]]
) -> list[ConditionedEstimate]:
    return [
        ConditionedEstimate(
            **_numbers(reading.statistic, interval), conditions=dict(reading.conditions)
        )
        for reading, interval in zip(readings, intervals_of(readings, protocol), strict=True)
    ]


def _numbers(statistic: str, interval: Interval) -> dict[str, Any]:
    """Return the fields of an ``Estimate``."""
    values = Number.of(interval).model_dump()
    return {"statistic": statistic, **values, "n_subjects": interval.n_subjects}
