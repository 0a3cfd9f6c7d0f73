"""Published records in, a board out: a pure function of the records, whatever their order.

Nothing here trusts a number that is not a subject's: scores, intervals, ranks and health are
computed from the scores of subjects that the records hold, by ``benchmark.results`` as in a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from benchmark.reading import SCORED, Reading, find, summarise
from benchmark.records.identity import sha256_of
from benchmark.results.health import judge_health
from benchmark.results.scores import Scores
from benchmark.statistics.bootstrap import Interval
from leaderboard.board import board as boards
from leaderboard.board import ranking
from leaderboard.board.board import Board, BoardCell, BoardProtocol, ModelBoard, Row
from leaderboard.board.bridge import Bridge
from leaderboard.board.consistency import check_records
from leaderboard.board.scores import order_subjects, scores_of
from leaderboard.published.fields import TIERS
from leaderboard.published.record import PublishedRecord

# A method that scores only the easy subjects is not ranked with those that score all.
COVERAGE = 0.9
_Numbers = Mapping[str, Mapping[str, Interval]]  # by protocol and explainer


def build_board(
    records: Iterable[PublishedRecord],
    bridges: Sequence[Bridge] = (),
    noise: Mapping[str, Sequence[Reading]] | None = None,
) -> Board:
    """Return the board of these records.

    Args:
        records: Records of one suite, in any order.
        bridges: Bridges between MINOR versions of protocols, where there are records of several.
        noise: All readings of the records of ``random``, by path. They tell in what order the
            subjects stand in their cohort, and whether noise is at chance where that is not seen
            by the score.

    Raises:
        FaultError: If there are none, or they contradict each other; see ``check_records``.
    """
    ordered = sorted(records, key=lambda record: record.path)
    check_records(ordered, bridges)
    protocols = _protocols(ordered)
    pairs: dict[tuple[str, str], list[PublishedRecord]] = {}
    for record in ordered:
        pairs.setdefault((record.names.cohort, record.names.model), []).append(record)
    checksums = {record.path: record.checksum for record in ordered}
    return Board(
        suite=ordered[0].identity.suite,
        seed=ordered[0].identity.seed,
        protocols=protocols,
        models=tuple(_model_board(own, protocols, noise or {}) for own in pairs.values()),
        records=checksums,
        content=sha256_of(checksums),
    )


def _protocols(records: Sequence[PublishedRecord]) -> tuple[BoardProtocol, ...]:
    versions: dict[str, set[str]] = {}
    for record in records:
        versions.setdefault(record.names.protocol, set()).add(record.identity.protocol.version)
    fields = {"question", "statistic", "direction", "gate"}
    protocols = {
        record.names.protocol: BoardProtocol(
            name=record.names.protocol,
            version=", ".join(sorted(versions[record.names.protocol])),
            **record.scale.model_dump(include=fields),
        )
        for record in records
    }
    return tuple(sorted(protocols.values(), key=lambda protocol: (protocol.gate, protocol.name)))


def _model_board(
    records: Sequence[PublishedRecord],
    protocols: Sequence[BoardProtocol],
    noise: Mapping[str, Sequence[Reading]],
) -> ModelBoard:
    by_explainer: dict[str, dict[str, PublishedRecord]] = {}
    by_protocol: dict[str, list[PublishedRecord]] = {}
    for record in records:
        by_explainer.setdefault(record.names.explainer, {})[record.names.protocol] = record
        by_protocol.setdefault(record.names.protocol, []).append(record)
    noise_scores = (find(noise.get(record.path, ()), record.scale.statistic) for record in records)
    order = order_subjects(score.sample for score in noise_scores if score is not None)
    scores = {protocol: scores_of(own, noise, order) for protocol, own in by_protocol.items()}
    measured, bootstrap = ranking.measure(scores)
    calibrated = {protocol: own.calibrated for protocol, own in measured.items()}
    summaries = {protocol: _summarise(own) for protocol, own in scores.items()}
    why = {name: _why_unranked(own, protocols, calibrated) for name, own in by_explainer.items()}
    eligible = [name for name, (status, _) in why.items() if status == "ranked"]
    ranks = ranking.rank(measured, eligible, bootstrap)
    rows = [
        _row(own, why[name], ranks.standings.get(name), protocols, (summaries, calibrated))
        for name, own in by_explainer.items()
    ]
    first = records[0]
    return ModelBoard(
        cohort=first.names.cohort,
        model=first.names.model,
        cohort_fingerprint=first.identity.cohort_fingerprint,
        weights_sha256=first.identity.weights_sha256,
        n_subjects=0 if bootstrap is None else bootstrap.n_subjects,
        tau=boards.rounded(ranks.tau),
        health=tuple(_health(protocol.name, scores.get(protocol.name)) for protocol in protocols),
        rows=tuple(sorted(rows, key=_order)),
    )


def _summarise(scores: Scores) -> dict[str, Interval]:
    """Return the score of each explainer that has one."""
    aggregate = scores.scoring.statistic.aggregate
    return {
        entry.explainer: summarise(entry.reading, aggregate)
        for entry in scores.entries
        if entry.reading is not None
    }


def _health(protocol: str, scores: Scores | None) -> boards.ProtocolHealth:
    healthy, reason = (None, "there is no record") if scores is None else judge_health(scores)
    return boards.ProtocolHealth(protocol=protocol, healthy=healthy, reason=reason)


def _why_unranked(
    own: Mapping[str, PublishedRecord], protocols: Sequence[BoardProtocol], calibrated: _Numbers
) -> tuple[boards.Status, str | None]:
    if next(iter(own.values())).method.control:
        return "control", "it looks at no model"
    for protocol in protocols:
        record = own.get(protocol.name)
        if protocol.gate and record is not None and record.verdict == "fail":
            return "gate failed", f"{protocol.name}: {record.reason or 'it failed'}"
    for protocol in protocols:
        record = own.get(protocol.name)
        if record is None:
            return "not ranked", f"no record of {protocol.name}"
        if record.state != SCORED:
            return "not ranked", f"{protocol.name}: {record.state}, {record.reason}"
        if protocol.gate:
            if record.verdict != "pass":
                return "not ranked", f"{protocol.name} gave no verdict"
            continue
        if protocol.name not in calibrated:
            return "not ranked", f"{protocol.name} has no score of noise to measure from"
        count, asked = _coverage(record)
        if count < COVERAGE * asked:
            return "not ranked", f"{protocol.name}: {count} of {asked} subjects have a score"
        if not math.isfinite(calibrated[protocol.name][record.names.explainer].estimate):
            return "not ranked", f"{protocol.name} gave no number"
    return "ranked", None


def _coverage(record: PublishedRecord) -> tuple[int, int]:
    """Return how many subjects have a score, and how many were asked."""
    return (
        len({subject for _, subject, _, value, _ in record.scores if value is not None}),
        len({subject for _, subject, *_ in record.scores}),
    )


def _row(
    own: Mapping[str, PublishedRecord],
    why: tuple[boards.Status, str | None],
    standing: boards.Standing | None,
    protocols: Sequence[BoardProtocol],
    numbers: tuple[_Numbers, _Numbers],
) -> Row:
    first = next(iter(own.values()))
    explainer = first.identity.explainer
    return Row(
        explainer=explainer.name,
        version=explainer.version,
        config={key: _scalar(value) for key, value in sorted(explainer.config.items())},
        method=first.method,
        submitter=first.submitter,
        tier=min((record.tier for record in own.values()), key=TIERS.index),
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
    )


def _cell(
    protocol: str,
    record: PublishedRecord | None,
    score: Interval | None,
    calibrated: Interval | None,
) -> BoardCell:
    if record is None:
        return BoardCell(protocol=protocol, state="missing", reason="there is no record")
    count, asked = _coverage(record)
    if calibrated is not None and math.isnan(calibrated.estimate):
        calibrated = None
    return BoardCell(
        protocol=protocol,
        state=record.state,
        reason=record.reason,
        verdict=record.verdict,
        score=None if score is None else boards.number_of(score),
        calibrated=None if calibrated is None else boards.number_of(calibrated),
        n_subjects=count,
        n_asked=asked,
        seconds=record.resources.seconds,
        forward=record.resources.forward,
        backward=record.resources.backward,
        identity_sha256=record.identity_sha256,
    )


def _order(row: Row) -> tuple[int, int, float, str]:
    place = get_args(boards.Status).index(row.status)
    if row.standing is None:
        return place, 0, 0.0, row.explainer
    return place, row.standing.rank, -(row.standing.total.estimate or 0.0), row.explainer


def _scalar(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
