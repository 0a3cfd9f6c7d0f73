"""Folders of a user's own that are called as one of the packages beside the engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

EDITABLE = """
import sys
from importlib.util import spec_from_file_location
from pathlib import Path


class Editable:
    @staticmethod
    def find_spec(name, path=None, target=None):
        folder = Path({root!r}, name)
        file = folder / "__init__.py"
        if path is not None or not file.is_file():
            return None
        return spec_from_file_location(name, file, submodule_search_locations=[str(folder)])


sys.path = [entry for entry in sys.path if entry != {root!r}]
sys.meta_path.append(Editable)
"""
IMPORT = """
from benchmark.plugins.neighbours import import_neighbour
print(import_neighbour({name!r}).__file__)
"""


def python(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, which comes first on its path, as a user's does."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def make(folder: Path, kind: str, name: str) -> Path:
    """Make a package, a module or a folder without code of that name."""
    path = folder / (f"{name}.py" if kind == "module" else name)
    if kind == "module":
        path.touch()
    else:
        path.mkdir()
        (path / ("__init__.py" if kind == "package" else "data.csv")).touch()
    return path


@pytest.mark.parametrize("kind", ["package", "module"])
@pytest.mark.parametrize("name", ["baselines", "leaderboard", "protocols"])
def test_a_package_of_the_same_name_is_named(tmp_path: Path, kind: str, name: str) -> None:
    """If it fails, a user's folder is taken for the product's, in a traceback or in silence."""
    path = make(tmp_path, kind, name)
    done = python(tmp_path, "-c", IMPORT.format(name=name), path=str(ROOT))
    assert f" {path} hides medsanity's own package {name!r}" in done.stderr.splitlines()[-1]
    assert f"rename the {'folder' if kind == 'package' else 'file'}" in done.stderr


def test_it_is_named_where_a_plugin_imports_it(tmp_path: Path) -> None:
    """If it fails, an author is told that the product lacks a module that it has."""
    path = make(tmp_path, "package", "baselines")
    (tmp_path / "mine.py").write_text("from baselines.adapters.captum import CaptumExplainer\n")
    done = python(tmp_path, "-m", "benchmark", "check", "mine.py:Mine", path=str(ROOT))
    assert done.returncode == 2
    assert done.stderr.startswith(f"The folder {path} hides")


def test_it_is_named_where_it_is_on_the_path_too(tmp_path: Path) -> None:
    """If it fails, a folder of PYTHONPATH is taken for the product's."""
    path = make(tmp_path, "package", "protocols")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    code = IMPORT.format(name="protocols")
    done = python(elsewhere, "-c", code, path=f"{tmp_path}{os.pathsep}{ROOT}")
    assert f" {path} hides" in done.stderr


@pytest.mark.parametrize("installed", ["on the path", "editable"])
@pytest.mark.parametrize("name", ["baselines", "leaderboard", "protocols"])
def test_a_folder_without_code_does_no_harm(tmp_path: Path, name: str, installed: str) -> None:
    """If it fails, a folder of results called ``leaderboard`` stops every command."""
    make(tmp_path, "folder", name)
    code = IMPORT.format(name=name)
    if installed == "editable":
        done = python(tmp_path, "-c", EDITABLE.format(root=str(ROOT)) + code)
    else:
        done = python(tmp_path, "-c", code, path=str(ROOT))
    assert done.stdout.strip() == str(ROOT / name / "__init__.py"), done.stderr


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("leaderboard", ("gate", "--explainer", "gradcam")),
        ("leaderboard", ("board", "build", "records")),
        ("leaderboard", ("run", "--explainer", "gradcam")),
        ("protocols", ("list", "protocols")),
    ],
)
def test_a_command_ends_with_one_sentence(
    tmp_path: Path, name: str, arguments: tuple[str, ...]
) -> None:
    """If it fails, a user gets a traceback, or is told of an option that is right."""
    path = make(tmp_path, "package", name)
    done = python(tmp_path, "-m", "benchmark", *arguments, path=str(ROOT))
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"The folder {path} hides" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [each.name for each in tmp_path.iterdir()] == [name]
