"""Descriptions of explainers and protocols, made from their classes for a record."""

from __future__ import annotations

from typing import Any

from benchmark.explainer import Control, Explainer
from benchmark.protocol import SanityProtocol
from leaderboard.published.fields import Method, Scale


def method_of(explainer: type[Explainer], title: str = "") -> Method:
    """Return the board's description of an explainer, under its name unless it has a title."""
    return Method(
        title=title or explainer.name,
        family=explainer.family,
        paper=explainer.paper,
        control=issubclass(explainer, Control),
        polarity=explainer.polarity,
    )


def scale_of(protocol: type[SanityProtocol[Any]]) -> Scale:
    """Return the scale of a protocol's score."""
    statistic = protocol.statistic(protocol.primary)
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
    )
