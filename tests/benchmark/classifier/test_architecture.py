"""The identity of a network holds what it computes, not only the numbers that it learned."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import fx, nn
from torchvision.ops import StochasticDepth

from benchmark.classifier import Classifier
from benchmark.classifier.architecture import architecture_sha256
from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_classifier, build_cohort

PLUGIN = """
import torch
from functools import partial
from benchmark.classifier import Classifier
from benchmark.model_source import ModelSource
from torch import nn
from torch.nn import functional

SCALE = 1.0


def squash(maps):
    return torch.relu(maps)


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, 1, 1)
        self.act = functional.relu
        self.soft = partial(functional.leaky_relu, negative_slope=0.1)
        self.mode = "mean"

    def forward(self, images):
        maps = self.soft(self.act(squash(self.conv(images)))) * SCALE
        return maps.mean((2, 3), keepdim=True) + maps


class Plugin(ModelSource):
    name = "plugin"

    def load(self, input_shape):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trunk, head = nn.Sequential(Trunk(), nn.ReLU(), nn.MaxPool2d(2)), nn.Linear(4, 2)
        return Classifier(self.name, trunk, head, input_shape)
"""

EDITS = (
    ("nn.ReLU()", "nn.Tanh()"),
    ("nn.MaxPool2d(2)", "nn.AvgPool2d(2)"),
    ("nn.MaxPool2d(2)", "nn.MaxPool2d(3)"),
    ("torch.relu(maps)", "torch.tanh(maps)"),
    ("functional.relu", "functional.elu"),
    ("negative_slope=0.1", "negative_slope=0.2"),
    ("SCALE = 1.0", "SCALE = 2.0"),
    ("maps.mean((2, 3), keepdim=True)", "maps.amax((2, 3), keepdim=True)"),
)


def _load(folder: Path, source: str) -> Classifier:
    (folder / "plugin.py").write_text(source, encoding="utf-8")
    entry = Catalogue().models.find(f"{folder / 'plugin.py'}:Plugin")
    return load_fitted(entry.create(), build_cohort())


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_an_edit_of_the_file_is_another_network(tmp_path: Path, before: str, after: str) -> None:
    """If it fails, an edited network is served the scores of the one before."""
    assert before in PLUGIN
    network, edited = (_load(tmp_path, code) for code in (PLUGIN, PLUGIN.replace(before, after)))
    assert network.weights_sha256 == edited.weights_sha256
    assert network.architecture_sha256 != edited.architecture_sha256
    assert network.identity_sha256 != edited.identity_sha256


def test_the_same_file_elsewhere_is_the_same_network(tmp_path: Path) -> None:
    """If it fails, a store is of no use to anyone with another home folder."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (_load(tmp_path / name, PLUGIN) for name in "ab")
    assert first.identity_sha256 == second.identity_sha256
    second.name = "another"
    assert first.identity_sha256 == second.identity_sha256
    assert first.copy().identity_sha256 == first.identity_sha256


def test_a_file_that_the_network_imports_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, an edit of a helper file leaves the old scores in force."""
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for function in ("relu", "tanh"):
        helper = f"import torch\n\n\ndef squash(maps):\n    return torch.{function}(maps)\n"
        (tmp_path / "own_helper.py").write_text(helper)
        monkeypatch.delitem(sys.modules, "own_helper", raising=False)
        network = _load(
            tmp_path, PLUGIN.replace("def squash", "from own_helper import squash\n\n\ndef unused")
        )
        hashes.append(network.architecture_sha256)
    assert hashes[0] != hashes[1]


def test_a_number_that_is_imported_from_a_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, the old scores stay in force where a file of constants is edited."""
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for value in ("1.0", "-2.0"):
        (tmp_path / "own_constants.py").write_text(f"SCALE = {value}\n")
        monkeypatch.delitem(sys.modules, "own_constants", raising=False)
        importing = PLUGIN.replace("SCALE = 1.0", "from own_constants import SCALE")
        hashes.append(_load(tmp_path, importing).architecture_sha256)
    assert hashes[0] != hashes[1]


class _Scaled(nn.Module):
    """A layer whose one setting is kept in a form of the caller's choice."""

    def __init__(self, **settings: object) -> None:
        super().__init__()
        for name, value in settings.items():
            setattr(self, name, value)

    def first(self) -> None:
        """Stand for a method that a setting chooses."""

    def second(self) -> None:
        """Stand for another."""


def _unsaved(value: float) -> nn.Module:
    layer = nn.Identity()
    layer.register_buffer("scale", torch.tensor(value), persistent=False)
    return layer


def _hooked(value: float) -> nn.Module:
    layer = nn.Identity()
    layer.register_forward_hook(partial(_scale_output, value))
    return layer


def _scale_output(value: float, _: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
    return output * value


def _bound(value: float) -> nn.Module:
    layer = _Scaled()
    layer.act = layer.first if value < 1 else layer.second
    return layer


class _Times(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the maps times a number."""
        return maps * self.value


FORMS: dict[str, Callable[[float], nn.Module]] = {
    "private": lambda value: _Scaled(_scale=value),
    "tensor": lambda value: _Scaled(scale=torch.tensor(value)),
    "buffer that is not saved": _unsaved,
    "array": lambda value: _Scaled(scale=np.array([value])),
    "number of NumPy": lambda value: _Scaled(scale=np.float32(value)),
    "closure": lambda value: _Scaled(act=lambda maps: maps * value),
    "default": lambda value: _Scaled(act=lambda maps, scale=value: maps * scale),
    "record": lambda value: _Scaled(config=SimpleNamespace(scale=value)),
    "set": lambda value: _Scaled(modes={"relu" if value < 1 else "tanh"}),
    "hook": _hooked,
    "method": _bound,
    "hidden layer": lambda value: _Scaled(layers=[_Times(value)]),
    "graph": lambda value: fx.symbolic_trace(_Times(value)),
    "trace": lambda value: torch.jit.trace(_Times(value), torch.ones(1)),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
def test_a_setting_counts_in_whatever_form_a_layer_keeps_it(form: str) -> None:
    """If it fails, two settings of a model.toml with the same weights share their scores."""

    def hash_of(value: float) -> str:
        return architecture_sha256(nn.ModuleDict({"trunk": FORMS[form](value)}))

    assert hash_of(0.5) == hash_of(0.5)
    assert hash_of(0.5) != hash_of(2.0)


def test_a_class_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, every copy of a network costs the reading of the files of its layers."""

    def refuse(definition: type) -> str:
        raise OSError(definition)

    first = architecture_sha256(build_classifier())
    monkeypatch.setattr(inspect, "getsource", refuse)
    assert architecture_sha256(build_classifier()) == first


def test_settings_of_layers_and_versions_of_packages_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, another stride, or a package that computes otherwise, shows no difference."""

    def hash_of(*layers: nn.Module) -> str:
        return architecture_sha256(nn.ModuleDict({"trunk": nn.Sequential(*layers)}))

    assert hash_of(nn.Conv2d(1, 2, 3)) == hash_of(nn.Conv2d(1, 2, 3))
    assert hash_of(nn.Conv2d(1, 2, 3)) != hash_of(nn.Conv2d(1, 2, 3, stride=2))
    assert hash_of(nn.ReLU(), nn.Tanh()) != hash_of(nn.Tanh(), nn.ReLU())
    before = hash_of(StochasticDepth(0.1, "row"))
    assert before == hash_of(StochasticDepth(0.1, "row"))
    monkeypatch.setattr("benchmark.classifier.architecture.code.version", lambda name: "99")
    assert before != hash_of(StochasticDepth(0.1, "row"))


@pytest.mark.parametrize("module", ["torchvision", "PIL", "sklearn", "yaml", "numpy"])
def test_packages_are_found_as_python_itself_finds_them(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """If it fails, a network of another package is named anew, and all of its scores are lost."""
    importlib.import_module(module)
    asked: list[str] = []
    monkeypatch.setattr("benchmark.classifier.architecture.code.version", asked.append)
    layer = type("Layer", (nn.ReLU,), {"__module__": module})
    architecture_sha256(nn.Sequential(layer()))
    assert asked == sorted(packages_distributions()[module])[:1]


def test_a_network_that_is_frozen_with_a_suite_is_named_by_its_weights() -> None:
    """If it fails, every record of the frozen suite gets another identity and is measured again."""
    classifier = load_fitted(
        Catalogue().models.find("smallresnet").create(), build_cohort((96, 96))
    )
    assert classifier.architecture_sha256 is None
    assert classifier.identity_sha256 == classifier.weights_sha256


def test_a_classifier_that_is_built_by_hand_has_an_architecture() -> None:
    """If it fails, networks of two activations share what is kept between trials."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        conv, head = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)
    plain, squashed = (
        Classifier("built", nn.Sequential(conv, activation), head, (16, 16))
        for activation in (nn.ReLU(), nn.Tanh())
    )
    assert plain.weights_sha256 == squashed.weights_sha256
    assert plain.identity_sha256 != squashed.identity_sha256
