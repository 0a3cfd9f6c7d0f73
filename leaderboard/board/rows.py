"""Rows of a board and what stands in them, whichever way they are ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import get_args

from benchmark.reading import summarise
from benchmark.results.health import judge_health
from benchmark.results.scores import Scores
from benchmark.statistics.bootstrap import Interval
from leaderboard.board.board import BoardCell, BoardProtocol, ProtocolHealth, Row, Standing, Status
from leaderboard.board.rounding import number_of
from leaderboard.published.fields import TIERS
from leaderboard.published.record import PublishedRecord

Numbers = Mapping[str, Mapping[str, Interval]]  # by protocol and explainer


def make_row(
    own: Mapping[str, PublishedRecord],
    why: tuple[Status, str | None],
    standing: Standing | None,
    protocols: Sequence[BoardProtocol],
    numbers: tuple[Numbers, Numbers],
) -> Row:
    """Return an explainer's row on one model.

    Args:
        own: Records of the explainer by protocol, at least one.
        why: Status of the explainer, and why it is not ranked.
        standing: Position in the ranking, if it is ranked.
        protocols: Columns of the board.
        numbers: Scores and calibrated scores.
    """
    first = next(iter(own.values()))
    explainer = first.identity.explainer
    tiers = [record.tier for record in own.values()]
    tier = min(tiers, key=TIERS.index)
    again = sum(TIERS.index(own_tier) > TIERS.index("sampled") for own_tier in tiers)
    return Row(
        explainer=explainer.name,
        version=explainer.version,
        config={key: _scalar(value) for key, value in sorted(explainer.config.items())},
        method=first.method,
        submitter=first.submitter,
        tier=tier,
        source_sha256=explainer.source_sha256,
        status=why[0],
        reason=why[1],
        standing=standing,
        cells=tuple(
            _cell(
                protocol.name,
                own.get(protocol.name),
                *(intervals.get(protocol.name, {}).get(explainer.name) for intervals in numbers),
            )
            for protocol in protocols
        ),
        reproduced=again if tier == "sampled" else 0,
    )


def _cell(
    protocol: str,
    record: PublishedRecord | None,
    score: Interval | None,
    calibrated: Interval | None,
) -> BoardCell:
    if record is None:
        return BoardCell(protocol=protocol, state="missing", reason="there is no record")
    count, n_asked = coverage(record)
    if calibrated is not None and math.isnan(calibrated.estimate):
        calibrated = None
    return BoardCell(
        protocol=protocol,
        state=record.state,
        reason=record.reason,
        verdict=record.verdict,
        score=None if score is None else number_of(score),
        calibrated=None if calibrated is None else number_of(calibrated),
        n_subjects=count,
        n_asked=n_asked,
        seconds=record.resources.seconds,
        forward=record.resources.forward,
        backward=record.resources.backward,
        identity_sha256=record.identity_sha256,
    )


def summarise_scores(scores: Scores) -> dict[str, Interval]:
    """Return the score of each explainer that has one."""
    aggregate = scores.scoring.statistic.aggregate
    return {
        entry.explainer: summarise(entry.reading, aggregate)
        for entry in scores.entries
        if entry.reading is not None
    }


def health_of(protocol: str, scores: Scores | None) -> ProtocolHealth:
    """Return whether a protocol works on a model, from its scores there."""
    healthy, reason = (None, "there is no record") if scores is None else judge_health(scores)
    return ProtocolHealth(protocol=protocol, healthy=healthy, reason=reason)


def coverage(record: PublishedRecord) -> tuple[int, int]:
    """Return how many subjects have a score, and how many were asked."""
    return (
        len({subject for _, subject, _, value, _ in record.scores if value is not None}),
        len({subject for _, subject, *_ in record.scores}),
    )


def order_of(row: Row) -> tuple[int, int, float, str]:
    """Return what rows are sorted by: status, tie group, total and name."""
    position = get_args(Status).index(row.status)
    if row.standing is None:
        return position, 0, 0.0, row.explainer
    return position, row.standing.group, -(row.standing.total.estimate or 0.0), row.explainer


def _scalar(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
