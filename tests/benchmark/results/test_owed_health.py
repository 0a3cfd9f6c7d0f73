"""Health and scale of scores that are owed to the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import fakes
import numpy as np
import pytest
from runs import build_record

from benchmark.protocol import SanityProtocol
from benchmark.reading import Reading, Statistic, summarise
from benchmark.records.record import Outcome
from benchmark.results.health import Health, protocol_health
from benchmark.results.summary import summarise_records
from benchmark.seeding import stream
from benchmark.statistics.studentised import TOO_FEW

NOTHING = tuple(stream("test_owed_health").normal(0.0, 0.02, 24))
SHIFT = float(np.mean(NOTHING))
BLIND = tuple(value - SHIFT for value in NOTHING)
OWED = tuple(0.4 + 3 * value for value in BLIND)


class Owing(fakes.Loading):
    """A protocol whose score is owed to the network."""

    owes_to_network = True
    truth_leads = False
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("share", "what is owed", "higher", "studentised"),
        Statistic("excess", "the same"),
    )


class Leading(Owing):
    """A protocol under which the truth must lead."""

    truth_leads = True


class Open(Owing):
    """A protocol that doubts what any method but ``bright`` shows."""

    @classmethod
    def health_doubts(cls, readings: Mapping[str, Sequence[Reading]]) -> tuple[str, ...]:
        """Return a doubt unless the method is among them."""
        return () if "bright" in readings else (f"no method follows: {sorted(readings)}",)


class Doubting(Owing):
    """A protocol that finds a fault of its own."""

    @classmethod
    def health_faults(cls, readings: Sequence[Reading]) -> tuple[str, ...]:
        """Return a fault."""
        return ("the truth is beaten",)


def health_of(protocol: type[SanityProtocol[Any]], **scores: Sequence[float]) -> Health:
    records = [
        build_record(
            name, outcome=Outcome("scored", None, "fail", build_record(name, values).to_readings())
        )
        for name, values in scores.items()
    ]
    (health,) = protocol_health(records, {"loading": protocol})
    return health


def raised(by: float) -> tuple[float, ...]:
    return tuple(value + by for value in BLIND)


def test_every_control_must_owe_nothing_and_is_shown_with_its_score() -> None:
    """If it fails, a protocol that a blind map wins is called healthy."""
    health = health_of(Owing, random=BLIND, atlas=(0.0,) * 24, sobel=raised(-0.2), bright=OWED)
    assert health.healthy is True, health.reason
    assert "atlas 0.000 [0.000, 0.000], random 0.000 [" in health.reason
    assert "sobel −0.200 [" in health.reason
    above = health_of(Owing, random=BLIND, atlas=raised(Owing.margin + 0.1), bright=OWED)
    assert above.healthy is False
    assert "atlas owes something to a network" in above.reason
    nobody = health_of(Owing, bright=OWED)
    assert (nobody.healthy, "was scored" in nobody.reason) == (None, True)


def test_too_few_subjects_say_nothing_of_health() -> None:
    """If it fails, a handful of subjects declares a protocol healthy."""
    few = health_of(Owing, random=BLIND[:10], bright=OWED[:10])
    assert few.healthy is None
    assert TOO_FEW in few.reason
    assert few.reason.count("[") == 0
    exact = health_of(Owing, atlas=(0.0,) * 10)
    assert exact.healthy is True, "what owes exactly nothing needs no interval"


def test_the_true_change_must_beat_every_control_where_the_truth_leads() -> None:
    """If it fails, a protocol under which the truth loses is called healthy."""
    scores = {"random": BLIND, "oracle": BLIND, "bright": OWED}
    assert health_of(Leading, **scores, true_change=raised(0.9)).healthy is True
    beaten = health_of(Leading, **scores, true_change=raised(-0.1))
    assert beaten.healthy is False
    assert "true_change leads random by no more than −0.100" in beaten.reason
    assert health_of(Leading, **scores).healthy is False, "the region is the truth elsewhere"
    assert health_of(Owing, **scores).healthy is True
    assert health_of(Leading, random=BLIND, oracle=raised(0.5), bright=raised(2.0)).healthy is True


def test_a_fault_that_the_protocol_finds_is_told_once() -> None:
    """If it fails, an imputer that proves nothing goes unseen."""
    health = health_of(Doubting, random=BLIND, bright=OWED)
    assert health.healthy is False
    assert health.reason.count("the truth is beaten") == 1


def test_what_the_methods_leave_open_is_not_known() -> None:
    """If it fails, a run whose networks no method follows is called healthy."""
    unknown = health_of(Open, random=BLIND, dim=OWED)
    assert unknown.healthy is None
    assert "no method follows: ['dim']; controls: random" in unknown.reason
    assert health_of(Open, random=BLIND, dim=OWED, bright=OWED).healthy is True


def test_an_owed_score_is_its_own_scale() -> None:
    """If it fails, a score is divided by that of the truth, which owes nothing to a network."""
    records = [build_record(name, own) for name, own in (("oracle", BLIND), ("bright", OWED))]
    bright = summarise_records(records, {"loading": Owing})[1].primary
    score = next(own for own in records[1].to_readings() if own.statistic == Owing.primary)
    interval = summarise(score, Owing.statistic(Owing.primary).aggregate)
    assert bright.calibrated is not None
    assert bright.calibrated.estimate == bright.estimate == pytest.approx(interval.estimate)
    assert bright.calibrated.low == bright.low
