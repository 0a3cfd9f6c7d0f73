"""The gate as a CI runs it: exit codes, baselines, and planted bugs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fakes
import pytest
import torch
from paths import ROOT
from runs import write_suite
from torch import Tensor
from typer.testing import CliRunner, Result

from baselines.explainers.class_activation import GradCAMAligned
from benchmark.classifier import Classifier
from benchmark.commands.app import app
from benchmark.running.engine import Settings
from benchmark.running.suite import Selection, load_suite
from benchmark.target import Target
from leaderboard.gate.decision import Decision
from leaderboard.gate.measure import Request, compare
from leaderboard.gate.pytest_plugin import fail_if_worse

# Those of one method: to read all of the board takes as long as to measure a cell.
RECORDS = ROOT / "leaderboard" / "v1" / "records" / "phantom" / "smallresnet" / "gradcam_aligned"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def gate(folder: Path, explainer: str, *more: object, file: Path | None = None) -> Result:
    suite = folder / "suite.toml"
    if not suite.exists():
        write_suite(folder)
    spec = fakes.spec(explainer) if file is None else f"{file}:{explainer}"
    where = ["--baseline", folder / "baseline", "--suite", suite, "--device", "cpu"]
    return call("gate", "--explainer", spec, *where, *more)


def plugin(folder: Path, body: str) -> Path:
    """Write a method of one name, whatever it does."""
    folder.mkdir(exist_ok=True)
    path = folder / "mine.py"
    text = "import torch\nfrom benchmark.explainer import Explainer\n\n\nclass Mine(Explainer):\n"
    text += '    name = "mine"\n\n    def attribute(self, classifier, images, target):\n'
    path.write_text(f"{text}        {body}\n")
    return path


def test_a_baseline_is_written_and_held(tmp_path: Path) -> None:
    """If it fails, the first thing that an engineer does ends in an error."""
    written = gate(tmp_path, "Bright", "--update-baseline")
    assert written.exit_code == 0, written.output
    files = sorted(path.name for path in (tmp_path / "baseline").rglob("*.*"))
    assert files == ["loading.json"]
    before = next((tmp_path / "baseline").rglob("*.json")).read_bytes()
    outputs = ["--junit", tmp_path / "j.xml", "--summary", tmp_path / "s.md", "--json"]
    held = gate(tmp_path, "Bright", *outputs, tmp_path / "g.json")
    assert held.exit_code == 0, held.output
    assert "1 unchanged" in held.output
    assert json.loads((tmp_path / "g.json").read_text())
    assert (tmp_path / "s.md").read_text().startswith("## gate")
    again = gate(tmp_path, "Bright", "--update-baseline", "--quiet")
    assert (again.exit_code, again.output) == (0, "")
    assert next((tmp_path / "baseline").rglob("*.json")).read_bytes() == before


def test_a_method_that_got_worse_fails_the_build(tmp_path: Path) -> None:
    """If it fails, the gate guards nothing."""
    good = plugin(tmp_path / "good", "return (1 - images) ** 4")
    assert gate(tmp_path, "Mine", "--update-baseline", file=good).exit_code == 0
    bad = plugin(tmp_path / "bad", "return images.clone()")
    assert gate(tmp_path, "Mine", file=good).exit_code == 0
    found = gate(tmp_path, "Mine", file=bad)
    assert found.exit_code == 1, found.output
    quiet = gate(tmp_path, "Mine", "--quiet", file=bad)
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (1, found.stdout, "")
    broken = plugin(tmp_path / "broken", "raise ValueError('no')")
    assert gate(tmp_path, "Mine", file=broken).exit_code == 1


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ((), 5, "--update-baseline writes one"),
        (("--margin", "0"), 2, "margin above 0"),
        (("--margin", "0.34"), 2, "below 1/3"),
        (("--allow-missing", "--update-baseline"), 2, "goes with a comparison"),
        (("--reserve",), 2, "goes with --update-baseline"),
        (("--protocol", "nothing"), 2, "Unknown protocol"),
    ],
)
def test_what_cannot_be_gated_says_so(
    tmp_path: Path, more: tuple[str, ...], code: int, said: str
) -> None:
    """If it fails, a CI fails with a traceback, or passes without a baseline."""
    found = gate(tmp_path, "Bright", *more)
    assert (found.exit_code, said in found.output) == (code, True), found.output
    assert not (tmp_path / "baseline").exists()


def test_a_damaged_baseline_is_no_baseline(tmp_path: Path) -> None:
    """If it fails, half a file passes for a baseline."""
    assert gate(tmp_path, "Bright", "--update-baseline").exit_code == 0
    path = next((tmp_path / "baseline").rglob("*.json"))
    path.write_text(path.read_text()[:-200])
    found = gate(tmp_path, "Bright")
    assert found.exit_code == 5
    assert "cannot be read" in found.output


def test_a_cell_that_is_missing_from_a_baseline_is_no_cell_that_holds(tmp_path: Path) -> None:
    """If it fails, who deletes one file of a baseline turns the gate off."""
    write_suite(tmp_path, protocols=("Loading", "Second"))
    assert gate(tmp_path, "Bright", "--update-baseline").exit_code == 0
    first, *_ = (tmp_path / "baseline").rglob("loading.json")
    first.unlink()
    found = gate(tmp_path, "Bright")
    assert (found.exit_code, "lacks bright · loading" in found.output) == (5, True), found.output
    assert gate(tmp_path, "Bright", "--allow-missing").exit_code == 0


def test_outputs_replace_nothing_but_outputs(tmp_path: Path) -> None:
    """If it fails, a slip of a path costs a record, or a file of somebody's own."""
    assert gate(tmp_path, "Bright", "--update-baseline").exit_code == 0
    (record,) = (tmp_path / "baseline").rglob("*.json")
    own = tmp_path / "own.txt"
    own.write_text("mine")
    before = record.read_bytes()
    free = tmp_path / "free.xml"
    for more in (
        ("--junit", record),
        ("--summary", record.with_name("new.md")),
        ("--json", own),
        ("--junit", free, "--summary", free),
    ):
        found = gate(tmp_path, "Bright", *more)
        assert found.exit_code == 2, found.output
    assert (record.read_bytes(), own.read_text(), free.exists()) == (before, "mine", False)
    for _ in range(2):  # its own files it does replace
        outputs = ("--junit", free, "--summary", tmp_path / "s.md", "--json", tmp_path / "g.json")
        assert gate(tmp_path, "Bright", *outputs).exit_code == 0


def test_the_fixture_fails_a_test_where_a_method_got_worse(tmp_path: Path) -> None:
    """If it fails, those who prefer a test are not guarded."""
    good = plugin(tmp_path / "good", "return (1 - images) ** 4")
    assert gate(tmp_path, "Mine", "--update-baseline", file=good).exit_code == 0
    options = {"baseline": tmp_path / "baseline", "suite": str(tmp_path / "suite.toml")}
    fail_if_worse(f"{good}:Mine", **options)
    bad = plugin(tmp_path / "bad", "return images.clone()")
    with pytest.raises(pytest.fail.Exception, match="regression"):
        fail_if_worse(f"{bad}:Mine", **options)


def _of_the_board(baseline: Path, protocol: str, layer: str = "last") -> Decision:
    suite = load_suite("v1")
    if layer != "last":
        suite = suite.model_copy(update={"explainer": {"gradcam_aligned": {"layer": layer}}})
    selection = Selection(("gradcam_aligned",), protocols=(protocol,))
    settings = Settings(torch.device("cpu"))
    (one,) = compare(Request(baseline, suite, selection, settings, None)).decisions
    return one


_attribute = GradCAMAligned.attribute


def _flipped(cam: GradCAMAligned, model: Classifier, images: Tensor, target: Target) -> Tensor:
    return _attribute(cam, model, images, target).flip(-1)


def test_planted_bugs_are_caught_on_the_reference_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, maps flipped left–right, off by half a cell or of another layer go through.

    The baseline is the board's own record, so this also holds that a fresh run on this machine
    comes to the score that the board shows; on another kind of processor the last bits differ. The
    regions of roi_pointing are symmetric, so a flip is put to positive_control.
    """
    baseline = tmp_path / "baseline"
    shutil.copytree(RECORDS, baseline.joinpath(*RECORDS.parts[-3:]))
    assert _of_the_board(baseline, "roi_pointing").outcome in ("unchanged", "pass")
    bugs = [_of_the_board(baseline, "positive_control", "block2")]
    with monkeypatch.context() as patched:
        patched.setattr(GradCAMAligned, "aligned", False)
        bugs.append(_of_the_board(baseline, "roi_pointing"))
    with monkeypatch.context() as patched:
        patched.setattr(GradCAMAligned, "attribute", _flipped)
        bugs.append(_of_the_board(baseline, "positive_control"))
    for one in bugs:
        assert one.outcome == "regression"
        assert one.change.difference.high < -one.margin
