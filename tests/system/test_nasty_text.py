"""What a plugin says of itself and of its errors, through every format that shows it."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import fakes
import pytest
from html_pages import Reader
from publications import published
from runs import build_record

from benchmark.commands import terminal
from benchmark.errors import PluginError
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.record import Outcome
from benchmark.report.writer import write_report
from benchmark.results.result import to_json
from benchmark.results.summary import summarise_records
from benchmark.results.table import to_csv
from leaderboard.gate.decision import Pair, judge
from leaderboard.gate.report import Report, lines, to_junit, to_markdown

NASTY = "=1+1|<script>alert(1)</script>\n| [x](javascript:y) \x1b[2J\ud800\u202e&]]>\r`"
PROTOCOLS = {"loading": fakes.Loading}


def check_harmless(text: str) -> None:
    """Raise where a text steers a terminal, or no file can hold it."""
    text.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_every_format_shows_the_text_of_an_error_and_runs_none(tmp_path: Path) -> None:
    """If it fails, a method's error message runs a script in a page, or a formula in a sheet."""
    records = [build_record("bright", outcome=Outcome("failed", NASTY)), build_record("random")]
    results = summarise_records(records, PROTOCOLS)
    console = terminal.PlainConsole(file=io.StringIO(), width=200)
    terminal.print_results(console, results, ())
    terminal.print_lines(console, [NASTY])
    pair = Pair(published("good"), None, NASTY)
    gate = Report("test", 0.1, tuple(judge([pair])))
    page = write_report(tmp_path / "report", records, (), PROTOCOLS).read_text("utf-8")
    markdown, table = to_markdown(gate), to_csv(results)

    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), *lines(gate), page, markdown, table, to_junit(gate)):
        check_harmless(text)
    assert "alert(1)" in page
    assert "script" not in {tag for tag, _ in Reader(page).elements}
    assert "<script" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    sheet = list(csv.DictReader(io.StringIO(table)))
    assert len(sheet) == len(records)
    assert all(cell[:1] not in "=+@" or not cell for row in sheet for cell in row.values())
    (failure,) = ElementTree.fromstring(to_junit(gate)).iter("error")
    assert "alert(1)" in f"{failure.get('message')}{failure.text}"
    told = json.loads(to_json("test", results))["results"][0]["reason"]
    assert told.startswith("=1+1|<script>")
    check_harmless(told)


@pytest.mark.parametrize("name", [NASTY, "<script>", "a|b", "a\nb", "\x1b[2J", "\ud800", "../a"])
def test_a_name_that_is_more_than_a_name_is_refused(tmp_path: Path, name: str) -> None:
    """If it fails, a method's name breaks tables and pages, or leaves the folder of a report."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from benchmark.explainer import Explainer\n"
        f"class Mine(Explainer):\n    name = {name!a}\n"
        "    def attribute(self, classifier, images, target):\n        return images\n"
    )
    with pytest.raises(PluginError, match="a name needs letters") as refused:
        Catalogue().explainers.find(f"{path}:Mine")
    check_harmless(str(refused.value))
