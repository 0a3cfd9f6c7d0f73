"""From a method in a file of its own to a row of the board that a reader opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from verifying import invoke, plugin, submit, verify
from visits import Visitor

from leaderboard.published.folder import load_folder
from leaderboard.submission import rerun


def test_a_method_in_a_file_of_its_own_comes_onto_the_page_as_reproduced(
    visit: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, the author of a method cannot get onto the board with one file."""
    submit(tmp_path, plugin(), monkeypatch)
    monkeypatch.setattr(rerun, "why_not_isolated", lambda _="cpu": None)
    records = tmp_path / "records"
    told, faults = verify(tmp_path, "--into", records)
    assert (told.exit_code, faults) == (0, []), told.output
    assert [one.tier for one in load_folder(records)] == ["reproduced", "reproduced"]
    built = invoke("board", "--records", records, "--out", tmp_path / "site")
    assert built.exit_code == 0, built.output

    seen = visit((tmp_path / "site" / "index.html").as_uri())
    row = seen.page.locator("tr", has=seen.page.get_by_role("link", name="mine", exact=True)).first
    assert "My CAM" in row.inner_text()
    assert "reproduced" in row.inner_text()
    row.get_by_role("link", name="mine", exact=True).click()
    assert seen.page.get_by_role("heading", level=1).inner_text() == "mine"
    facts = seen.page.locator("header .facts").inner_text()
    assert "reproduced" in facts
    assert "Someone" in seen.page.locator("main").inner_text()
    assert seen.complaints == []
