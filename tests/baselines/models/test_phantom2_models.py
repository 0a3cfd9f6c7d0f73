"""The networks of suite v2: what is committed, what each knows, and what it must not know."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.metrics import roc_auc_score

from baselines.cohorts.phantom2 import Phantom2
from baselines.cohorts.sources import Sources
from baselines.explainers.gradient import Saliency
from baselines.models.phantom2_resnet import Phantom2ResNet
from baselines.models.phantom2_vgg import Phantom2VGG
from baselines.models.phantom2_vit import Phantom2ViT
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.model_source import ModelSource
from benchmark.training import Recipe
from benchmark.training.relatives import load_committed, relation
from benchmark.trial import Need, Peers, Retrained, Runtime, Trial
from benchmark.trial.null_networks import LABEL_MODEL
from protocols.known_source import TunedToSource
from protocols.v2.positive_control.marks import BLUR, SHADE, Marking
from protocols.v2.positive_control.networks import TunedToMark

OWN_SOURCE, OTHER_SOURCE = 0.93, 0.10
# On 100 test subjects the AUROC of chance has a standard error of 0.06, and two of 27 values lie
# just beyond these limits: 0.387 and 0.924. On 420 further subjects, made with another seed, they
# are 0.428 and 0.955, and all networks are at 0.927 to 0.984 on their own source, and 0.43 to 0.54
# on the others.
BEYOND = {("phantom2_resnet", "right", "ventricle"), ("phantom2_vgg", "ventricle", "ventricle")}
_FARTHER = 0.02
OWN_MARK, OTHER_MARK = 0.90, 0.08
MARKS = (BLUR, SHADE)
SOURCES = (Phantom2ResNet(), Phantom2VGG(), Phantom2ViT())
by_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)


@lru_cache(maxsize=2)
def _people(cohort: type[CohortSource]) -> Cohort:
    return cohort().load()


def _committed(source: ModelSource, cohort: Cohort, need: Need) -> Classifier:
    """Return a relative's committed weights, which must be those that a run asks for."""
    peers = Peers(recipe=source.recipe or Recipe(), weights=source.relatives)
    network = source.load(cohort.shape)
    trial = Trial(Saliency(), network, cohort, Runtime(torch.device("cpu")), peers)
    relative = need.relative(trial)
    related = relation(relative, cohort, trial.model_identity)
    committed = load_committed(network, source.relatives, relative.name, related)
    assert committed is not None, f"{relative.name} would be trained again in every run"
    return committed


def _margins(network: Classifier, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    with torch.inference_mode():
        parts = [network(batch)[0] for batch in torch.from_numpy(images).split(50)]
    logits = torch.cat(parts).double().numpy()
    margins: npt.NDArray[np.float64] = logits[:, 1] - logits[:, 0]
    return margins


@by_source
def test_the_network_and_its_twin_tell_the_groups_apart_and_permuted_labels_do_not(
    source: ModelSource,
) -> None:
    """If it fails, scores are those of other networks, or a null network knows the disease."""
    people = _people(Phantom2)
    test = people.select("test")
    main = source.load(people.shape)
    twin = _committed(source, people, Retrained(seed=1))
    memorised = _committed(source, people, LABEL_MODEL)
    aurocs = [
        roc_auc_score(test.groups, _margins(network, test.images))
        for network in (main, twin, memorised)
    ]
    assert min(aurocs[:2]) >= 0.88
    assert abs(aurocs[2] - 0.5) < 0.15
    assert source.relatives is not None
    for path in source.relatives.glob(f"{source.name}*.safetensors"):
        assert path.stat().st_size < 1_000_000
        assert json.loads(path.with_suffix(".json").read_text("utf-8"))["sha256"]


@by_source
def test_each_network_of_a_source_knows_it_and_no_other(source: ModelSource) -> None:
    """If it fails, a map cannot be told to follow the network when the task changes."""
    people = _people(Sources)
    test = people.select("test")
    for name in people.sources:
        margins = _margins(_committed(source, people, TunedToSource(name)), test.images)
        for other, labelled in test.sources.items():
            auroc = roc_auc_score(labelled.labels, margins)
            more = _FARTHER if (source.name, name, other) in BEYOND else 0.0
            if other == name:
                assert auroc >= OWN_SOURCE - more
            else:
                assert abs(auroc - 0.5) <= OTHER_SOURCE + more


@by_source
def test_each_network_of_a_mark_sees_it_and_not_the_other(source: ModelSource) -> None:
    """If it fails, a map that shows the other mark is no fault of the map."""
    people = _people(Phantom2)
    marking = Marking(people.select("test"), MARKS)
    # Several draws, since on 200 images the AUROC of chance has a standard error of 0.04.
    draws = [marking.draw("committed networks", number) for number in range(3)]
    images = np.concatenate([drawn.images for drawn in draws])
    present = np.concatenate([drawn.present for drawn in draws])
    for own in range(2):
        margins = _margins(_committed(source, people, TunedToMark(MARKS, own)), images)
        assert roc_auc_score(present[:, own], margins) >= OWN_MARK
        assert abs(roc_auc_score(present[:, 1 - own], margins) - 0.5) <= OTHER_MARK
