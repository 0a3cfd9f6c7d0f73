"""Results: what ``--json`` writes, row by row; numbers that do not exist are null, never NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmark.protocol import SanityProtocol
from benchmark.reading import Aggregate, Condition, Direction, Reading, Sample, State, summarise_all
from benchmark.records.record import SCHEMA_VERSION, VerdictWord
from benchmark.statistics.bootstrap import Interval

_NOTHING = Interval(math.nan, math.nan, math.nan, 0)


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Calibrated(_Plain):
    """(s − s_random)/(s_oracle − s_random): 0 for noise, 1 for the truth."""

    estimate: float | None
    low: float | None
    high: float | None


class Estimate(_Plain):
    """A statistic over subjects; null where there is no number."""

    statistic: str
    estimate: float | None
    low: float | None
    high: float | None
    n_subjects: int


class Primary(Estimate):
    """The score."""

    direction: Direction
    calibrated: Calibrated | None = None


class ConditionedEstimate(Estimate):
    """A statistic under the conditions of one reading."""

    conditions: dict[str, Condition]


class Passes(_Plain):
    """Image passes that measuring the cell took."""

    forward: int
    backward: int


class Mark(_Plain):
    """A yes or no beside a score, null where it is not known."""

    name: str
    held: bool | None
    detail: str


class Result(_Plain):
    """One row of the table."""

    cohort: str
    model: str
    explainer: str
    protocol: str
    protocol_version: str
    state: State
    reason: str | None
    verdict: VerdictWord | None
    primary: Primary
    badges: list[Mark] = Field(default_factory=list)
    statistics: list[ConditionedEstimate]
    passes: Passes
    seconds: float


class Report(_Plain):
    """What ``--json`` writes."""

    suite: str
    schema_version: int = SCHEMA_VERSION
    results: list[Result] = Field(default_factory=list)


def to_json(suite: str, results: Sequence[Result]) -> str:
    """Return the text that ``--json`` writes; numbers that do not exist are null."""
    return Report(suite=suite, results=list(results)).model_dump_json(indent=2) + "\n"


def estimate_readings(
    readings: Sequence[Reading], protocol: type[SanityProtocol[Any]]
) -> list[ConditionedEstimate]:
    """Summarise every reading; those of one sample and aggregate are made together."""
    known = {one.name: one.aggregate for one in protocol.statistics}
    alike: dict[tuple[Sample, Aggregate], list[int]] = {}
    for place, one in enumerate(readings):
        alike.setdefault((one.sample, known.get(one.statistic, "mean")), []).append(place)
    intervals: dict[int, Interval] = {}
    for (_, aggregate), places in alike.items():
        made = summarise_all([readings[place] for place in places], aggregate)
        intervals |= dict(zip(places, made, strict=True))
    return [
        ConditionedEstimate(
            **numbers(one.statistic, intervals[place]), conditions=dict(one.conditions)
        )
        for place, one in enumerate(readings)
    ]


def numbers(statistic: str, interval: Interval | None) -> dict[str, Any]:
    """Return the fields of an ``Estimate``."""
    interval = interval or _NOTHING
    return {
        "statistic": statistic,
        "estimate": number(interval.estimate),
        "low": number(interval.low),
        "high": number(interval.high),
        "n_subjects": interval.n_subjects,
    }


def number(value: float) -> float | None:
    """Return the value, or None where it is not finite."""
    return value if math.isfinite(value) else None
