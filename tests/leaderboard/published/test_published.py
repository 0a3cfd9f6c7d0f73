"""Published facts come out on the reference model: what sanity checks are known to show."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch

from baselines.cohorts.phantom import Phantom
from baselines.explainers.class_activation import GradCAM
from baselines.explainers.controls import Centre, Intensity, Random, Sobel
from baselines.explainers.gradient import Saliency
from baselines.explainers.guided import GuidedBackprop
from baselines.models.smallresnet import SmallResNet
from benchmark.explainer import Explainer
from benchmark.reading import Reading, find, summarise
from benchmark.statistics.bootstrap import Interval
from benchmark.training.relatives import load_committed, relation
from benchmark.trial import Peers, Runtime, Trial
from protocols.randomization import Randomization, RandomizationConfig

PROTOCOL = Randomization(
    RandomizationConfig(subjects=16, walk_subjects=16, seeds=1, smooth_passes=0)
)


@lru_cache(maxsize=1)
def _trial() -> Trial:
    source, cohort = SmallResNet(), Phantom().load()
    peers = Peers({}, source.recipe, source.relatives)
    runtime = Runtime(torch.device("cpu"), suite="v1#0")
    return Trial(Random(), source.load(cohort.shape), cohort, runtime, peers)


@lru_cache(maxsize=8)
def _readings(kind: type[Explainer]) -> list[Reading]:
    return PROTOCOL.readings(_trial().on(explainer=kind()))


def _interval(kind: type[Explainer], statistic: str) -> Interval:
    reading = find(_readings(kind), statistic)
    assert reading is not None
    return summarise(reading)


def test_guided_backprop_hardly_notices_the_last_layer() -> None:
    """If it fails, the one fact that every paper since Adebayo et al. 2018 reports is missing."""
    guided = _interval(GuidedBackprop, "last_layer")
    assert guided.low > 0.85
    for kind in (Saliency, GradCAM):
        assert _interval(kind, "last_layer").high < guided.low - 0.1


def test_guided_backprop_keeps_more_on_a_random_network_than_the_plain_gradient() -> None:
    """If it fails, batch norm's stale statistics flatter it."""
    assert _interval(GuidedBackprop, "full").low > _interval(Saliency, "full").high


@pytest.mark.parametrize("kind", [Sobel, Intensity, Centre, Random])
def test_maps_without_a_model_fail_the_gate(kind: type[Explainer]) -> None:
    """If it fails, an edge detector passes for an explanation."""
    assert PROTOCOL.verdict(_readings(kind)).passed is False


@pytest.mark.parametrize("kind", [GradCAM, Saliency])
def test_maps_of_the_model_pass_the_gate(kind: type[Explainer]) -> None:
    """If it fails, the gate fails everyone, and means nothing."""
    assert PROTOCOL.verdict(_readings(kind)).passed


def test_the_twin_and_the_memorised_network_are_the_committed_ones() -> None:
    """If it fails, they were fitted here, and scores do not compare across machines."""
    trial = _trial()
    for one in PROTOCOL.relatives(trial):
        related = relation(one, trial.cohort, trial.model_identity)
        assert load_committed(trial.classifier, trial.peers.weights, one.name, related) is not None
