"""Every explainer of the catalogue, on conv net and transformer, in two and three dimensions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trials import cohort_of

from benchmark.catalogue import Catalogue
from benchmark.explainer import Explainer, why_unsupported
from contract.settings import model_of, trial_of

CATALOGUE = Catalogue().explainers
CASES = [
    pytest.param(name, kind, dimensions, id=f"{name}-{kind}-{dimensions}-D")
    for name in CATALOGUE.names
    for kind in ("conv", "transformer")
    for dimensions in (2, 3)
]


def _supported(name: str, kind: str, dimensions: int) -> Explainer | None:
    """Return the explainer, or None after making sure that its refusal gives a reason."""
    explainer: Explainer = CATALOGUE.find(name).create()
    why = why_unsupported(explainer, model_of(kind, dimensions), has_truth=True)
    if why is None:
        return explainer
    assert len(why.split()) > 3, "a reason that a user understands"
    return None


@pytest.mark.parametrize(("name", "kind", "dimensions"), CASES)
def test_a_map_belongs_to_its_image_alone(name: str, kind: str, dimensions: int) -> None:
    """If it fails, a map moves with batch size, order, or who else is there, or with each call."""
    explainer = _supported(name, kind, dimensions)
    if explainer is None:
        return
    cohort = cohort_of(dimensions)
    order = np.random.default_rng(1).permutation(len(cohort))[: len(cohort) * 3 // 4]
    first = trial_of(explainer, kind, dimensions)
    maps = dict(zip(first.test.keys, first.attributions, strict=True))
    assert first.attributions.isfinite().all()
    assert first.attributions.dtype == torch.float32
    assert not first.attributions.requires_grad
    again = trial_of(explainer, kind, dimensions)
    assert torch.equal(again.attributions, first.attributions)
    other = trial_of(explainer, kind, dimensions, cohort.take(order), batch_size=3)
    for key, one in zip(other.test.keys, other.attributions, strict=True):
        assert torch.equal(one, maps[key]), key


@pytest.mark.parametrize(("name", "kind", "dimensions"), CASES)
def test_everything_is_left_as_it_was(name: str, kind: str, dimensions: int) -> None:
    """If it fails, one method changes what the next one is given."""
    explainer = _supported(name, kind, dimensions)
    if explainer is None:
        return
    trial = trial_of(explainer, kind, dimensions)
    model, images = trial.classifier, trial.test.images.copy()
    parts = list(model.modules())
    before = model.weights_sha256, [part.training for part in parts]
    hooks = [(len(part._forward_hooks), len(part._backward_hooks)) for part in parts]
    states = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    _ = trial.attributions
    assert (model.weights_sha256, [part.training for part in parts]) == before
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == repr(np.random.get_state())  # noqa: NPY002
    assert all(one.grad is None for one in model.parameters())
    assert [(len(part._forward_hooks), len(part._backward_hooks)) for part in parts] == hooks
    np.testing.assert_array_equal(images, trial.test.images)
