"""What stands around measurements: their comparison, and what they refuse to measure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from paths import ROOT

BENCH = ROOT / "tests/bench"


def _results(path: Path, ratios: Mapping[str, float]) -> Path:
    benchmarks = [{"name": "test_a", "extra_info": {"ratios": ratios}}]
    path.write_text(json.dumps({"benchmarks": benchmarks}), encoding="utf-8")
    return path


def _run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_ratio_that_has_risen_fails_and_is_named(tmp_path: Path) -> None:
    """If it fails, a change makes everyone's runs slower and nobody hears of it."""
    baseline = tmp_path / "baseline.json"
    before = {"floor": 2.0, "peers": 0.5, "gone": 1.0, "faster": 3.0}
    renewed = _run(
        "compare_ratios.py", _results(tmp_path / "a", before), "--renew", "--baseline", baseline
    )
    assert renewed.returncode == 0, renewed.stderr
    after = {"floor": 2.6, "peers": 0.6, "faster": 1.5, "another": 1.0}
    compared = _run("compare_ratios.py", _results(tmp_path / "b", after), "--baseline", baseline)
    assert compared.returncode == 1
    lines = compared.stdout.splitlines()
    assert "RISEN    test_a: floor: from 2.00 to 2.60, by 30%" in lines
    assert [line.split()[0] for line in lines] == ["new", "fallen", "RISEN", "1", "1"]
    calm = _run("compare_ratios.py", tmp_path / "b", "--baseline", baseline, "--tolerance", "0.4")
    assert calm.returncode == 0


@pytest.mark.parametrize("content", ["", "[]", '{"benchmarks": [{"name": "a"}]}'])
def test_results_without_ratios_are_refused(tmp_path: Path, content: str) -> None:
    """If it fails, a run that measured nothing passes for one that was as fast."""
    path = tmp_path / "results.json"
    path.write_text(content, encoding="utf-8")
    done = _run("compare_ratios.py", path)
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "nowhere"), "nowhere is no checkout"),
        (("--steps", "finished"), "Expected cold before finished"),
        (("--rounds", "0"), "Expected at least one round but got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: tuple[str, ...], message: str) -> None:
    """If it fails, minutes of measuring end in a traceback, or measure something else."""
    done = _run("measure_commands.py", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
