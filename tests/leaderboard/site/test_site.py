"""The site of a board: whole, the same each time, and with nothing in it that a stranger wrote."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from urllib.parse import unquote

import boards
import pytest
from html_pages import Reader
from jinja2 import StrictUndefined
from matplotlib.figure import Figure

from benchmark.errors import StoreError
from leaderboard.board import changes
from leaderboard.board.board import Board
from leaderboard.published.fault import FaultError
from leaderboard.site import figures as pictures
from leaderboard.site import view
from leaderboard.site import writer as site
from leaderboard.site.labels import Spot, place_labels
from leaderboard.site.pages import Pages
from leaderboard.site.table import to_csv
from leaderboard.site.view import explainers_of
from leaderboard.site.writer import write_site

FEW = (
    "gradcam",
    "saliency",
    "my.cam+v2",
    boards.LONG,
    "guided_backprop",
    "half_measured",
    "oracle",
)
PIXEL = b"RIFF\x00\x00\x00\x00WEBP" + b"not really"


@pytest.fixture(scope="module")
def board() -> Board:
    return boards.only(boards.full_board(("smallresnet", "smallvit")), *FEW)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, board: Board) -> Path:
    folder = tmp_path_factory.mktemp("site") / "v1"
    overlays = folder.parent / "maps"
    overlays.mkdir()
    (overlays / "gradcam.smallvit.webp").write_bytes(PIXEL)
    (overlays / "nobody.smallvit.webp").write_bytes(PIXEL)
    write_site(board, folder, overlays, versioned=True)
    return folder


@pytest.fixture
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    boards.draw_nothing(monkeypatch)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_board_gives_the_same_bytes(tmp_path: Path, board: Board, out: Path) -> None:
    """If it fails, a date, a hash seed or a host is in the site, and every build is a change."""
    again = tmp_path / "elsewhere" / "v1"
    write_site(board, again, out.parent / "maps", versioned=True)
    assert contents(again) == contents(out)
    write_site(board, again, out.parent / "maps", versioned=True)
    assert contents(again) == contents(out)


def test_the_site_holds_what_it_says(out: Path) -> None:
    """If it fails, files are missing, or a later build would not know them as its own."""
    names = set(contents(out))
    assert names - {"site.json"} == set(json.loads((out / "site.json").read_text())["files"])
    assert {f"methods/{name}.html" for name in FEW} < names
    assert "overlays/gradcam.smallvit.webp" in names
    assert "overlays/nobody.smallvit.webp" not in names
    assert list(out.parent.glob(".*")) == []


def test_every_link_leads_somewhere_inside(out: Path) -> None:
    """If it fails, a reader meets a dead link, or the page asks another host for something."""
    for page in (*out.glob("*.html"), *out.glob("methods/*.html")):
        for tag, attrs in Reader(page.read_text()).elements:
            for name in ("href", "src"):
                address = attrs.get(name)
                if address is None or address == "data:,":
                    continue
                assert ":" not in address, (page.name, tag, address)
                file, _, anchor = address.partition("#")
                path = (page.parent / unquote(file)).resolve() if file else page
                if path == out.parent / "index.html":
                    continue  # of all versions; see test_versions.py
                assert path.is_file(), (page.name, address)
                if anchor:
                    ids = [one.get("id") for _, one in Reader(path.read_text()).elements]
                    assert ids.count(anchor) == 1, (page.name, address)


def test_pages_allow_nothing_but_their_own_files(out: Path) -> None:
    """If it fails, a page needs an inline script or style, or could be made to run one."""
    for page in (*out.glob("*.html"), *out.glob("methods/*.html")):
        reader = Reader(page.read_text())
        policies = [one["content"] for _, one in reader.elements if "http-equiv" in one]
        assert policies == [
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            "base-uri 'none'; form-action 'none'"
        ]
        ids = [one["id"] for _, one in reader.elements if "id" in one]
        assert len(ids) == len(set(ids)), page.name
        for tag, attrs in reader.elements:
            assert tag not in ("style", "base", "form", "iframe", "object")
            assert tag != "script" or set(attrs) == {"src", "defer"}
            assert not [name for name in attrs if name == "style" or name.startswith("on")]
            assert tag != "img" or attrs["alt"]


def test_nothing_of_the_board_is_left_to_the_script(board: Board, out: Path) -> None:
    """If it fails, who reads without script, or with a screen reader, sees less."""
    text = " ".join(Reader((out / "index.html").read_text()).text.split())
    for model in board.models:
        assert f"{model.model} on {model.cohort}" in text
        for row in model.rows:
            assert row.explainer in text
            assert row.reason is None or row.status == "control" or row.reason in text
            for cell in row.cells:
                if cell.score is not None and cell.score.estimate is not None:
                    assert view.format_range(cell.score) in text
    assert "no clearance for clinical use" in text
    assert text.count("Kendall’s τ = ") == 2
    assert "tie group" in text
    for word in ("unhealthy", "not known", "self-reported", "reproduced", "audited"):
        assert word in text


def test_a_sample_is_told_with_how_many_of_how_many(tmp_path: Path, board: Board) -> None:
    """If it fails, one record that was run again vouches for those that were not."""
    first = board.models[0]
    rows = (first.rows[0].model_copy(update={"tier": "sampled", "reproduced": 1}), *first.rows[1:])
    models = (first.model_copy(update={"rows": rows}), *board.models[1:])
    changed = board.model_copy(update={"models": models})
    pages = Pages(changed, False, defaultdict(lambda: (1, 1)))
    page = pages.method(rows[0].explainer, explainers_of(changed)[rows[0].explainer], ())
    count = sum(cell.state != "missing" for cell in rows[0].cells)
    assert f"(1 of {count} records were run again)" in Reader(page).text
    assert "by a run of this very record, in isolation" in Reader(pages.index()).text


def test_a_method_page_says_where_it_comes_from_and_how_to_repeat_it(out: Path) -> None:
    """If it fails, nobody can check a row of the board."""
    text = Reader((out / "methods/gradcam.html").read_text()).text
    assert "python -m benchmark run --explainer gradcam --model smallvit" in text
    assert "layer = last" in text
    assert (
        "Maps of gradcam over images of phantom, model smallvit"
        in (out / "methods/gradcam.html").read_text()
    )
    own = Reader((out / "methods/my.cam+v2.html").read_text()).text
    assert "python -m benchmark run --explainer path/to/file.py:Class --model smallvit" in own
    assert boards.sha256_of("my.cam+v2") in own
    assert "a hospital far away" in own


@pytest.mark.usefixtures("_no_drawing")
def test_other_things_in_the_folder_stay_and_stale_files_go(tmp_path: Path, board: Board) -> None:
    """If it fails, a build deletes the records, or leaves pages of methods that are no more."""
    out = tmp_path / "v1"
    (out / "records").mkdir(parents=True)
    (out / "suite.toml").write_text("version = 'v1'")
    (out / "records" / "one.json").write_text("{}")
    (out / "methods").mkdir()
    (out / "methods" / "notes.txt").write_text("mine")
    write_site(board, out)
    assert (out / "methods" / "saliency.html").exists()
    write_site(boards.only(board, "gradcam"), out)
    assert not (out / "methods" / "saliency.html").exists()
    assert not (out / "figures" / "methods" / "saliency.svg").exists()
    for name in ("suite.toml", "records/one.json", "methods/notes.txt"):
        assert (out / name).exists(), name


@pytest.mark.usefixtures("_no_drawing")
def test_a_manifest_from_anywhere_deletes_nothing_else(tmp_path: Path, board: Board) -> None:
    """If it fails, an edited site.json removes files of the machine that builds."""
    out = tmp_path / "v1"
    out.mkdir()
    kept = (tmp_path / "precious", out / "suite.toml", out / "records.json")
    for path in kept:
        path.write_text("kept")
    names = ["../precious", "methods/../../precious", "suite.toml", str(kept[0]), "records.json", 7]
    (out / "site.json").write_text(json.dumps({"files": names}))
    write_site(board, out)
    assert [path.read_text() for path in kept] == ["kept"] * 3
    (out / "site.json").write_text("[")
    write_site(board, out)


@pytest.mark.usefixtures("_no_drawing")
def test_a_link_leads_no_file_astray(tmp_path: Path, board: Board) -> None:
    """If it fails, a build writes through a link into some other folder."""
    out, elsewhere = tmp_path / "v1", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "methods").symlink_to(elsewhere)
    with pytest.raises(StoreError, match="a link leads away"):
        write_site(board, out)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.usefixtures("_no_drawing")
def test_a_build_that_fails_changes_nothing(
    tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a half-written site is published."""
    out = tmp_path / "v1"
    write_site(board, out)
    before = contents(out)

    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Pages, "index", fail)
        with pytest.raises(StoreError, match="No space left"):
            write_site(boards.only(board, "gradcam"), out)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(StoreError, match="No space left"):
            write_site(boards.only(board, "gradcam"), out)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v1"]


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 65, "<b>", "a b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, board: Board, name: str) -> None:
    """If it fails, a name in a board writes outside the folder."""
    model = board.models[0]
    row = model.rows[0].model_copy(update={"explainer": name})
    odd = board.model_copy(update={"models": (model.model_copy(update={"rows": (row,)}),)})
    with pytest.raises(FaultError, match="odd-name"):
        write_site(odd, tmp_path / "v1")
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_that_is_no_picture_is_refused(tmp_path: Path, board: Board) -> None:
    """If it fails, a page of someone else's lies among the board's own files."""
    (tmp_path / "gradcam.smallvit.webp").write_bytes(b"<html><script>")
    with pytest.raises(StoreError, match=r"gradcam\.smallvit\.webp is not a WebP"):
        write_site(board, tmp_path / "v1", tmp_path)


@pytest.mark.usefixtures("_no_drawing")
def test_hostile_text_stays_text_on_every_page(tmp_path: Path) -> None:
    """If it fails, what a submitter writes becomes an element or an attribute of the board."""
    assert len(boards.HOSTILE) >= 50
    board = boards.full_board()
    pages = {}
    for kind, phrases in (("hostile", boards.HOSTILE), ("harmless", ("plain words",))):
        write_site(boards.with_texts(board, boards.sayer(phrases)), tmp_path / kind)
        found = (tmp_path / kind).rglob("*.html")
        pages[kind] = {page.name: Reader(page.read_text()) for page in found}
    assert pages["hostile"].keys() == pages["harmless"].keys()
    for name, reader in pages["hostile"].items():
        assert reader.shape == pages["harmless"][name].shape, name
    text = " ".join(reader.text for reader in pages["hostile"].values())
    for phrase in boards.HOSTILE:
        assert phrase in text, phrase


def test_a_template_cannot_forget_to_escape_or_name_what_is_not_there(board: Board) -> None:
    """If it fails, a typing error in a template shows nothing, or a tag."""
    environment = Pages(board, (), {})._environment
    assert environment.autoescape is True
    assert environment.undefined is StrictUndefined
    for name in ("base", "parts", "index", "tables", "method"):
        assert environment.loader is not None
        source, *_ = environment.loader.get_source(environment, f"{name}.html.j2")
        assert not re.search(r"\|\s*safe|autoescape|Markup", source), name


def test_the_table_has_a_row_for_each_pair(board: Board) -> None:
    """If it fails, whoever works with the numbers has fewer of them than the page shows."""
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert len(rows) == sum(len(model.rows) for model in board.models)
    for row, told in zip(rows, (one for model in board.models for one in model.rows), strict=True):
        assert (row["explainer"], row["status"], row["tier"]) == (
            told.explainer,
            told.status,
            told.tier,
        )
        standing = told.standing
        assert row["rank"] == ("" if standing is None else str(standing.rank))
        assert row["total"] == ("" if standing is None else str(standing.total.estimate))
        for cell in told.cells:
            known = cell.calibrated.estimate if cell.calibrated is not None else None
            assert row[f"{cell.protocol}_calibrated"] == ("" if known is None else str(known))
            assert row[f"{cell.protocol}_state"] == cell.state


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "'' =1+1"])
def test_no_cell_is_run_as_a_formula(board: Board, text: str) -> None:
    """If it fails, opening board.csv runs what a submitter wrote."""
    hostile = boards.with_texts(board, lambda _: text)
    for row in csv.reader(io.StringIO(to_csv(hostile), newline="")):
        assert text not in row


def test_the_changelog_names_every_record_that_came_changed_or_went(board: Board) -> None:
    """If it fails, a score can be replaced without anyone being told."""
    first = changes.update(None, "", board)
    assert f"First build, of {len(board.records)} records." in first
    before = json.loads(board.to_json())
    assert changes.update(before, first, board) == first
    paths = sorted(board.records)
    records = {**board.records, paths[0]: "0" * 64, "phantom/new/cam/delta_t.json": "1" * 64}
    del records[paths[1]]
    later = board.model_copy(update={"records": records, "content": "abcdef012345" + "0" * 52})
    text = changes.update(before, first, later)
    head, _, tail = text.partition("## abcdef012345\n")
    assert head == first.partition("## ")[0]
    assert "Added: 1\n\n- `phantom/new/cam/delta_t.json`\n" in tail
    assert f"Changed: 1\n\n- `{paths[0]}`\n" in tail
    assert f"Removed: 1\n\n- `{paths[1]}`\n" in tail
    assert text.endswith(first.partition("## ")[1] + first.partition("## ")[2])
    assert changes.update(json.loads(later.to_json()), text, later) == text


@pytest.mark.parametrize("previous", [{}, {"records": 3}, {"records": None}])
def test_an_earlier_board_that_cannot_be_read_counts_as_none(
    board: Board, previous: dict[str, object]
) -> None:
    """If it fails, one broken file ends every later build."""
    assert "First build" in changes.update(previous, "", board)


def test_names_beside_points_lie_over_nothing() -> None:
    """If it fails, the picture of costs cannot be read where methods are alike."""
    figure = Figure(figsize=(10, 5.6))
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    spots = [
        Spot(f"a_method_{place}", 0.3 + 0.01 * (place % 6), 0.5 + 0.02 * (place // 6), 0.45, 0.62)
        for place in range(24)
    ]
    place_labels(axes, spots)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(spots)
    for first, second in combinations(boxes, 2):
        assert not first.overlaps(second)


def test_pictures_hold_no_script_and_no_date(out: Path) -> None:
    """If it fails, an SVG opened on its own could run something, or differs from day to day."""
    for path in out.rglob("*.svg"):
        text = path.read_text()
        assert "<script" not in text
        assert "<dc:date" not in text
        assert "Matplotlib" not in text


def test_words_and_numbers_are_written_for_readers() -> None:
    """If it fails, a table shows a hyphen for a minus, or runs out of letters."""
    assert [view.letter_of(one) for one in (1, 26, 27, 52, 53)] == ["A", "Z", "AA", "AZ", "BA"]
    assert view.format_number(-0.25, 2) == "−0.25"
    assert view.format_number(-0.0001, 2) == "0.00"
    assert view.format_number(None) == "no number"
    assert [view.format_count(one) for one in (0, 999, 19_346, 2_500_000)] == [
        "0",
        "999",
        "19.3 k",
        "2.5 M",
    ]
    assert site.MANIFEST == "site.json"


def test_a_figure_says_whether_one_is_the_truth(board: Board) -> None:
    """If it fails, a distance from noise is read as a share of what the truth scores."""
    model = board.models[0]
    without = model.model_copy(
        update={"rows": tuple(row for row in model.rows if row.explainer != "oracle")}
    )
    drawn = [pictures.draw_forest(one, board.protocols[0], 0) for one in (model, without)]
    assert [b"0 noise, 1 truth" in svg for svg in drawn] == [True, False]
    assert [b"above noise" in svg for svg in drawn] == [False, True]
