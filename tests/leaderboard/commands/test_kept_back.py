"""What is kept back: read from a folder, shown as means, refused where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from boards import draw_nothing
from owed import kept_back, owed_records
from verifying import invoke

from benchmark.errors import InputError
from leaderboard.board.board import Board
from leaderboard.commands.kept_back import load_unpublished
from leaderboard.published.folder import write_records

SUITE = """
version = "v2-hidden"
cohorts = ["phantom2", "hidden_thalamus"]
models = ["phantom2_resnet"]
protocols = ["known_source", "positive_control@2"]
[board]
models = ["phantom2_resnet"]
salt = "known to nobody else"
honest = ["saliency", "gradcam"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of what is kept back."""
    folder = tmp_path / "hidden"
    records = [
        (record.resealed({"readings": None}), None)
        for record in kept_back({"lrp_composite": 0.4}).records
    ]
    write_records(folder / "records", records)
    (folder / "suite.toml").write_text(SUITE)
    return folder


def test_a_folder_is_read_with_its_honest_methods(folder: Path) -> None:
    """If it fails, maintainers cannot tell the board whom a gap is held against."""
    hidden = load_unpublished(folder)
    assert hidden.honest == ("saliency", "gradcam")
    assert len(hidden.records) == len(kept_back().records)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('honest = ["saliency", "gradcam"]\n', "", "names no methods under `honest`"),
        ('version = "v2-hidden"', 'version = "v9"', "is of suite 'v2-hidden'"),
    ],
)
def test_a_suite_that_does_not_fit_is_refused(
    folder: Path, old: str, new: str, message: str
) -> None:
    """If it fails, gaps are held against nothing, or are of another suite."""
    (folder / "suite.toml").write_text(SUITE.replace(old, new))
    with pytest.raises(InputError, match=message):
        load_unpublished(folder)


def test_the_board_shows_means_of_what_is_kept_back_and_no_name_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a build of the board gives away which source is kept back."""
    draw_nothing(monkeypatch)
    records = [(record.resealed({"readings": None}), None) for record in owed_records()]
    write_records(tmp_path / "records", records)
    out = tmp_path / "board"
    told = invoke("board", "--records", tmp_path / "records", "--out", out, "--unpublished", folder)
    assert told.exit_code == 0, told.output
    board = Board.model_validate_json((out / "board.json").read_text())
    badges = {row.explainer: row.owed.badges for row in board.models[0].rows if row.owed}
    assert [badge.name for badge in badges["lrp_composite"]] == ["prior"]
    for path in out.rglob("*"):
        if path.is_file():
            assert b"thalamus" not in path.read_bytes(), path
            assert b"secret" not in path.read_bytes(), path
    paths = json.loads((out / "board.json").read_text())["records"]
    assert len(paths) == len(records)
    page = (out / "methods" / "lrp_composite.html").read_text()
    assert "prior gap 0.400" in page


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """If it fails, a typing error builds a board on which nothing was kept back."""
    write_records(tmp_path / "records", [(owed_records()[0].resealed({"readings": None}), None)])
    told = invoke(
        *("board", "--records", tmp_path / "records", "--out", tmp_path / "board"),
        *("--unpublished", tmp_path / "nowhere"),
    )
    assert told.exit_code == 2
    assert "nowhere of what is kept back does not exist" in " ".join(told.output.split())
    assert not (tmp_path / "board").exists()
