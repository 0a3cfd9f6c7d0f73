"""Contracts of sources and protocols, and the command that checks a plugin of any kind."""

# ruff: noqa: D101, D102  # what the plugins break is said where they are used

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import torch
from paths import ROOT
from torch import Tensor, nn
from typer.testing import CliRunner

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.commands.app import app
from benchmark.contract import checks_of, run_checks
from benchmark.errors import ClassifierError, PluginError
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import Example, build_classifier, build_cohort
from benchmark.reading import Reading, Verdict
from benchmark.trial import Trial

FILE = Path(__file__)
EXPLAINERS = FILE.with_name("test_explainer_contract.py")
METHOD = '''
import torch
from benchmark.explainer import Explainer


class MyGradient(Explainer):
    """The gradient, smoothed by nothing."""

    name = "my_gradient"
    family = "gradient"

    def attribute(self, classifier, images, target):
        images = images.detach().requires_grad_()
        score = target(*classifier(images)).sum()
        return torch.autograd.grad(score, images)[0]
'''


class Network(ModelSource):
    """A small network; subclasses break one clause each."""

    name = "network"

    def load(self, input_shape: Sequence[int]) -> Classifier:
        if len(input_shape) != 2:
            raise ClassifierError("It takes images alone.")
        return build_classifier(input_shape=input_shape)


class Nothing(Network):
    def load(self, input_shape: Sequence[int]) -> Any:
        return nn.Identity()


class Narrow(Network):
    def load(self, input_shape: Sequence[int]) -> Classifier:
        raise ClassifierError("It takes nothing.")


class Unseeded(Network):
    def load(self, input_shape: Sequence[int]) -> Classifier:
        Unseeded.seed += 1
        return build_classifier(seed=Unseeded.seed, input_shape=input_shape)

    seed = 0


class Deaf(Network):
    def load(self, input_shape: Sequence[int]) -> Classifier:
        model = super().load(input_shape)
        model.head.weight.data.zero_()
        return model


class Mixing(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        pooled = maps.flatten(2).mean(-1)
        return pooled - pooled.mean(0, keepdim=True)


class Mixed(Network):
    def load(self, input_shape: Sequence[int]) -> Classifier:
        model = super().load(input_shape)
        return Classifier("mixed", model.trunk, model.head, input_shape, Mixing())


class Exploding(nn.Linear):
    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, torch.inf)
        nn.init.zeros_(self.bias)


class Explosive(Network):
    def load(self, input_shape: Sequence[int]) -> Classifier:
        model = super().load(input_shape)
        head = Exploding(8, 2)
        head.load_state_dict(model.head.state_dict())
        return Classifier("explosive", model.trunk, head, input_shape)


class People(fakes.TinyCohort):
    """A cohort; subclasses break one clause each."""

    name = "people"


class Nobody(People):
    def load(self) -> Any:
        return []


class Fresh(People):
    def load(self) -> Cohort:
        Fresh.seed += 1
        return build_cohort(seed=Fresh.seed)

    seed = 0


class Untested(People):
    def load(self) -> Cohort:
        cohort = super().load()
        known = np.array(cohort.participants["split"]) != "test"
        return cohort.take(np.flatnonzero(known | (cohort.groups == 0)))


class Repeated(People):
    """Two subjects that have one image."""

    def load(self) -> Cohort:
        cohort = super().load()
        images = cohort.images.copy()
        images[3] = images[1]
        return replace(cohort, images=images)


class Converting(People):
    """Twelve subjects who are in one group at one visit and in the other at the next."""

    def load(self) -> Cohort:
        cohort = super().load()
        subjects = [f"p{row // 2}" for row in range(len(cohort))]
        return replace(cohort, participants=cohort.participants.assign(subject=subjects))


class External(People):
    """A cohort for a network that was trained elsewhere."""

    def load(self) -> Cohort:
        return super().load().select("test")


class Dim(People):
    def load(self) -> Cohort:
        cohort = super().load()
        cohort.images[3] = 0.5
        return cohort


class Asked(fakes.Loading):
    """A protocol; subclasses break one clause each."""

    name = "asked"


class Undeclared(Asked):
    primary = "unheard_of"


class Headless(Asked):
    def readings(self, trial: Trial) -> list[Reading]:
        return super().readings(trial)[1:2]


class Ordered(Asked):
    def readings(self, trial: Trial) -> list[Reading]:
        one = super().readings(trial)[0]
        return [Reading("share", one.sample, one.values + np.arange(len(one.values)))]


class Generous(Asked):
    def readings(self, trial: Trial) -> list[Reading]:
        one = super().readings(trial)[0]
        return [Reading("share", one.sample, np.nan_to_num(one.values))]


class Moody(Asked):
    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        Moody.mood = not Moody.mood
        return Verdict("scored", Moody.mood, "mood")

    mood = False


@pytest.mark.parametrize(
    ("plugin", "clause", "said"),
    [
        (Network, None, ""),
        (Nothing, "loading", "it returns Identity"),
        (Narrow, "loading", "It takes nothing"),
        (Unseeded, "repeatability", "two calls give other weights"),
        (Deaf, "logits", "no gradient of theirs reaches the image"),
        (Mixed, "independence", "alone they differ by"),
        (Explosive, "randomisation", "of the randomised model are not finite"),
        (People, None, ""),
        (Nobody, "loading", "it returns list"),
        (Fresh, "repeatability", "two calls give other fingerprints"),
        (Untested, "splits", "the test split has 0 of"),
        (Repeated, "consistency", "'s001' and 's003' have the same image (test split and train"),
        (Converting, "consistency", "'p0', 'p1', 'p10', … (12 in all) are in both groups"),
        (External, None, ""),
        (Dim, "images", "is blank within its foreground"),
        (Asked, None, ""),
        (Undeclared, "declaration", "`primary` is 'unheard_of'"),
        (Headless, "readings", "no reading of 'share' without conditions"),
        (Ordered, "order", "'share' of "),
        (Generous, "blank map", "it is scored"),
        (Moody, "verdict", "and then"),
    ],
)
def test_sources_and_protocols_have_contracts_too(
    plugin: type, clause: str | None, said: str
) -> None:
    """If it fails, a source or protocol that breaks scores is let through, or a good one is not."""
    broken = [one for one in run_checks(checks_of(plugin)) if one.state == "broken"]
    assert [one.check.name for one in broken][:1] == ([clause] if clause else [])
    assert not clause or said in broken[0].detail


@pytest.mark.parametrize("name", ["roi_pointing", "delta_t", "agreement", "complexity"])
def test_built_in_protocols_keep_theirs(name: str) -> None:
    """If it fails, the contract asks for more than a real protocol can keep.

    The others train networks or draw permutations for minutes; tests/contract holds them to the
    same, on settings of their own.
    """
    found = run_checks(checks_of(Catalogue().protocols.find(name).plugin))
    assert [one.detail for one in found if one.state != "held"] == []


@pytest.mark.parametrize("name", ["edit_reach", "counterfactual"])
def test_a_protocol_may_refuse_the_example(name: str) -> None:
    """If it fails, a protocol that asks for more than a small example has passes for broken."""
    found = run_checks(checks_of(Catalogue().protocols.find(name).plugin))
    assert [one.state for one in found] == ["held"] + 4 * ["not asked"]
    assert all("the example gives nothing to measure" in one.detail for one in found[1:])


@pytest.mark.parametrize("name", Catalogue().models.names)
def test_built_in_models_keep_theirs(name: str) -> None:
    found = run_checks(checks_of(Catalogue().models.find(name).plugin))
    assert [one.detail for one in found if one.state != "held"] == []


def test_the_built_in_cohort_keeps_its_own() -> None:
    found = run_checks(checks_of(Catalogue().cohorts.find("phantom").plugin))
    assert [one.detail for one in found if one.state != "held"] == []


def test_what_is_no_plugin_is_refused() -> None:
    with pytest.raises(PluginError, match="Example is no plugin: subclass Explainer"):
        checks_of(Example)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_check_takes_a_file_in_under_half_a_minute(tmp_path: Path) -> None:
    """If it fails, the author of a method of fifteen lines waits, or is told nothing."""
    path = tmp_path / "my_gradient.py"
    path.write_text(METHOD)
    assert len(METHOD.strip().splitlines()) <= 15
    start = time.monotonic()
    told = call("check", f"{path}:MyGradient", "--json", tmp_path / "found.json")
    assert time.monotonic() - start < 30
    assert told.exit_code == 0, told.output
    assert "explainer my_gradient: " in told.stdout
    assert "none is broken" in told.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert {one["state"] for one in found["clauses"]} <= {"held", "not asked"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((f"{EXPLAINERS}:Coloured",), 1, "broken: shape"),
        ((f"{FILE}:Unseeded",), 1, "model network: "),
        ((f"{FILE}:People",), 0, "cohort people: 5 of 5 clauses hold"),
        ((f"{FILE}:Moody",), 1, "protocol asked: "),
        (("smallvgg", "--kind", "models"), 0, "model smallvgg: 8 of 8 clauses hold"),
        (("smallvgg",), 2, "Unknown explainer 'smallvgg'"),
        ((f"{FILE}:Mixing",), 2, "must be a subclass of benchmark.explainer.Explainer"),
        ((f"{FILE}:Nowhere",), 2, "has no class 'Nowhere'"),
        (("nowhere.py:Mine",), 2, "cannot be read"),
    ],
)
def test_check_takes_any_kind_and_says_what_is_wrong(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    """If it fails, exit code and sentence do not tell a script what happened."""
    told = call("check", *arguments)
    assert told.exit_code == code, told.output
    assert said in told.output
    assert "Traceback" not in told.output


def test_a_check_is_a_test_of_three_lines(tmp_path: Path) -> None:
    """If it fails, a third party cannot hold a method to the contract in its own tests."""
    (tmp_path / "my_gradient.py").write_text(METHOD)
    (tmp_path / "test_mine.py").write_text(
        "import pytest\nfrom benchmark.contract import checks_of\n"
        "from my_gradient import MyGradient\n\n"
        "@pytest.mark.parametrize('check', checks_of(MyGradient), ids=str)\n"
        "def test_contract(check):\n    check()\n"
    )
    root = ROOT
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{root}:{tmp_path}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "11 passed" in run.stdout, run.stdout + run.stderr
