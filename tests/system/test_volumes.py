"""Volumes through the command line, as the README shows them, with few subjects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.commands.app import app

COHORT = """
from baselines.cohorts.phantom3d import Phantom3D


class Few(Phantom3D):
    name = "few"

    def __init__(self):
        super().__init__(20)
"""
SUITE = """
version = "volumes"
cohorts = ["phantom"]
models = ["smallresnet"]
protocols = ["agreement", "delta_t"]

[protocol.agreement]
panel = ["saliency"]
subjects = 4
regions = 8
partners = 1

[protocol.delta_t]
quantiles = [0.05]
repeats = 1
secondary_repeats = 1
subjects = 4
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a cohort of few volumes and a suite of few questions, to run in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.py").write_text(COHORT)
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path


def test_volumes_are_scored_without_naming_a_model(folder: Path) -> None:
    """If it fails, `run --cohort phantom3d` ends in a refusal, or its report cannot be drawn."""
    arguments = ["--cohort", "few.py:Few", "--suite", "suite.toml", "--json", "results.json"]
    done = CliRunner().invoke(app, ["run", "--explainer", "gradcam_aligned", *arguments])
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "results.json").read_text())["results"]
    assert {result["model"] for result in results} == {"smallresnet3d"}
    assert {result["state"] for result in results} <= {"scored", "not assessable"}
    assert "scored" in {result["state"] for result in results}
    report = folder / "medsanity-runs" / "report"
    assert (report / "index.html").is_file()
    assert list(report.rglob("*.nii.gz"))
