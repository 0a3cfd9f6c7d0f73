"""A package that others might write is installed, listed, checked and scored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run
from paths import ROOT

PACKAGE = ROOT / "tests" / "third_party"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package is installed into, by pip, from its own pyproject.toml."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"  # building leaves files behind
    shutil.copytree(PACKAGE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-index", "--no-build-isolation"]
    target = folder / "installed"
    done = subprocess.run(
        [*pip, *options, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_its_plugins_are_listed_with_origin_and_version(site: Path, tmp_path: Path) -> None:
    """If it fails, nobody sees where a method comes from."""
    done = run(tmp_path, "list", "explainers", "--json", "list.json", installed=site)
    assert done.returncode == 0, done.stderr
    listed = json.loads((tmp_path / "list.json").read_text())["plugins"]
    (mine,) = [one for one in listed if one["name"] == "example_blurred_gradient"]
    assert mine["origin"] == "medsanity-example 0.2.0"
    assert (mine["version"], mine["family"], mine["passes"]) == ("1.1", "gradient", [1, 1])
    assert "medsanity-example" in done.stdout


def test_its_method_is_scored_on_its_model_cohort_and_protocol(site: Path, tmp_path: Path) -> None:
    """If it fails, a package cannot bring plugins of its own."""
    suite = """
version = "example"
cohorts = ["example_discs"]
models = ["example_network"]
protocols = ["example_overlap", "delta_t"]
health = ["oracle", "random"]
seed = 0
[explainer.example_blurred_gradient]
sigma = 2.0
[protocol.example_overlap]
quantile = 0.04
[protocol.delta_t]
quantiles = [0.05]
subjects = 16
repeats = 2
"""
    (tmp_path / "suite.toml").write_text(suite)
    command = ["run", "--explainer", "example_blurred_gradient", "--suite", "suite.toml"]
    done = run(tmp_path, *command, "--json", "results.json", installed=site)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    mine = {
        one["protocol"]: one for one in results if one["explainer"] == "example_blurred_gradient"
    }
    assert set(mine) == {"example_overlap", "delta_t"}
    assert {one["state"] for one in mine.values()} <= {"scored", "not assessable"}
    overlap = mine["example_overlap"]["primary"]
    # The disc is all that differs; a random encoder with a fitted head sees it.
    assert overlap["low"] > 0.1
    records = list((tmp_path / "medsanity-runs" / "store").rglob("*.json"))
    assert any('"sigma":2.0' in one.read_text().replace(" ", "") for one in records)
    assert (tmp_path / "medsanity-runs" / "report" / "index.html").exists()


def test_its_own_tests_hold_it_to_the_contract(site: Path, tmp_path: Path) -> None:
    """If it fails, the contract is no library that others can call."""
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    done = run(tmp_path, *options, str(PACKAGE / "tests"), module="pytest", installed=site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "29 passed" in done.stdout


def test_a_broken_plugin_of_a_package_hurts_only_itself(site: Path, tmp_path: Path) -> None:
    """If it fails, one bad package stops everyone's runs."""
    shutil.copytree(site, tmp_path / "site")
    (points,) = (tmp_path / "site").glob("*.dist-info/entry_points.txt")
    text = points.read_text().replace(
        "[medsanity.explainers]", "[medsanity.explainers]\ngone = medsanity_example.gone:Gone"
    )
    points.write_text(text)
    site = tmp_path / "site"
    done = run(tmp_path, "list", "explainers", "--json", "list.json", installed=site)
    assert done.returncode == 0, done.stderr
    listed = json.loads((tmp_path / "list.json").read_text())["plugins"]
    errors = {one["name"]: one["error"] for one in listed if one["error"]}
    assert list(errors) == ["gone"]
    assert "No module named 'medsanity_example.gone'" in errors["gone"]
    assert "example_blurred_gradient" in {one["name"] for one in listed}
    done = run(tmp_path, "check", "gone", installed=site)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "The explainer 'gone' cannot be used" in done.stderr
