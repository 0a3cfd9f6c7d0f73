"""Published records in, a board out: a pure function of the records, whatever their order.

Nothing here trusts a number that is not a subject's: scores, intervals, ranks and health are
computed from the scores of subjects that the records hold, by ``benchmark.results`` as in a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from benchmark.reading import SCORED, Reading, find
from benchmark.records.identity import sha256_of
from leaderboard.board import ranking
from leaderboard.board.board import Board, BoardProtocol, ModelBoard, Status
from leaderboard.board.bridge import Bridge
from leaderboard.board.consistency import check_kept_back, check_records
from leaderboard.board.owed import NOTHING_KEPT_BACK, Section, build_section, section_key
from leaderboard.board.rounding import rounded
from leaderboard.board.rows import (
    Numbers,
    coverage,
    health_of,
    make_row,
    order_of,
    summarise_scores,
)
from leaderboard.board.scores import order_subjects, scores_of
from leaderboard.published.record import PublishedRecord
from leaderboard.published.stored import RecordsByPath
from leaderboard.published.unpublished import Unpublished

# A method that scores only the easy subjects is not ranked with those that score all.
COVERAGE = 0.9


def build_board(
    records: Iterable[PublishedRecord],
    bridges: Sequence[Bridge] = (),
    noise: Mapping[str, Sequence[Reading]] | None = None,
    kept_back: Unpublished = NOTHING_KEPT_BACK,
) -> Board:
    """Return the board of these records.

    Args:
        records: Records of one suite, in any order; of ``StoredRecords``, the scores of one model
            are in memory at a time.
        bridges: Bridges between MINOR versions of protocols, where there are records of several.
        noise: All readings of the records of ``random``, by path. They tell in what order the
            subjects stand in their cohort, and whether noise is at chance where that is not seen
            by the score.
        kept_back: Records on data that are kept back, where scores are owed. What is shown of them
            is means.

    Raises:
        FaultError: If there are none, or they contradict each other; see ``check_records`` and
            ``check_kept_back``.
    """
    ordered = RecordsByPath.of(records)
    headers = ordered.headers
    check_records(ordered, bridges)
    check_kept_back(kept_back.records, headers)
    protocols = _protocols(headers)
    pairs: dict[tuple[str, str], list[int]] = {}
    for index, header in enumerate(headers):
        pairs.setdefault(section_key(header), []).append(index)
    checksums = {header.path: header.checksum for header in headers}
    hidden = sorted(record.checksum for record in kept_back.records)
    models = [
        _build_model([ordered[index] for index in indices], protocols, noise or {}, kept_back)
        for indices in pairs.values()
    ]
    return Board(
        suite=headers[0].identity.suite,
        seed=headers[0].identity.seed,
        protocols=protocols,
        models=tuple(models),
        records=checksums,
        # Of what is kept back not even the names are told.
        content=sha256_of([checksums, hidden] if hidden else checksums),
    )


def _build_model(
    own: Sequence[PublishedRecord],
    protocols: Sequence[BoardProtocol],
    noise: Mapping[str, Sequence[Reading]],
    kept_back: Unpublished,
) -> ModelBoard:
    if any(protocol.owed for protocol in protocols):
        return build_section(Section(own, protocols, noise, _of_model(kept_back, own[0])))
    return _model_board(own, protocols, noise)


def _of_model(kept_back: Unpublished, first: PublishedRecord) -> Unpublished:
    """Return what is kept back of the model of a record."""
    name, network = first.names.model, first.identity.network
    own = [
        record
        for record in kept_back.records
        if (record.names.model, record.identity.network) == (name, network)
    ]
    return Unpublished(tuple(own), kept_back.honest)


def _protocols(records: Sequence[PublishedRecord]) -> tuple[BoardProtocol, ...]:
    versions: dict[str, set[str]] = {}
    for record in records:
        versions.setdefault(record.names.protocol, set()).add(record.identity.protocol.version)
    fields = {"question", "statistic", "direction", "gate", "owed", "counts", "beside"}
    protocols = {
        record.names.protocol: BoardProtocol(
            name=record.names.protocol,
            version=", ".join(sorted(versions[record.names.protocol])),
            **record.scale.model_dump(include=fields),
        )
        for record in records
    }
    return tuple(
        sorted(protocols.values(), key=lambda protocol: (not protocol.averaged, protocol.name))
    )


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
    summaries = {protocol: summarise_scores(own) for protocol, own in scores.items()}
    why = {name: _why_unranked(own, protocols, calibrated) for name, own in by_explainer.items()}
    eligible = [name for name, (status, _) in why.items() if status == "ranked"]
    ranks = ranking.rank(measured, eligible, bootstrap)
    rows = [
        make_row(own, why[name], ranks.standings.get(name), protocols, (summaries, calibrated))
        for name, own in by_explainer.items()
    ]
    first = records[0]
    return ModelBoard(
        cohort=first.names.cohort,
        model=first.names.model,
        cohort_fingerprint=first.identity.cohort_fingerprint,
        weights_sha256=first.identity.weights_sha256,
        n_subjects=0 if bootstrap is None else bootstrap.n_subjects,
        tau=rounded(ranks.tau),
        health=tuple(health_of(protocol.name, scores.get(protocol.name)) for protocol in protocols),
        rows=tuple(sorted(rows, key=order_of)),
    )


def _why_unranked(
    own: Mapping[str, PublishedRecord], protocols: Sequence[BoardProtocol], calibrated: Numbers
) -> tuple[Status, str | None]:
    if next(iter(own.values())).method.control:
        return "control", "it looks at no model"
    for protocol in protocols:
        record = own.get(protocol.name)
        if protocol.gate and record is not None and record.verdict == "fail":
            return "gate failed", f"{protocol.name}: {record.reason or 'it failed'}"
    for protocol in protocols:
        record = own.get(protocol.name)
        if protocol.beside:
            continue
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
        count, n_asked = coverage(record)
        if count < COVERAGE * n_asked:
            return "not ranked", f"{protocol.name}: {count} of {n_asked} subjects have a score"
        if not math.isfinite(calibrated[protocol.name][record.names.explainer].estimate):
            return "not ranked", f"{protocol.name} gave no number"
    return "ranked", None
