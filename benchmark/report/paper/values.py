"""The numbers that figures and tables show, each with the record that it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark.reading import Condition, Reading, Statistic, subject_means
from benchmark.records.experiment import ExperimentCard
from benchmark.records.storage.finished import FinishedCell
from benchmark.report.paper.sections import Section
from benchmark.results.summary import intervals_of
from benchmark.statistics.significance import holm, sign_flip_p

if TYPE_CHECKING:
    from benchmark.protocol import SanityProtocol

LEVEL = 0.05  # of tests, one-sided and after Holm's correction
EXPERIMENT = "experiment"  # stands for a protocol where a value comes from an experiment's card
_SPLIT = "test"

Conditions = tuple[tuple[str, Condition], ...]


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval over subjects.

    Attributes:
        section: Model and cohort that it is about.
        method: Name of the explainer; of an experiment, its number and regime.
        protocol: Name of the protocol, or ``EXPERIMENT``.
        statistic: Name of the statistic.
        conditions: Conditions of the reading, sorted by name; none for the score.
        is_score: Whether it is the score of the protocol.
        estimate: Value; None where there is none.
        low: Lower limit.
        high: Upper limit.
        n_subjects: Number of subjects.
        p: One-sided p-value of a sign-flip test against 0, where it was tested.
        p_holm: The same after Holm's correction over all tests of a figure.
        source: Identity of the record or of the experiment.
    """

    section: Section
    method: str
    protocol: str
    statistic: str
    conditions: Conditions
    is_score: bool
    estimate: float | None
    low: float | None
    high: float | None
    n_subjects: int
    p: float | None = None
    p_holm: float | None = None
    source: str = ""

    def condition(self, name: str) -> Condition:
        """Return the value of a condition."""
        return dict(self.conditions)[name]

    @property
    def is_significant(self) -> bool | None:
        """Whether it is above 0 after Holm's correction; None where it was not tested."""
        return None if self.p_holm is None else self.p_holm < LEVEL


@dataclass(frozen=True)
class Choice:
    """Choice of readings by statistic and conditions.

    Attributes:
        protocol: Name of the protocol.
        statistic: Name of the statistic; empty for the score.
        where: Conditions with the value that they must have.
        over: Conditions that may have any value, and must be there.
        of_model: Whether the readings are of the model and alike for all explainers, so that those
            of one explainer are enough.
        is_tested: Whether values that are means over subjects are tested against 0.
    """

    protocol: str
    statistic: str = ""
    where: Conditions = ()
    over: tuple[str, ...] = ()
    of_model: bool = False
    is_tested: bool = False

    def allows(self, conditions: Mapping[str, Condition]) -> bool:
        """Return whether conditions are those of the choice."""
        names = {name for name, _ in self.where} | set(self.over)
        return set(conditions) == names and all(
            conditions[name] == value for name, value in self.where
        )

    def matches(self, value: Value) -> bool:
        """Return whether a value is of the choice."""
        named = value.is_score if not self.statistic else value.statistic == self.statistic
        return value.protocol == self.protocol and named and self.allows(dict(value.conditions))


def values_of_cell(
    cell: FinishedCell,
    section: Section,
    protocol: type[SanityProtocol[Any]],
    readings: Sequence[Reading],
    choices: Iterable[Choice],
) -> list[Value]:
    """Return the values of a cell that are chosen, in the order of its readings."""
    own = [choice for choice in choices if choice.protocol == cell.names.protocol]
    chosen: list[tuple[Reading, bool, bool]] = []
    for reading in readings:
        is_score = reading.statistic == protocol.primary and not reading.conditions
        matching = [
            choice
            for choice in own
            if (is_score if not choice.statistic else reading.statistic == choice.statistic)
            and choice.allows(reading.conditions)
        ]
        if matching or is_score:  # every score stands in a table
            chosen.append((reading, is_score, any(choice.is_tested for choice in matching)))
    intervals = intervals_of([reading for reading, *_ in chosen], protocol)
    values = []
    for (reading, is_score, is_tested), interval in zip(chosen, intervals, strict=True):
        own_interval = protocol.score_interval(readings) if is_score else interval
        # Flipped signs keep the mean at 0, and no other aggregate.
        statistic = declared(protocol, reading.statistic)
        is_mean = statistic is None or statistic.aggregate in ("mean", "studentised")
        p = sign_flip_p(subject_means(reading)) if is_tested and is_mean else math.nan
        value = Value(
            section=section,
            method=cell.names.explainer,
            protocol=cell.names.protocol,
            statistic=reading.statistic,
            conditions=tuple(sorted(reading.conditions.items())),
            is_score=is_score,
            estimate=_finite(own_interval.estimate),
            low=_finite(own_interval.low),
            high=_finite(own_interval.high),
            n_subjects=own_interval.n_subjects,
            p=_finite(p),
            source=cell.identity_sha256,
        )
        values.append(value)
    return values


def declared(protocol: type[SanityProtocol[Any]], name: str) -> Statistic | None:
    """Return a statistic that a protocol declares; None of one that it only takes over."""
    return next((own for own in protocol.statistics if own.name == name), None)


def values_of_card(card: ExperimentCard, section: Section) -> list[Value]:
    """Return the metrics of an experiment on the test split."""
    findings = card.validation.splits if card.validation else ()
    return [
        Value(
            section=section,
            method=f"{card.id} {card.recipe.regime}",
            protocol=EXPERIMENT,
            statistic=metric.name,
            conditions=(("split", part.split),),
            is_score=False,
            estimate=metric.estimate,
            low=metric.low,
            high=metric.high,
            n_subjects=part.subjects,
            source=card.identity,
        )
        for part in findings
        if part.split == _SPLIT
        for metric in part.metrics
    ]


def corrected(values: Sequence[Value]) -> tuple[Value, ...]:
    """Return values whose p-values are corrected by Holm over all of them."""
    tested = [value for value in values if value.p is not None]
    adjusted = iter(holm([value.p for value in tested if value.p is not None]).tolist())
    return tuple(
        value if value.p is None else replace(value, p_holm=next(adjusted)) for value in values
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
