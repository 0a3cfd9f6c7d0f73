"""Networks of experiments: found again by the folder, with the weights that were trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from benchmark.classifier import Classifier
from benchmark.commands.app import app
from benchmark.errors import ClassifierError, InputError
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_cohort
from benchmark.records.registry import read_card
from benchmark.training.predictions import predict

NETWORK = """
from collections import OrderedDict
from torch import nn

def build():
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
    block = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
    ends = (("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten()), ("fc", nn.Linear(16, 5)))
    return nn.Sequential(OrderedDict(stem=stem, block=block, **dict(ends)))
"""
MODEL = """
architecture = "network.py:build"
seed = 3
[input]
channels = 3
mean = [0.5, 0.4, 0.3]
std = [0.2, 0.3, 0.4]
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(folder: Path, model: object, regime: str = "last_stage") -> Path:
    """Train for two epochs, and return the folder of the experiment."""
    recipe = folder / "recipe.toml"
    recipe.write_text("epochs = 2\nhead_rate = 0.05\n")
    options = ["--cohort", fakes.spec("TinyCohort"), "--regime", regime, "--recipe", recipe]
    where = ["--experiments", folder / "experiments", "--device", "cpu"]
    result = call("train", "--model", model, *options, *where)
    assert result.exit_code == 0, result.output
    return max((folder / "experiments").glob("EXP-*"))


def load(folder: Path) -> Classifier:
    return Catalogue().models.find(str(folder)).create().load((24, 24))


@pytest.mark.parametrize("kind", ["class", "file", "architecture of a file"])
def test_an_experiment_is_found_with_its_weights(tmp_path: Path, kind: str) -> None:
    """If it fails, a network is explained with other weights than those that were validated."""
    (tmp_path / "network.py").write_text(NETWORK)
    (tmp_path / "model.toml").write_text(MODEL)
    models = {"class": fakes.spec("TinyModel"), "file": tmp_path / "model.toml"}
    folder = train(tmp_path, models.get(kind, tmp_path))
    classifier, card = load(folder), read_card(folder)
    assert classifier.name == "EXP-001"
    assert classifier.weights_sha256 == card.model.weights_sha256
    logits = predict(classifier, build_cohort()).logits
    rows = np.loadtxt(folder / "predictions.csv", delimiter=",", skiprows=1, usecols=(4, 5))
    np.testing.assert_array_equal(logits, rows)
    if kind != "class":
        assert any("random" in warning for warning in card.warnings)


def test_an_experiment_is_trained_on_and_moved_with_its_model(tmp_path: Path) -> None:
    """If it fails, a folder that was given to somebody else, or trained on, no longer loads."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(fakes.FILE, project / "own.py")
    first = train(project, f"{project / 'own.py'}:TinyModel")
    second = train(project, first, regime="full")
    expected = [load(folder).weights_sha256 for folder in (first, second)]
    assert expected[0] != expected[1]
    moved = tmp_path / "moved"
    project.rename(moved)
    folders = [moved / "experiments" / name for name in ("EXP-001", "EXP-002")]
    assert [load(folder).weights_sha256 for folder in folders] == expected


def test_an_experiment_is_scored_by_its_folder(tmp_path: Path) -> None:
    """If it fails, a researcher has to write Python to explain what they have trained."""
    folder = train(tmp_path, fakes.spec("TinyModel"))
    options = ["--cohort", fakes.spec("TinyCohort"), "--protocol", "roi_pointing"]
    where = ["--store", tmp_path / "store", "--report", "none", "--device", "cpu"]
    result = call("run", "--model", folder, "--explainer", "gradcam_aligned", *options, *where)
    assert result.exit_code in (0, 4), result.output
    assert "EXP-001" in result.stdout
    assert "failed" not in result.stdout
    warnings = read_card(folder).warnings
    assert warnings, "a training of one epoch has something said against it"
    for warning in warnings:
        assert f"EXP-001: {warning}" in result.output


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("missing", "cannot be read"),
        ("torn", "no complete file of safetensors"),
        ("other", "do not fit the model"),
        ("key", "unknown key 'weihgts'. Did you mean 'weights'"),
        ("gone", "cannot be read"),
        ("exchanged", "has changed since"),
    ],
)
def test_a_damaged_experiment_is_one_sentence(tmp_path: Path, damage: str, sentence: str) -> None:
    """If it fails, an experiment that lost a file ends in a traceback, or is scored anyway."""
    own = tmp_path / "own.py"
    shutil.copy(fakes.FILE, own)
    folder = train(tmp_path, f"{own}:TinyModel")
    weights, file = folder / "weights.safetensors", folder / "model.toml"
    if damage in ("torn", "other"):
        # Without the hash, by which any other file is refused.
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if not line.startswith("sha256")))
    if damage == "missing":
        weights.unlink()
    elif damage == "torn":
        weights.write_bytes(weights.read_bytes()[:200])
    elif damage == "other":
        tensors = load_file(weights)
        save_file({**tensors, "head.weight": torch.zeros(2, 9)}, weights)
    elif damage == "exchanged":
        tensors = load_file(weights)
        save_file({**tensors, "head.weight": -tensors["head.weight"]}, weights)
    elif damage == "key":
        file.write_text(file.read_text().replace("weights =", "weihgts ="))
    else:
        own.unlink()
    with pytest.raises(InputError, match=sentence) as caught:
        load(folder)
    assert isinstance(caught.value, ClassifierError) or damage == "gone"
