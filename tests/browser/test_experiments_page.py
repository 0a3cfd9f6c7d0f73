"""The page of experiments in a browser: on a phone, in the dark, by ear, and on its own."""

from __future__ import annotations

import hashlib

import pytest
from experiments import build_card, write_cards
from visits import Visitor

from benchmark.records.registry import read_registry, write_card
from benchmark.report.experiment_table import Compared
from benchmark.report.experiments import render_registry
from benchmark.training.findings import Comparison, Metric

OPEN = "() => document.querySelectorAll('details').forEach((one) => one.open = true)"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 200"><path d="M0 0L9 9"/></svg>'
HOSTILE = "<img src=x onerror=alert(1)> " + "long" * 60


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page with every part: figures, warnings, a comparison, and a fault."""
    folder = tmp_path_factory.mktemp("registry")
    cards = [
        build_card(1, warnings=(HOSTILE,)),
        build_card(2, status="failed", reason=HOSTILE, validation=None, course=None),
    ]
    write_cards(folder, cards)
    (folder / "EXP-003").mkdir()
    figures = folder / "EXP-001" / "figures"
    figures.mkdir()
    texts = {"captions.json": '{"course": "Loss, epoch by epoch."}', "course.svg": SVG}
    hashes = {}
    for name, text in texts.items():
        (figures / name).write_text(text)
        hashes[f"figures/{name}"] = hashlib.sha256(text.encode()).hexdigest()
    write_card(folder / "EXP-001", cards[0].updated({"files": hashes}))
    metrics = (Metric("auroc", 0.75, 0.5, 0.875), Metric("accuracy", 0.5, 0.25, 0.75))
    compared = Compared("EXP-001", "EXP-002", Comparison(16, 16, metrics, metrics, metrics))
    path = folder / "page.html"
    path.write_text(render_registry(read_registry(folder), [compared]), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_axe_finds_nothing(visit: Visitor, page: str, width: int, dark: bool) -> None:
    """If it fails, somebody who sees little, or hears the page, is shut out of part of it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    opened = visit(page, width=width, dark=dark).page
    opened.evaluate(OPEN)
    found = axe.Axe().run(opened)
    assert found.response["violations"] == [], found.generate_report()


def test_the_page_stands_alone_and_fits_a_phone(visit: Visitor, page: str) -> None:
    """If it fails, the page asks somebody else, runs a name, or is wider than a phone."""
    seen = visit(page, width=390)
    seen.page.evaluate(OPEN)
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 390
    assert seen.page.locator("figure img").count() == 1
    assert seen.page.locator("#comparison").count() == 1
    assert [url for url in seen.asked if not url.startswith("data:")] == [page]
    assert seen.complaints == []
