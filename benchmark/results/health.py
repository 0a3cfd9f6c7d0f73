"""Says whether a protocol tells truth from noise on a model and cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.protocol import SanityProtocol
from benchmark.reading import (
    SCORED,
    find,
    summarise,
)
from benchmark.records.record import Record
from benchmark.results.lookup import (
    BLIND,
    ORACLE,
    RANDOM,
    Protocols,
    has_reading,
    model_and_cohort,
    primary_estimate,
    protocol_of,
    reading_of,
)
from benchmark.results.paired import paired_difference


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
        groups.setdefault((*model_and_cohort(record), record.names.protocol), []).append(record)
    return [_health(group, protocol_of(group[0], protocols)) for _, group in sorted(groups.items())]


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
        if name == ORACLE or not (
            has_reading(one, statistic.name) and has_reading(truth, statistic.name)
        ):
            continue
        pair = reading_of(one, statistic.name, {}), reading_of(truth, statistic.name, {})
        ahead = paired_difference(*pair, protocol)
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
