"""The reference network: what is committed, and that its recipe leads there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from baselines.cohorts.phantom import Phantom
from baselines.models.smallresnet import SmallResNet
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.training import train_from_scratch


@pytest.fixture(scope="module")
def phantom() -> Cohort:
    """The committed cohort."""
    return Phantom().load()


def _auroc(classifier: Classifier, cohort: Cohort) -> float:
    with torch.inference_mode():
        logits = torch.cat([classifier(batch.images)[0] for batch in cohort.batches(64)])
    return float(roc_auc_score(cohort.groups, (logits[:, 1] - logits[:, 0]).numpy()))


def test_the_committed_network_tells_the_groups_apart(phantom: Cohort) -> None:
    """If it fails, the reference scores are those of another network."""
    network = SmallResNet().load(phantom.shape)
    assert _auroc(network, phantom.select("test")) == pytest.approx(0.91, abs=0.01)


def test_the_recipe_leads_to_a_network_as_good(phantom: Cohort) -> None:
    """If it fails, nobody else can train the reference network."""
    torch.set_num_threads(2)
    source = SmallResNet()
    network = train_from_scratch(source.build(phantom.shape), phantom, source.recipe, seed=0)
    assert _auroc(network, phantom.select("test")) == pytest.approx(0.91, abs=0.03)


def test_cells_are_centred_on_every_eighth_pixel(phantom: Cohort) -> None:
    """If it fails, aligned maps are resampled at the wrong places."""
    network = SmallResNet().load(phantom.shape)
    grid = network.feature_grid
    assert (grid.shape, grid.offset, grid.step) == ((12, 12), (0.0, 0.0), (8.0, 8.0))
    images = torch.from_numpy(phantom.images[:32]).requires_grad_()
    maps = network.feature_maps(images)
    gradient = torch.autograd.grad(maps[:, :, 6, 6].sum(), images)[0].abs().sum((0, 1))
    for axis in (0, 1):
        weight = gradient.sum(1 - axis)
        centroid = float((weight * torch.arange(96)).sum() / weight.sum())
        assert abs(centroid - 48.0) < 1.5
        assert abs(centroid - 48.0) < abs(centroid - 51.5)


def test_volumes_are_refused_in_one_sentence() -> None:
    """If it fails, a convolution's complaint reaches the user."""
    with pytest.raises(ClassifierError, match="takes two-dimensional images"):
        SmallResNet().load((48, 48, 96))


def test_no_relu_is_shared_or_in_place() -> None:
    """If it fails, methods that hook activations see one ReLU where two work."""
    network = SmallResNet().build((96, 96))
    relus = [part for part in network.modules() if isinstance(part, torch.nn.ReLU)]
    assert len(relus) == 9
    assert not any(relu.inplace for relu in relus)
    assert sum(np.prod(parameter.shape) for parameter in network.parameters()) < 200_000
