"""The command line: exit codes, sentences, and nothing computed before everything is checked."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import fakes
import pytest
import torch
import typer
from paths import ROOT
from runs import write_suite
from typer.testing import CliRunner, Result

from benchmark.commands.app import GROUP, app
from benchmark.commands.exits import STOPPED, exit_on_error
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.store import Store
from benchmark.report import writer
from benchmark.results.explained_model import ExplainedModel
from benchmark.running import engine
from benchmark.running.allocator import tune_allocator, without_collection
from benchmark.running.plan import unsupported_pairs
from benchmark.running.suite import load_suite


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def run_fakes(folder: Path, *more: object, explainers: Sequence[str] = ("Bright",)) -> Result:
    """Run fake explainers with a store in ``folder`` and no report."""
    suite = folder / "suite.toml"
    if not suite.exists():
        write_suite(folder)
    named = [part for one in explainers for part in ("--explainer", fakes.spec(one))]
    options = ["--suite", suite, "--store", folder / "store", "--device", "cpu"]
    if "--workers" not in more:
        options += ["--workers", 1]
    if "--report" not in more:
        options += ["--report", "none"]
    return call("run", *named, *options, *more)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for the report, and note what it is given."""
    written: list[dict[str, Any]] = []

    def write_report(
        folder: Path,
        records: Sequence[object],
        exhibits: Sequence[ExplainedModel],
        protocols: object,
    ) -> Path:
        written.append({"folder": folder, "records": list(records), "exhibits": list(exhibits)})
        (folder / "index.html").write_text("<html>")
        return folder / "index.html"

    monkeypatch.setattr(writer, "write_report", write_report)
    return written


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if the engine is reached."""
    monkeypatch.setattr(engine, "run", lambda *_: pytest.fail("computed before all was checked"))


_ASKED = """
import json, sys
from typer.testing import CliRunner
from benchmark.commands.app import app
heavy = {"torch", "matplotlib", "numpy", "pandas", "scipy", "statsmodels"}
for line in sys.stdin:
    told = CliRunner().invoke(app, line.split())
    print(json.dumps([told.exit_code, told.output, sorted(heavy & set(sys.modules))]))
"""


def test_help_and_usage_errors_wait_for_no_torch() -> None:
    """If it fails, every mistyped word costs seconds."""
    expected = {
        "run": (2, "Missing option '--explainer'"),
        "run --explainr x": (2, "No such option: --explainr"),
        "rum": (2, "Did you mean 'run'?"),
        "--version": (0, f"medsanity {version('medsanity')}"),
        "cohort export": (2, "Missing argument 'name'"),
        "board": (2, "Missing option '--records'"),
        "board bridge": (2, "Missing option '--protocol'"),
        "board --out x bridge": (2, "Options of 'bridge' stand after its name"),
        "gate --margin much": (2, "Invalid value for '--margin'"),
        "submit": (2, "Missing argument 'plugin'"),
        "verify --nothing": (2, "No such option: --nothing"),
        "paper --highlight": (2, "Option '--highlight' requires an argument"),
        "publish": (2, "Missing option '--out'"),
        "--help": (0, "Compare explainers with a baseline"),
    }
    done = subprocess.run(
        [sys.executable, "-c", _ASKED],
        cwd=ROOT,
        input="\n".join(expected),
        timeout=60,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = zip(expected.items(), done.stdout.splitlines(), strict=True)
    for (arguments, (code, words)), line in answers:
        exit_code, output, imported = json.loads(line)
        assert (exit_code, imported) == (code, []), arguments
        assert words in " ".join(output.replace("│", " ").split()), arguments


_ENDING = """
import runpy, sys, types
sys.modules["torch"] = types.ModuleType("torch")  # as in a command that has computed something
runpy.run_module("benchmark", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(("command", "code"), [("--version >&-", 0), ("rum 2>&-", 2)])
def test_a_command_ends_alike_where_nobody_hears_it(command: str, code: int) -> None:
    """If it fails, a job whose output is closed ends with a traceback in place of its exit code."""
    line = ["sh", "-c", f'exec "$0" -c "$1" {command}', sys.executable, _ENDING]
    done = subprocess.run(line, cwd=ROOT, timeout=60, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_a_command_that_cannot_be_imported_hurts_only_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, one broken package takes every command away."""
    points = [
        EntryPoint("broken", "nowhere.at.all:run", GROUP),
        EntryPoint("run", "os:abort", GROUP),
    ]
    monkeypatch.setattr("benchmark.commands.app.entry_points", lambda group: points)
    assert "Score explainers" in call("run", "--help").stdout
    assert "Write the report" in call("--help").stdout
    told = call("broken")
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert "cannot be used: No module named 'nowhere'" in told.stderr


def test_tuning_the_allocator_is_harmless_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(tune_allocator(), bool)
    monkeypatch.setattr(sys, "platform", "win32")
    assert tune_allocator() is False


def test_garbage_is_collected_again_once_everything_is_imported() -> None:
    """If it fails, a long run keeps every figure and every failed cell in memory until its end."""
    for is_enabled in (True, False):
        (gc.enable if is_enabled else gc.disable)()
        try:
            with suppress(ImportError), without_collection():
                inside = gc.isenabled()
                raise ImportError("a plugin that is broken")
            assert not inside
            assert gc.isenabled() is is_enabled
        finally:
            gc.enable()
    assert gc.get_freeze_count() > 0
    frozen = gc.get_freeze_count()
    with without_collection():
        _ = [[number] for number in range(1000)]
    assert gc.get_freeze_count() <= frozen


@pytest.mark.parametrize(
    ("variable", "own", "usual"),
    [("OMP_WAIT_POLICY", "ACTIVE", "PASSIVE"), ("OPENBLAS_THREAD_TIMEOUT", "26", "4")],
)
def test_threads_wait_passively_unless_the_user_decides(
    variable: str, own: str, usual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a run takes up to five times as long where another process keeps a core busy."""
    for setting, expected in ((own, own), (None, usual)):
        if setting is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, setting)
        assert call("list", "methods").exit_code == 2
        assert os.environ[variable] == expected


def test_a_run_tells_scores_health_and_where_things_are(tmp_path: Path) -> None:
    write_suite(tmp_path, more='health = ["oracle", "random"]\n')
    told = run_fakes(tmp_path, explainers=("Dark", "DarkAligned"))
    assert told.exit_code == 0, told.stderr
    for words in (
        "dark_aligned",
        "control",
        "pass",
        "tiny_model on tiny, 12 test images: AUROC",
        "dark_aligned − dark, share of loading",
        "protocol health, loading on tiny × tiny_model: healthy",
        "4 cells measured",
        str(tmp_path / "store"),
    ):
        assert words in told.stdout
    again = run_fakes(tmp_path, explainers=("Dark", "DarkAligned"))
    assert again.exit_code == 0
    assert "0 cells measured with 0 forward and 0 backward passes, 4 taken" in again.stdout


def test_the_json_is_the_same_whether_measured_or_taken_from_the_store(tmp_path: Path) -> None:
    first, second = tmp_path / "deep" / "first.json", tmp_path / "second.json"
    assert run_fakes(tmp_path, "--json", first).exit_code == 0
    assert run_fakes(tmp_path, "--json", second).exit_code == 0
    assert first.read_text() == second.read_text()
    (result,) = json.loads(first.read_text())["results"]
    assert result["explainer"] == "bright"
    assert len(result["statistics"]) == 5


def test_a_failed_cell_exits_with_1_and_the_others_are_scored(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    told = run_fakes(tmp_path, "--json", out, explainers=("Flat", "Raising", "Dark"))
    assert told.exit_code == 1
    states = {one["explainer"]: one for one in json.loads(out.read_text())["results"]}
    assert states["flat"]["reason"] == "constant map for all 12 subjects"
    assert states["flat"]["primary"]["estimate"] is None
    assert states["raising"]["reason"].startswith("ValueError: out of ideas, at fakes.py:")
    assert states["dark"]["state"] == "scored"
    assert "out of ideas" in told.stderr
    assert "second line" not in told.stdout + told.stderr


def test_nothing_measured_exits_with_4_even_if_controls_were(tmp_path: Path) -> None:
    """A job that scored only noise and truth has not scored what it was for."""
    write_suite(tmp_path, more='health = ["oracle", "random"]\n')
    assert run_fakes(tmp_path, explainers=("Picky",)).exit_code == 4
    assert run_fakes(tmp_path, explainers=("Picky", "Dark")).exit_code == 0
    assert run_fakes(tmp_path, "--shard", "5/9", explainers=("Dark",)).exit_code == 4


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--explainer", "gradcm"], "Did you mean 'gradcam'?"),
        (["--model", "smalresnet"], "Did you mean 'smallresnet'?"),
        (["--cohort", "fantom"], "Did you mean 'phantom'?"),
        (["--protocol", "delta"], "Unknown protocol 'delta'"),
        (["--suite", "v9"], "known: v1"),
        (["--explainer", "none.py:Mine"], "cannot be read"),
        (["--device", "tpu"], "There is no device 'tpu' here; known: auto, cpu"),
        (["--shard", "half"], "i/N"),
        (["--shard", "3/2"], "3/2"),
        (["--batch-size", "0"], "batch-size"),
        (["--batch-size", "many"], "batch-size"),
        (["--workers", "0"], "workers"),
        (["--store", "FILE"], "is a file"),
        (["--store", "FILE/inside"], "cannot be read or written"),
        (["--store", "FOLDER"], "is not a store"),
        (["--report", "FILE"], "cannot be made"),
        (["--report", "FOLDER"], "holds 'cat.jpg', which no report wrote"),
        (["--report", "FILE/inside"], "cannot be made"),
        (["--json", "FOLDER"], "is a folder"),
        (["--json", "FILE/out.json"], "cannot be made"),
        (["--engine", "spark"], "Invalid value for '--engine'"),
    ],
)
def test_bad_input_is_one_sentence_and_exits_with_2_before_computing(
    tmp_path: Path, options: list[str], told: str
) -> None:
    (tmp_path / "FILE").write_text("x")
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "FOLDER" / "cat.jpg").write_text("x")
    placed = [str(tmp_path / one) if one.startswith(("FILE", "FOLDER")) else one for one in options]
    result = run_fakes(tmp_path, *placed)
    assert result.exit_code == 2
    flat = " ".join(result.stderr.replace("│", " ").split())
    assert told in flat
    assert "Traceback" not in result.stderr
    if "Usage" not in flat:
        assert len(result.stderr.strip().splitlines()) == 1
        assert result.stdout == ""
    assert not (tmp_path / "store" / "records").exists() or "--store" not in options


@pytest.mark.usefixtures("nothing_computed")
def test_a_gpu_that_is_not_there_says_what_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run_fakes(tmp_path, "--device", "cuda")
    assert result.exit_code == 2
    assert result.stderr == "There is no device 'cuda' here; known: auto, cpu.\n"


def test_an_explainer_must_be_named() -> None:
    assert call("run").exit_code == 2


def test_ctrl_c_says_that_the_work_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run", interrupted)
    result = run_fakes(tmp_path)
    assert result.exit_code == 130
    assert result.stderr.strip().endswith(STOPPED)


def test_a_run_ends_with_a_report_of_its_records_and_maps(
    tmp_path: Path, report: list[dict[str, Any]]
) -> None:
    told = run_fakes(tmp_path, "--report", tmp_path / "page", explainers=("Dark", "Flat"))
    assert told.exit_code == 1
    assert str(tmp_path / "page" / "index.html") in told.stdout
    (given,) = report
    assert [one.state for one in given["records"]] == ["scored", "failed"]
    (exhibit,) = given["exhibits"]
    assert (exhibit.model, set(exhibit.attributions)) == ("tiny_model", {"dark"})
    assert len(exhibit.cohort) == 12


def test_a_shard_writes_no_report_unless_asked(
    tmp_path: Path, report: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards that run at once would write over each other's default report."""
    monkeypatch.chdir(tmp_path)
    write_suite(tmp_path)
    options = ["--explainer", fakes.spec("Dark"), "--suite", "suite.toml", "--device", "cpu"]
    assert call("run", *options, "--shard", "0/1").exit_code == 0
    assert report == []
    assert call("run", *options).exit_code == 0
    assert report[0]["folder"] == Path("medsanity-runs/report")
    assert (tmp_path / "medsanity-runs" / "store" / "store.json").is_file()


def test_shards_are_merged_and_reported(tmp_path: Path, report: list[dict[str, Any]]) -> None:
    fakes_named = ("Dark", "Bright")
    for index in (1, 2):
        folder = tmp_path / f"part{index}"
        folder.mkdir()
        assert run_fakes(folder, "--shard", f"{index}/2", explainers=fakes_named).exit_code == 0
    merged = tmp_path / "merged"
    merge = ["merge", *(tmp_path / f"part{one}" / "store" for one in (1, 2)), "--into", merged]
    told = call(*merge)
    assert told.exit_code == 0, told.stderr
    assert "2 finished cells" in told.stdout
    quiet = call(*merge, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert len(list(Store(merged).records())) == 2
    command = ["report", "--records", merged, "--out", tmp_path / "page"]
    told = call(*command)
    assert told.exit_code == 2, "the fake protocol has no name in the catalogue"
    assert "Unknown protocol 'loading'" in told.stderr
    assert report == []
    assert call(*command, "--protocol", fakes.spec("Loading")).exit_code == 0
    assert len(report[0]["records"]) == 2


def test_records_of_an_unknown_protocol_are_left_out_and_named(
    tmp_path: Path, report: list[dict[str, Any]]
) -> None:
    """If it fails, one try of a protocol in a file takes the report of everything else away."""
    write_suite(tmp_path, protocols=["Loading", "Second"])
    run_fakes(tmp_path)
    command = ["report", "--records", tmp_path / "store", "--out", tmp_path / "page"]
    told = call(*command, "--protocol", fakes.spec("Second"))
    assert told.exit_code == 0, told.stderr
    assert "Records of protocol 'loading' are left out; name its file" in told.stdout
    assert {one.names.protocol for one in report[0]["records"]} == {"second"}


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    told = call("report", "--records", tmp_path / "none", "--out", tmp_path / "page")
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    (tmp_path / "empty").mkdir()
    told = call("report", "--records", tmp_path / "empty", "--out", tmp_path / "page")
    assert told.exit_code == 2
    assert "holds no record" in told.stderr


def test_list_tells_names_origins_and_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "list.json"
    told = call("list", "protocols", "--json", out)
    assert told.exit_code == 0, told.stderr
    listed = json.loads(out.read_text())
    assert {one["name"] for one in listed["plugins"]} >= {"delta_t", "roi_pointing"}
    assert listed["unsupported"] == []
    assert call("list", "methods").exit_code == 2

    def torn(*_: object) -> object:
        return [{"explainer": "x", "model": "m", "cohort": "c", "reason": "[no] heads"}]

    monkeypatch.setattr("benchmark.running.plan.unsupported_pairs", torn)
    told = call("list", "explainers", "--json", out)
    assert "unsupported: x on c × m: [no] heads" in told.stdout
    assert json.loads(out.read_text())["unsupported"] == torn()
    assert {one["kind"] for one in json.loads(out.read_text())["plugins"]} == {"explainer"}


def test_unsupported_pairs_name_their_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue()
    for shelf, names in (
        (catalogue.explainers, ("Picky", "Bright")),
        (catalogue.models, ("TinyModel",)),
        (catalogue.cohorts, ("TinyCohort",)),
    ):
        entries = [shelf.find(fakes.spec(name)) for name in names]  # type: ignore[attr-defined]
        vars(shelf)["entries"] = tuple(entries)
    suite = load_suite("v1").model_copy(update={"cohorts": ("tiny",)})
    assert unsupported_pairs(catalogue, suite) == [
        {
            "explainer": "picky",
            "model": "tiny_model",
            "cohort": "tiny",
            "reason": "needs attention heads",
        }
    ]


def test_a_cohort_is_exported_and_inspected(tmp_path: Path) -> None:
    out = tmp_path / "exported"
    told = call("cohort", "export", fakes.spec("TinyCohort"), "--out", out)
    assert told.exit_code == 0, told.stderr
    assert (out / "cohort.toml").is_file()
    read = call("cohort", "inspect", out / "cohort.toml", "--out", tmp_path / "sheet")
    assert read.exit_code == 0, read.stderr
    for words in ("24, 1 of each subject", "24 × 24", "6 (6)", "left", "right", "age", "sex"):
        assert words in read.stdout
    assert call("cohort", "inspect", "fantom").exit_code == 2


def test_training_needs_a_recipe_and_writes_weights(tmp_path: Path) -> None:
    told = call("train", "--model", fakes.spec("TinyModel"), "--out", tmp_path)
    assert told.exit_code == 2
    assert "has no recipe" in told.stderr
    plugin = tmp_path / "quick.py"
    plugin.write_text(
        "from benchmark.model_source import ModelSource\n"
        "from benchmark.training import Recipe\n"
        "from benchmark.plugins.examples import build_classifier\n"
        "class Quick(ModelSource):\n"
        "    name = 'quick'\n"
        "    recipe = Recipe(epochs=2, batch_size=4)\n"
        "    def build(self, shape): return build_classifier(input_shape=shape)\n"
        "    def load(self, shape): return self.build(shape)\n"
    )
    options = ["--model", f"{plugin}:Quick", "--cohort", fakes.spec("TinyCohort")]
    told = call("train", *options, "--out", tmp_path / "weights", "--device", "cpu")
    assert told.exit_code == 0, told.stderr
    assert "epoch 2 of 2" in told.stdout
    assert list((tmp_path / "weights").glob("*.safetensors"))


def test_a_plugin_that_ends_the_program_is_no_clean_exit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If it fails, sys.exit() in somebody's network passes for a command that did its work."""
    (tmp_path / "leaving.py").write_text("import sys\n\n\ndef build():\n    sys.exit(0)\n")
    model = tmp_path / "model.toml"
    model.write_text('architecture = "leaving.py:build"\n')
    result = CliRunner().invoke(app, ["model", "inspect", str(model)])
    assert result.exit_code == 2
    assert "leaving.py:build" in result.output
    with pytest.raises(typer.Exit) as caught, exit_on_error():
        sys.exit(0)
    assert caught.value.exit_code == 2
    assert "test_commands.py" in capsys.readouterr().err
