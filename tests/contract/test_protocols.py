"""Every protocol of the catalogue, on conv net and transformer, in two and three dimensions."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from absent_gpu import DEVICE, AbsentGpu
from contract_settings import PROTOCOLS, people_of, trial_of, with_relatives
from torch import Tensor
from trials import Values, assert_same_values, cohort_of, values_by_key

from baselines.explainers.gradient import Saliency
from benchmark.arrays import FloatArray
from benchmark.classifier import Classifier
from benchmark.errors import AttributionError
from benchmark.explainer import Explainer
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import Reading
from benchmark.running.cells import conclude
from benchmark.target import Target
from benchmark.trial import Memory, Trial

CASES = [
    pytest.param(name, kind, dimensions, id=f"{name}-{kind}-{dimensions}-D")
    for name in PROTOCOLS
    for kind in ("conv", "transformer")
    for dimensions in (2, 3)
]
EDITS = "counterfactual"


class Louder(Saliency):
    """The same map on another scale."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient, eight times as large: a power of two, so no bit is lost."""
        return 8 * super().attribute(classifier, images, target)


class Blank(Saliency):
    """A map of zeros."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(images)


class Broken(Saliency):
    """A map of NaN."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return NaN."""
        return torch.full_like(images, float("nan"))


def _readings(
    name: str,
    kind: str,
    dimensions: int,
    explainer: Explainer,
    order: np.ndarray | None = None,
    batch_size: int = 64,
) -> tuple[Trial, list[Reading]]:
    cohort = people_of(name, dimensions)
    people = cohort if order is None else cohort.take(order)
    if name == EDITS:
        explainer.family = "optimisation"  # a map counts as minus the change of the image
    trial = trial_of(explainer, kind, dimensions, people, batch_size)
    trial = with_relatives(trial, name, kind, dimensions)
    return trial, PROTOCOLS[name].readings(trial)


@cache
def _plain(name: str, kind: str, dimensions: int) -> tuple[Trial, list[Reading]]:
    """Return what a plain method reads, which several tests compare with."""
    return _readings(name, kind, dimensions, Saliency())


# Sums and means of signed maps are on the scale of the map by definition.
_SCALED = {"roi_pointing": {"mean"}, "group_maps": {"share_of_t", "departure", "region_mean"}}


def _unscaled(readings: list[Reading], name: str) -> Values:
    kept = [one for one in readings if one.statistic not in _SCALED.get(name.split("@")[0], ())]
    return values_by_key(kept)


def test_every_protocol_is_under_contract() -> None:
    """If it fails, a protocol has no settings in contract_settings.py, and owes nothing."""
    assert set(PROTOCOLS) == set(Catalogue().protocols.names)


@pytest.mark.parametrize(("name", "kind", "dimensions"), CASES)
def test_batches_order_and_scale_change_nothing(name: str, kind: str, dimensions: int) -> None:
    """If it fails, a score depends on how it was computed, or on the unit of the map."""
    order = np.random.default_rng(2).permutation(len(cohort_of(dimensions)))
    tolerance = max(PROTOCOLS[name].tolerance, 1e-5)
    _, first = _plain(name, kind, dimensions)
    other = _readings(name, kind, dimensions, Saliency(), order, batch_size=5)[1]
    assert_same_values([values_by_key(first), values_by_key(other)], tolerance)
    if name != EDITS:  # an edit that is eight times as large is another edit
        louder = _readings(name, kind, dimensions, Louder())[1]
        assert_same_values([_unscaled(first, name), _unscaled(louder, name)], tolerance)
    assert [one.statistic for one in first]
    known = {one.name for one in PROTOCOLS[name].statistics}
    assert {one.statistic for one in first} <= known


@pytest.mark.parametrize("explainer", [Blank(), Broken()], ids=["blank", "broken"])
@pytest.mark.parametrize(
    ("name", "kind", "dimensions"),
    [case for case in CASES if PROTOCOLS[str(case.values[0])].explains],
)
def test_a_map_that_says_nothing_gets_no_number(
    name: str, kind: str, dimensions: int, explainer: Explainer
) -> None:
    """If it fails, a blank or broken map is scored, or ends in a traceback."""
    try:
        _, readings = _readings(name, kind, dimensions, explainer)
    except AttributionError:
        return  # the cell fails, since a method that abstains gets no number either
    outcome = conclude(PROTOCOLS[name], readings)
    assert outcome.state in ("failed", "not assessable")
    assert outcome.reason
    score = next(one for one in readings if one.matches(PROTOCOLS[name].primary))
    assert np.isnan(score.values).all()
    assert score.reasons


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_gpu_gives_the_same_scores(name: str) -> None:
    """If it fails, scores do not compare between machines with a GPU and without."""
    trial, readings = _plain(name, "conv", 2)
    moved = with_relatives(_moved(trial, torch.device("cuda")), name, "conv", 2)
    np.testing.assert_allclose(_score(name, moved), _score_of(name, readings), atol=1e-2)


# Networks are trained there with automatic precision, which knows no absent device.
@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "training_regime"])
def test_a_score_is_computed_on_the_device_of_the_network(name: str) -> None:
    """If it fails, a protocol stops on a GPU: it mixes devices, or forgets ``.cpu()``."""
    trial, readings = _plain(name, "conv", 2)
    with AbsentGpu():
        moved = with_relatives(_moved(trial, DEVICE), name, "conv", 2)
        score = _score(name, moved)
    assert moved.classifier.device == DEVICE
    np.testing.assert_allclose(score, _score_of(name, readings), atol=1e-4)


def _moved(trial: Trial, device: torch.device) -> Trial:
    """Return the trial on another device, with nothing remembered."""
    runtime = replace(trial.runtime, device=device)
    network = trial.classifier.copy().to(device)
    return replace(trial, runtime=runtime, classifier=network, memory=Memory())


def _score(name: str, trial: Trial) -> FloatArray:
    return _score_of(name, PROTOCOLS[name].readings(trial))


def _score_of(name: str, readings: list[Reading]) -> FloatArray:
    return next(one for one in readings if one.matches(PROTOCOLS[name].primary)).values
