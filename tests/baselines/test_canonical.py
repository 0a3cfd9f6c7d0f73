"""The canonical form: the same function, every activation its own module, no batch norm left."""

from __future__ import annotations

import pytest
import torch
from images import build_images
from torch import Tensor, nn
from torch.nn import functional

from baselines.canonical import Affine, PairwiseMax, Sum, canonical, operations, why_no_rule
from benchmark.classifier import Classifier, GlobalAveragePool, PassCounter
from benchmark.errors import UnsupportedError
from benchmark.plugins.examples import build_classifier, build_transformer

ALL = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Linear, GlobalAveragePool, Sum)


class Residual(nn.Module):
    """Does what breaks methods that hook layers: reuse, in-place work, sums, functional calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.late = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps, and what two convolutions make of them."""
        inner = self.relu(self.norm(self.first(maps)))
        inner = self.second(inner)
        inner += maps
        return self.relu(self.late(functional.relu(inner)))


class Choosing(nn.Module):
    """Goes another way for other values."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps or their negative."""
        return maps if maps.sum() > 0 else -maps


def residual_classifier() -> Classifier:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), Residual())
    for part in trunk.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn(4)
            part.running_var = 0.5 + torch.rand(4)
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return Classifier("residual", trunk, nn.Linear(4, 2), (12, 12))


def same(model: Classifier, rewritten: Classifier) -> bool:
    kinds = {kind for _, kind in operations(rewritten)}
    return why_no_rule(model, rewritten, (nn.Module,), kinds) is None


@pytest.mark.parametrize("fold", [False, True])
def test_the_function_and_its_gradient_stay(fold: bool) -> None:
    """If it fails, methods explain another network."""
    model, images = residual_classifier().double(), build_images(3, (12, 12)).double()
    rewritten = canonical(model, fold)
    wanted, got = (
        torch.autograd.grad(one(leaf)[0][:, 0].sum(), leaf)[0]
        for one in (model, rewritten)
        for leaf in [images.clone().requires_grad_()]
    )
    torch.testing.assert_close(rewritten(images)[0], model(images)[0])
    torch.testing.assert_close(got, wanted)
    assert same(model, rewritten)
    assert model.weights_sha256 == residual_classifier().double().weights_sha256


def test_every_activation_is_its_own_module_and_out_of_place() -> None:
    """If it fails, a hook sees one of two activations, or values that were written over."""
    rewritten = canonical(residual_classifier())
    relus = [part for part in rewritten.modules() if isinstance(part, nn.ReLU)]
    assert len(relus) == 3
    assert not any(one.inplace for one in relus)
    kinds = [kind for _, kind in operations(rewritten)]
    assert kinds.count(Sum) == 1
    assert functional.relu not in kinds


def test_batch_norm_is_folded_or_a_scale_and_a_shift() -> None:
    """If it fails, a rule is asked about batch norm, which none is known for."""
    kinds = [kind for _, kind in operations(canonical(residual_classifier(), fold=True))]
    assert nn.BatchNorm2d not in kinds
    assert kinds.count(Affine) == 1, "the norm behind the sum has no layer to go into"
    kept = [kind for _, kind in operations(canonical(residual_classifier()))]
    assert kept.count(nn.BatchNorm2d) == 2


def test_passes_are_counted_where_the_model_counts() -> None:
    """If it fails, what a method costs is not known."""
    model = build_classifier()
    canonical(model)(build_images(3))
    assert model.passes == PassCounter(3, 0)


def test_a_network_that_cannot_be_traced_says_so() -> None:
    """If it fails, tracing errors reach the user."""
    model = Classifier("choosing", Choosing(), nn.Linear(1, 2), (6, 6))
    with pytest.raises(UnsupportedError, match="its layers cannot be traced"):
        canonical(model)


def test_another_function_is_refused() -> None:
    """If it fails, a wrong rewriting goes unseen."""
    model = build_classifier()
    other = canonical(model)
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    assert "without changing what it computes" in str(why_no_rule(model, other, ALL, set()))


def test_what_no_rule_is_known_for_is_named() -> None:
    """If it fails, a user is told that something is unsupported, and not what."""
    model = build_classifier()
    known = tuple(kind for kind in ALL if kind is not nn.ReLU)
    assert why_no_rule(model, canonical(model), known, set()) == (
        "it has no rule for the network's layers ReLU"
    )
    residual = residual_classifier()
    assert why_no_rule(residual, canonical(residual), ALL, set()) == (
        "it has no rule for the network's operations stack"
    )


@pytest.mark.parametrize("build", [build_classifier, build_transformer])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_small_networks_of_both_kinds_keep_their_logits(build: object, dimensions: int) -> None:
    """If it fails, volumes or transformers are rewritten wrongly."""
    assert callable(build)
    model = build(dimensions)
    assert same(model, canonical(model))


def test_it_is_made_once_and_again_when_weights_change() -> None:
    """If it fails, every batch pays for the tracing, or a changed model is explained as before."""
    model, images = build_classifier(), build_images(2)
    first = canonical(model)
    assert canonical(model) is first
    assert canonical(model, fold=True) is not first
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    assert same(model, canonical(model))
    model.passes = PassCounter()
    canonical(model)(images)
    assert model.passes.forward == 2
    moved = model.to("meta")
    assert canonical(moved)(images.to("meta"))[0].device.type == "meta"


@pytest.mark.parametrize(
    ("pool", "shape"),
    [
        (nn.MaxPool2d(2), (8, 10)),
        (nn.MaxPool2d(3, 2, 1), (9, 12)),
        (nn.MaxPool2d((3, 2), (1, 2), (1, 0)), (7, 9)),
        (nn.MaxPool3d(3, 2, 1), (6, 7, 8)),
    ],
    ids=str,
)
def test_max_pooling_is_a_tournament(pool: nn.Module, shape: tuple[int, ...]) -> None:
    """If it fails, DeepLIFT explains another network."""
    conv = (nn.Conv2d if len(shape) == 2 else nn.Conv3d)(1, 3, 1)
    model = Classifier("pooled", nn.Sequential(conv, pool), nn.Linear(3, 2), shape)
    rewritten = canonical(model, pairs=True)
    assert PairwiseMax in [kind for _, kind in operations(rewritten)]
    images = build_images(3, shape) - 0.5
    torch.testing.assert_close(rewritten.feature_maps(images), model.feature_maps(images))


def test_max_pooling_with_holes_or_a_ceiling_stays() -> None:
    """If it fails, windows that no tournament is held in are pooled wrongly."""
    for pool in (nn.MaxPool2d(3, dilation=2), nn.MaxPool2d(3, 2, ceil_mode=True)):
        trunk = nn.Sequential(nn.Conv2d(1, 3, 1), pool)
        model = Classifier("pooled", trunk, nn.Linear(3, 2), (12, 12))
        kinds = [kind for _, kind in operations(canonical(model, pairs=True))]
        assert nn.MaxPool2d in kinds
