"""Boards of several versions side by side: each leads to all, and none changes another."""

from __future__ import annotations

from pathlib import Path

import boards
import pytest
from html_pages import Reader
from publications import many, sealed
from submissions import tree
from verifying import invoke

from benchmark.errors import StoreError
from leaderboard.published.folder import write_records
from leaderboard.site.versions import write_versions


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    boards.draw_nothing(monkeypatch)


def write(folder: Path, suite: str) -> None:
    """Write records, without sidecars, as if that version of the suite had been measured."""
    for record in many():
        identity = record.identity.model_copy(update={"suite": suite})
        own = sealed(record, identity=identity, readings=None)
        write_records(folder, [(own, None)])


def build(folder: Path, suite: str) -> Path:
    """Write the records of a version, as far as there are none, and build its board."""
    out = folder / suite
    if not out.exists():
        write(out / "records", suite)
    told = invoke("board", "--records", out / "records", "--out", out)
    assert told.exit_code == 0, told.output
    return out


def links(page: Path) -> list[str]:
    found = [one.get("href") for tag, one in Reader(page.read_text()).elements if tag == "a"]
    return [one for one in found if one and not one.startswith("#")]


def test_each_board_leads_to_all_and_a_new_one_changes_no_old_one(tmp_path: Path) -> None:
    """If it fails, an old board is not what was cited, or is where nobody finds it."""
    first = build(tmp_path, "v1")
    alone = tree(first)
    assert links(tmp_path / "index.html") == ["v1/index.html"]
    build(tmp_path, "v2")
    build(tmp_path, "v10")
    build(tmp_path, "v1")
    assert tree(first) == alone
    assert links(tmp_path / "index.html") == [f"{one}/index.html" for one in ("v10", "v2", "v1")]
    for page in (first / "index.html", *first.glob("methods/*.html")):
        up = [
            one for one in links(page) if (page.parent / one).resolve() == tmp_path / "index.html"
        ]
        assert len(up) == 1, page


def test_a_reader_sees_which_version_it_is(tmp_path: Path) -> None:
    """If it fails, the numbers of an old board are taken for today's."""
    first = build(tmp_path, "v1")
    for page, mark in ((first / "index.html", "page"), (first / "methods/good.html", "true")):
        marked = [one for _, one in Reader(page.read_text()).elements if "aria-current" in one]
        assert [one["aria-current"] for one in marked] == [mark]
        assert (page.parent / str(marked[0]["href"])).resolve() == first / "index.html"


def test_a_board_that_stands_alone_leads_to_no_page_that_is_not_there(tmp_path: Path) -> None:
    """If it fails, a build writes outside of the folder that it was given."""
    first = build(tmp_path, "v1")
    told = invoke("board", "--records", first / "records", "--out", tmp_path / "a" / "site")
    assert told.exit_code == 0, told.output
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["site"]
    assert not [one for one in links(tmp_path / "a/site/index.html") if ".." in one]


def test_a_page_of_someone_else_is_not_replaced(tmp_path: Path) -> None:
    """If it fails, a build destroys the front page of a site."""
    own = tmp_path / "index.html"
    own.write_text("<title>My hospital</title>")
    write(tmp_path / "records", "v1")
    told = invoke("board", "--records", tmp_path / "records", "--out", tmp_path / "v1")
    assert told.exit_code == 2
    assert "index.html, which is something else" in told.output
    assert own.read_text() == "<title>My hospital</title>"
    assert not (tmp_path / "v1").exists()


def test_a_file_that_is_no_board_is_named(tmp_path: Path) -> None:
    """If it fails, whoever broke a file reads a traceback, or a version vanishes unnoticed."""
    build(tmp_path, "v1")
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "board.json").write_text("{}")
    with pytest.raises(StoreError, match=r"v2.board\.json holds no board"):
        write_versions(tmp_path)


def test_a_superseded_board_tells_why_beside_it_and_keeps_its_bytes(tmp_path: Path) -> None:
    """If it fails, a reader takes an old board for sound, or its bytes change with a remark."""
    first = build(tmp_path, "v1")
    build(tmp_path, "v2")
    alone = tree(first)
    (first / "superseded.txt").write_text("Maps <that> look at nothing could win it.\n")
    build(tmp_path, "v1")
    page = (tmp_path / "index.html").read_text()
    assert "Why v1 was superseded" in page
    assert "Maps &lt;that&gt; look at nothing could win it." in page
    assert "Why v2 was superseded" not in page
    (first / "superseded.txt").unlink()
    assert tree(first) == alone
