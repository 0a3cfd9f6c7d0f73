"""Records in, results out: estimates with intervals, calibration, health, paired differences.

Every aggregate is made here from the values per subject that records hold, with one bootstrap for
all records of the same subjects, so differences between explainers are paired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.errors import InputError, UnknownNameError
from benchmark.protocol import SanityProtocol
from benchmark.reading import (
    SCORED,
    Condition,
    Reading,
    Sample,
    distributions,
    find,
    shared_bootstrap,
    summarise,
)
from benchmark.record import Record
from benchmark.result import (
    Calibrated,
    ConditionedEstimate,
    Mark,
    Passes,
    Primary,
    Result,
    estimate_readings,
    number,
    numbers,
)
from benchmark.statistics import Interval

Protocols = Mapping[str, type[SanityProtocol[Any]]]

ORACLE, RANDOM = "oracle", "random"
# Maps that look at no model and know no truth; where one passes, the protocol proves nothing.
BLIND = (RANDOM, "centre", "intensity", "sobel")
ALIGNED = "_aligned"


@dataclass(frozen=True)
class Health:
    """Whether a protocol tells truth from noise on a model and cohort.

    Attributes:
        cohort: Name.
        model: Name.
        protocol: Name.
        healthy: None where a control is missing.
        reason: One sentence.
    """

    cohort: str
    model: str
    protocol: str
    healthy: bool | None
    reason: str


@dataclass(frozen=True)
class Comparison:
    """The paired difference ``first`` − ``second`` on one model and cohort.

    Attributes:
        cohort: Name.
        model: Name.
        protocol: Name.
        statistic: Name of what is compared.
        first: Name of an explainer.
        second: Name of the other.
        interval: Over the subjects that have both.
    """

    cohort: str
    model: str
    protocol: str
    statistic: str
    first: str
    second: str
    interval: Interval


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
        protocol = _protocol_of(one, protocols)
        statistics = estimate_readings(one.to_readings(), protocol) if details else []
        results.append(_result(one, records, protocol, statistics))
    return results


def protocol_health(records: Sequence[Record], protocols: Protocols) -> list[Health]:
    """Say for each protocol, model and cohort whether it tells truth from noise.

    Healthy means that no explainer's score lies above the oracle's by more than ``margin`` (lower
    bound of the paired difference), and that the interval of the random map's ``chance`` statistic
    holds 0 or lies within ± ``margin``.

    Args:
        records: With those of ``oracle`` and ``random``, without which nothing is known.
        protocols: Classes by name.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((*_pair(record), record.names.protocol), []).append(record)
    return [
        _health(group, _protocol_of(group[0], protocols)) for _, group in sorted(groups.items())
    ]


def compare(
    records: Sequence[Record],
    first: str,
    second: str,
    protocol: type[SanityProtocol[Any]],
    statistic: str | None = None,
    conditions: Mapping[str, Condition] | None = None,
) -> Interval:
    """Return the paired difference of a statistic's aggregate, first explainer minus second.

    Args:
        records: Of one model and cohort.
        first: Name of an explainer.
        second: Name of the other.
        protocol: Under which both were scored.
        statistic: Its score unless given.
        conditions: Of the reading; none unless given.

    Raises:
        InputError: If one of the two has no such reading, or they share no image.
    """
    what, pair = statistic or protocol.primary, []
    for name in (first, second):
        own = [one for one in records if _is_of(one, name, protocol.name)]
        if len(own) != 1:
            raise InputError(
                f"Expected one record of {name!r} under {protocol.name!r} but got {len(own)}; "
                "compare within one model and cohort."
            )
        pair.append(_reading(own[0], what, conditions or {}))
    interval = _difference(pair[0], pair[1], protocol)
    if not interval.n_subjects:
        raise InputError(f"{first!r} and {second!r} have no subject in common with a {what!r}.")
    return interval


def aligned_pairs(
    records: Sequence[Record], protocols: Protocols, statistic: str | None = None
) -> list[Comparison]:
    """Return, for each method scored as published and at true centres, aligned − published.

    Args:
        records: Of any models and cohorts.
        protocols: Classes by name.
        statistic: What to compare; each protocol's score unless given.
    """
    scored = {
        (*_pair(one), one.names.protocol, one.names.explainer): one
        for one in records
        if one.state == SCORED
    }
    comparisons = []
    for (*place, explainer), record in scored.items():
        aligned = scored.get((*place, explainer + ALIGNED))
        protocol = _protocol_of(record, protocols)
        what = statistic or protocol.primary
        if aligned is None or not (_has(aligned, what) and _has(record, what)):
            continue
        pair = _reading(aligned, what, {}), _reading(record, what, {})
        interval, names = _difference(*pair, protocol), record.names
        if not interval.n_subjects:
            continue
        comparisons.append(
            Comparison(
                names.cohort,
                names.model,
                names.protocol,
                what,
                first=aligned.names.explainer,
                second=explainer,
                interval=interval,
            )
        )
    return comparisons


def primary_estimate(record: Record, protocol: type[SanityProtocol[Any]]) -> Interval | None:
    """Return the score over subjects with its interval, or None where there is none."""
    score = find(record.to_readings(), protocol.primary) if record.state == SCORED else None
    if score is None:
        return None
    return summarise(score, protocol.statistic(protocol.primary).aggregate)


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
            calibrated=_calibrated(record, records, protocol),
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


def _calibrated(
    record: Record, records: Sequence[Record], protocol: type[SanityProtocol[Any]]
) -> Calibrated | None:
    if record.state != SCORED:
        return None
    chosen = []
    for name in (record.names.explainer, RANDOM, ORACLE):
        other = next((one for one in records if _beside(one, record, name)), None)
        score = find(other.to_readings(), protocol.primary) if other else None
        if score is None:
            return None
        chosen.append(score)
    common = _on_common(chosen)
    if not len(common[0].sample):
        return None
    estimates, replicates = distributions(common, protocol.statistic(protocol.primary).aggregate)
    above, drawn_above = estimates - estimates[1], replicates - replicates[:, 1:2]
    bootstrap = shared_bootstrap(common[0].sample.subjects)
    span = bootstrap.statistic_interval(float(above[2]), drawn_above[:, 2])
    # A range from noise to truth that may be zero cannot be a unit of measurement.
    if not (span.low > 0 or span.high < 0):
        return None
    drawn = np.full(len(replicates), np.nan)
    np.divide(drawn_above[:, 0], drawn_above[:, 2], out=drawn, where=drawn_above[:, 2] != 0)
    ratio = bootstrap.statistic_interval(float(above[0] / above[2]), drawn)
    return Calibrated(
        estimate=number(ratio.estimate), low=number(ratio.low), high=number(ratio.high)
    )


def _difference(first: Reading, second: Reading, protocol: type[SanityProtocol[Any]]) -> Interval:
    pair = _on_common([first, second])
    if not len(pair[0].sample):
        return Interval(math.nan, math.nan, math.nan, 0)
    estimates, replicates = distributions(pair, protocol.statistic(first.statistic).aggregate)
    bootstrap = shared_bootstrap(pair[0].sample.subjects)
    return bootstrap.statistic_interval(
        float(estimates[0] - estimates[1]), replicates[:, 0] - replicates[:, 1]
    )


def _on_common(readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings on the images for which all have a value, in the order of their keys.

    Otherwise a method that scores only the easy images would be measured against controls that
    scored the others too.
    """
    places = [
        {key: place for place, key in enumerate(one.sample.keys) if np.isfinite(one.values[place])}
        for one in readings
    ]
    keys = tuple(sorted(set.intersection(*(set(one) for one in places))))
    first = readings[0].sample
    rows = [places[0][key] for key in keys]
    sample = Sample(
        keys, tuple(first.subjects[row] for row in rows), tuple(first.groups[row] for row in rows)
    )
    chosen = [[where[key] for key in keys] for where in places]
    return [
        replace(
            one,
            sample=sample,
            values=one.values[some],
            denominators=None if one.denominators is None else one.denominators[some],
        )
        for one, some in zip(readings, chosen, strict=True)
    ]


def _health(records: Sequence[Record], protocol: type[SanityProtocol[Any]]) -> Health:
    names = records[0].names

    scored = {one.names.explainer: one for one in records if one.state == SCORED}
    first = next(iter(scored.values()), None)
    remark = None if first is None else protocol.remark(first.to_readings())

    def conclude(healthy: bool | None, reason: str) -> Health:
        told = reason if remark is None else f"{reason}; {remark}"
        return Health(names.cohort, names.model, names.protocol, healthy, told)

    needed = (ORACLE, RANDOM) if protocol.truth_leads else (RANDOM,)
    absent = [name for name in needed if name not in scored]
    if absent:
        told = "was" if len(absent) == 1 else "were"
        return conclude(None, f"not known, since {' and '.join(absent)} {told} not scored")
    if protocol.truth_leads:
        ahead = _ahead_of_truth(scored, protocol)
        if ahead is not None:
            return conclude(False, f"unhealthy: {ahead}")
    passing = [name for name, one in scored.items() if name in BLIND and one.verdict == "pass"]
    if passing:
        return conclude(False, f"unhealthy: {passing[0]} passes, and looks at no model")
    lead = _lead(scored, protocol)
    chance = find(scored[RANDOM].to_readings(), protocol.chance)
    if chance is None:
        return conclude(None, f"not known, since random has no reading of {protocol.chance}")
    noise = summarise(chance, protocol.statistic(protocol.chance).aggregate)
    where = f"{protocol.chance} of noise is {noise.estimate:.3f} "
    where += f"[{noise.low:.3f}, {noise.high:.3f}]"
    within = noise.low >= -protocol.margin and noise.high <= protocol.margin
    if not within and not noise.low <= 0 <= noise.high:
        return conclude(False, f"unhealthy: {where}, neither at 0 nor within ±{protocol.margin:g}")
    return conclude(True, f"healthy: {lead}, and {where}")


def _ahead_of_truth(
    scored: Mapping[str, Record], protocol: type[SanityProtocol[Any]]
) -> str | None:
    """Say who scores better than the truth by more than the margin, or None where nobody does."""
    statistic = protocol.statistic(protocol.primary)
    sign, truth = -1 if statistic.direction == "lower" else 1, scored[ORACLE]
    for name, one in scored.items():
        if name == ORACLE or not (_has(one, statistic.name) and _has(truth, statistic.name)):
            continue
        pair = _reading(one, statistic.name, {}), _reading(truth, statistic.name, {})
        ahead = _difference(*pair, protocol)
        if (ahead.low if sign > 0 else -ahead.high) > protocol.margin:
            by = f"{abs(ahead.estimate):.3f} [{ahead.low:.3f}, {ahead.high:.3f}]"
            return f"{name} scores better than the truth by {by}"
    return None


def _lead(scored: Mapping[str, Record], protocol: type[SanityProtocol[Any]]) -> str:
    """Say that the truth is on top, or that maps without a model fail."""
    if not protocol.truth_leads:
        blind = [name for name in scored if name in BLIND]
        return f"{', '.join(blind)} {'do' if len(blind) > 1 else 'does'} not pass"
    sign = -1 if protocol.statistic(protocol.primary).direction == "lower" else 1
    scores = {name: primary_estimate(one, protocol) for name, one in scored.items()}
    truth = scores[ORACLE]
    leads = truth is None or all(
        one is None or sign * one.estimate <= sign * truth.estimate for one in scores.values()
    )
    return "the truth scores best" if leads else f"the truth is on top within {protocol.margin:g}"


def _reading(record: Record, statistic: str, conditions: Mapping[str, Condition]) -> Reading:
    reading = find(record.to_readings(), statistic, **conditions)
    if reading is None:
        names, known = record.names, {one.statistic for one in record.readings}
        kind = f"reading of {names.explainer} under {names.protocol}"
        raise UnknownNameError(kind, statistic, known)
    return reading


def _has(record: Record, statistic: str) -> bool:
    return any(one.statistic == statistic and not one.conditions for one in record.readings)


def _is_of(record: Record, explainer: str, protocol: str) -> bool:
    return (record.names.explainer, record.names.protocol) == (explainer, protocol)


def _pair(record: Record) -> tuple[str, ...]:
    return record.identity.suite, record.names.cohort, record.names.model


def _beside(one: Record, record: Record, explainer: str) -> bool:
    return (
        one.state == SCORED
        and one.names.explainer == explainer
        and one.identity.protocol == record.identity.protocol
        and one.identity.cohort_fingerprint == record.identity.cohort_fingerprint
        and one.identity.weights_sha256 == record.identity.weights_sha256
        and (one.identity.suite, one.identity.seed) == (record.identity.suite, record.identity.seed)
    )


def _protocol_of(record: Record, protocols: Protocols) -> type[SanityProtocol[Any]]:
    name = record.names.protocol
    if name not in protocols:
        raise UnknownNameError("protocol", name, protocols)
    return protocols[name]
