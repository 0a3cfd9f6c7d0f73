"""The reference networks: what is committed, and that a recipe leads there."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from baselines.cohorts.phantom import Phantom
from baselines.models.smallresnet import SmallResNet
from baselines.models.smallresnet3d import SmallResNet3D
from baselines.models.smallvgg import SmallVGG
from baselines.models.smallvit import SmallViT
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.model_source import ModelSource
from benchmark.training import load_weights, train_from_scratch

SOURCES = (SmallResNet(), SmallVGG(), SmallViT())
OF_VOLUMES = SmallResNet3D()
BOX = (48, 48, 96)
by_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
by_any_source = pytest.mark.parametrize(
    "source", [*SOURCES, OF_VOLUMES], ids=lambda source: source.name
)


@pytest.fixture(scope="module")
def phantom() -> Cohort:
    """The committed cohort."""
    return Phantom().load()


def _auroc(classifier: Classifier, cohort: Cohort) -> float:
    with torch.inference_mode():
        logits = torch.cat([classifier(batch.images)[0] for batch in cohort.batches(64)])
    return float(roc_auc_score(cohort.groups, (logits[:, 1] - logits[:, 0]).numpy()))


@by_source
def test_the_committed_networks_tell_the_groups_apart(source: ModelSource, phantom: Cohort) -> None:
    """If it fails, the reference scores are those of another network."""
    network = source.load(phantom.shape)
    assert _auroc(network, phantom.select("test")) == pytest.approx(0.915, abs=0.015)


def test_the_recipe_leads_to_a_network_as_good(phantom: Cohort) -> None:
    """If it fails, nobody else can train the reference network."""
    source = SmallResNet()
    network = train_from_scratch(source.build(phantom.shape), phantom, source.recipe, seed=0)
    assert _auroc(network, phantom.select("test")) == pytest.approx(0.91, abs=0.03)


@by_any_source
def test_networks_and_their_relatives_are_small_and_belong_together(source: ModelSource) -> None:
    """If it fails, a clone is slow, or weights were trained again without their relatives."""
    shape = (96, 96) if 2 in source.dimensions else BOX
    own = source.load(shape)
    assert source.relatives is not None
    for path in source.relatives.glob(f"{source.name}*.safetensors"):
        assert path.stat().st_size < 2_000_000
        card = json.loads(path.with_suffix(".json").read_text("utf-8"))
        assert card["sha256"]
    for kind in ("twin", "memorised", "planted-mild", "planted-medium", "planted-strong"):
        relative = source.build(shape)
        relative.name = f"{source.name}-{kind}"
        path = source.relatives / f"{relative.name}.safetensors"
        assert load_weights(relative, path).weights_sha256 != own.weights_sha256


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


@by_source
def test_volumes_are_refused_in_one_sentence(source: ModelSource) -> None:
    """If it fails, a convolution's complaint reaches the user."""
    with pytest.raises(ClassifierError, match=r"takes two-dimensional images.*smallresnet3d"):
        source.load(BOX)


def test_slices_are_refused_by_the_network_of_volumes() -> None:
    """If it fails, `--model smallresnet3d` on slices ends in a convolution's complaint."""
    with pytest.raises(ClassifierError, match=r"takes volumes.*\[96, 96\].*--model smallresnet`"):
        OF_VOLUMES.load((96, 96))


def test_cells_of_volumes_are_centred_on_every_eighth_voxel() -> None:
    """If it fails, aligned maps of volumes are resampled at the wrong places."""
    grid = OF_VOLUMES.build(BOX).feature_grid
    assert (grid.shape, grid.offset, grid.step) == ((6, 6, 12), (0.0,) * 3, (8.0,) * 3)


def test_the_networks_differ_in_what_breaks_methods() -> None:
    """If it fails, no reference network has in-place layers, or none has attention."""
    vgg, vit = SmallVGG().build((96, 96)), SmallViT().build((96, 96))
    relus = [part for part in vgg.modules() if isinstance(part, torch.nn.ReLU)]
    assert relus
    assert all(relu.inplace for relu in relus)
    assert any(isinstance(part, torch.nn.MaxPool2d) for part in vgg.modules())
    assert any(isinstance(part, torch.nn.MultiheadAttention) for part in vit.modules())
    assert not vit.feature_grid.shape


def test_no_relu_is_shared_or_in_place() -> None:
    """If it fails, methods that hook activations see one ReLU where two work."""
    network = SmallResNet().build((96, 96))
    relus = [part for part in network.modules() if isinstance(part, torch.nn.ReLU)]
    assert len(relus) == 9
    assert not any(relu.inplace for relu in relus)
    assert sum(np.prod(parameter.shape) for parameter in network.parameters()) < 200_000
