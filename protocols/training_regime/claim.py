"""The claim of `training_regime`: whether a frozen encoder with a probe explains better."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.reading import Reading
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.wording import format_interval
from protocols.training_regime.gains import gains
from protocols.training_regime.over_encoders import (
    FEWEST_SAMPLE,
    encoder_count,
    gains_over_encoders,
)


def claim_of(readings: Sequence[Reading]) -> tuple[bool | None, str]:
    """Return whether a probe explains better than full training, and the sentence on it.

    It is about the gains over encoders where there are several. Two are named as these two: what
    others would show is seen from three on.
    """
    own, over = gains(readings), gains_over_encoders(readings)
    if over is None:
        held, words = _answer(*own)
        return held, f"{words[0]}, given this encoder: {words[1]}"
    held, words = _answer(*over)
    count = encoder_count(readings)
    whose = f"over {count} encoders" if count >= FEWEST_SAMPLE else "given these 2 encoders"
    return held, f"{words[0]}, {whose}: {words[1]}; given the first one alone: {_gains(*own)}"


def _answer(stability: Interval, faith: Interval) -> tuple[bool | None, tuple[str, str]]:
    words = _gains(stability, faith)
    if stability.low > 0 and faith.low > 0:
        return True, ("supported", words)
    if stability.high < 0 or faith.high < 0:
        return False, ("contradicted", words)
    return None, ("open", words)


def _gains(stability: Interval, faith: Interval) -> str:
    words = [format_interval(gain) or "not known" for gain in (stability, faith)]
    return f"gain of a probe in stability {words[0]}, in the effect of what maps mark {words[1]} T"
