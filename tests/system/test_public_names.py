"""What is public stands in the documentation, and nobody is shown anything else."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from paths import ROOT

import benchmark

_PROJECT = ("baselines", "benchmark", "leaderboard", "protocols")
_API = (ROOT / "docs" / "api.md").read_text("utf-8")
DOCUMENTED = {
    module: re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    for module, section in re.findall(r"^## benchmark\.(\w+)\n(.*?)(?=^## |\Z)", _API, re.M | re.S)
}
BORROWED = re.findall(r"^\| `(baselines\.[\w.]+)\.(\w+)` \|", _API, re.MULTILINE)


def told() -> Iterator[tuple[Path, str]]:
    """Yield all code that shows others what to import."""
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = path.read_text("utf-8")
        for block in re.findall(r"^```python[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            yield path, block
    for path in (ROOT / "tests" / "third_party").rglob("*.py"):
        yield path, path.read_text("utf-8")


def imported() -> Iterator[tuple[Path, str, str]]:
    """Yield file, module and name of everything that they import from this project."""
    for path, code in told():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PROJECT):
                yield from ((path, node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_what_is_public_is_documented(module: str) -> None:
    """If it fails, a reader is promised a name that moves, or kept from one that stays."""
    room = importlib.import_module(f"benchmark.{module}")
    assert sorted(DOCUMENTED[module]) == sorted(room.__all__)
    for name in room.__all__:
        assert getattr(benchmark, name) is getattr(room, name)


def test_the_door_leads_to_nothing_else() -> None:
    """If it fails, the package has a name that the documentation does not."""
    assert sorted(benchmark.__all__) == sorted(chain(*DOCUMENTED.values()))
    with pytest.raises(AttributeError, match="no attribute 'Explaner'"):
        _ = benchmark.Explaner


def test_others_are_told_to_import_public_names_only() -> None:
    """If it fails, code that was copied from the documentation breaks with the next move."""
    names = list(imported())
    assert len({path for path, *_ in names}) > 5
    assert BORROWED
    for path, module, name in names:
        documented = DOCUMENTED.get(module.removeprefix("benchmark."), ())
        assert name in documented or (module, name) in BORROWED, (path, module, name)


def test_what_is_borrowed_is_there() -> None:
    """If it fails, an adapter that the documentation names cannot be imported from there."""
    for module in {module for module, _ in BORROWED}:
        names = sorted(name for other, name in BORROWED if other == module)
        assert sorted(importlib.import_module(module).__all__) == names


def test_the_door_costs_nothing() -> None:
    """If it fails, whatever imports the package waits for torch."""
    code = "import benchmark, sys; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
