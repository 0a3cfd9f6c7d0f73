"""What a check says of an author's mistake: their line, the whole error, and advice that fits."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from benchmark.classifier import Classifier
from benchmark.commands.app import app
from benchmark.contract import checks_of, run_checks
from benchmark.errors import PluginError, short_message
from benchmark.explainer import Explainer, why_unsupported
from benchmark.plugins.blame import advice_on, author_line
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_classifier, build_examples
from benchmark.target import Target

HEAD = """
import torch
from torch.nn import functional
from benchmark.explainer import Explainer


class Mine(Explainer):
    name = "mine"
    {declared}

    def attribute(self, classifier, images, target):
        {body}
        return result
"""
FROZEN = "The network's parameters are frozen"
NO_GRAD = "A `.grad` is None"


def write(folder: Path, body: str, declared: str = "") -> Path:
    """Write a method, the body of which is indented by eight spaces."""
    path = folder / "mine.py"
    path.write_text(HEAD.format(declared=declared, body=body))
    return path


def details(path: Path) -> dict[str, tuple[str, str]]:
    """Return state and detail of each clause of the class in a file."""
    plugin = Catalogue().explainers.find(f"{path}:Mine").plugin
    return {str(one.check): (one.state, one.detail) for one in run_checks(checks_of(plugin))}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("target(*classifier(images)).sum().backward()", FROZEN),
        ("result = torch.autograd.grad(target(*classifier(images)).sum(), images)[0]", FROZEN),
        ("result = classifier.head.weight.grad.abs()", NO_GRAD),
        ("result = images * classifier.head.weight.grad", NO_GRAD),
        ("images.requires_grad_().mul_(2)", "Work on a copy of what you alter"),
        ("result = images.requires_grad_().numpy()", "Call `.detach().cpu()`"),
        ("target(*classifier(images.requires_grad_())).backward()", "take the gradient of `score"),
        ("result = images.to('meta') + images", "Create tensors with `.to(images)`"),
        ("raise KeyError('layer4')", "`."),
        ("result = target(classifier(images))", "`target(*classifier(images))`"),
        ("result = classifier(images).sum()", "`logits, embedding = classifier(images)`"),
        ("result = classifier(images)[:, 1]", "`logits, embedding = classifier(images)`"),
        ("result = classifier.layer4(images)", "its layers are in `classifier.trunk`"),
    ],
)
def test_an_error_comes_with_its_line_and_advice_that_fits(
    tmp_path: Path, line: str, said: str
) -> None:
    """If it fails, an author searches a library for a mistake in their own file."""
    path = write(tmp_path, line)
    number = path.read_text().splitlines().index(f"        {line}") + 1
    state, detail = details(path)["shape"]
    assert state == "broken"
    assert f"at {path}:{number}: `{line}`." in detail
    assert said in detail
    assert "Return one value for each pixel" not in detail


def test_a_gradient_that_is_none_and_returned_is_explained(tmp_path: Path) -> None:
    """If it fails, an author who returns a frozen weight's gradient is told to return a map."""
    detail = details(write(tmp_path, "result = classifier.head.weight.grad"))["shape"][1]
    assert "it must return a tensor, but returned NoneType. Return the map" in detail
    assert NO_GRAD in detail


def test_an_array_of_numpy_is_told_how_it_becomes_a_map(tmp_path: Path) -> None:
    """If it fails, an author with the right values is told to sum over channels."""
    detail = details(write(tmp_path, "result = images.numpy()"))["shape"][1]
    assert "returned ndarray. Make a tensor of the map: `torch.as_tensor(array)" in detail


def test_another_signature_of_attribute_is_told_the_right_one(tmp_path: Path) -> None:
    """If it fails, who writes a method as other libraries have it counts arguments."""
    path = write(tmp_path, "result = images")
    path.write_text(path.read_text().replace("classifier, images, target", "classifier, images"))
    assert "classifier, images and target." in details(path)["shape"][1]


def test_a_line_of_a_file_beside_the_method_is_the_authors_too(tmp_path: Path) -> None:
    """If it fails, the line shown is the call of a helper and not the mistake in it."""
    (tmp_path / "helper_of_mine.py").write_text("def explain(images):\n    return images.nothing\n")
    path = write(tmp_path, "import helper_of_mine\n        result = helper_of_mine.explain(images)")
    sys.path.insert(0, str(tmp_path))
    try:
        assert "helper_of_mine.py:2: `return images.nothing`" in details(path)["shape"][1]
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("helper_of_mine", None)


def test_references_that_nobody_asked_for_are_said() -> None:
    """If it fails, an author is told that something is None, and not what was forgotten."""

    def compare(batch: Any) -> Any:
        return batch.references.mean

    with pytest.raises(AttributeError) as caught:
        compare(build_examples()[0].cohort.batch(np.arange(2)))
    assert "needs_references = True" in str(advice_on(caught.value))


def test_a_method_for_slices_is_told_the_line_that_says_so(tmp_path: Path) -> None:
    """If it fails, the author of a 2-D method is told that it is broken, and of nothing else."""
    body = "result = functional.avg_pool2d(images, 3, 1, 1) * classifier(images)[0].sum()"
    found = details(write(tmp_path, body, "passes = (1, 0)"))
    state, detail = found["shape"]
    assert state == "broken"
    assert "on a small conv net in 3-D it raises RuntimeError" in detail
    assert detail.endswith("says so by one line in its class: `dimensions = (2,)`.")
    assert found["independence"][0] == "broken", "the other clauses are asked about slices"
    assert {found[name][0] for name in ("values", "memory", "cost")} == {"held"}

    found = details(write(tmp_path, body, "dimensions = (2,)\n    passes = (1, 0)"))
    assert found["shape"][0] == "held"
    assert "refuses a small conv net in 3-D: it is made for slices alone" in found["support"][1]


def test_a_method_for_volumes_is_told_its_line(tmp_path: Path) -> None:
    """If it fails, only one of the two kinds of method is helped."""
    body = "b, c, d, h, w = images.shape\n        result = images"
    assert "`dimensions = (3,)`" in details(write(tmp_path, body))["shape"][1]


def test_a_fault_on_one_network_alone_leaves_the_others_asked() -> None:
    """If it fails, a method that lacks a refusal is told of nothing but the first fault."""

    class Spatial(Explainer):
        name = "spatial"
        passes = (1, 0)

        def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
            weight = classifier.feature_maps(images).mean((2, *range(3, images.ndim)))
            return images * weight.sum(1).view(-1, *[1] * (images.ndim - 1))

    found = {str(one.check): one for one in run_checks(checks_of(Spatial))}
    assert "on a small transformer in 2-D it raises IndexError" in found["shape"].detail
    assert "dimensions" not in found["shape"].detail
    assert found["values"].state == "held"


@pytest.mark.parametrize(("dimensions", "taken"), [((2,), 2), ((3,), 3), (2, 2), ((2, 3), None)])
def test_dimensions_are_a_reason_to_refuse(dimensions: Any, taken: int | None) -> None:
    """If it fails, a method for slices is run on volumes, or the other way round."""

    class Mine(Explainer):
        name = "mine"

        def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
            return images

    Mine.dimensions = dimensions
    for number in (2, 3):
        reason = why_unsupported(Mine(), build_classifier(number), has_truth=True)
        assert (reason is None) == (taken in (None, number))
    if isinstance(dimensions, int):
        found = {str(one.check): one for one in run_checks(checks_of(Mine, build_examples()[:1]))}
        assert "`dimensions` is 2" in found["declaration"].detail


def test_a_state_dict_that_does_not_fit_is_told_whole() -> None:
    """If it fails, whoever loads a checkpoint is not told which of its names are wrong."""
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(5)))
    weights = {"module.0.weight": torch.zeros(2, 2), "1.weight": torch.zeros(3, 3)}
    with pytest.raises(RuntimeError) as caught:
        network.load_state_dict(weights)
    message = short_message(caught.value)
    assert 'Missing key(s) in state_dict: "0.weight", "0.bias", "1.bias"' in message
    assert "and 3 more. Unexpected key(s) in state_dict: " in message
    assert '"module.0.weight".' in message
    assert "size mismatch for 1.weight" in message
    assert "\n" not in message


def test_a_file_that_cannot_be_imported_shows_its_line(tmp_path: Path) -> None:
    """If it fails, an author is told of a missing name, and not where it is missing."""
    path = tmp_path / "mine.py"
    path.write_text("import torch\n\nWIDTH = torch.nothing\n\nclass Mine: ...\n")
    with pytest.raises(PluginError, match=r"mine\.py:3: `WIDTH = torch\.nothing`"):
        Catalogue().explainers.find(f"{path}:Mine")
    path.write_text("import torch\ndef\n")
    with pytest.raises(PluginError, match=r"SyntaxError: invalid syntax \(mine\.py, line 2\)$"):
        Catalogue().explainers.find(f"{path}:Mine")


def test_what_is_no_code_of_the_author_shows_no_line(tmp_path: Path) -> None:
    """If it fails, a line of the product is shown as the author's."""
    divide = eval("lambda: 1 / 0")
    with pytest.raises(ZeroDivisionError) as caught:
        torch.nn.Identity().apply(lambda _: divide())
    assert author_line(caught.value, str(tmp_path / "mine.py")) == ""
    assert author_line(caught.value, "") == ""


def test_check_prints_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, the sentence is made but not shown."""
    write(tmp_path, "raise KeyError('layer5')")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["check", "mine.py:Mine", "--json", "found.json"])
    assert result.exit_code == 1, result.output
    assert "mine.py:12:" in result.output
    clauses = json.loads((tmp_path / "found.json").read_text())["clauses"]
    (detail,) = [one["detail"] for one in clauses if one["clause"] == "shape"]
    assert "KeyError: 'layer5', at mine.py:12: `raise KeyError('layer5')`." in detail


SOURCES = """
import torch
from torch import nn
from benchmark.classifier import Classifier
from benchmark.cohort_source import CohortSource
from benchmark.model_source import ModelSource


class Unfit(ModelSource):
    def load(self, input_shape):
        trunk = nn.Sequential(nn.Conv2d(1, 4, 3))
        trunk.load_state_dict({"module.0.weight": torch.zeros(4, 1, 3, 3)})


class Crooked(ModelSource):
    def load(self, input_shape):
        return Classifier("crooked", Trunk(), nn.Linear(4, 2), input_shape)


class Trunk(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 4, 3)

    def forward(self, images):
        return super().forward(images) @ torch.ones(7, 7)


class Missing(CohortSource):
    def load(self):
        return open("nowhere.csv")
"""


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("Unfit", "trunk.load_state_dict", 'Unexpected key(s) in state_dict: "module.0.weight"'),
        ("Crooked", "return super().forward(images) @", "cannot take grey images"),
        ("Missing", 'return open("nowhere.csv")', "FileNotFoundError"),
    ],
)
def test_sources_show_the_authors_line_too(tmp_path: Path, name: str, line: str, said: str) -> None:
    """If it fails, whoever brings a network or a cohort is told of an error without its place."""
    path = tmp_path / "my_sources.py"
    path.write_text(SOURCES)
    kind = "cohorts" if name == "Missing" else "models"
    plugin = Catalogue().find(f"{path}:{name}", kind).plugin
    detail = run_checks(checks_of(plugin))[0].detail
    assert said in detail
    assert f"`{line}" in detail
