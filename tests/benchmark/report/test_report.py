"""The report: one folder, whole or not at all, that says what the records say."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from exhibits import PROTOCOLS, Shape, build_explained_model, ended, scored
from html_pages import Reader

from benchmark.arrays import ImageArray
from benchmark.errors import InputError, StoreError
from benchmark.protocol import Table
from benchmark.reading import Reading, Sample
from benchmark.records.record import Outcome, Record
from benchmark.report import digest, webpage
from benchmark.report.figures import overlays
from benchmark.report.folder import MARKER
from benchmark.report.glossary import terms_in
from benchmark.report.writer import check_folder, write_report
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.summary import summarise_records

SCRIPT = "<script>alert(1)</script>"
METHODS = ("gradcam", "=cmd", SCRIPT, "../up", "oracle", "random")
KEYS = ("s000", "s001")
NOTHING = Reading("score", Sample(KEYS, KEYS, (0, 1)), np.full(2, np.nan))


def build_records() -> list[Record]:
    """Return scored cells under difficult names, and one of every other end."""
    levels = dict(zip(METHODS, (0.5, 0.3, 0.2, 0.4, 0.9, 0.0), strict=True))
    return [
        *(scored(name, level) for name, level in levels.items()),
        ended("picky", Outcome("unsupported", "needs attention heads")),
        ended("raising", Outcome("failed", "ValueError: out of ideas")),
        ended("blank", Outcome("scored", "constant map", "fail", [NOTHING])),
        ended("idle", Outcome("not assessable", "the model knows nothing")),
    ]


RECORDS = build_records()


@pytest.fixture(scope="module")
def explained() -> ExplainedModel:
    return build_explained_model(METHODS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, explained: ExplainedModel) -> Path:
    path = tmp_path_factory.mktemp("run") / "report"
    assert write_report(path, RECORDS, [explained], PROTOCOLS) == path / "index.html"
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "index.html").read_text("utf-8")


@pytest.fixture(scope="module")
def reader(page: str) -> Reader:
    """The page behind its style."""
    return Reader(page.split("</style>")[1])


def attributes(reader: Reader, *names: str) -> list[str]:
    """Return the values of these attributes anywhere in a page."""
    pairs = [pair for _, attrs in reader.elements for pair in attrs.items()]
    return [value or "" for name, value in pairs if name in names]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_page_asks_for_nothing(page: str, reader: Reader) -> None:
    """If it fails, a page opened beside patient data calls another machine or breaks alone."""
    addresses = attributes(reader, "src", "href", "srcset", "data", "action", "poster")
    assert [text for text in addresses if not text.startswith(("data:image/", "#"))] == []
    assert not re.search(r"@import|url\(", page.split("</style>")[0])
    assert not {"script", "link", "iframe"} & {tag for tag, _ in Reader(page).elements}


def test_links_within_the_page_lead_somewhere_once(reader: Reader) -> None:
    """If it fails, a section cannot be reached, or two share a name."""
    ids = attributes(reader, "id")
    assert max(Counter(ids).values()) == 1
    links = {text[1:] for text in attributes(reader, "href") if text.startswith("#")}
    assert links <= set(ids)


def test_names_stay_text(page: str, reader: Reader) -> None:
    """If it fails, whoever names a method runs code in the reader's browser."""
    assert "<script" not in page
    assert SCRIPT in reader.text


def test_a_picture_says_what_it_shows(page: str) -> None:
    """If it fails, the figures do not exist for a reader who hears the page."""
    pictures = re.findall(r"<img[^>]*>", page)
    assert pictures
    assert all(re.search(r'alt="[^"]{20,}"', picture) for picture in pictures)


def test_the_page_shows_each_state_in_words(reader: Reader) -> None:
    """If it fails, a cell without a score looks as though it had one."""
    for word in ("unsupported", "failed", "not assessable", "needs attention heads", "no value"):
        assert word in reader.text
    assert not re.search(r"\b(nan|none|null|inf)\b", reader.text, re.IGNORECASE)


def test_the_page_says_what_a_pass_is_not(reader: Reader) -> None:
    """If it fails, a clinician may take a pass for a clearance."""
    assert "Nothing here clears a model or a map for clinical use" in " ".join(reader.text.split())


def test_words_are_explained_where_they_are_used(page: str) -> None:
    """If it fails, a clinician meets a symbol that nothing in view explains."""
    curve = page.split("<strong>shape: drop.</strong>")[1].split("</figcaption>")[0]
    assert re.findall(r"<dt>([^<]*)</dt>", curve) == ["noise, random", "iid", "q"]
    table = page.split("</table>")[1].split("<figure>")[0]
    assert "<dt>oracle, truth</dt>" in table
    assert not re.search("<dt>(twin|imputer)</dt>", page)


def test_every_word_of_the_glossary_is_found_in_a_sentence() -> None:
    """If it fails, a pattern finds nothing, or a word within another word."""
    sentences = (
        "T falls",
        "ΔT rises",
        "drop of the group projection",
        "φ changes",
        "importance over the image",
        "the truth scores best",
        "score of noise",
        "grey: iid",
        "centre",
        "of twins 0.50",
        "randomised models score as well",
        "its stages",
        "imputers disagree",
        "for each roi",
        "the foreground",
        "for each q",
        "Average precision of the map",
        "IoU rises",
        "rank correlation over regions",
        "AUROC 0.9",
        "AUPRC 0.9",
        "own logit",
        "p 2.9e-35",
        "Page's L 885",
        "KS",
    )
    words = [[term.name for term in terms_in([sentence])] for sentence in sentences]
    assert all(len(names) == 1 for names in words), words
    assert len({name for names in words for name in names}) == len(sentences)
    assert terms_in(["The map of a quiet tissue", "randomization: similarity", "stem"]) == []


def test_the_table_holds_what_the_records_say(folder: Path) -> None:
    """If it fails, the numbers that people copy are not those that were measured."""
    rows = list(csv.DictReader(io.StringIO((folder / "summary.csv").read_text("utf-8"))))
    for row, result in zip(rows, summarise_records(RECORDS, PROTOCOLS), strict=True):
        expected = result.primary
        assert row["explainer"].removeprefix("'") == result.explainer
        assert (row["state"], row["reason"]) == (result.state, result.reason or "")
        for column in ("estimate", "low", "high"):
            value = getattr(expected, column)
            assert row[column] == ("" if value is None else repr(value))
        if expected.calibrated is not None:
            assert float(row["calibrated"]) == expected.calibrated.estimate


def test_a_cell_without_a_score_has_no_number_in_the_table(folder: Path) -> None:
    """If it fails, a spreadsheet averages what was never measured."""
    rows = csv.DictReader(io.StringIO((folder / "summary.csv").read_text("utf-8")))
    estimates = {row["explainer"]: row["estimate"] for row in rows}
    assert {estimates[name] for name in ("picky", "raising", "blank", "idle")} == {""}


def test_what_controls_show_is_beside_the_page(folder: Path, page: str) -> None:
    """If it fails, statistics of controls make the page too large, or are nowhere."""
    rows = list(csv.DictReader(io.StringIO((folder / "statistics.csv").read_text("utf-8"))))
    assert {"oracle", "gradcam"} <= {row["explainer"] for row in rows}
    assert all(row["statistic"] and row["conditions"] is not None for row in rows)
    summaries = re.findall(r"<summary>([^<]*) ·", page)
    assert "gradcam" in summaries
    assert "oracle" not in summaries


def test_files_stay_in_their_folder_whatever_a_method_is_called(folder: Path) -> None:
    """If it fails, a method named ../up writes outside the report."""
    files = set(contents(folder))
    assert {file.split("/")[0] for file in files} == {
        "figures",
        "maps",
        "index.html",
        "statistics.csv",
        "summary.csv",
        MARKER,
    }
    # A file for each method, and one each for images and regions.
    assert len([file for file in files if file.endswith(".nii.gz")]) == len(METHODS) + 2
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png", ".svg"}


def test_names_that_look_alike_get_files_of_their_own(tmp_path: Path) -> None:
    """If it fails, one method's maps overwrite another's."""
    names = ("a b", "a/b", "A_b", "images", "regions", "volumes")
    records = [scored(name) for name in names]
    write_report(tmp_path / "r", records, [build_explained_model(names)], PROTOCOLS)
    assert len(list((tmp_path / "r" / "maps").glob("*.nii.gz"))) == len(names) + 2


def test_maps_come_back_where_they_lay(folder: Path, explained: ExplainedModel) -> None:
    """If it fails, a map opened in a viewer lies beside the anatomy."""
    image = nibabel.load(folder / "maps" / "tiny_tiny_model_gradcam.nii.gz")
    assert image.shape == (24, 24, 1, len(explained.cohort))
    np.testing.assert_array_equal(image.affine, explained.cohort.geometry.affine)
    maps = np.asarray(image.dataobj).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(maps, explained.attributions["gradcam"])
    assert bytes(image.header["descrip"]).rstrip(b"\0") == b"gradcam"


def test_volumes_are_named_in_their_order(folder: Path, explained: ExplainedModel) -> None:
    """If it fails, a map is taken for another subject's."""
    text = (folder / "maps" / "tiny_tiny_model_volumes.tsv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert [row["subject"] for row in rows] == list(explained.cohort.subjects)
    assert [int(row["volume"]) for row in rows] == list(range(len(rows)))
    drawn = {int(row["volume"]) for row in rows if row["in_figure"] == "yes"}
    assert drawn == set(overlays.choose_rows(explained.cohort, explained.evaluation).tolist())


def test_the_same_inputs_give_the_same_bytes(
    folder: Path, explained: ExplainedModel, tmp_path: Path
) -> None:
    """If it fails, reports cannot be compared or cached."""
    write_report(tmp_path / "again", RECORDS, [explained], PROTOCOLS)
    assert contents(tmp_path / "again") == contents(folder)


def test_a_report_that_is_there_is_not_drawn_again(
    folder: Path, explained: ExplainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, every run from the store pays for the figures again."""
    monkeypatch.setattr(webpage, "render_page", _break)
    assert write_report(folder, RECORDS, [explained], PROTOCOLS) == folder / "index.html"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A report of one cell."""
    write_report(tmp_path / "report", [scored("gradcam")], [], PROTOCOLS)
    return tmp_path / "report"


def test_another_record_makes_another_report(small: Path) -> None:
    """If it fails, an old page stays under new results."""
    write_report(small, [scored("gradcam", 0.7)], [], PROTOCOLS)
    assert "0.7" in (small / "summary.csv").read_text("utf-8")


def test_other_maps_make_another_report(tmp_path: Path) -> None:
    """If it fails, old pictures stay beside new maps."""
    explained, records = build_explained_model(["gradcam"]), [scored("gradcam")]
    write_report(tmp_path / "r", records, [explained], PROTOCOLS)
    before = contents(tmp_path / "r")
    turned = {"gradcam": explained.attributions["gradcam"][..., ::-1]}
    write_report(tmp_path / "r", records, [replace(explained, attributions=turned)], PROTOCOLS)
    after = contents(tmp_path / "r")
    assert (
        before["figures/tiny_tiny_model_overlays.png"]
        != (after["figures/tiny_tiny_model_overlays.png"])
    )


def test_images_whose_sides_become_known_make_another_report(explained: ExplainedModel) -> None:
    """If it fails, pictures keep letters that their images have lost, or never get any."""
    cohort = explained.cohort
    unknown = replace(cohort, geometry=replace(cohort.geometry, oriented=False))
    digests = {
        digest.report_digest(RECORDS[:1], [replace(explained, cohort=shown)], PROTOCOLS)
        for shown in (cohort, unknown)
    }
    assert len(digests) == 2


@pytest.mark.parametrize("added", ["report/figures/new.py", "explainer.py", "results/table.py"])
def test_other_code_of_the_engine_makes_another_report(
    added: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, an old page stays after an update, since a file that draws it does not count."""
    package = tmp_path / "benchmark"
    shutil.copytree(digest.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "PACKAGE", package)
    before = digest.report_digest(RECORDS[:1], [], PROTOCOLS)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "reading.cpython-312.pyc").write_bytes(b"compiled")
    assert digest.report_digest(RECORDS[:1], [], PROTOCOLS) == before
    with (package / added).open("a") as file:
        file.write("# another line\n")
    assert digest.report_digest(RECORDS[:1], [], PROTOCOLS) != before


def test_other_figures_of_a_protocol_make_another_report(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a figure that a protocol has corrected is never drawn again."""
    package = tmp_path / "drawn"
    package.mkdir()
    for name in ("__init__.py", "figures.py"):
        (package / name).write_text("")
    (package / "protocol.py").write_text(
        "from exhibits import Shape\n\n\nclass Drawn(Shape):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    protocols = {"shape": importlib.import_module("drawn.protocol").Drawn}
    write_report(small, RECORDS[:1], [], protocols)
    before = (small / MARKER).read_text("utf-8")
    (package / "figures.py").write_text("COLOUR = 1\n")
    write_report(small, RECORDS[:1], [], protocols)
    assert (small / MARKER).read_text("utf-8") != before


def test_a_table_of_a_protocol_stands_on_the_page_and_beside_it(small: Path) -> None:
    """If it fails, the numbers behind a verdict are in no place that a reader could cite."""

    class Tabled(Shape):
        @classmethod
        def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
            rows = [(name, 0.25, None, SCRIPT) for name in readings]
            columns = ("method", "mm", "p", "note")
            yield Table("widths", "How wide?", "About 5 % each.", columns, rows)

    write_report(small, RECORDS, [], {"shape": Tabled})
    page = (small / "index.html").read_text("utf-8")
    assert "shape: How wide?</strong>" in page
    assert '<td class="n" data-label="mm">0.250</td>' in page
    assert SCRIPT not in page
    assert '<th scope="col" class="n">mm</th>' in page
    assert '<th scope="col">note</th>' in page, "the heading of texts stands above their end"
    (table,) = (small / "tables").glob("*.csv")
    rows = list(csv.reader(table.read_text("utf-8").splitlines()))
    assert rows[0] == ["method", "mm", "p", "note"]
    assert ["gradcam", "0.25", "", SCRIPT] in rows
    assert not any("raising" in row for row in rows)


def test_a_model_without_a_health_line_has_no_empty_box(small: Path) -> None:
    """If it fails, a card of the model tells its reader to look first at nothing."""

    class Card(Shape):
        explains = False

    write_report(small, [scored("none")], [], {"shape": Card})
    assert "Protocol health" not in (small / "index.html").read_text("utf-8")


def test_a_damaged_report_is_made_again(small: Path) -> None:
    """If it fails, a deleted figure never comes back."""
    before = contents(small)
    (small / "figures" / "tiny_tiny_model_scores.svg").unlink()
    write_report(small, [scored("gradcam")], [], PROTOCOLS)
    assert set(contents(small)) == set(before)


def _break(*_: object) -> None:
    raise RuntimeError("no ink")


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a page without figures looks finished."""
    monkeypatch.setattr(overlays, "draw_overlays", _break)
    with pytest.raises(RuntimeError, match="no ink"):
        write_report(tmp_path / "r", [scored("cam")], [build_explained_model(["cam"])], PROTOCOLS)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_earlier_report_alone(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a crash costs the report that was there."""
    before = contents(small)
    monkeypatch.setattr(webpage, "render_page", _break)
    with pytest.raises(RuntimeError, match="no ink"):
        write_report(small, [scored("other")], [], PROTOCOLS)
    assert contents(small) == before
    assert [path.name for path in small.parent.iterdir()] == ["report"]


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    """If it fails, a typing error in --report deletes someone's work."""
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(StoreError, match=r"'thesis\.tex', which no report wrote"):
        write_report(tmp_path, [scored("cam")], [], PROTOCOLS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_someone_put_into_a_report_is_refused(small: Path) -> None:
    """If it fails, notes kept beside the figures vanish with the next run."""
    (small / "figures" / "notes.txt").write_text("…")
    with pytest.raises(StoreError, match=r"'figures/notes\.txt', which no report wrote"):
        check_folder(small)


@pytest.mark.parametrize("marker", ["", "[]", "{}", '{"kind": "medsanity report"}'])
def test_a_damaged_marker_is_no_report(tmp_path: Path, marker: str) -> None:
    """If it fails, any report.json gives leave to delete a folder."""
    (tmp_path / MARKER).write_text(marker)
    with pytest.raises(StoreError, match="which no report wrote"):
        check_folder(tmp_path)


def test_empty_and_missing_folders_and_hidden_files_are_welcome(tmp_path: Path) -> None:
    """If it fails, a folder that the system looked into is refused."""
    check_folder(tmp_path / "missing")
    (tmp_path / ".DS_Store").write_text("…")
    check_folder(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """If it fails, a file is deleted for a report."""
    (tmp_path / "r").write_text("…")
    with pytest.raises(StoreError, match="is a file; a folder was expected"):
        write_report(tmp_path / "r", [scored("cam")], [], PROTOCOLS)


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    """If it fails, an empty page hides that nothing was measured."""
    with pytest.raises(InputError, match="no records"):
        write_report(tmp_path / "r", [], [], PROTOCOLS)
    assert list(tmp_path.iterdir()) == []


def test_maps_are_read_when_needed_and_not_held(tmp_path: Path) -> None:
    """If it fails, a report of volumes needs the memory of all methods together."""
    explained = build_explained_model(["a", "b", "c"])
    lazy = _Lazy(explained.attributions)
    records = [scored(name) for name in lazy]
    write_report(tmp_path / "r", records, [replace(explained, attributions=lazy)], PROTOCOLS)
    assert max(lazy.read.values()) == 2  # once to see whether they are new, once to draw


class _Lazy(Mapping[str, ImageArray]):
    """Maps that count how often they are read."""

    def __init__(self, maps: Mapping[str, ImageArray]) -> None:
        self._maps = maps
        self.read: Counter[str] = Counter()

    def __getitem__(self, name: str) -> ImageArray:
        self.read[name] += 1
        return self._maps[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __contains__(self, name: object) -> bool:
        return name in self._maps

    def __len__(self) -> int:
        return len(self._maps)


def test_two_models_of_one_name_show_no_maps(tmp_path: Path) -> None:
    """If it fails, one model's maps stand under another's scores."""
    first = scored("gradcam")
    identity = first.identity.model_copy(update={"weights_sha256": "b" * 64})
    outcome = Outcome("scored", None, "pass", first.to_readings())
    second = Record.seal(identity, first.names, outcome, first.provenance, first.resources)
    write_report(tmp_path / "r", [first, second], [build_explained_model(["gradcam"])], PROTOCOLS)
    assert list((tmp_path / "r" / "maps").iterdir()) == []


def test_the_marker_names_every_file(folder: Path) -> None:
    """If it fails, the next run refuses its own report."""
    marker = json.loads((folder / MARKER).read_text("utf-8"))
    assert set(marker["files"]) | {MARKER} == set(contents(folder))


def test_compressed_maps_hold_no_clock(folder: Path) -> None:
    """If it fails, reports made a second apart differ."""
    header = (folder / "maps" / "tiny_tiny_model_gradcam.nii.gz").read_bytes()[:10]
    assert header[4:8] == b"\0\0\0\0"
    assert gzip.decompress((folder / "maps" / "tiny_tiny_model_oracle.nii.gz").read_bytes())
