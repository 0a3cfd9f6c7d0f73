"""Methods on the networks that people use: torchvision's, and those that the project ships.

The weights are random and batch norm is re-estimated: what is tested holds for any weights. The
largest have all of their layers, but fewer channels, which no rule looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from baselines.explainers.attention import AttentionRollout, GradAttention
from baselines.explainers.gradient import InputXGradient, Saliency
from baselines.explainers.guided import GuidedBackprop
from baselines.explainers.path import IntegratedGradients
from baselines.explainers.reference_difference import DeepLIFT
from baselines.explainers.relevance import LRPComposite, LRPEpsilon, LRPGamma
from baselines.models.smallresnet import SmallResNet
from baselines.models.smallvgg import SmallVGG
from baselines.models.smallvit import SmallViT
from baselines.models.torchvision_network import cut_torchvision
from benchmark.classifier import Classifier, GlobalAveragePool
from benchmark.classifier.buffers.running_statistics import reestimate_statistics
from benchmark.errors import ClassifierError
from benchmark.explainer import Explainer
from benchmark.model_source import ModelSource
from benchmark.target import Margin

MODELS = torchvision.models
TORCHVISION: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "resnet18": (MODELS.resnet18, (64, 64)),
    "resnet50": (MODELS.resnet50, (64, 64)),
    "densenet121": (MODELS.densenet121, (64, 64)),
    "vgg16": (MODELS.vgg16, (64, 64)),
    "convnext_tiny": (MODELS.convnext_tiny, (64, 64)),
    "vit_b_16": (MODELS.vit_b_16, (64, 64)),
    "r3d_18": (MODELS.video.r3d_18, (4, 24, 24)),
}
# How many times fewer channels.
NARROWER = {"vgg16": 8, "r3d_18": 8}
OWN: dict[str, ModelSource] = {one.name: one for one in (SmallResNet(), SmallVGG(), SmallViT())}
NAMES = (*TORCHVISION, *OWN)
# Layers without a rule; everything else there is must be explained.
WITHOUT_RULES = {
    "convnext_tiny": "it has no rule for the network's layers LayerNorm, GELU",
    "vit_b_16": "it has no rule for the network's layers LayerNorm, MultiheadAttention, GELU",
    "smallvit": "it has no rule for the network's layers LayerNorm, MultiheadAttention, GELU",
}
RULED = [name for name in NAMES if name not in WITHOUT_RULES]


@lru_cache(maxsize=1)
def network(name: str) -> Classifier:
    """Return a network in float64."""
    torch.manual_seed(0)
    if name in OWN:
        return OWN[name].load((96, 96)).double()
    build, shape = TORCHVISION[name]
    settings: dict[str, Any] = {"image_size": 64} if name == "vit_b_16" else {}
    built = build(weights=None, num_classes=2, **settings)
    narrow(built, NARROWER.get(name, 1))
    for layer in built.modules():
        if isinstance(layer, nn.Linear):  # ViT's head starts as zeros
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    classifier = cut_torchvision(name, built, shape)
    reestimate_statistics(classifier, lambda: classifier(images_for(classifier, 8)))
    return classifier.double()


def narrow(network: nn.Module, times: int) -> None:
    """Leave so many times fewer channels in every layer of a network of convolutions."""
    if times == 1:
        return
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            layer.out_channels //= times
            layer.in_channels = max(layer.in_channels // times, 3)
            kept = layer.weight.data[: layer.out_channels, : layer.in_channels]
            layer.weight.data = kept * times**0.5  # of the same scale after as before
        elif isinstance(layer, nn.Linear):
            layer.out_features = max(layer.out_features // times, 2)
            layer.in_features //= times
            layer.weight.data = layer.weight.data[: layer.out_features, : layer.in_features]
        elif isinstance(layer, nn.BatchNorm3d):
            layer.num_features //= times
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean = layer.running_mean[: layer.num_features]
            layer.running_var = layer.running_var[: layer.num_features]
            layer.weight.data = layer.weight.data[: layer.num_features]
        if isinstance(getattr(layer, "bias", None), Tensor):
            layer.bias.data = layer.bias.data[: len(layer.weight)]


def images_for(classifier: Classifier, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, *classifier.input_shape, generator=generator)
    return images.to(next(classifier.parameters()))


def without_biases(classifier: Classifier) -> Classifier:
    """Return a copy whose layers and batch norms shift nothing."""
    other = classifier.copy()
    for name, values in (*other.named_parameters(), *other.named_buffers()):
        if name.endswith(("bias", "running_mean")):
            values.data.zero_()
    return other


@pytest.mark.parametrize("name", NAMES, scope="class")
class TestNetwork:
    """One network after the other, since the largest takes a gigabyte to build."""

    def test_gradients_are_what_finite_differences_see(self, name: str) -> None:
        """If it fails, a layer's gradient is not that of its function."""
        model = network(name)
        image, target = images_for(model, 1), Margin(0, 1)
        slope = Saliency().attribute(model, image, target)
        # Along the gradient itself: no single pixel's share is lost in the others' rounding.
        direction = slope / slope.norm()
        # Short of the next kink of a deep ReLU network.
        step = 1e-7
        with torch.no_grad():
            ends = [target(*model(image + side * step * direction)) for side in (1, -1)]
        rise = ends[0] - ends[1]
        assert float(rise) / (2 * step) == pytest.approx(float(slope.norm()), rel=1e-3)
        product = InputXGradient().attribute(model, image, target)
        torch.testing.assert_close(product, image * slope)

    def test_rules_hold_or_say_which_layer_has_none(self, name: str) -> None:
        """If it fails, a method is silently wrong on a network, or refuses without a reason."""
        model = network(name)
        for method in (DeepLIFT(), LRPEpsilon(), LRPGamma(), LRPComposite()):
            assert method.supports(model) == WITHOUT_RULES.get(name)
        relus = GuidedBackprop().supports(model)
        # smallvit has ReLUs between the convolutions of its stem.
        without = name in ("convnext_tiny", "vit_b_16")
        assert relus == ("the network has no ReLU layers to guide" if without else None)
        attends = name in ("vit_b_16", "smallvit")
        assert (AttentionRollout().supports(model) is None) == attends

    def test_attention_reaches_every_patch_and_sums_to_one(self, name: str) -> None:
        """If it fails, attention is read off the wrong layers or rows."""
        model = network(name)
        if AttentionRollout().supports(model) is not None:
            return
        images = images_for(model)
        flow, grid = AttentionRollout().received(model, images, Margin(0, 1))
        torch.testing.assert_close(flow.sum(1), torch.ones(2).to(flow))
        patches = {"vit_b_16": (4, 4), "smallvit": (12, 12)}[name]
        assert grid == patches
        maps = GradAttention().attribute(model, images, Margin(0, 1))
        assert float(maps.min()) >= 0
        assert float(maps.std()) > 0

    def test_deeplift_is_complete(self, name: str) -> None:
        """If it fails, shares of the difference get lost: more than 1 % of it."""
        model = network(name)
        if name in WITHOUT_RULES:
            return
        images, target = images_for(model), Margin(0, 1)
        maps = DeepLIFT().attribute(model, images, target)
        with torch.no_grad():
            change = target(*model(images)) - target(*model(torch.zeros_like(images)))
        error = (maps.flatten(1).sum(1) - change).abs() / change.abs()
        assert float(error.max()) < 0.01

    def test_relevance_is_conserved(self, name: str) -> None:
        """If it fails, relevance appears or vanishes on its way: more than 5 % of the target."""
        model = network(name)
        if name in WITHOUT_RULES:
            return
        images, target = images_for(model), Margin(0, 1)
        # Biases are there, and the zero-bias rules leave them out.
        for method in (LRPGamma(bias="none"), LRPComposite("none")):
            method.stabiliser = 1e-12  # type: ignore[misc]
            assert _lost(method, model, images) < 0.05
        # Not so under LRP-ε: a layer's sum without its bias is any small number. It is tested
        # on a network without biases, where it is image × gradient, in the trunk's units.
        plain = without_biases(model)
        prepared = plain.preprocessing(images).detach().requires_grad_()
        score = target(*plain.tail(plain.trunk(prepared)))
        (gradient,) = torch.autograd.grad(score.sum(), prepared)
        product = (gradient * prepared.detach()).sum(1, keepdim=True)
        method = LRPEpsilon(epsilon=0.0)
        method.stabiliser = 1e-12  # type: ignore[misc]
        result = method.attribute(plain, images, target)
        assert float((result - product).norm() / product.norm()) < 1e-4
        error = (result.flatten(1).sum(1) - score.detach()).abs() / score.detach().abs()
        assert float(error.max()) < 0.05


def _lost(method: Explainer, model: Classifier, images: Tensor) -> float:
    """Return the largest relative difference between the relevance and the target."""
    with torch.no_grad():
        wanted = Margin(0, 1)(*model(images))
    relevance = method.attribute(model, images, Margin(0, 1)).flatten(1).sum(1)
    return float(((relevance - wanted).abs() / wanted.abs()).max())


def test_a_network_that_nobody_cut_is_refused() -> None:
    """If it fails, a network is cut at the wrong layers."""
    with pytest.raises(ClassifierError, match="cut by hand"):
        cut_torchvision("mine", nn.Sequential(GlobalAveragePool()), (8, 8))


def test_integrated_gradients_are_complete_on_the_reference_networks() -> None:
    """If it fails, there are too few nodes for one of the networks."""
    target = Margin(0, 1)
    for source in OWN.values():
        model = source.load((96, 96))
        images = images_for(model)
        with torch.no_grad():
            change = target(*model(images)) - target(*model(torch.zeros_like(images)))
        maps = IntegratedGradients().attribute(model, images, target)
        error = (maps.flatten(1).sum(1) - change).abs() / change.abs()
        assert float(error.max()) < 0.05, source.name
