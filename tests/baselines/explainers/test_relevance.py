"""Layer-wise relevance propagation against rules written out; real networks are tested beside."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from images import build_images
from linear_models import linear
from torch import Tensor, nn

from baselines.explainers.class_activation import GradCAM
from baselines.explainers.gradient import Saliency, SmoothGrad
from baselines.explainers.guided import GuidedBackprop, GuidedGradCAM
from baselines.explainers.relevance import LRPComposite, LRPEpsilon, LRPGamma
from benchmark.classifier import Classifier
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_classifier, build_trained
from benchmark.target import ClassLogit, Margin

TARGET = Margin(0, 1)


@pytest.mark.parametrize("shape", [(12, 10), (6, 7, 8)])
def test_on_a_linear_model_relevance_is_the_slope_times_the_image(shape: tuple[int, ...]) -> None:
    """If it fails, the target's share of a logit is wrong."""
    model, slope = linear(shape)
    images = build_images(3, shape)
    made = LRPEpsilon(epsilon=0.0).attribute(model, images, TARGET)
    torch.testing.assert_close(made, slope * images, atol=1e-5, rtol=1e-3)


def layers(*sizes: int) -> Classifier:
    torch.manual_seed(2)
    trunk: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        trunk += [nn.Linear(inputs, outputs), nn.ReLU()]
    return Classifier("layers", nn.Sequential(*trunk), nn.Linear(sizes[-1], 2), (3, 4))


@pytest.mark.parametrize("bias", ["kept", "none"])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_epsilon_is_its_rule(bias: str, share: float) -> None:
    """If it fails, ε is no share of a layer's activations, or biases go the wrong way."""
    model, images = layers(12, 7, 5).double(), build_images(2, (3, 4)).double()
    inputs = [images.flatten(1)]
    linears = [one for one in model.trunk if isinstance(one, nn.Linear)] + [model.head]
    for one in linears:
        inputs.append(one(inputs[-1]).clamp_min(0) if one is not model.head else one(inputs[-1]))
    relevance = inputs[-1].detach() * torch.tensor([0.0, 1.0])
    for layer, before in zip(linears[::-1], inputs[-2::-1], strict=True):
        total = before @ layer.weight.T + (layer.bias if bias == "kept" else 0)
        spread = total.square().mean(1, keepdim=True).sqrt()
        ratio = relevance / (total + (total >= 0).double().mul(2).sub(1) * share * spread)
        relevance = before * (ratio @ layer.weight)
    method = LRPEpsilon(epsilon=share, bias=bias)  # type: ignore[arg-type]
    made = method.attribute(model, images, ClassLogit(1))
    torch.testing.assert_close(made.flatten(1), relevance.detach(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["smallresnet", "smallvgg"])
@pytest.mark.parametrize("method", [LRPGamma(bias="none"), LRPComposite("none")])
def test_relevance_is_conserved_as_methods_are_shipped(name: str, method: LRPGamma) -> None:
    """If it fails, in float32 and with the stabiliser that is used, relevance gets lost."""
    model = Catalogue().models.find(name).create().load((96, 96))
    images = build_images(4, (96, 96))
    with torch.no_grad():
        score = TARGET(*model(images))
    total = method.attribute(model, images, TARGET).flatten(1).sum(1)
    assert float(((total - score) / score).abs().max()) < 0.05


def test_a_layer_without_a_rule_is_refused_by_name() -> None:
    """If it fails, relevance passes a layer as if it were a gradient."""

    class Squared(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.flatten(1) ** 2

    normed = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU())
    for trunk, pool, said in (
        (normed, None, "it has no rule for the network's layers GroupNorm"),
        (nn.Conv2d(1, 4, 3), Squared(), "it has no rule for the network's operations pow"),
    ):
        head = nn.Linear(4 if pool is None else 4 * 22 * 22, 2)
        model = Classifier("mine", trunk, head, (24, 24), pool)
        for method in (LRPEpsilon(), LRPGamma(), LRPComposite()):
            assert method.supports(model) == said


def test_guided_gradcam_is_the_product() -> None:
    """If it fails, one of its factors is another method."""
    model, images = build_trained(), build_images(3)
    made = GuidedGradCAM().attribute(model, images, TARGET)
    guided = GuidedBackprop().attribute(model, images, TARGET)
    cam = GradCAM().attribute(model, images, TARGET).clamp_min(0)
    assert torch.equal(made, guided * cam)
    assert float(made.abs().sum()) > 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_smoothgrad_without_noise_is_the_gradient(dimensions: int) -> None:
    """If it fails, copies are summed instead of averaged, or more than noise is added."""
    model = build_classifier(dimensions)
    images = build_images(2, model.input_shape)
    plain = Saliency().attribute(model, images, TARGET)
    made = SmoothGrad(sigma=0.0, samples=3).attribute(model, images, TARGET)
    torch.testing.assert_close(made, plain, atol=1e-6, rtol=1e-4)
    near = SmoothGrad(sigma=1e-6).attribute(model, images, TARGET)
    torch.testing.assert_close(near, plain, atol=1e-4, rtol=1e-2)
    far = SmoothGrad().attribute(model, images, TARGET)
    assert not torch.allclose(far, plain, atol=1e-4, rtol=1e-2)


def test_smoothgrad_scales_its_noise_to_the_image() -> None:
    """If it fails, a dark image drowns in noise."""
    seen: list[Tensor] = []

    class Spying(Classifier):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(images.detach())
            return super().forward(images)

        def streamlined(self) -> Classifier:
            return self

    plain = build_classifier()
    model = Spying("spying", plain.trunk, plain.head, (24, 24))
    for brightness in (1.0, 0.1):
        image = brightness * build_images(1)
        seen.clear()
        SmoothGrad(sigma=0.2, samples=64).attribute(model, image, TARGET)
        spread = (torch.cat(seen) - image).std() / (image.max() - image.min())
        assert float(spread) == pytest.approx(0.2, rel=0.05)
