"""Published records in, a board out: a pure function of the records, whatever their order.

Nothing here trusts a number that is not a subject's: scores, intervals, ranks and health are
computed from the scores of subjects that the records hold. Numbers are rounded to four decimals, so
that the last bits of a processor do not show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from benchmark.reading import SCORED
from benchmark.records.identity import sha256_of
from benchmark.statistics.bootstrap import Interval
from leaderboard.board import ranking
from leaderboard.board.board import (
    Board,
    BoardCell,
    BoardProtocol,
    BoardStanding,
    ModelBoard,
    Number,
    ProtocolHealth,
    Row,
    Status,
)
from leaderboard.board.bridge import Bridge
from leaderboard.board.consistency import check_records
from leaderboard.board.ranking import ORACLE, RANDOM, Measured, Scores
from leaderboard.published.fields import TIERS
from leaderboard.published.record import PublishedRecord

# A method that scores only the easy subjects is not ranked with those that score all.
COVERAGE = 0.9
DECIMALS = 4


def build_board(records: Iterable[PublishedRecord], bridges: Sequence[Bridge] = ()) -> Board:
    """Return the board of these records.

    Args:
        records: Of one suite, in any order.
        bridges: Between MINOR versions of protocols, where records of several are among them.

    Raises:
        FaultError: If there are none, or they contradict each other; see ``check_records``.
    """
    ordered = sorted(records, key=lambda one: one.path)
    check_records(ordered, bridges)
    protocols = _protocols(ordered)
    pairs: dict[tuple[str, str], list[PublishedRecord]] = {}
    for one in ordered:
        pairs.setdefault((one.names.cohort, one.names.model), []).append(one)
    checksums = {one.path: one.checksum for one in ordered}
    return Board(
        suite=ordered[0].identity.suite,
        seed=ordered[0].identity.seed,
        protocols=protocols,
        models=tuple(_model_board(own, protocols) for own in pairs.values()),
        records=checksums,
        content=sha256_of(checksums),
    )


def _protocols(records: Sequence[PublishedRecord]) -> tuple[BoardProtocol, ...]:
    versions: dict[str, set[str]] = {}
    for one in records:
        versions.setdefault(one.names.protocol, set()).add(one.identity.protocol.version)
    found = {
        one.names.protocol: BoardProtocol(
            name=one.names.protocol,
            version=", ".join(sorted(versions[one.names.protocol])),
            question=one.scale.question,
            statistic=one.scale.statistic,
            direction=one.scale.direction,
            gate=one.scale.gate,
        )
        for one in records
    }
    return tuple(sorted(found.values(), key=lambda one: (one.gate, one.name)))


def _model_board(
    records: Sequence[PublishedRecord], protocols: Sequence[BoardProtocol]
) -> ModelBoard:
    by_explainer: dict[str, dict[str, PublishedRecord]] = {}
    for one in records:
        by_explainer.setdefault(one.names.explainer, {})[one.names.protocol] = one
    scores = {one.name: _scores(records, one) for one in protocols}
    measured, bootstrap = ranking.measure({k: v for k, v in scores.items() if v.readings})
    ranked_protocols = {
        one.name: measured[one.name]
        for one in protocols
        if not one.gate and one.name in measured and measured[one.name].calibrated
    }
    why = {
        name: _why_unranked(own, protocols, ranked_protocols, measured)
        for name, own in by_explainer.items()
    }
    eligible = [name for name, (status, _) in why.items() if status == "ranked"]
    found = ranking.Ranking({}, math.nan)
    if bootstrap is not None:
        found = ranking.rank(ranked_protocols, eligible, bootstrap)
    rows = [
        _row(name, own, why[name], found.standings.get(name), protocols, measured)
        for name, own in by_explainer.items()
    ]
    first = records[0]
    return ModelBoard(
        cohort=first.names.cohort,
        model=first.names.model,
        cohort_fingerprint=first.identity.cohort_fingerprint,
        weights_sha256=first.identity.weights_sha256,
        n_subjects=0 if bootstrap is None else bootstrap.n_subjects,
        tau=_rounded(found.tau),
        health=tuple(_health(one, records, scores[one.name]) for one in protocols),
        rows=tuple(sorted(rows, key=_order)),
    )


def _scores(records: Sequence[PublishedRecord], protocol: BoardProtocol) -> Scores:
    own = [one for one in records if one.names.protocol == protocol.name]
    readings = {one.names.explainer: score for one in own if (score := one.score) is not None}
    return Scores(readings, own[0].scale.aggregate if own else "mean", _higher(protocol))


def _higher(protocol: BoardProtocol) -> bool:
    return protocol.direction != "lower"


def _why_unranked(
    own: Mapping[str, PublishedRecord],
    protocols: Sequence[BoardProtocol],
    ranked: Mapping[str, Measured],
    measured: Mapping[str, Measured],
) -> tuple[Status, str | None]:
    if next(iter(own.values())).method.control:
        return "control", "it looks at no model"
    for one in protocols:
        record = own.get(one.name)
        if one.gate and record is not None and record.verdict == "fail":
            return "gate failed", f"{one.name}: {record.reason or 'it failed'}"
    for one in protocols:
        record = own.get(one.name)
        if record is None:
            return "not ranked", f"no record of {one.name}"
        if record.state != SCORED:
            return "not ranked", f"{one.name}: {record.state}, {record.reason}"
        if one.gate:
            if record.verdict != "pass":
                return "not ranked", f"{one.name} gave no verdict"
            continue
        if one.name not in ranked:
            return "not ranked", f"{one.name} has no score of noise to measure from"
        count, asked = _coverage(record)
        if count < COVERAGE * asked:
            return "not ranked", f"{one.name}: {count} of {asked} subjects have a score"
        if not math.isfinite(measured[one.name].calibrated[record.names.explainer].estimate):
            return "not ranked", f"{one.name} gave no number"
    return "ranked", None


def _coverage(record: PublishedRecord) -> tuple[int, int]:
    """Return how many subjects have a score, and how many were asked."""
    return (
        len({subject for _, subject, _, value, _ in record.scores if value is not None}),
        len({subject for _, subject, *_ in record.scores}),
    )


def _row(
    name: str,
    own: Mapping[str, PublishedRecord],
    why: tuple[Status, str | None],
    standing: ranking.Standing | None,
    protocols: Sequence[BoardProtocol],
    measured: Mapping[str, Measured],
) -> Row:
    first = next(iter(own.values()))
    explainer = first.identity.explainer
    return Row(
        explainer=name,
        version=explainer.version,
        config={key: _scalar(value) for key, value in sorted(explainer.config.items())},
        method=first.method,
        submitter=first.submitter,
        tier=min((one.tier for one in own.values()), key=TIERS.index),
        source_sha256=explainer.source_sha256,
        status=why[0],
        reason=why[1],
        standing=None if standing is None else _standing(standing),
        cells=tuple(_cell(one, own.get(one.name), measured.get(one.name)) for one in protocols),
    )


def _cell(
    protocol: BoardProtocol, record: PublishedRecord | None, measured: Measured | None
) -> BoardCell:
    if record is None:
        return BoardCell(protocol=protocol.name, state="missing", reason="there is no record")
    name, count, asked = record.names.explainer, *_coverage(record)
    score = None if measured is None else measured.score.get(name)
    calibrated = None if measured is None or protocol.gate else measured.calibrated.get(name)
    return BoardCell(
        protocol=protocol.name,
        state=record.state,
        reason=record.reason,
        verdict=record.verdict,
        score=None if score is None else _number(score),
        calibrated=None if calibrated is None else _number(calibrated),
        n_subjects=count,
        n_asked=asked,
        seconds=record.resources.seconds,
        forward=record.resources.forward,
        backward=record.resources.backward,
        identity_sha256=record.identity_sha256,
    )


def _health(
    protocol: BoardProtocol, records: Sequence[PublishedRecord], scores: Scores
) -> ProtocolHealth:
    own = {one.names.explainer: one for one in records if one.names.protocol == protocol.name}

    def conclude(healthy: bool | None, reason: str) -> ProtocolHealth:
        return ProtocolHealth(protocol=protocol.name, healthy=healthy, reason=reason)

    scored = [name for name, one in own.items() if one.state == SCORED]
    leads = bool(own) and next(iter(own.values())).scale.truth_leads
    for needed in (RANDOM, ORACLE) if leads else (RANDOM,):
        if needed not in scored:
            return conclude(None, f"not known, since {needed} was not scored")
    blind = [name for name in scored if own[name].method.control and name != ORACLE]
    if passing := [name for name in blind if own[name].verdict == "pass"]:
        return conclude(False, f"{passing[0]} passes, and looks at no model")
    for name in sorted(scored) if leads else ():
        ahead = ranking.ahead_of_truth(scores, name) if name != ORACLE else None
        if ahead is not None and ahead.low > own[name].scale.margin:
            by = f"{ahead.estimate:.3f} [{ahead.low:.3f}, {ahead.high:.3f}]"
            return conclude(False, f"{name} scores better than the truth by {by}")
    lead = "no map scores better than the truth, and " if leads else ""
    return conclude(
        True, f"{lead}no map passes that looks at no model ({', '.join(sorted(blind))})"
    )


def _standing(standing: ranking.Standing) -> BoardStanding:
    return BoardStanding(
        rank=standing.rank,
        low=int(standing.interval.low) if math.isfinite(standing.interval.low) else standing.rank,
        high=int(standing.interval.high)
        if math.isfinite(standing.interval.high)
        else standing.rank,
        group=standing.group,
        total=_number(standing.total),
        mean_rank=round(standing.mean_rank, DECIMALS),
        rank_by_mean_rank=standing.rank_by_mean_rank,
    )


def _order(row: Row) -> tuple[int, int, float, str]:
    place = ("ranked", "gate failed", "not ranked", "control").index(row.status)
    if row.standing is None:
        return place, 0, 0.0, row.explainer
    total = row.standing.total.estimate
    return place, row.standing.rank, -(total or 0.0), row.explainer


def _scalar(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _number(interval: Interval) -> Number:
    estimate, low, high = map(_rounded, (interval.estimate, interval.low, interval.high))
    return Number(estimate=estimate, low=low, high=high)


def _rounded(value: float) -> float | None:
    # The sum takes the sign from a negative zero.
    return round(value, DECIMALS) + 0.0 if math.isfinite(value) else None
