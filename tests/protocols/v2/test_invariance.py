"""What must not change a score of suite v2, on its own networks and cohorts, with few subjects."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from contract_settings import PROTOCOLS
from torch import Tensor
from trials import assert_same_values, values_by_key

from baselines.cohorts.phantom2 import Phantom2
from baselines.cohorts.sources import Sources
from baselines.explainers.class_activation import GradCAM
from baselines.explainers.gradient import Saliency
from baselines.models.phantom2_resnet import Phantom2ResNet
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import NotAssessableError
from benchmark.explainer import Explainer
from benchmark.reading import Reading
from benchmark.running.cells import conclude
from benchmark.running.device import reproducible
from benchmark.target import Target
from benchmark.trial import NULL_COPIES, Memorised, Peers, Runtime, Trial

V2 = [name for name in PROTOCOLS if name.endswith("@2")]
SPECS = [*V2, "known_source"]
_OWN_LABELS = ("twin", "memorised")  # relatives that know the groups of the cohort


class Louder(Saliency):
    """The same map on another scale."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient times a number that is no power of two."""
        return 7 * super().attribute(classifier, images, target)


class Fussy(Saliency):
    """Saliency, which refuses networks that it does not know."""

    known: frozenset[float] = frozenset()

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient, or raise what a third party's method may raise."""
        if _sum_of(classifier) not in self.known:
            raise RuntimeError("no such layer")
        return super().attribute(classifier, images, target)


def _sum_of(classifier: Classifier) -> float:
    return float(sum(values.double().sum() for values in classifier.parameters()))


@pytest.fixture(autouse=True)
def _memorised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the committed network count as one that knows the labels of these few subjects."""
    monkeypatch.setattr(Memorised, "reached", lambda *_: 1.0)


@lru_cache(maxsize=2)
def _cohort(spec: str) -> Cohort:
    """Return the cohort with few subjects, of which every protocol asks some."""
    cohort = Sources().load() if spec == "known_source" else Phantom2().load()
    splits = cohort.participants["split"].to_numpy()
    chosen = [
        np.flatnonzero((splits == split) & (cohort.groups == group))[:count]
        for split, count in (("train", 32), ("test", 6))
        for group in (0, 1)
    ]
    return cohort.take(np.sort(np.concatenate(chosen)))


@lru_cache(maxsize=1)
def _model() -> Classifier:
    return Phantom2ResNet().load(_cohort("delta_t@2").shape)


@lru_cache(maxsize=8)
def _relatives(spec: str) -> dict[str, Classifier]:
    """Return the committed networks, which belong to the whole cohort, by their name."""
    source = Phantom2ResNet()
    whole = Sources().load() if spec == "known_source" else Phantom2().load()
    peers = Peers({}, source.recipe, source.relatives)
    trial = Trial(Saliency(), _model(), whole, Runtime(torch.device("cpu")), peers)
    relatives = PROTOCOLS[spec].relatives(trial)
    return {relative.name: trial.relative(relative).classifier for relative in relatives}


def _trial(
    spec: str, explainer: Explainer, cohort: Cohort, batch_size: int, *, exchanged: bool = False
) -> Trial:
    """Return a trial with a memory of its own; with both logits exchanged, if wanted."""
    peers = Peers({"saliency": Saliency()}, Phantom2ResNet().recipe)
    runtime = Runtime(torch.device("cpu"), batch_size, "v2#0")
    model = _exchange_logits(_model()) if exchanged else _model().copy()
    trial = Trial(explainer, model, cohort, runtime, peers)
    for relative in PROTOCOLS[spec].relatives(trial):
        network = _relatives(spec)[relative.name]
        if exchanged and relative.name in _OWN_LABELS:
            network = _exchange_logits(network)
        trial.relative(replace(relative, fit=network.copy))
    return trial


def _exchange_logits(classifier: Classifier) -> Classifier:
    """Return a copy that calls every group by the other one's number."""
    other = classifier.copy()
    with torch.no_grad():
        for parameter in other.head.parameters():
            parameter.copy_(parameter.flip(0))
    return other


def _readings(spec: str, trial: Trial) -> list[Reading]:
    protocol: Any = PROTOCOLS[spec]
    with reproducible():
        return list(protocol.readings(trial))


@lru_cache(maxsize=8)
def _in_company(spec: str) -> list[Reading]:
    """Return the readings of saliency, after another method filled the memory that both share."""
    shared = _trial(spec, GradCAM(), _cohort(spec), 64)
    _readings(spec, shared)
    return _readings(spec, shared.on(explainer=Saliency()))


@pytest.mark.parametrize("spec", SPECS)
def test_batches_order_scale_and_company_change_nothing(spec: str) -> None:
    """If it fails, a score depends on how it was computed, or on which other maps were scored."""
    cohort, first = _cohort(spec), _in_company(spec)
    order = np.random.default_rng(4).permutation(len(cohort))
    alone = _readings(spec, _trial(spec, Louder(), cohort.take(order), 7))
    tolerance = max(PROTOCOLS[spec].tolerance, 1e-5)
    assert_same_values([values_by_key(first), values_by_key(alone)], tolerance)
    # Eight subjects are too few to say anything of all others.
    assert PROTOCOLS[spec].verdict(first).passed is None
    assert np.isnan(PROTOCOLS[spec].score_interval(first).low)


@pytest.mark.parametrize("spec", V2)
def test_the_numbers_of_the_groups_change_nothing(spec: str) -> None:
    """If it fails, a score depends on which group is called the case."""
    cohort = _cohort(spec)
    people = cohort.participants.assign(group=1 - cohort.groups)
    names = (cohort.group_names[1], cohort.group_names[0])
    turned = replace(cohort, participants=people, group_names=names)
    protocol = PROTOCOLS[spec]
    scores = [
        values_by_key([reading for reading in readings if _is_score(spec, reading)])
        for readings in (
            _in_company(spec),
            _readings(spec, _trial(spec, Saliency(), turned, 64, exchanged=True)),
        )
    ]
    assert_same_values(scores, max(protocol.tolerance, 1e-5))


@pytest.mark.parametrize("spec", ["roi_pointing@2", "agreement@2", "delta_t@2"])
def test_null_networks_that_a_method_refuses_are_named(spec: str) -> None:
    """If it fails, a score owes less to the network than it says, or a method's fault has none."""
    protocol, fussy = PROTOCOLS[spec], Fussy()
    trial = _trial(spec, fussy, _cohort(spec), 64)
    fussy.known = frozenset({_sum_of(_model())})
    with pytest.raises(NotAssessableError, match="no null: RuntimeError: no such layer"):
        _readings(spec, trial)
    fussy.known |= {_sum_of(_relatives(spec)["memorised"])}
    readings = _readings(spec, _trial(spec, fussy, _cohort(spec), 64))
    remark = str(protocol.remark(readings))
    assert remark.count("network (RuntimeError: no such layer)") == NULL_COPIES
    assert "without the randomised 4 network" in remark


@pytest.mark.parametrize("spec", SPECS)
def test_a_cohort_without_a_training_split_ends_in_no_failure(spec: str) -> None:
    """If it fails, a method is blamed for what a cohort of test images lacks."""
    protocol, cohort = PROTOCOLS[spec], _cohort(spec)
    tested = cohort.select("test")
    peers = Peers({"saliency": Saliency()}, Phantom2ResNet().recipe)
    runtime = Runtime(torch.device("cpu"), suite="v2#0")
    trial = Trial(Saliency(), _model().copy(), tested, runtime, peers)
    if spec in ("positive_control@2", "roi_pointing@2", "known_source"):
        with pytest.raises(NotAssessableError, match="the cohort has no training split"):
            _readings(spec, trial)
        return
    readings = _readings(spec, trial)
    if spec == "randomization@2":
        assert protocol.verdict(readings).state == "not assessable"
        return
    # What needs no other network than random copies is scored, and names what it lacks.
    assert conclude(protocol, readings).state == "scored"
    missing = "without the memorised network (no twin, since the cohort has no training split)"
    assert missing in str(protocol.remark(readings))


def _is_score(spec: str, reading: Reading) -> bool:
    return reading.statistic == PROTOCOLS[spec].primary and not reading.conditions
