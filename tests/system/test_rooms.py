"""Imports run one way: protocols → benchmark ← baselines, and down the floors inside benchmark."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from paths import ROOT

ROOMS = ("benchmark", "protocols", "baselines", "leaderboard")

# A folder of benchmark imports only folders on floors above its own.
FLOORS = (
    ("maps", "statistics"),
    ("classifier",),
    ("training",),
    ("trial",),
    ("records",),
    ("plugins",),
    ("results",),
    ("running", "report"),
    ("commands",),
)
# What turns published records into pages meets no live model, explainer or cohort.
PURE = ("published", "board", "site")
KNOWN_TO_PURE = (
    "arrays",
    "errors",
    "plain_text",
    "reading",
    "seeding",
    "statistics",
    "records",
    "results",
    "report.figures",
)


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, when_run: bool = False) -> Iterator[str]:
    """Yield every module that a file imports, also inside functions.

    Args:
        path: Of the file.
        when_run: Leaves out what is imported for a type checker alone.
    """
    tree = ast.parse(path.read_text("utf-8"))
    if when_run:
        tree.body = [
            node
            for node in tree.body
            if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)} & set(ROOMS)


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("benchmark", {"benchmark"}),
        ("protocols", {"benchmark", "protocols"}),
        ("baselines", {"benchmark", "baselines"}),
        ("leaderboard", {"benchmark", "leaderboard"}),
    ],
)
def test_a_room_imports_only_rooms_it_may_know(room: str, allowed: set[str]) -> None:
    """Otherwise the engine would know a concrete method, and adding one would mean editing it."""
    strays = {
        str(path.relative_to(ROOT)): rooms_imported(path) - allowed
        for path in files(room)
        if rooms_imported(path) - allowed
    }
    assert not strays


def test_a_folder_of_benchmark_imports_only_folders_above_it() -> None:
    """Otherwise a reader could not read the engine from the top."""
    floor = {folder: level for level, folders in enumerate(FLOORS) for folder in folders}
    assert set(floor) == {path.parent.name for path in (ROOT / "benchmark").glob("*/__init__.py")}
    strays = set()
    for path in files("benchmark"):
        own = path.relative_to(ROOT / "benchmark").parts[0]
        for name in imported(path) if own in floor else ():
            other = name.split(".")[1] if name.startswith("benchmark.") else own
            if other in floor and other != own and floor[other] >= floor[own]:
                strays.add(f"{name_of(path)} imports {name}")
    assert not strays


def test_no_file_imports_itself_through_others() -> None:
    """Otherwise whether an import works would depend on who comes first."""
    graph: dict[str, set[str]] = {}
    for room in ROOMS:
        for path in files(room):
            graph[name_of(path)] = set()
    for room in ROOMS:
        for path in files(room):
            own = name_of(path)
            graph[own] = {
                name
                for name in imported(path, when_run=True)
                if name in graph and not f"{own}.".startswith(f"{name}.")
            }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_what_makes_pages_of_records_meets_no_live_object() -> None:
    """Otherwise a board would depend on what is installed, and not on the records alone."""
    known = {name_of(path): path for room in ROOMS for path in files(room)}
    pure = {name_of(path) for folder in PURE for path in files(f"leaderboard/{folder}")}
    reached, waiting = set(pure), sorted(pure)
    while waiting:
        name = waiting.pop()
        for other in imported(known[name], when_run=True):
            if other in known and other not in reached:
                reached.add(other)
                waiting.append(other)
    strays = {
        name
        for name in reached - pure - {"benchmark", "benchmark.report"}
        if not name.removeprefix("benchmark.").startswith(KNOWN_TO_PURE)
    }
    assert not strays


def test_libraries_do_not_print_and_have_no_drawer_for_odds_and_ends() -> None:
    for room in ROOMS:
        for path in files(room):
            assert path.stem not in ("utils", "helpers", "misc")
            calls = [
                node.func.id
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            ]
            assert "print" not in calls, path
