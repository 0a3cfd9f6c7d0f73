"""Every explainer of the catalogue keeps its contract, on small models and the reference models."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from absent_gpu import DEVICE, AbsentGpu
from contract_settings import model_of, trial_of
from trials import cohort_of

from benchmark.contract import checks_of, run_checks
from benchmark.explainer import Explainer, why_unsupported
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import Example, build_cohort, build_examples
from benchmark.trial import Memory

CATALOGUE = Catalogue()
# Those of other cohorts are made of the same blocks.
MODELS = ("smallresnet", "smallresnet3d", "smallvgg", "smallvit")
SHAPES = {2: (32, 32), 3: (16, 16, 16)}
CASES = [
    pytest.param(name, kind, dimensions, id=f"{name}-{kind}-{dimensions}-D")
    for name in CATALOGUE.explainers.names
    for kind in ("conv", "transformer")
    for dimensions in (2, 3)
]


@lru_cache(maxsize=1)
def examples() -> tuple[Example, ...]:
    """Return the small models, and the reference models on images a third as wide.

    What is asked holds for any size, and it is asked hundreds of times. The positions of smallvit
    are of one size, so that its weights are fresh.
    """
    cohorts = {count: build_cohort(shape, subjects=96) for count, shape in SHAPES.items()}
    torch.manual_seed(0)
    models = []
    for source in (CATALOGUE.models.find(name).create() for name in MODELS):
        cohort = cohorts[min(source.dimensions)]
        shape = cohort.shape
        model = source.build(shape) if source.name == "smallvit" else source.load(shape)
        models.append(Example(model.name, model, cohort))
    return *build_examples(), *models


@pytest.mark.parametrize("name", CATALOGUE.explainers.names)
def test_the_contract_is_kept(name: str) -> None:
    """If it fails, a built-in method does what third parties are refused for."""
    findings = run_checks(checks_of(CATALOGUE.explainers.find(name).plugin, examples()))
    assert [one.detail for one in findings if one.state == "broken"] == []


@pytest.mark.parametrize(("name", "kind", "dimensions"), CASES)
def test_a_trial_explains_everyone_alike(name: str, kind: str, dimensions: int) -> None:
    """If it fails, a map moves with batch size, order, or who else is there."""
    explainer: Explainer = CATALOGUE.explainers.find(name).create()
    if why_unsupported(explainer, model_of(kind, dimensions), has_truth=True) is not None:
        return
    plain = cohort_of(dimensions).take(np.arange(24))
    cohort = replace(plain, partners=1 - plain.images, normals=1 - plain.images)
    order = np.random.default_rng(1).permutation(len(cohort))[: len(cohort) * 3 // 4]
    first = trial_of(explainer, kind, dimensions, cohort)
    maps = dict(zip(first.test.keys, first.attributions, strict=True))
    other = trial_of(explainer, kind, dimensions, cohort.take(order), batch_size=3)
    for key, one in zip(other.test.keys, other.attributions, strict=True):
        assert torch.equal(one, maps[key]), key


@pytest.mark.parametrize("name", CATALOGUE.explainers.names)
def test_maps_are_made_on_the_device_of_the_network(name: str) -> None:
    """If it fails, a method stops on a GPU: it mixes devices, or forgets ``.cpu()``."""
    explainer: Explainer = CATALOGUE.explainers.find(name).create()
    kinds = ("conv", "transformer")
    kind = next(
        kind for kind in kinds if why_unsupported(explainer, model_of(kind, 2), True) is None
    )
    plain = cohort_of().take(np.arange(24))
    cohort = replace(plain, partners=1 - plain.images, normals=1 - plain.images)
    trial, rows = trial_of(explainer, kind, 2, cohort), np.arange(2)
    expected = trial.maps(rows)
    with AbsentGpu():
        there = replace(trial.runtime, device=DEVICE)
        network = trial.classifier.copy().to(DEVICE)
        maps = replace(trial, runtime=there, classifier=network, memory=Memory()).maps(rows)
    assert network.device == DEVICE
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
