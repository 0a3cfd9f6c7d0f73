"""Training as an experiment: what it leaves on disk, and how it ends when it is not let finish."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import torch
from experiments import build_card, write_cards
from html_pages import Reader
from paths import ROOT
from safetensors.numpy import load_file
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.commands.app import app
from benchmark.model_source import ModelSource
from benchmark.plugins.examples import SHAPE_3D, build_classifier, build_cohort
from benchmark.records import files, registry
from benchmark.records.experiment import ExperimentCard
from benchmark.records.processes import ProcessEntry
from benchmark.records.registry import read_card, write_card
from benchmark.report.figures import style
from benchmark.running import attempt, experiment_files

RECIPE = "head_rate = 0.05\nencoder_rate = 0.01\nepochs = 6\npatience = 6\nmirror = true\n"
MODEL, COHORT = fakes.spec("TinyModel"), fakes.spec("TinyCohort")
LEFT = {
    "card.json",
    "figures",
    "model.toml",
    "predictions.csv",
    "recipe.toml",
    "weights.safetensors",
}


class Stubborn(ModelSource):
    """A network that ends in an error of its own as soon as it is trained."""

    name = "stubborn"

    def load(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network."""
        classifier = build_classifier(input_shape=input_shape)
        classifier.trunk.append(_Refusal())  # type: ignore[operator]
        return classifier


class _Refusal(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise KeyError("no key\nof this network")
        return maps


class Lopsided(CohortSource):
    """A cohort without a case to train on."""

    name = "lopsided"

    def load(self) -> Cohort:
        """Return the cohort."""
        cohort = build_cohort()
        return cohort.take(np.flatnonzero((cohort.groups == 0) | (_splits(cohort) != "train")))


class Volumes(CohortSource):
    """Volumes."""

    name = "volumes"

    def load(self) -> Cohort:
        """Return the cohort."""
        return build_cohort(SHAPE_3D)


class Untested(CohortSource):
    """A cohort without a test split, and with two visits of each subject."""

    name = "untested"

    def load(self) -> Cohort:
        """Return the cohort."""
        cohort = build_cohort(visits=2)
        return cohort.take(np.flatnonzero(_splits(cohort) != "test"))


class HalfTested(CohortSource):
    """A cohort whose test split lacks the cases, and which has no validation split."""

    name = "half_tested"

    def load(self) -> Cohort:
        """Return the cohort."""
        cohort = build_cohort(subjects=48)
        splits = _splits(cohort)
        kept = (splits == "train") | ((splits == "test") & (cohort.groups == 0))
        return cohort.take(np.flatnonzero(kept))


class AnyShape(ModelSource):
    """A network for images and for volumes."""

    name = "any_shape"

    def load(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network."""
        return build_classifier(dimensions=len(input_shape), input_shape=input_shape)


def _splits(cohort: Cohort) -> Any:
    return cohort.participants["split"].to_numpy()


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(folder: Path, *more: object, regime: str = "full") -> Result:
    """Train the tiny model with experiments in ``folder``."""
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    options = ["--model", MODEL, "--cohort", COHORT, "--regime", regime, "--recipe", recipe]
    where = ["--experiments", folder / "experiments", "--device", "cpu"]
    return call("train", *options, *where, *more)


def resume(folder: Path, *more: object) -> Result:
    where = ["--experiments", folder / "experiments", "--device", "cpu"]
    return call("train", "--resume", "EXP-001", *where, *more)


def folder_of(root: Path, number: int = 1) -> Path:
    return root / "experiments" / f"EXP-{number:03d}"


def weights(root: Path) -> dict[str, bytes]:
    arrays = load_file(folder_of(root) / "weights.safetensors")
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which one training came to its end."""
    folder = tmp_path_factory.mktemp("finished")
    torch.set_num_threads(1)
    result = train(folder)
    assert result.exit_code == 0, result.output
    return folder


def test_a_training_leaves_all_that_a_reader_needs(finished: Path) -> None:
    """If it fails, an experiment cannot be judged, explained or repeated from its folder."""
    folder = folder_of(finished)
    assert {path.name for path in folder.iterdir()} == LEFT
    card = read_card(folder)
    assert card.status in ("finished", "stopped early")
    assert card.model.trained == ("head", "block", "stem")
    assert card.course is not None
    assert [epoch.number for epoch in card.course.epochs] == list(range(1, 7))
    assert card.recipe.mirror
    assert card.recipe.regime == "full"
    auroc = card.metric("test", "auroc")
    assert auroc is not None
    assert auroc.estimate is not None
    assert [part.images for part in card.cohort.splits] == [(4, 4), (2, 2), (6, 6)]
    assert card.seconds > 0
    assert card.peak_memory_bytes is None or card.peak_memory_bytes > 2**20
    assert set(card.files) >= LEFT - {"card.json", "figures"}
    for name in ("course", "discrimination", "embedding", "learning_curve", "shortcuts"):
        assert {f"figures/{name}.svg", f"figures/{name}.png"} <= set(card.files)


def test_a_page_shows_the_figures_that_the_card_names(finished: Path, tmp_path: Path) -> None:
    """If it fails, a page shows none of the curves, or one that was drawn of something else."""
    page, copy = tmp_path / "page.html", tmp_path / "experiments"
    shutil.copytree(finished / "experiments", copy)
    assert call("experiments", "--experiments", copy, "--html", page).exit_code == 0
    pictures = [attrs for tag, attrs in Reader(page.read_text()).elements if tag == "img"]
    assert len(pictures) == len(list((copy / "EXP-001" / "figures").glob("*.svg")))
    assert all((attrs["src"] or "").startswith("data:image/svg+xml") for attrs in pictures)
    (copy / "EXP-001" / "figures" / "course.svg").write_text("<svg/>")
    assert call("experiments", "--experiments", copy, "--html", page).exit_code == 0
    left = [tag for tag, _ in Reader(page.read_text()).elements if tag == "img"]
    assert len(left) == len(pictures) - 1


def test_the_command_on_the_card_trains_it_again(finished: Path, tmp_path: Path) -> None:
    """If it fails, the provenance of a network names a training that gives another one."""
    card = read_card(folder_of(finished))
    program, *arguments = shlex.split(card.command.removeprefix("python -m benchmark "))
    result = call(program, *arguments, "--experiments", tmp_path / "experiments", "--device", "cpu")
    assert result.exit_code == 0, result.output
    again = read_card(folder_of(tmp_path))
    assert again.identity == card.identity
    assert again.model == card.model
    assert again.files["predictions.csv"] == card.files["predictions.csv"]
    assert again.files["weights.safetensors"] == card.files["weights.safetensors"]


_KILLED = """
import os, signal, sys
from benchmark.commands.app import app
from benchmark.commands import terminal
class Killer(terminal.TrainingBar):
    def epoch_ended(self, epoch, most_epochs):
        if epoch.number == 4:
            os.kill(os.getpid(), signal.SIGKILL)
terminal.TrainingBar = Killer
app(sys.argv[1:])
"""


def test_a_killed_training_is_interrupted_and_goes_on(finished: Path, tmp_path: Path) -> None:
    """If it fails, a night's training is lost with the power, or ends in other weights."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    options = ["--model", MODEL, "--cohort", COHORT, "--regime", "full", "--recipe", str(recipe)]
    where = ["--experiments", str(tmp_path / "experiments"), "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, "train", *options, *where],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert read_card(folder_of(tmp_path)).status == "running"
    listed = call("experiments", "--experiments", tmp_path / "experiments")
    assert "interrupted" in listed.stdout
    assert "of 6" in listed.stdout
    (folder_of(tmp_path) / ".weights.safetensors.1.ab.tmp").touch()  # half-written when killed
    (folder_of(tmp_path) / ".figures.1.ab.tmp").mkdir()
    result = resume(tmp_path)
    assert result.exit_code == 0, result.output
    assert "epoch 1 " not in result.output
    assert weights(tmp_path) == weights(finished)
    assert {path.name for path in folder_of(tmp_path).iterdir()} == LEFT


def test_ctrl_c_says_how_to_go_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a training that was stopped looks lost, or is begun again from the start."""
    with monkeypatch.context() as patch:
        patch.setattr(attempt, "validate", _raise(KeyboardInterrupt()))
        result = train(tmp_path)
    assert result.exit_code == 130
    assert "EXP-001 is interrupted; `python -m benchmark train --resume EXP-001" in result.stderr
    card = read_card(folder_of(tmp_path))
    assert (card.status, card.reason, card.process) == ("interrupted", "stopped by Ctrl-C", None)
    assert resume(tmp_path).exit_code == 0
    assert weights(tmp_path) == weights(finished)


@pytest.mark.parametrize(
    "name", ["recipe.toml", "card.json", "checkpoint.safetensors", "weights.safetensors", "figures"]
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """If it fails, a full disk ends in a traceback, in half a file, or in a lost training."""
    disk = _Disk(name)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", disk.fsync)
        patch.setattr(registry, "write_atomically", disk.write)
        patch.setattr(experiment_files, "write_atomically", disk.write)
        if name == "figures":
            patch.setattr(style, "save", disk.save)
        result = train(tmp_path)
    assert result.exit_code == 2, result.output
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.output
    experiments = tmp_path / "experiments"
    assert not [path for path in experiments.rglob("*") if path.name.endswith(".tmp")]
    read = registry.read_registry(experiments)
    assert not read.faults
    if name in ("recipe.toml", "card.json"):
        assert not list(experiments.iterdir())
        return
    assert "EXP-001 is interrupted" in result.stderr
    gone = {"process": None, "status": "interrupted"}  # as when the process has ended
    registry.write_card(folder_of(tmp_path), read.cards[0].updated(gone))
    assert resume(tmp_path).exit_code == 0
    assert weights(tmp_path) == weights(finished)


class _Disk:
    """A disk that is full from the moment at which a file of some name is written."""

    def __init__(self, name: str) -> None:
        self.name, self.is_full = name, False

    def write(self, path: Path, content: bytes, replace: bool = True) -> None:
        self.is_full |= path.name == self.name
        files.write_atomically(path, content, replace)

    def fsync(self, _: int) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")

    def save(self, _: object, stem: Path) -> None:
        stem.with_suffix(".svg").write_text("half")
        raise OSError(28, "No space left on device")


def test_a_network_with_an_error_of_its_own_is_a_failed_experiment(tmp_path: Path) -> None:
    """If it fails, somebody else's bug ends in our traceback, or its card runs for ever."""
    model = f"{__file__}:Stubborn"
    options = ["--model", model, "--cohort", COHORT, "--regime", "full", "--device", "cpu"]
    result = call("train", *options, "--experiments", tmp_path / "experiments")
    assert result.exit_code == 1
    assert "EXP-001 failed: KeyError" in result.stderr
    card = read_card(folder_of(tmp_path))
    assert card.status == "failed"
    assert "no key" in (card.reason or "")
    assert "in forward" in (folder_of(tmp_path) / "failure.log").read_text()


@pytest.mark.parametrize("cohort", ["Volumes", "Untested", "HalfTested"])
def test_a_cohort_that_lacks_something_is_trained_on_all_the_same(
    tmp_path: Path, cohort: str
) -> None:
    """If it fails, an hour of training ends in a traceback over a number that does not exist."""
    options = ["--model", f"{__file__}:AnyShape", "--cohort", f"{__file__}:{cohort}"]
    where = ["--experiments", tmp_path / "experiments", "--device", "cpu"]
    result = call("train", *options, *where)
    assert result.exit_code == 0, result.output
    assert ("no test split" in result.output) == (cohort == "Untested")
    outputs = [tmp_path / "page.html", tmp_path / "table.md", tmp_path / "cards.json"]
    kinds = zip(("--html", "--markdown", "--json"), outputs, strict=True)
    written = [part for pair in kinds for part in pair]
    listed = call("experiments", *where[:2], *written)
    assert listed.exit_code == 0, listed.output
    assert not any("nan" in path.read_text("utf-8").lower().split() for path in outputs)
    assert "NaN" not in outputs[2].read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", MODEL], "Expected --cohort"),
        (["--cohort", COHORT], "Expected --model"),
        ([], "Expected --model and --cohort"),
        (["--out", "x", "--regime", "probe"], "--regime cannot be given"),
        (["--out", "x", "--resume", "EXP-001"], "--resume cannot be given"),
        (["--model", MODEL, "--cohort", COHORT, "--seed", "1"], "--seed belongs to --out"),
        (["--resume", "EXP-001", "--model", MODEL], "--model cannot be given"),
        (["--model", "smallresne", "--cohort", COHORT], "Did you mean 'smallresnet'"),
        (["--model", MODEL, "--cohort", "fantom"], "Did you mean 'phantom'"),
        (["--model", MODEL, "--cohort", f"{__file__}:Lopsided"], "B"),
        (["--model", MODEL, "--cohort", COHORT, "--recipe", "none.toml"], "none.toml"),
        (["--model", MODEL, "--cohort", COHORT, "--device", "tpu"], "no device 'tpu'"),
        (["--model", MODEL, "--cohort", COHORT, "--regime", "head"], "'head' is not one of"),
        (["--model", fakes.spec("TornModel"), "--cohort", COHORT], "no such file"),
    ],
)
def test_bad_input_is_one_sentence_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    """If it fails, a mistyped option costs a number, or an hour before it is told."""
    monkeypatch.chdir(tmp_path)
    result = call("train", *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def _raise(error: BaseException) -> Callable[..., Any]:
    def function(*_: object, **__: object) -> Any:
        raise error

    return function


def _copy(source: Path, target: Path, changes: dict[str, object]) -> Path:
    """Put a copy of a finished experiment's card, with changes, into a new folder."""
    card = read_card(folder_of(source)).updated(changes)
    (target / "experiments" / "EXP-001").mkdir(parents=True)
    write_card(folder_of(target), card)
    return folder_of(target)


def test_only_what_can_go_on_is_resumed(finished: Path, tmp_path: Path) -> None:
    """If it fails, two processes write one experiment, or weights of two models are mixed."""
    assert "there is nothing to resume" in resume(finished).stderr
    process = ProcessEntry.current()
    _copy(finished, tmp_path / "live", {"status": "running", "process": process})
    assert f"being trained by process {os.getpid()}" in resume(tmp_path / "live").stderr
    stopped = {"status": "interrupted"}
    card = read_card(folder_of(finished))
    other = card.model.model_copy(update={"encoder_sha256": "0" * 64})
    _copy(finished, tmp_path / "model", {**stopped, "model": other})
    assert "another state of model" in resume(tmp_path / "model").stderr
    other_cohort = card.cohort.model_copy(update={"fingerprint": "0" * 64})
    _copy(finished, tmp_path / "cohort", {**stopped, "cohort": other_cohort})
    assert "another state of cohort" in resume(tmp_path / "cohort").stderr
    torn = _copy(finished, tmp_path / "torn", stopped)
    (torn / "checkpoint.safetensors").write_bytes(b"\x08\x00\x00")
    result = resume(tmp_path / "torn")
    assert (result.exit_code, "is damaged" in result.stderr) == (2, True)
    absent = call("train", "--resume", "EXP-004", "--experiments", finished / "experiments")
    assert (absent.exit_code, "Known: EXP-001" in absent.stderr) == (2, True)


def test_cross_validation_can_train_the_network_anew(finished: Path, tmp_path: Path) -> None:
    """If it fails, `--cv full` reports the probe's figures as those of the network."""
    result = train(tmp_path, "--cv", "full")
    assert result.exit_code == 0, result.output
    probe, full = read_card(folder_of(finished)), read_card(folder_of(tmp_path))
    assert full.cross_validated == "full"
    assert probe.validation is not None
    assert full.validation is not None
    assert probe.validation.cross_validation != full.validation.cross_validation
    assert probe.validation.splits == full.validation.splits


def test_the_registry_is_a_function_of_the_cards(tmp_path: Path) -> None:
    """If it fails, two readers of one folder publish different tables."""
    cards = [
        build_card(1, warnings=("floor: <script>alert(1)</script> | =HYPERLINK()",)),
        build_card(2, status="failed", reason="out | of memory", validation=None, course=None),
        build_card(10, status="stopped early"),
    ]
    texts = []
    for name, order in (("a", cards), ("b", cards[::-1])):
        folder, out = tmp_path / name / "experiments", tmp_path / name
        write_cards(folder, order)
        (folder / "EXP-003").mkdir()
        outputs = {kind: out / f"r.{kind}" for kind in ("csv", "markdown", "html", "json")}
        options = [part for kind, path in outputs.items() for part in (f"--{kind}", path)]
        result = call("experiments", "--experiments", folder, *options)
        assert result.exit_code == 0, result.output
        assert "left out" in result.stderr
        assert "EXP-003" in result.stderr
        texts.append([path.read_text("utf-8") for path in outputs.values()])
    plain = [[text.replace(f"{tmp_path}/b", f"{tmp_path}/a") for text in side] for side in texts]
    assert plain[0] == plain[1]
    csv, markdown, html, document = texts[0]
    assert [line.split(",")[0] for line in csv.splitlines()] == [
        "id",
        "EXP-001",
        "EXP-002",
        "EXP-010",
    ]
    table, _, notes = markdown.partition("\nWarnings:\n\n")
    assert len(table.splitlines()) == 5
    assert notes.startswith("1. floor: ")
    assert "<script>" not in notes
    assert "AUROC 0.812" in markdown
    assert "out \\| of memory" in markdown
    assert "<script>" not in html
    assert not [tag for tag, _ in Reader(html).elements if tag in ("script", "link")]
    assert json.loads(document)["experiments"][1]["validation"] is None


def _compared(folder: Path, *numbers: int) -> Result:
    ids = [f"EXP-{number:03d}" for number in numbers]
    return call("experiments", *ids, "--experiments", folder / "experiments")


def test_two_experiments_are_compared_on_the_same_subjects(finished: Path, tmp_path: Path) -> None:
    """If it fails, a difference between two networks is claimed that the subjects do not show."""
    folder = tmp_path / "experiments"
    assert train(tmp_path).exit_code == 0
    quiet = train(tmp_path, "--quiet", regime="probe")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    results = [line.partition(": ")[0] for line in quiet.stdout.splitlines()]
    assert results == ["EXP-002", "test split"]
    write_cards(folder, [build_card(3), build_card(4, status="failed", validation=None)])
    result = _compared(tmp_path, 1, 2)
    assert result.exit_code == 0, result.output
    assert "EXP-002 compared with EXP-001: 12 test images of 12 subjects" in result.stdout
    page = tmp_path / "page.html"
    same = call("experiments", "EXP-001", "EXP-001", "--experiments", folder, "--html", page)
    assert same.exit_code == 0
    assert "compared" not in same.stdout
    assert 'id="comparison"' not in page.read_text()
    told = _compared(tmp_path, 1, 3)
    assert told.exit_code == 2
    assert "cannot be compared: they were trained on the cohorts" in told.stderr
    assert "is failed and has no predictions" in _compared(tmp_path, 4, 3).stderr
    predictions = folder / "EXP-002" / "predictions.csv"
    predictions.write_text(predictions.read_text().replace("test", "train"))
    assert "was altered after it was written" in _compared(tmp_path, 1, 2).stderr


def test_no_folder_of_experiments_is_one_sentence(tmp_path: Path) -> None:
    """If it fails, a mistyped folder shows an empty registry."""
    result = call("experiments", "--experiments", tmp_path / "nowhere")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    result = call("experiments", "--experiments", tmp_path, "--csv", tmp_path)
    assert (result.exit_code, "is a folder" in result.stderr) == (2, True)
    assert isinstance(build_card(), ExperimentCard)
