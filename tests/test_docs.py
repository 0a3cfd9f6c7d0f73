"""The documentation is true: its commands run, its code works, its links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from baselines.cohorts.nifti import write_cohort
from benchmark.cli import app
from benchmark.examples import build_cohort

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/protocols.md", "docs/performance.md", "CHANGELOG.md")
SUITE = """
version = "small"
cohorts = ["{cohort}"]
models = ["smallresnet"]
protocols = ["positive_control", "randomization", "roi_pointing", "delta_t", "agreement"]
health = ["oracle", "random"]
seed = 0
[protocol.positive_control]
subjects = 16
probe_subjects = 8
splits = 20
null_permutations = 19
[protocol.randomization]
subjects = 16
walk_subjects = 2
seeds = 1
smooth_subjects = 2
smooth_noises = 2
[protocol.roi_pointing]
confidence = 0.5
subjects = 8
repeats = 2
[protocol.delta_t]
quantiles = [0.05, 0.2]
subjects = 8
repeats = 2
[protocol.agreement]
panel = ["cam", "saliency"]
subjects = 8
regions = 8
"""


def _blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def _commands() -> list[str]:
    lines = [line for page in PAGES for line in (ROOT / page).read_text().splitlines()]
    found = [
        line.split("  #")[0].strip() for line in lines if line.startswith("python -m benchmark")
    ]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the documentation speaks of, on a small cohort."""
    folder = tmp_path_factory.mktemp("docs")
    write_cohort(build_cohort((48, 48), subjects=72), folder / "exported")
    (folder / "small.toml").write_text(SUITE.format(cohort="exported/cohort.toml"))
    (method,) = _blocks("README.md", "python")
    (folder / "my_method.py").write_text(method)
    (encoder,) = _blocks("CONTRIBUTING.md", "python")
    (folder / "my_encoder.py").write_text(encoder)
    return folder


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "benchmark", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", _commands())
def test_documented_commands_run(folder: Path, command: str) -> None:
    """If it fails, a reader who copies a command gets an error.

    On a small cohort and suite: the built-in one is run by the end-to-end tests.
    """
    words = shlex.split(command)[3:]
    if words[0] == "run":
        words += ["--suite", "small.toml", "--report", "none", "--store", "store"]
    if words[:2] == ["cohort", "export"]:
        words[words.index("exported")] = "exported again"
    run = _run(folder, *words)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_the_encoder_of_the_documentation_is_scored(folder: Path) -> None:
    """If it fails, a researcher cannot bring their own encoder as told."""
    where = ["--suite", "small.toml", "--report", "none", "--store", "store of encoder"]
    model = ["--model", "my_encoder.py:MyEncoder", "--explainer", "gradcam_aligned"]
    some = ["roi_pointing", "delta_t", "agreement"]  # the others train copies of it for a minute
    where += [word for name in some for word in ("--protocol", name)]
    run = _run(folder, "run", *model, *where, "--json", "encoder.json")
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads((folder / "encoder.json").read_text())["results"]
    assert {one["model"] for one in results} == {"my_encoder"}
    assert {one["protocol"] for one in results} == set(some)
    assert {one["state"] for one in results} <= {"scored", "not assessable"}


def test_every_command_is_documented() -> None:
    """If it fails, a command exists that no reader will find."""
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    text = "".join((ROOT / page).read_text() for page in PAGES)
    for name in names:
        assert f"`{name}`" in text or f"benchmark {name}" in text, name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """If it fails, a reader ends in front of nothing."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
            assert anchor in slugs, target


def test_the_readme_is_short() -> None:
    """If it fails, nobody reads it."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
