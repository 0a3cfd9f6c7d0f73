"""Relatives: one name for one set of weights; committed where they fit, else fitted once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from trials import build_trial, cohort_of

from baselines.explainers.class_activation import GradCAM
from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError
from benchmark.plugins.examples import build_classifier
from benchmark.records.arrays import ArrayFolder
from benchmark.records.store import Store
from benchmark.training import save_weights
from benchmark.training.regimes import RegimeRecipe
from benchmark.training.relatives import Relative, relation
from benchmark.training.threads import torch_threads
from benchmark.training.trainer import Trained, train
from benchmark.trial import Peers, Trial
from benchmark.trial.refits import refit


class Fitting:
    """Counts how often it fits."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Classifier:
        """Return the same weights each time."""
        self.times += 1
        return build_classifier(seed=7)


def _relative(fit: Fitting, name: str = "twin", seed: int = 1) -> Relative:
    return Relative(name, {"seed": seed}, fit, "the network beside it")


def _trial(peers: Peers | None = None, archive: ArrayFolder | None = None) -> Trial:
    trial = build_trial(GradCAM(), classifier=build_classifier(), archive=archive)
    return trial if peers is None else replace(trial, peers=peers)


def test_networks_of_a_run_are_trained_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, workers of one thread give other scores than one process of many.

    With two threads, gradients of a ResNet's weights are other sums than with one.
    """
    threads: list[int] = []

    def fit() -> Classifier:
        threads.append(torch.get_num_threads())
        return build_classifier(seed=7)

    def refitted(*arguments: object, **others: object) -> Trained:
        threads.append(torch.get_num_threads())
        return train(*arguments, **others)  # type: ignore[arg-type]

    monkeypatch.setattr("benchmark.trial.refits.train", refitted)
    trial = _trial()
    with torch_threads(3):
        trial.relative(Relative("twin", {}, fit))
        refit(trial, RegimeRecipe("full", epochs=1, refit=1))
        assert torch.get_num_threads() == 3
    assert threads == [1, 1]


def test_a_relative_is_fitted_once_and_counts_into_the_same_passes() -> None:
    """If it fails, every explainer pays for the training again."""
    fit, trial = Fitting(), _trial()
    first, second = trial.relative(_relative(fit)), trial.relative(_relative(fit))
    assert fit.times == 1
    assert first.classifier is second.classifier
    assert first.model_identity == build_classifier(seed=7).identity_sha256
    assert first.passes is trial.passes
    trial.relative(_relative(fit, seed=2))
    assert fit.times == 2


def test_an_archive_keeps_it_for_the_next_process(tmp_path: Path) -> None:
    """If it fails, a user's twin is trained on every run."""
    fit, told = Fitting(), list[str]()
    weights = []
    for _ in range(2):
        trial = _trial(archive=Store(tmp_path).arrays)
        trial = replace(trial, runtime=replace(trial.runtime, announce=told.append))
        weights.append(trial.relative(_relative(fit)).model_identity)
    assert fit.times == 1
    assert weights[0] == weights[1]
    assert told == ["training the network beside it"], "whoever waits must know what for"


def test_committed_weights_are_taken_for_their_own_model_and_cohort_only(tmp_path: Path) -> None:
    """If it fails, scores do not compare across machines, or foreign weights are trusted."""
    fit, cohort = Fitting(), cohort_of()
    related = relation(_relative(fit), cohort, build_classifier().identity_sha256)
    fitted = build_classifier(seed=9)
    fitted.name = "tiny-twin"
    save_weights(fitted, tmp_path, {"seed": 1, "relation": related})
    peers = Peers(weights=tmp_path)
    assert _trial(peers).relative(_relative(fit)).model_identity == fitted.identity_sha256
    assert fit.times == 0
    other = build_trial(GradCAM(), classifier=build_classifier(seed=3))
    replace(other, peers=peers).relative(_relative(fit))
    assert fit.times == 1
    _trial(peers).relative(_relative(fit, seed=2))
    assert fit.times == 2


def test_committed_weights_that_were_changed_are_refused(tmp_path: Path) -> None:
    """If it fails, a damaged file scores as if it were the reference."""
    fit = Fitting()
    trial = _trial(Peers(weights=tmp_path))
    related = relation(_relative(fit), trial.cohort, trial.model_identity)
    fitted = build_classifier(seed=9)
    fitted.name = "tiny-twin"
    save_weights(fitted, tmp_path, {"relation": related})
    card = tmp_path / f"{trial.classifier.name}-twin.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"sha256": "0" * 64}))
    with pytest.raises(ClassifierError, match="SHA-256"):
        trial.relative(_relative(fit))


def test_drawing_some_maps_gives_the_maps_of_all() -> None:
    """If it fails, two protocols see two maps of one image."""
    everyone, some = _trial(), _trial()
    rows = np.array([5, 2, 11])
    drawn = some.maps(rows)
    assert torch.equal(drawn, everyone.attributions[torch.from_numpy(rows)])
    before = some.passes.snapshot()
    some.maps(rows[:2])
    assert some.passes.since(before).forward == 0
    some.forget_maps()
    some.maps(rows[:2])
    assert some.passes.since(before).forward > 0


def test_exhibits_come_back_from_the_archive(tmp_path: Path) -> None:
    """If it fails, a report made later has no pictures."""
    trial = _trial(archive=Store(tmp_path).arrays)
    assert trial.exhibited("some_protocol") is None
    trial.exhibit("some_protocol", {"image": np.arange(4.0)})
    again = _trial(archive=Store(tmp_path).arrays).exhibited("some_protocol")
    assert again is not None
    assert again["image"].tolist() == [0, 1, 2, 3]
    assert trial.exhibited("another") is None
