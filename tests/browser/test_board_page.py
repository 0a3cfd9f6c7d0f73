"""The board as readers meet it: in a browser, on a phone, in the dark, by keyboard, by ear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from visits import Visitor

PAGES = ("index.html", "methods/layercam.html")
OWED = ("owed/index.html", "owed/methods/gradcam.html")
ALL = (*(f"small/{page}" for page in PAGES), "index.html")
OPEN = "() => document.querySelectorAll('details').forEach((one) => one.open = true)"
RANKED = "section.model:first-of-type [data-status='ranked'] tbody tr"
SHAPE = """() => [...document.querySelectorAll('*')].map(
    (one) => [one.tagName, ...[...one.attributes].map((own) => own.name)].join(' '))"""
ADDRESSES = """() => [...document.querySelectorAll('[src], [href], [action], [srcset]')].map(
    (one) => one.src ?? one.href ?? '')"""


def first_cells(page: Any, column: str) -> list[str]:
    """Return what rows are sorted by, of those shown in the first table."""
    cells = page.locator(f"{RANKED}:not([hidden]) [data-col='{column}']")
    return [one or "" for one in cells.evaluate_all("all => all.map((one) => one.dataset.v)")]


def shown(page: Any) -> int:
    return int(page.locator("#told").inner_text().split()[0])


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(visit: Visitor, path: str, width: int, dark: bool) -> None:
    """If it fails, somebody who sees little, or hears the page, is shut out of part of it."""
    check_access(visit, path, width, dark)


@pytest.mark.parametrize(("path", "width", "dark"), [(OWED[0], 1280, False), (OWED[1], 390, True)])
def test_axe_finds_nothing_where_scores_are_owed(
    visit: Visitor, path: str, width: int, dark: bool
) -> None:
    """If it fails, somebody is shut out of what only such a board shows."""
    check_access(visit, path, width, dark)


def check_access(visit: Visitor, path: str, width: int, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    page = visit(path, width=width, dark=dark).page
    page.evaluate(OPEN)
    found = axe.Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()


@pytest.mark.parametrize("path", [*(f"v1/{page}" for page in PAGES), *OWED, "index.html"])
def test_a_phone_scrolls_in_one_direction(visit: Visitor, path: str) -> None:
    """If it fails, the page is wider than a phone, and every line has to be pushed about."""
    page = visit(path, width=390).page
    page.evaluate(OPEN)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    regions = page.locator(".scroll")
    for place in range(regions.count()):
        assert regions.nth(place).get_attribute("tabindex") == "0"
        assert regions.nth(place).get_attribute("aria-label")


def test_head_and_first_column_stay_in_view(visit: Visitor) -> None:
    """If it fails, a reader of a wide table loses which method and which protocol it is."""
    page = visit("v1/index.html", width=390).page
    region = page.locator(".listing .scroll").first
    region.evaluate("(one) => one.scrollTo(400, 300)")
    box = region.bounding_box()
    head = region.locator("thead th").first.bounding_box()
    assert box is not None
    assert head is not None
    assert head["x"] - box["x"] < 3
    assert head["y"] - box["y"] < 3
    row = region.locator("tbody th").nth(8).bounding_box()
    assert row is not None
    assert row["x"] - box["x"] < 3


def test_without_script_everything_is_there_and_no_dead_button(visit: Visitor) -> None:
    """If it fails, the board needs a script to be read, or shows controls that do nothing."""
    page = visit("v1/index.html", script=False).page
    assert not page.locator("#tools").is_visible()
    assert page.locator("button:visible").count() == 0
    assert page.locator(RANKED).count() == 18
    page.get_by_role("link", name="smallvit on phantom").first.click()
    assert page.url.endswith("#phantom/smallvit")
    page.get_by_text("Forest plots").first.click()
    assert page.locator("img[alt*='delta_t on smallresnet']").is_visible()


@pytest.mark.parametrize("place", ["http", "file"])
def test_script_and_style_work_and_ask_for_nothing_else(
    visit: Visitor, sites: Path, place: str
) -> None:
    """If it fails, the policy of the page shuts out its own files, or lets others in."""
    root = "small" if place == "http" else (sites / "small").as_uri()
    for path in PAGES:
        seen = visit(f"{root}/{path}")
        seen.page.wait_for_load_state("networkidle")
        assert seen.complaints == []
        assert len(seen.asked) >= 3
        files = [one for one in seen.asked if not one.startswith("data:")]
        assert all("/small/" in one for one in files), files
        body = "getComputedStyle(document.body).maxWidth"
        assert seen.page.evaluate(body) != "none"
    page = visit(f"{root}/index.html").page
    page.get_by_label("Search").fill("layercam")
    assert shown(page) == 2
    page.locator(f"{RANKED}:not([hidden]) a").first.click()
    assert page.locator("h1").inner_text() == "layercam"


def test_a_column_is_sorted_from_the_keyboard(visit: Visitor) -> None:
    """If it fails, only those who use a mouse can sort, or the order is not announced."""
    page = visit("v1/index.html").page
    before = first_cells(page, "method")
    table = page.locator("section.model:first-of-type [data-status='ranked'] thead")
    head = table.locator("[data-col='p-delta_t']")
    button = head.get_by_role("button")
    button.focus()
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(one) for one in first_cells(page, "p-delta_t")]
    assert values == sorted(values, reverse=True)
    assert "sorted by delta_t, descending" in page.locator("#told").inner_text()
    assert page.locator("table.shuffled").count() > 0
    button.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"
    values = [float(one) for one in first_cells(page, "p-delta_t")]
    assert values == sorted(values)
    button.press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert first_cells(page, "method") == before


def test_every_column_can_be_sorted_and_missing_numbers_come_last(visit: Visitor) -> None:
    """If it fails, some heading does nothing, or a method without a number leads the table."""
    page = visit("v1/index.html").page
    marked = page.locator("section.model:first-of-type thead th").evaluate_all(
        """all => all.map((one) => {
            document.querySelector("#reset").click();
            one.querySelector("button").click();
            return one.getAttribute("aria-sort");
        })"""
    )
    assert set(marked) == {"ascending", "descending"}
    raw = page.locator("table.dense").first
    raw.locator("thead [data-col='p-delta_t'] button").evaluate("(one) => one.click()")
    told = raw.locator("tbody [data-col='p-delta_t']").evaluate_all(
        "all => all.map((one) => one.dataset.v ?? '')"
    )
    assert "" not in told[: len(told) - 2]
    assert told[-2:] == ["", ""]


def test_filters_search_and_columns_are_kept_in_the_address(visit: Visitor) -> None:
    """If it fails, a reader cannot send another what they see."""
    page = visit("v1/index.html").page
    every = shown(page)
    page.get_by_label("Family").select_option("gradient")
    assert 0 < shown(page) < every
    page.get_by_label("Model").select_option("phantom/smallvit")
    assert page.locator("section.model:visible").count() == 1
    page.get_by_label("Status").select_option("gate failed")
    assert shown(page) == 2
    page.get_by_label("Search").fill("gradcam")
    assert shown(page) == 1
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("checkbox", name="Cost").uncheck()
    assert not page.locator("[data-col='cost']:visible").count()
    table = page.locator("[data-model='phantom/smallvit'] [data-status='gate failed']")
    table.locator("th[data-col='total'] button").click()
    page.reload()
    assert shown(page) == 1
    assert page.get_by_label("Family").input_value() == "gradient"
    assert "sorted by Total" in page.locator("#told").inner_text()
    assert not page.locator("[data-col='cost']:visible").count()
    page.get_by_label("Search").fill("nothing of this name")
    assert page.get_by_text("Nothing in this section fits").first.is_hidden()
    assert page.get_by_text("Nothing in this section fits").last.is_visible()
    page.get_by_role("button", name="Reset").click()
    assert shown(page) == every
    assert "#" not in page.url
    page.get_by_label("Status").select_option("verdict some")
    assert 0 < shown(page) < every


def test_an_address_from_a_stranger_does_no_harm(visit: Visitor) -> None:
    """If it fails, a crafted link breaks the page or brings something into it."""
    seen = visit(
        "v1/index.html#q=%3Cimg%20src=x%20onerror=window.hit=1%3E&family=none&sort=__proto__.up"
        "&hide=method,constructor&model=%22"
    )
    assert shown(seen.page) == 0
    assert seen.page.evaluate("window.hit") is None
    assert seen.page.locator("img[src='x']").count() == 0
    assert seen.complaints == []


@pytest.mark.parametrize("path", [*PAGES, "methods/random.html", "methods/my.cam+v2.html"])
def test_hostile_text_runs_nothing_and_adds_nothing(visit: Visitor, path: str) -> None:
    """If it fails, what a submitter writes runs in the browsers of all who read the board."""
    harmless, hostile = visit(f"harmless/{path}"), visit(f"hostile/{path}")
    for seen in (harmless, hostile):
        seen.page.evaluate(OPEN)
        seen.page.wait_for_load_state("networkidle")
    assert hostile.page.evaluate("window.hit") is None
    assert hostile.complaints == []
    assert hostile.page.evaluate(SHAPE) == harmless.page.evaluate(SHAPE)
    assert [one.replace("/hostile/", "/harmless/") for one in hostile.page.evaluate(ADDRESSES)] == (
        harmless.page.evaluate(ADDRESSES)
    )
    asked = {one.replace("/hostile/", "/harmless/") for one in hostile.asked}
    assert asked == set(harmless.asked)
    assert not [one for one in asked if "evil" in one]


def test_a_reader_changes_the_version(visit: Visitor) -> None:
    """If it fails, whoever lands on one board finds no way to the others."""
    page = visit("v1/methods/layercam.html").page
    page.get_by_role("navigation", name="Suite versions").get_by_text("all versions").click()
    assert page.get_by_role("heading", level=1).inner_text() == "medsanity boards"
    page.get_by_role("link", name="v1").click()
    assert page.url.endswith("/v1/index.html")
    assert page.locator(RANKED).count() == 18
