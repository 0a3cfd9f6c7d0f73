"""Imports run one way: protocols → benchmark ← baselines, and down the list inside benchmark."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("benchmark", "protocols", "baselines", "leaderboard")

# A file imports only files that stand before it.
ORDER = (
    "errors",
    "seeding",
    "allocator",
    "parallel",
    "cohort",
    "cohort_source",
    "target",
    "feature_grid",
    "redrawing",
    "batch_norm",
    "classifier",
    "canonical",
    "training",
    "examples",
    "relatives",
    "model_source",
    "explainer",
    "statistics",
    "significance",
    "comparison",
    "discrimination",
    "reading",
    "similarity",
    "structure",
    "masking",
    "site_scores",
    "likeness",
    "concordance",
    "imputation",
    "evaluation",
    "trial",
    "walks",
    "protocol",
    "clause",
    "explainer_contract",
    "source_contract",
    "protocol_contract",
    "contract",
    "removal",
    "regions",
    "imputer_health",
    "planting",
    "planted",
    "dose_response",
    "catalogue",
    "suite",
    "plan",
    "record",
    "provenance",
    "result",
    "store",
    "gallery",
    "bench",
    "engine",
    "summary",
    "canvas",
    "dose_figure",
    "plates",
    "cascade_figure",
    "agreement_figure",
    "spreadsheet",
    "mapfiles",
    "overlays",
    "figures",
    "forest",
    "webpage",
    "report",
    "terminal",
    "ending",
    "cli",
    "__main__",
)


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
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


def test_the_leaderboard_reads_records_and_never_live_objects() -> None:
    """What runs methods, or says what plugins say of themselves, is named here."""
    live = {"commands", "cards", "pytest_plugin"}
    allowed = {
        "errors",
        "record",
        "statistics",
        "significance",
        "comparison",
        "reading",
        "result",
        "store",
        "summary",
        "canvas",
        "spreadsheet",
    }
    for path in files("leaderboard"):
        if path.stem in live or path.stem.endswith("_command"):
            continue
        known = {
            name.split(".")[1] for name in imported(path) if name.startswith("benchmark.")
        } & set(ORDER)
        assert known <= allowed, path.name


def test_a_file_of_benchmark_imports_only_files_above_it() -> None:
    """Otherwise a reader could not read the engine from the top."""
    strays = []
    for path in files("benchmark"):
        if path.stem == "__init__":
            continue
        assert path.stem in ORDER, f"{path.name} has no place in the order"
        above = set(ORDER[: ORDER.index(path.stem)])
        for name in imported(path):
            parts = name.split(".")
            of_benchmark = parts[0] == "benchmark" and len(parts) > 1 and parts[1] in ORDER
            if of_benchmark and parts[1] not in above:
                strays.append(f"{path.stem} imports {parts[1]}")
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
