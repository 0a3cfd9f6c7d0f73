"""The pages of a board of owed scores: what they show, and that they claim nothing of another."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import boards
import pytest
from html_pages import Reader
from owed import AVERAGED, MEANS, but, kept_back, owed_record, owed_records

from benchmark.records.record import Outcome
from leaderboard.board.board import Board
from leaderboard.board.build import build_board
from leaderboard.site import figures as drawings
from leaderboard.site.table import to_csv
from leaderboard.site.writer import write_site

ONLY_V1 = ("mean rank", "calibrated", "Two ways to rank", "Holm", "share a rank")


@pytest.fixture(scope="module")
def board() -> Board:
    uneven = [
        owed_record("gradcampp", protocol, by_group=(0.01, 0.6))
        for protocol in ("agreement", "delta_t", "roi_pointing")
    ]
    missing = owed_record(
        "gradcam", "delta_t", outcome=Outcome("not assessable", "no null network is left")
    )
    hidden = kept_back({"lrp_composite": 0.4})
    return build_board(but(owed_records(), *uneven, missing), kept_back=hidden)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, board: Board) -> Path:
    folder = tmp_path_factory.mktemp("site") / "v2"
    with pytest.MonkeyPatch.context() as patch:
        boards.draw_nothing(patch)
        write_site(board, folder, versioned=True)
    return folder


def test_the_page_says_how_these_ranks_are_made_and_not_how_others_were(out: Path) -> None:
    """If it fails, readers are told that a rank is something that it is not."""
    for path in [out / "index.html", *(out / "methods").glob("*.html")]:
        text = path.read_text()
        for words in ONLY_V1:
            assert words not in text, f"{path.name} speaks of {words}"
    text = (out / "index.html").read_text()
    for words in ("rarest of all open pairs", "counts as chance", "64 subjects of sources"):
        assert words in text


def test_pages_are_whole_and_every_link_leads_somewhere(out: Path) -> None:
    """If it fails, a page is broken, or a reader meets a dead link."""
    for path in [out / "index.html", *(out / "methods").glob("*.html")]:
        reader = Reader(path.read_text())
        ids = {attributes["id"] for _, attributes in reader.elements if "id" in attributes}
        for _, attributes in reader.elements:
            target = attributes.get("href") or attributes.get("src") or ""
            if target.startswith("#"):
                assert target[1:] in ids, target
            elif target and not target.startswith("data:"):
                there = (path.parent / target.split("#")[0]).resolve()
                assert there.exists() or there == out.parent / "index.html", target


def test_a_link_leads_to_two_methods_side_by_side(out: Path, board: Board) -> None:
    """If it fails, a reader cannot tell under which protocols one method beats another."""
    (model,) = board.models
    ranked = [row.explainer for row in model.rows if row.standing is not None]
    for first in ranked:
        reader = Reader((out / "methods" / f"{first}.html").read_text())
        ids = {attributes.get("id") for _, attributes in reader.elements}
        links = {attributes.get("href") for _, attributes in reader.elements}
        for second in set(ranked) - {first}:
            assert f"against/{model.key}/{second}" in ids
            assert f"{second}.html#against/{model.key}/{first}" in links
    alone = (out / "methods" / "oracle.html").read_text()
    assert "Against other methods" not in alone


def test_gates_badges_gaps_and_missing_scores_are_shown(out: Path) -> None:
    """If it fails, a rank stands there without what a reader must know of it."""
    text = (out / "index.html").read_text()
    assert text.count(">prior</span>") == 1
    assert text.count(">one group only</span>") == 1
    assert "counts as 0" in text
    assert re.search(r"own</span>|own, gate", text)
    page = (out / "methods" / "lrp_composite.html").read_text()
    assert "prior gap 0.400" in page
    assert "0.01 in group A and 0.60 in group B" in (out / "methods" / "gradcampp.html").read_text()


def test_the_table_holds_every_rank_within_its_limits(board: Board) -> None:
    """If it fails, scripts that read the table meet a rank outside its interval."""
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert len(rows) == len(MEANS)
    ranked = [row for row in rows if row["status"] == "ranked"]
    for row in ranked:
        assert int(row["rank_low"]) <= int(row["rank"]) <= int(row["rank_high"])
        assert float(row["known_source_gap"]) == pytest.approx(
            float(row["known_source_score"]) - float(row["known_source_unpublished"]), abs=2e-4
        )
    assert "mean_rank" not in rows[0]
    assert {f"{name}_score" for name in AVERAGED} <= rows[0].keys()


def test_figures_draw_what_these_boards_have(board: Board) -> None:
    """If it fails, a rank is drawn by a rule that the board does not have, or none is drawn."""
    model = board.models[0]
    for drawn in (
        drawings.draw_ranks(model),
        drawings.draw_forest(model, board.protocols[0], 0),
        drawings.draw_method(board, "gradcam"),
        drawings.draw_costs(model),
    ):
        assert drawings.size_of(drawn)[0] > 300


def test_boards_of_other_scores_say_nothing_of_this(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, the board of suite v1 is not what it was."""
    boards.draw_nothing(monkeypatch)
    board = boards.full_board(("smallresnet",))
    assert not board.owed
    text = board.to_json()
    for key in ('"owed"', '"counts"', '"badges"', '"gaps"'):
        assert key not in text
