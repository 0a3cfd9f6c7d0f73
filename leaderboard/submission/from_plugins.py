"""Descriptions of explainers and protocols, made from their classes for a record."""

from __future__ import annotations

from typing import Any

from benchmark.explainer import Control, Explainer
from benchmark.protocol import SanityProtocol
from benchmark.reading import SCORED
from benchmark.records.storage.finished import FinishedCell
from leaderboard.published.fields import Method, Scale

_LONGEST = 400  # characters of a text in a record


def method_of(explainer: type[Explainer], title: str = "") -> Method:
    """Return the board's description of an explainer, under its name unless it has a title."""
    return Method(
        title=title or explainer.name,
        family=explainer.family,
        paper=explainer.paper,
        control=issubclass(explainer, Control),
        polarity=explainer.polarity,
    )


def faults_of(protocol: type[SanityProtocol[Any]], record: FinishedCell) -> tuple[str, ...]:
    """Return what makes the scores of a protocol prove nothing on the model of a record."""
    if record.state != SCORED:
        return ()
    return tuple(fault[:_LONGEST] for fault in protocol.health_faults(record.to_readings()))


def scale_of(protocol: type[SanityProtocol[Any]]) -> Scale:
    """Return the scale of a protocol's score.

    First versions of protocols whose score owes nothing to null networks are described as in
    records that were written before a scale told of it.
    """
    statistic = protocol.statistic(protocol.primary)
    owed = protocol.owes_to_network
    tells_more = owed or protocol.version.partition(".")[0] not in ("0", "1")
    return Scale(
        question=protocol.title,
        statistic=protocol.primary,
        direction=statistic.direction,
        aggregate=statistic.aggregate,
        gate=protocol.gate,
        truth_leads=protocol.truth_leads,
        margin=protocol.margin,
        tolerance=protocol.tolerance,
        device_tolerance=protocol.device_tolerance,
        chance=protocol.chance if tells_more else None,
        owed=owed,
        counts=protocol.gate and protocol.counts,
        beside=not protocol.gate and not protocol.counts,
    )
