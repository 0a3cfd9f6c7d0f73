"""The first screen of a report: it cannot be misread, and it answers what a clinician asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from exhibits import PROTOCOLS, build_explained_model, ended, readings_of, scored
from html_pages import Reader
from paths import ROOT
from runs import build_record

from benchmark.protocol import SanityProtocol
from benchmark.reading import Reading, Statistic, Verdict
from benchmark.records.record import Outcome, Record
from benchmark.report.writer import write_report
from benchmark.trial import Trial

LEVELS = {"faint": 0.07, "clear": 0.7, "oracle": 1.0, "random": 0.0}


class _Judging(SanityProtocol[Any]):
    """A protocol without figures."""

    version = "1.0"
    title = "Does it?"
    primary = "score"
    chance = "score"
    margin = 0.2
    statistics: ClassVar[tuple[Statistic, ...]] = (Statistic("score", "what counts", "higher"),)

    def readings(self, trial: Trial) -> list[Reading]:
        raise NotImplementedError

    def verdict(self, readings: list[Reading]) -> Verdict:
        raise NotImplementedError


FOUR: Mapping[str, type[SanityProtocol[Any]]] = {
    name: type(
        name.title(),
        (_Judging,),
        {"name": name, "topic": f"the {name}", "if_passed": f"sees the {name}"},
    )
    for name in ("north", "east", "south", "west")
}


def build_records(levels: Mapping[str, float] = LEVELS) -> list[Record]:
    """Return passes of every method and control under all four protocols; random fails."""
    return [
        build_record(
            explainer,
            protocol=protocol,
            outcome=Outcome(
                "scored", None, "fail" if explainer == "random" else "pass", [readings_of(level)[0]]
            ),
        )
        for protocol in FOUR
        for explainer, level in levels.items()
    ]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run in which every method passes everything."""
    path = write_report(tmp_path_factory.mktemp("four") / "report", build_records(), [], FOUR)
    return path.read_text("utf-8").split("</style>")[1]


def rows_of(page: str, explainer: str) -> list[str]:
    """Return the rows of an explainer in the table of scores."""
    table = page.split('<table class="scores cards">')[1].split("</table>")[0]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    return [row for row in rows if f">{explainer}</th>" in row]


def test_four_passes_near_chance_cannot_be_taken_for_a_good_method(page: str) -> None:
    """If it fails, a map that reaches 0.07 of the possible shows as four green ticks."""
    rows = rows_of(page, "faint")
    assert len(rows) == 4
    for row in rows:
        assert re.search(r"<b>0\.07\d</b>", row)
        assert 'class="badge chance"' in row
        assert '<span class="size">near chance</span>' in row
        assert "✓" not in row
    line = re.search(r"<li><strong>faint</strong>(.*?)</li>", page, re.DOTALL)
    assert line is not None
    assert line[1].strip() == (
        "is near chance on the north, on the east, on the south and on the west, "
        "where its pass means little."
    )


def test_a_score_of_some_size_is_green_and_says_how_large(page: str) -> None:
    """If it fails, no method can look good, or its size is missing where it does."""
    rows = rows_of(page, "clear")
    assert len(rows) == 4
    for row in rows:
        assert 'class="badge good"' in row
        assert '<span class="size">strong</span>' in row
    assert "<strong>clear</strong> sees the north (strong)," in page


def test_controls_are_neither_green_nor_named_as_methods(page: str) -> None:
    """If it fails, the known truth heads the report as its best method."""
    for name in ("oracle", "random"):
        assert all(
            "badge good" not in row and 'class="size"' not in row for row in rows_of(page, name)
        )
        assert f"<li><strong>{name}</strong>" not in page


def test_no_verdict_is_green_where_the_protocol_is_unhealthy(tmp_path: Path) -> None:
    """If it fails, a test that proves nothing shows its passes in green."""
    records = [*build_records(), *build_records({"sobel": 0.6})]
    path = write_report(tmp_path / "report", records, [], FOUR)
    page = path.read_text("utf-8").split("</style>")[1]
    assert "badge good" not in page
    assert "Not those of east, north, south, west." in page
    assert "since the test is unhealthy: the north, the east, the south and the west." in page


def questions() -> dict[str, str]:
    """Return the questions of docs/report.md by the place that answers each."""
    text = (ROOT / "docs" / "report.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+?\?) \| \*(.+?)\*, `#([a-z-]+)` \|", text, re.MULTILINE)
    return {place: label for _, label, place in rows}


def test_ten_questions_are_answered_on_the_first_screen(tmp_path: Path) -> None:
    """If it fails, the documentation sends a clinician to a place that the page does not have."""
    places = questions()
    assert len(places) >= 10
    explained = build_explained_model(["cam"])
    records = [scored("cam"), ended("picky", Outcome("unsupported", "needs attention heads"))]
    path = write_report(tmp_path / "report", records, [explained], PROTOCOLS)
    page = path.read_text("utf-8").split("</style>")[1]
    first = page.split('<section class="first"')[1].split("</section>")[0]
    ids = {attributes.get("id") for _, attributes in Reader(first).elements}
    assert set(places) <= ids
    text = " ".join(Reader(first).text.split())
    for label in places.values():
        assert label in text
    assert "picky (unsupported): shape. That is neither a pass nor a fail." in text


def test_a_method_that_was_not_run_in_a_test_is_named(tmp_path: Path) -> None:
    """If it fails, a method of which one test was run looks as though it had all of them."""
    records = [
        build_record(name, protocol=protocol, statistics=("score",))
        for name, protocol in (("whole", "north"), ("whole", "east"), ("half", "north"))
    ]
    page = write_report(tmp_path / "report", records, [], FOUR).read_text("utf-8")
    text = " ".join(Reader(page.split("</style>")[1]).text.split())
    assert "half (not run): east. That is neither a pass nor a fail." in text
