"""Results: what ``--json`` writes, row by row; numbers that do not exist are null, never NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from benchmark.reading import Aggregate, Condition, Direction, Reading, Sample, State, summarise_all
from benchmark.records.record import SCHEMA_VERSION, VerdictWord
from benchmark.results.scores import ORACLE
from benchmark.statistics.bootstrap import Interval

if TYPE_CHECKING:
    from benchmark.protocol import SanityProtocol

_NOTHING = Interval(math.nan, math.nan, math.nan, 0)


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Number(_Plain):
    """An estimate with its 95 % interval over subjects; null where there is no number."""

    estimate: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """Return the number of an interval."""
        return cls(
            estimate=number(interval.estimate), low=number(interval.low), high=number(interval.high)
        )


class Estimate(_Plain):
    """A statistic over subjects; null where there is no number."""

    statistic: str
    estimate: float | None
    low: float | None
    high: float | None
    n_subjects: int


class Primary(Estimate):
    """The score.

    Attributes:
        direction: Which way is better.
        calibrated: The score on the scale from noise, 0, to the truth, 1; above noise in its own
            unit where no truth stands clear of noise. Null at a gate and without noise.
    """

    direction: Direction
    calibrated: Number | None = None


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


def truth_is_one(calibrated: Mapping[str, Number]) -> bool:
    """Return whether calibrated scores reach from noise, 0, to the truth, 1.

    Where no truth is known, or none that stands clear of noise, they are distances from noise.

    Args:
        calibrated: Scores under one protocol, by explainer.
    """
    return ORACLE in calibrated and calibrated[ORACLE].estimate == 1.0


def to_json(suite: str, results: Sequence[Result]) -> str:
    """Return the text that ``--json`` writes; numbers that do not exist are null."""
    return Report(suite=suite, results=list(results)).model_dump_json(indent=2) + "\n"


def estimate_readings(
    readings: Sequence[Reading], protocol: type[SanityProtocol[Any]]
) -> list[ConditionedEstimate]:
    """Summarise every reading; those of one sample and aggregate are made together."""
    aggregates = {statistic.name: statistic.aggregate for statistic in protocol.statistics}
    alike: dict[tuple[Sample, Aggregate], list[int]] = {}
    for index, reading in enumerate(readings):
        aggregate = aggregates.get(reading.statistic, "mean")
        alike.setdefault((reading.sample, aggregate), []).append(index)
    intervals: dict[int, Interval] = {}
    for (_, aggregate), indices in alike.items():
        summaries = summarise_all([readings[index] for index in indices], aggregate)
        intervals |= dict(zip(indices, summaries, strict=True))
    return [
        ConditionedEstimate(
            **numbers(reading.statistic, intervals[index]), conditions=dict(reading.conditions)
        )
        for index, reading in enumerate(readings)
    ]


def numbers(statistic: str, interval: Interval | None) -> dict[str, Any]:
    """Return the fields of an ``Estimate``."""
    interval = interval or _NOTHING
    values = Number.of(interval).model_dump()
    return {"statistic": statistic, **values, "n_subjects": interval.n_subjects}


def number(value: float) -> float | None:
    """Return the value, or None where it is not finite."""
    return value if math.isfinite(value) else None
