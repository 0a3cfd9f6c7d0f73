"""A model that cannot be scored is refused by ``run`` and ``check`` alike."""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest
from typer.testing import CliRunner

from benchmark.commands.app import app

PLUGIN = """
import torch
from benchmark.model_source import ModelSource
from benchmark.plugins.examples import build_classifier
from benchmark.classifier import Classifier
from torch import nn


class Shifted(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        images -= 0.5
        return self.inner(images)


class Source(ModelSource):
    def load(self, input_shape):
        plain = build_classifier(input_shape=input_shape)
        return Classifier(self.name, *self.parts(plain.trunk, plain.head), input_shape)


class Shifting(Source):
    name = "shifting"

    def parts(self, trunk, head):
        return Shifted(trunk), head


class Broken(Source):
    name = "broken"

    def parts(self, trunk, head):
        trunk.stem.conv.weight.data[0] = torch.nan
        return trunk, head


class Soft(Source):
    name = "soft"

    def parts(self, trunk, head):
        return trunk, nn.Sequential(head, nn.Softmax(1))
"""


@pytest.mark.parametrize(
    ("name", "code", "message", "clause"),
    [
        ("Shifting", 2, "Model 'shifting' changes the images that it is given", "passes"),
        ("Broken", 2, "Model 'broken' holds NaN in trunk.stem.conv.weight", "logits"),
        ("Soft", 0, "Model 'soft': the outputs of its head sum to one", "head"),
    ],
)
def test_run_and_check_say_the_same(
    tmp_path: Path, name: str, code: int, message: str, clause: str
) -> None:
    """If it fails, a model passes the check and is then refused, or the other way round."""
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    # So wide that a sentence stands on one line of the table.
    shown = CliRunner().invoke(app, ["check", f"{path}:{name}"], env={"COLUMNS": "200"})
    assert shown.exit_code == 1
    assert message[7:] in " ".join(shown.output.replace("│", " ").split())
    arguments = ["run", "--model", f"{path}:{name}", "--cohort", fakes.spec("TinyCohort")]
    arguments += ["--explainer", "gradcam", "--protocol", fakes.spec("Loading")]
    arguments += ["--store", str(tmp_path / "store"), "--report", "none"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == code, told.output
    assert message in " ".join(told.output.split())
    records = list((tmp_path / "store" / "records").glob("*.json"))
    assert bool(records) == (code == 0)
