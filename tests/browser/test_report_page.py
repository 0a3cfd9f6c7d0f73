"""The page of a report in a browser: its first screen, on a phone, in the dark, and on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from exhibits import PROTOCOLS, Shape, build_explained_model, ended, scored
from visits import Visitor

from benchmark.protocol import Table
from benchmark.reading import Reading
from benchmark.records.record import Outcome
from benchmark.report.writer import write_report

OPEN = "() => document.querySelectorAll('details').forEach((part) => part.open = true)"
BOTTOMS = """() => [...document.querySelectorAll('.first [id]')].map(
    (place) => [place.id, place.getBoundingClientRect().bottom])"""
BROKEN = "() => [...document.images].filter((image) => !image.naturalWidth).length"
PHONE, DESK = 390, 1280
PAPER = 680  # pixels between the margins of A4
TOO_BROAD = """() => [...document.querySelectorAll('table, td, th')].filter(
    (part) => part.offsetWidth && part.getBoundingClientRect().right > innerWidth + 1).length"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a report of three methods, one of which was not measured."""
    records = [
        *(scored(name, level) for name, level in (("cam", 0.7), ("weak", 0.07), ("oracle", 1.0))),
        scored("random", 0.0),
        ended("picky", Outcome("unsupported", "needs attention heads")),
    ]
    explained = build_explained_model(["cam", "weak", "oracle", "random"])
    folder = tmp_path_factory.mktemp("page") / "report"
    return write_report(folder, records, [explained], PROTOCOLS).resolve().as_uri()


@pytest.mark.parametrize(("width", "dark"), [(DESK, False), (PHONE, True)])
def test_axe_finds_nothing(visit: Visitor, page: str, width: int, dark: bool) -> None:
    """If it fails, somebody who sees little, or hears the page, is shut out of part of it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    opened = visit(page, width=width, dark=dark).page
    opened.evaluate(OPEN)
    found = axe.Axe().run(opened)
    assert found.response["violations"] == [], found.generate_report()


def test_all_answers_are_on_the_first_screen(visit: Visitor, page: str) -> None:
    """If it fails, a clinician must search for what the documentation puts on the first screen."""
    bottoms = dict(visit(page).page.evaluate(BOTTOMS))
    assert len(bottoms) >= 10
    assert {place: bottom for place, bottom in bottoms.items() if bottom > 844} == {}


@pytest.mark.parametrize(("width", "dark"), [(DESK, True), (PHONE, False)])
def test_the_page_stands_alone_and_fits(visit: Visitor, page: str, width: int, dark: bool) -> None:
    """If it fails, the page asks somebody else, a figure is blank, or it is wider than a phone."""
    seen = visit(page, width=width, dark=dark)
    seen.page.evaluate(OPEN)
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    assert seen.page.evaluate(BROKEN) == 0
    assert [url for url in seen.asked if not url.startswith("data:")] == [page]
    assert seen.complaints == []


def test_on_a_phone_each_number_stands_behind_its_heading(visit: Visitor, page: str) -> None:
    """If it fails, a phone shows a table of which only the first columns are in view."""
    cell = "document.querySelector('.cards td[data-label=Calibrated]')"
    heading = f"getComputedStyle({cell}, '::before').content"
    assert visit(page, width=PHONE).page.evaluate(heading) == '"Calibrated"'
    assert visit(page, width=DESK).page.evaluate(heading) == "none"


def test_without_a_script_everything_is_there(visit: Visitor, page: str) -> None:
    """If it fails, a hospital that forbids scripts sees less of a report."""
    opened = visit(page, script=False).page
    assert opened.locator("#bottom-line").is_visible()
    assert opened.locator("table.scores tbody tr").count() == 5
    assert opened.locator("script").count() == 0


def test_paper_cuts_no_column(visit: Visitor, tmp_path: Path) -> None:
    """If it fails, who prints a report misses the last numbers of a broad table."""

    class Broad(Shape):
        @classmethod
        def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
            columns = ("method", *(f"a long heading, {number}" for number in range(18)))
            rows = [(name, *range(10**9, 10**9 + 18)) for name in readings]
            yield Table("broad", "How broad?", "Numbers.", columns, rows)

    index = write_report(tmp_path / "report", [scored("cam")], [], {"shape": Broad})
    opened = visit(index.resolve().as_uri(), width=PAPER).page
    opened.emulate_media(media="print")
    assert opened.locator(".broad td").count() == 18
    assert opened.evaluate(TOO_BROAD) == 0
