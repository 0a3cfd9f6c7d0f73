"""A board is a function of its records, and says of each pair what they say."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from publications import (
    GATE,
    SCALE,
    SUBJECTS,
    failing,
    in_version,
    many,
    published,
    scores_of,
    sealed,
    with_sidecar,
    without,
)

from benchmark.reading import Reading, Sample, Statistic, summarise
from benchmark.records.record import Record
from leaderboard.board.board import Board, ProtocolHealth, Row
from leaderboard.board.bridge import Bridge, load_bridges, make_bridge
from leaderboard.board.build import build_board
from leaderboard.board.scores import CHANCE, order_subjects
from leaderboard.published.fault import FaultError
from leaderboard.published.folder import load_folder, write_records
from leaderboard.published.record import PublishedRecord
from leaderboard.published.sidecar import unpack


def rows_of(board: Board) -> dict[str, Row]:
    (only,) = board.models
    return {one.explainer: one for one in only.rows}


def test_methods_are_ranked_and_controls_are_not() -> None:
    """If it fails, an edge detector can lead the board."""
    board = build_board(many())
    rows = rows_of(board)
    ranked = [one.explainer for one in rows.values() if one.status == "ranked"]
    assert ranked == ["good", "fair", "poor"]
    assert [rows[name].standing.rank for name in ranked if rows[name].standing] == [1, 2, 3]
    assert [name for name, one in rows.items() if one.status == "control"] == [
        "centre",
        "oracle",
        "random",
    ]
    assert board.models[0].tau == 1.0
    assert [one.name for one in board.protocols] == ["loading", "sitting", "noticing"]


def test_scores_are_those_of_the_subjects() -> None:
    """If it fails, the board shows another number than the records hold."""
    cell = rows_of(build_board(many()))["good"].cells[0]
    assert cell.score is not None
    assert cell.score.estimate == pytest.approx(scores_of("good", "loading").mean(), abs=1e-4)
    assert (cell.n_subjects, cell.n_asked, cell.state) == (SUBJECTS, SUBJECTS, "scored")


def test_order_and_shards_change_nothing(tmp_path: Path) -> None:
    """If it fails, two people build different boards from the same records."""
    records = many()
    first = build_board(records).to_json()
    shuffled = records.copy()
    random.Random(0).shuffle(shuffled)
    assert build_board(shuffled).to_json() == first
    for count in (1, 2, 8):
        for shard in range(count):
            part = [(one, None) for one in shuffled[shard::count]]
            bare = [(sealed(one, readings=None), side) for one, side in part]
            write_records(tmp_path / str(count), bare)
    boards = [build_board(load_folder(tmp_path / str(count))).to_json() for count in (1, 2, 8)]
    assert len(set(boards)) == 1


def test_a_pair_that_fails_a_gate_stands_apart() -> None:
    """If it fails, good scores elsewhere make up for a map that ignores the model."""
    records = [
        failing(one) if (one.names.explainer, one.names.protocol) == ("good", "noticing") else one
        for one in many()
    ]
    rows = rows_of(build_board(records))
    assert rows["good"].status == "gate failed"
    assert rows["good"].standing is None
    assert "nothing was learned" in str(rows["good"].reason)
    assert rows["fair"].standing is not None
    assert rows["fair"].standing.rank == 1


def test_an_incomplete_pair_is_not_ranked_and_says_why() -> None:
    """If it fails, a method is ranked on the protocols that it chose."""
    whole = many()
    missing = [one for one in whole if one.path != published("good", "sitting").path]
    assert rows_of(build_board(missing))["good"].reason == "no record of sitting"
    unsupported = published(record=without("good", "sitting", "unsupported"), explainer="good")
    reason = rows_of(build_board([*missing, unsupported]))["good"].reason
    assert reason == "sitting: unsupported, it needs spatial feature maps"


def test_a_method_that_scores_the_easy_subjects_alone_is_not_ranked() -> None:
    """If it fails, leaving out hard subjects lifts a method."""
    values = scores_of("good", "sitting")
    values[: SUBJECTS // 4] = np.nan
    records = [one for one in many() if one.path != published("good", "sitting").path]
    records.append(published("good", "sitting", values=values.tolist()))
    row = rows_of(build_board(records))["good"]
    assert (row.status, row.reason) == ("not ranked", "sitting: 30 of 40 subjects have a score")


def test_one_method_changes_no_score_of_another() -> None:
    """If it fails, a submission can move others by what it scores or leaves out."""
    without_it = rows_of(build_board([one for one in many() if one.names.explainer != "poor"]))
    values = scores_of("poor", "loading")
    values[:3] = np.nan
    records = [one for one in many() if one.path != published("poor", "loading").path]
    with_it = rows_of(build_board([*records, published("poor", "loading", values=values.tolist())]))
    for name in ("good", "fair", "oracle"):
        assert [one.score for one in with_it[name].cells] == [
            one.score for one in without_it[name].cells
        ]
        assert [one.calibrated for one in with_it[name].cells] == [
            one.calibrated for one in without_it[name].cells
        ]


def health_of(
    records: Sequence[PublishedRecord], noise: Mapping[str, Sequence[Reading]] | None = None
) -> ProtocolHealth:
    board = build_board(records, noise=noise)
    return next(one for one in board.models[0].health if one.protocol == "loading")


def test_a_protocol_is_unhealthy_where_noise_passes_or_truth_is_beaten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, scores of a protocol that proves nothing look like any others."""
    assert health_of(many()).healthy is None, "nobody has said under what noise should score 0"
    monkeypatch.setitem(CHANCE, "loading", Statistic("share", ""))
    assert health_of(many()).healthy is True
    records = [one for one in many() if one.path != published("centre", "loading").path]
    lucky = sealed(published("centre", "loading"), verdict="pass", reason=None)
    health = health_of([*records, lucky])
    assert health.healthy is False
    assert "centre passes" in health.reason
    records = [one for one in many() if one.path != published("good", "loading").path]
    better = published("good", "loading", values=(scores_of("good", "loading") + 1).tolist())
    assert "good scores better than the truth" in health_of([*records, better]).reason
    alone = [one for one in many() if one.names.explainer != "random"]
    assert health_of(alone).healthy is None


def test_whether_noise_is_at_chance_is_read_from_its_sidecar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, the board calls a protocol healthy of which every run says that it is not."""
    monkeypatch.setitem(CHANCE, "loading", Statistic("excess", ""))
    record, sidecar = with_sidecar("random", "loading")
    assert sidecar is not None
    assert health_of(many()).healthy is None
    health = health_of(many(), {record.path: unpack(sidecar, "it")})
    assert health.healthy is False
    assert re.search(r"excess of noise is −0\.1\d\d \[.*\], neither at 0", health.reason)


def test_intervals_on_a_board_are_those_of_a_run() -> None:
    """If it fails, pseudonyms decide which resamples a score meets, and limits differ by it."""
    record, sidecar = with_sidecar("random", "loading")
    assert sidecar is not None
    board = build_board(many(), noise={record.path: unpack(sidecar, "it")})
    score = rows_of(board)["good"].cells[0].score
    keys = [f"s{row:03}" for row in range(SUBJECTS)]
    groups = tuple(row % 2 for row in range(SUBJECTS))
    sample = Sample(tuple(keys), tuple(keys), groups)
    interval = summarise(Reading("share", sample, scores_of("good", "loading")))
    assert score is not None
    assert (score.low, score.high) == pytest.approx((interval.low, interval.high), abs=6e-5)


def test_samples_that_contradict_each_other_rename_nobody() -> None:
    """If it fails, two sidecars of different order end the build of a board."""
    first, second = Sample(("a", "b"), ("a", "b"), (0, 1)), Sample(("b", "a"), ("b", "a"), (1, 0))
    assert order_subjects([first, second]) == {}
    later = Sample(("b", "c"), ("b", "c"), (1, 0))
    assert sorted(order_subjects([later, first]).items(), key=lambda item: item[1]) == [
        ("a", "000000"),
        ("b", "000001"),
        ("c", "000002"),
    ]


def _changed(record: PublishedRecord, **changes: object) -> PublishedRecord:
    identity = record.identity.model_copy(update=changes)
    return sealed(record, identity=identity)


CONTRADICTIONS = {
    "other-suite": lambda one: _changed(one, suite="v2"),
    "other-cohort": lambda one: _changed(one, cohort_fingerprint="b" * 64),
    "other-weights": lambda one: _changed(one, weights_sha256="c" * 64),
    "two-methods": lambda one: _changed(
        one, explainer=one.identity.explainer.model_copy(update={"version": "2.0"})
    ),
    "mixed-versions": lambda one: _changed(
        one, protocol=one.identity.protocol.model_copy(update={"version": "2.0"})
    ),
    "other-settings": lambda one: _changed(
        one, protocol=one.identity.protocol.model_copy(update={"config": {"power": 2.0}})
    ),
    "other-scale": lambda one: sealed(one, scale=GATE),
    "other-subjects": lambda one: sealed(
        one,
        scores=tuple((key, subject, 1 - group, *rest) for key, subject, group, *rest in one.scores),
    ),
}


def test_two_architectures_with_the_same_weights_make_no_board() -> None:
    """If it fails, scores of an edited network stand beside those of the one before."""
    first, *others = many()
    with pytest.raises(FaultError, match=r"^other-weights: "):
        build_board([*others, _changed(first, architecture_sha256="c" * 64)])


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_records_that_contradict_each_other_make_no_board(name: str) -> None:
    """If it fails, numbers that do not compare stand beside each other."""
    first, *others = many()
    with pytest.raises(FaultError, match=f"^{name}: ") as caught:
        build_board([CONTRADICTIONS[name](first), *others])
    assert caught.value.fault.name == name


def test_no_record_and_two_of_one_cell_make_no_board() -> None:
    """If it fails, an empty folder gives an empty board, or one cell stands twice."""
    with pytest.raises(FaultError, match=r"^no-records"):
        build_board([])
    first, *others = many()
    with pytest.raises(FaultError, match=r"^twice"):
        build_board([first, *others, sealed(first, created="2026-01-01T00:00:00Z")])
    assert build_board([first, first, *others]) == build_board([first, *others])


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """If it fails, publishing loses something."""
    record = published("good")
    assert PublishedRecord.from_json(record.to_json().encode(), "it") == record
    assert record.score is not None
    values = sorted(record.score.values)
    np.testing.assert_allclose(values, sorted(scores_of("good", "loading")), rtol=1e-5)
    assert all(len(subject) == 12 for _, subject, *_ in record.scores)
    assert "s000" not in record.to_json()


def test_a_change_of_one_subject_is_a_change_of_one_line() -> None:
    """If it fails, nobody can review what a new record changes."""
    values = scores_of("good", "loading")
    before = published("good", values=values.tolist()).to_json().splitlines()
    values[5] += 0.5
    after = published("good", values=values.tolist()).to_json().splitlines()
    differing = [one for one, two in zip(before, after, strict=True) if one != two]
    assert len(differing) == 3  # the subject, the sidecar's hash, the checksum
    assert SCALE.statistic not in differing[0]


def test_a_failed_cell_is_not_published() -> None:
    """If it fails, an error becomes an entry of the board."""
    with pytest.raises(FaultError, match=r"^failed-cell"):
        published(record=without("good", "loading", "failed"))
    assert isinstance(without("good", "loading", "failed"), Record)


def _two_versions(shift: float, version: str = "1.1") -> tuple[list[PublishedRecord], Bridge]:
    older = [one for one in many() if one.names.protocol == "loading"]
    newer = [in_version(one, version, shift) for one in older]
    others = [one for one in many() if one.names.protocol != "loading"]
    return [*older[:3], *newer[3:], *others], make_bridge(older, newer)


def test_minor_versions_need_a_bridge_that_holds(tmp_path: Path) -> None:
    """If it fails, scores of two versions are compared that nobody compared before."""
    records, bridge = _two_versions(0.0)
    with pytest.raises(FaultError, match=r"^mixed-versions"):
        build_board(records)
    (tmp_path / "loading-1.0-1.1.json").write_text(bridge.to_json())
    board = build_board(records, load_bridges(tmp_path))
    assert board.protocols[0].version == "1.0, 1.1"
    (tmp_path / "._loading.json").write_bytes(b"left by a system")
    assert load_bridges(tmp_path) == (bridge,)
    assert load_bridges(tmp_path / "nowhere") == ()


def test_a_bridge_breaks_where_a_score_moves(tmp_path: Path) -> None:
    """If it fails, a version that moves scores passes for one that does not."""
    for name, bridge in {
        "bridge-breaks": _two_versions(0.01)[1],
        "bridge-major": _two_versions(0.0, "2.0")[1],
        "bridge-thin": make_bridge([published("good")], [in_version(published("good"))]),
    }.items():
        (tmp_path / "bridge.json").write_text(bridge.to_json())
        with pytest.raises(FaultError, match=name):
            load_bridges(tmp_path)
    with pytest.raises(FaultError, match="bridge-thin"):
        make_bridge([published("good")], [])
