"""A board of owed scores: who is ranked, what a total is, and what stands beside it."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from owed import (
    AVERAGED,
    MEANS,
    SUBJECTS,
    but,
    kept_back,
    owed_record,
    owed_records,
    values_of,
    without,
)

from benchmark.records.record import Outcome
from leaderboard.board.board import Board, Row
from leaderboard.board.build import build_board
from leaderboard.board.owed import NOTHING_KEPT_BACK
from leaderboard.published.fault import FaultError
from leaderboard.published.record import PublishedRecord
from leaderboard.published.unpublished import Unpublished

METHODS = [name for name in MEANS if name not in ("oracle", "random", "centre")]


@pytest.fixture(scope="module")
def board() -> Board:
    return build_board(owed_records())


def rows_of(board: Board) -> dict[str, Row]:
    (model,) = board.models
    return {row.explainer: row for row in model.rows}


def total_of(row: Row) -> float:
    assert row.total is not None
    assert row.total.estimate is not None
    return row.total.estimate


def outcome(state: str, reason: str, verdict: str | None = None) -> Outcome:
    return Outcome(state, reason, verdict)  # type: ignore[arg-type]


def failed(explainer: str, protocol: str) -> PublishedRecord:
    scored = owed_record(explainer, protocol)
    fields = {name: getattr(scored, name) for name in PublishedRecord.model_fields}
    del fields["checksum"]
    return PublishedRecord.seal(**fields | {"verdict": "fail", "reason": "share_2 is 0.05"})


def test_the_total_is_the_mean_of_five_scores_of_two_cohorts(board: Board) -> None:
    """If it fails, the rank of a method does not follow from the scores beside it."""
    (model,) = board.models
    assert model.owed is not None
    assert set(model.owed.averaged) == set(AVERAGED)
    assert model.owed.subjects == {"phantom2": SUBJECTS, "sources": SUBJECTS}
    for name, row in rows_of(board).items():
        assert total_of(row) == pytest.approx(np.mean(MEANS[name]), abs=2e-4)


def test_every_rank_lies_in_its_interval_and_ties_have_one_interval(board: Board) -> None:
    """If it fails, the board prints a rank that its own interval excludes."""
    rows = [row for row in rows_of(board).values() if row.standing is not None]
    assert [row.explainer for row in rows] == METHODS
    limits: dict[int, set[tuple[int, int]]] = {}
    for row in rows:
        standing = row.standing
        assert standing is not None
        assert standing.low <= standing.rank <= standing.high
        better = sum(total_of(other) > total_of(row) for other in rows)
        assert standing.rank == 1 + better
        limits.setdefault(standing.group, set()).add((standing.low, standing.high))
    assert all(len(own) == 1 for own in limits.values())
    assert len(set.union(*limits.values())) == len(limits)
    groups = [row.standing.group for row in rows if row.standing]
    assert groups == sorted(groups), "a tie group is not printed together"


def test_every_two_ranked_methods_are_compared_protocol_by_protocol(board: Board) -> None:
    """If it fails, a difference on a page is not that of the scores beside it."""
    (model,) = board.models
    assert model.owed is not None
    assert len(model.owed.comparisons) == len(METHODS) * (len(METHODS) - 1) / 2
    rows = rows_of(board)
    for first in METHODS:
        standing = rows[first].standing
        assert standing is not None
        against = model.owed.against_others(first)
        assert {each.second for each in against} == {*METHODS} - {first}
        for each in against:
            total = total_of(rows[first]) - total_of(rows[each.second])
            assert each.total.estimate == pytest.approx(total, abs=3e-4)
            for index, protocol in enumerate(board.protocols):
                if protocol.name in each.scores:
                    scores = [rows[name].cells[index].score for name in (first, each.second)]
                    own, other = (score.estimate for score in scores if score is not None)
                    assert own is not None
                    assert other is not None
                    difference = each.scores[protocol.name]
                    assert difference.estimate == pytest.approx(own - other, abs=3e-4)
                    assert difference.low is not None
                    assert difference.high is not None
                    assert difference.low <= difference.estimate <= difference.high
        # Who is surely better or worse is what the limits of the ranks say.
        assert standing.low == 1 + sum(each.better == each.second for each in against)
        assert standing.high == len(METHODS) - sum(each.better == first for each in against)


def test_a_gate_that_fails_sets_a_pair_apart_and_out_of_the_comparisons() -> None:
    """If it fails, a map that ignores the model takes a place among those that follow it."""
    for gate in ("randomization", "positive_control"):
        board = build_board(but(owed_records(), failed("saliency", gate)))
        row = rows_of(board)["saliency"]
        assert (row.status, row.reason) == ("gate failed", f"{gate}: share_2 is 0.05")
        assert row.standing is None
        assert total_of(row) == pytest.approx(np.mean(MEANS["saliency"]), abs=2e-4)
        left = build_board(without(owed_records(), "saliency"))
        standings = {name: other.standing for name, other in rows_of(board).items()}
        assert {name: standings[name] for name in METHODS[1:]} == {
            name: rows_of(left)[name].standing for name in METHODS[1:]
        }


def test_a_score_beside_the_total_is_shown_and_moves_nothing(board: Board) -> None:
    """If it fails, a column whose best value differs from model to model decides ranks."""
    values = {"saliency": np.linspace(0, 0.2, 64), "gradcam": np.linspace(1.9, 2.1, 64)}
    beside = [owed_record(name, "edit_reach", own) for name, own in values.items()]
    wider = build_board([*owed_records(), *beside])
    (model,), (before,) = wider.models, board.models
    index = [protocol.name for protocol in wider.protocols].index("edit_reach")
    assert not wider.protocols[index].averaged
    rows = {row.explainer: row for row in model.rows}
    score = rows["gradcam"].cells[index].score
    assert score is not None
    assert score.low is not None
    assert score.low < score.estimate == pytest.approx(2.0)
    assert rows["gradcampp"].cells[index].state == "missing"
    kept = {row.explainer: (row.standing, row.total, row.status) for row in before.rows}
    assert {row.explainer: (row.standing, row.total, row.status) for row in model.rows} == kept


def test_a_missing_score_counts_as_chance_and_is_never_left_out() -> None:
    """If it fails, a method gains by the protocols under which it has no value."""
    records = owed_records()
    unassessed = owed_record(
        "saliency", "roi_pointing", outcome=outcome("not assessable", "no null network")
    )
    for changed in (without(records, "saliency", "roi_pointing"), but(records, unassessed)):
        row = rows_of(build_board(changed))["saliency"]
        means = [mean if index != 3 else 0.0 for index, mean in enumerate(MEANS["saliency"])]
        assert row.status == "ranked"
        assert total_of(row) == pytest.approx(np.mean(means), abs=2e-4)


def test_abstaining_lowers_the_total() -> None:
    """If it fails, a map that shows nothing where the network is unsure is better off."""
    values = owed_record("gradcam", "delta_t").score
    assert values is not None
    abstaining = np.where(np.arange(SUBJECTS) % 8 == 0, np.nan, values.values)
    board = build_board(but(owed_records(), owed_record("gradcam", "delta_t", abstaining)))
    whole = build_board(owed_records())
    assert total_of(rows_of(board)["gradcam"]) < total_of(rows_of(whole)["gradcam"]) - 0.001
    for name in METHODS[:-1]:
        before, after = rows_of(whole)[name], rows_of(board)[name]
        assert before.total == after.total
        assert before.cells == after.cells
        assert before.standing == after.standing


def test_a_method_without_any_value_moves_nobody_to_the_bit() -> None:
    """If it fails, whoever submits maps of NaN widens the intervals of all others."""
    nothing = [
        owed_record("empty", protocol, outcome=outcome("not assessable", "it abstains"))
        for protocol in AVERAGED
        if protocol != "positive_control"
    ]
    gates = [owed_record("empty", name) for name in ("positive_control", "randomization")]
    nan = owed_record("empty", "positive_control", np.full(SUBJECTS, np.nan))
    before = rows_of(build_board(owed_records()))
    for more in ([*nothing, gates[1]], [*nothing, nan, gates[1]]):
        after = rows_of(build_board([*owed_records(), *more]))
        assert after["empty"].status == "not ranked"
        assert {name: after[name] for name in before} == before


def test_an_unsupported_method_has_no_total() -> None:
    """If it fails, a method is ranked low on a model that it was never made for."""
    record = owed_record(
        "gradcam", "known_source", outcome=outcome("unsupported", "it has no feature maps")
    )
    row = rows_of(build_board(but(owed_records(), record)))["gradcam"]
    assert (row.status, row.total) == ("not ranked", None)
    assert row.reason == "known_source: unsupported, it has no feature maps"


def test_equal_methods_are_never_told_apart() -> None:
    """If it fails, a copy of a method stands above it."""
    twins = [
        owed_record("twin", protocol, values_of("gradcam", protocol))
        for protocol in (*AVERAGED, "randomization")
    ]
    rows = rows_of(build_board([*owed_records(), *twins]))
    first, second = rows["gradcam"].standing, rows["twin"].standing
    assert first is not None
    assert second is not None
    assert first == second


def test_the_order_of_records_changes_nothing(board: Board) -> None:
    """If it fails, two people build different boards from the same records."""
    shuffled = list(owed_records())
    random.Random(1).shuffle(shuffled)
    assert build_board(shuffled).to_json() == board.to_json()
    assert Board.model_validate_json(board.to_json()) == board


def test_the_weaker_group_is_named_where_it_has_less_than_half() -> None:
    """If it fails, a map that finds one group's anatomy alone looks like any other."""
    uneven = [
        owed_record("saliency", protocol, by_group=(0.1, 0.9))
        for protocol in ("agreement", "delta_t", "roi_pointing")
    ]
    rows = rows_of(build_board(but(owed_records(), *uneven)))
    assert rows["saliency"].owed is not None
    assert [badge.name for badge in rows["saliency"].owed.badges] == ["one group only"]
    assert "0.10 in group A and 0.90 in group B" in rows["saliency"].owed.badges[0].detail
    assert rows["gradcam"].owed is not None
    assert rows["gradcam"].owed.badges == ()


def test_who_knew_the_published_source_carries_a_badge_and_a_lower_rank() -> None:
    """If it fails, a map that knows the published anatomy by heart leads the board."""
    loss = {"input_x_gradient": 0.5, "saliency": 0.05}
    plain, board = (
        build_board(owed_records(), kept_back=hidden)
        for hidden in (NOTHING_KEPT_BACK, kept_back(loss))
    )
    rows = rows_of(board)
    row = rows["input_x_gradient"]
    assert row.owed is not None
    assert [badge.name for badge in row.owed.badges] == ["prior"]
    gap = next(gap for gap in row.owed.gaps if gap.protocol == "known_source")
    assert gap.gap.estimate == pytest.approx(0.5, abs=1e-3)
    assert gap.published.estimate == pytest.approx(0.14, abs=1e-3)
    assert gap.unpublished.estimate == pytest.approx(-0.36, abs=1e-3)
    # Half of a fifth of the loss.
    assert total_of(row) == pytest.approx(
        total_of(rows_of(plain)["input_x_gradient"]) - 0.05, abs=2e-4
    )
    for name in ("saliency", "gradcam", "lrp_composite"):
        other = rows[name].owed
        assert other is not None
        assert not other.badges
    assert total_of(rows["gradcam"]) == pytest.approx(
        total_of(rows_of(plain)["gradcam"]) - 0.002, abs=2e-4
    )


def test_nothing_of_what_is_kept_back_but_means_is_on_the_board() -> None:
    """If it fails, the next submitter reads the hidden source off the board."""
    hidden = kept_back()
    text = build_board(owed_records(), kept_back=hidden).to_json()
    assert "hidden_thalamus" not in text
    assert "secret" not in text
    for record in hidden.records:
        assert record.checksum not in text
        assert record.identity.cohort_fingerprint not in text or record.joins is None
    assert json.loads(text)["content"] != build_board(owed_records()).content


def test_a_method_that_was_not_run_on_what_is_kept_back_is_not_ranked() -> None:
    """If it fails, a method that nobody has checked stands above those that were."""
    hidden = kept_back()
    others = tuple(one for one in hidden.records if one.names.explainer != "saliency")
    board = build_board(owed_records(), kept_back=Unpublished(others, hidden.honest))
    row = rows_of(board)["saliency"]
    assert row.status == "not ranked"
    assert "not yet run on what is kept back" in str(row.reason)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"suite": "v2", "cohort": "other"}, "not-kept-back"),
        ({}, "not-kept-back"),
        ({"cohort": "other", "version": "2.1"}, "mixed-versions"),
        ({"cohort": "other", "protocol": "randomization"}, "not-owed"),
    ],
)
def test_what_does_not_compare_is_no_part_of_what_is_kept_back(
    change: dict[str, str], fault: str
) -> None:
    """If it fails, a gap is the difference of two things."""
    protocol = change.get("protocol", "known_source")
    suite = change.get("suite", "v2-hidden")
    record = owed_record("saliency", protocol, cohort=change.get("cohort"), suite=suite)
    if "version" in change:
        own = record.identity.protocol.model_copy(update={"version": change["version"]})
        fields = {name: getattr(record, name) for name in PublishedRecord.model_fields}
        del fields["checksum"]
        identity = record.identity.model_copy(update={"protocol": own})
        record = PublishedRecord.seal(**fields | {"identity": identity})
    with pytest.raises(FaultError) as raised:
        build_board(owed_records(), kept_back=Unpublished((record,), ("gradcam",)))
    assert raised.value.fault.name == fault


def test_scores_of_other_images_do_not_stand_in_one_column() -> None:
    """If it fails, who leaves out hard subjects is compared with who does not."""
    values = owed_record("saliency", "delta_t").score
    assert values is not None
    fewer = owed_record("saliency", "delta_t", values.values[:50])
    with pytest.raises(FaultError, match="other-images"):
        build_board(but(owed_records(), fewer))


def test_what_a_protocol_finds_of_itself_is_told_as_its_health(board: Board) -> None:
    """If it fails, the board calls a protocol healthy whose own checks say that it is not."""
    health = {state.protocol: state for state in board.models[0].health}
    assert health["delta_t"].healthy is True
    record = owed_record("saliency", "delta_t").resealed({"faults": ("blur beats the truth",)})
    (model,) = build_board(but(owed_records(), record)).models
    health = {state.protocol: state for state in model.health}
    assert health["delta_t"].healthy is False
    assert "blur beats the truth" in health["delta_t"].reason
    assert health["agreement"].healthy is True
