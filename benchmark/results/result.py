"""Results: what ``--json`` writes, row by row; numbers that do not exist are null, never NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from benchmark.reading import Condition, Direction, State
from benchmark.records.record import SCHEMA_VERSION, VerdictWord
from benchmark.results.conclusions.sizes import SizeWord
from benchmark.results.scores import ORACLE
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.studentised import FEWEST_SUBJECTS


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
        values = interval.estimate, interval.low, interval.high
        estimate, low, high = (value if math.isfinite(value) else None for value in values)
        return cls(estimate=estimate, low=low, high=high)


class Estimate(_Plain):
    """A statistic over subjects; null where there is no number."""

    statistic: str
    estimate: float | None
    low: float | None
    high: float | None
    n_subjects: int

    @property
    def has_too_few_subjects(self) -> bool:
        """Whether limits are missing because there are too few subjects to state them."""
        return (
            self.estimate is not None and self.low is None and 1 < self.n_subjects < FEWEST_SUBJECTS
        )


class Primary(Estimate):
    """The score.

    Attributes:
        direction: Direction that is better.
        calibrated: The score on the scale from noise, 0, to the truth, 1; above noise in its own
            unit where no truth stands clear of noise. Null at a gate and without noise.
        size: Word for the size of the calibrated score; null where there is no score.
    """

    direction: Direction
    calibrated: Number | None = None
    size: SizeWord | None = None


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
    """Return whether one protocol's calibrated scores, by explainer, reach from noise to the truth.

    Where no truth is known, or none that stands clear of noise, they are distances from noise.
    """
    return ORACLE in calibrated and calibrated[ORACLE].estimate == 1.0


def to_json(suite: str, results: Sequence[Result]) -> str:
    """Return the text that ``--json`` writes; numbers that do not exist are null."""
    return Report(suite=suite, results=list(results)).model_dump_json(indent=2) + "\n"
