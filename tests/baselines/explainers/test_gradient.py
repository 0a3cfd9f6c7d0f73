"""Gradients of the image against finite differences, closed forms and their axioms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients as Captum
from images import build_images
from torch import nn
from torch.nn import functional

from baselines.explainers import gradient as module
from baselines.explainers.gradient import Saliency
from baselines.explainers.guided import GuidedBackprop
from baselines.explainers.path import IntegratedGradients
from benchmark.classifier import Classifier, PassCounter, Preprocessing
from benchmark.explainer import Explainer
from benchmark.plugins.examples import (
    SHAPE_2D,
    SHAPE_3D,
    build_classifier,
    build_cohort,
    build_transformer,
)
from benchmark.target import ClassLogit, Margin, Projection, Target

METHODS = (Saliency(), IntegratedGradients())
by_name = pytest.mark.parametrize("explainer", METHODS, ids=lambda one: one.name)


@pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return build_classifier(request.param)


def linear_classifier(size: int) -> Classifier:
    """Return a model whose logits are linear in the pixels."""
    return Classifier("linear", nn.Flatten(), nn.Linear(size * size, 2), (size, size))


@by_name
def test_maps_pass_the_gate_and_cost_the_passes_they_declare(explainer: Explainer) -> None:
    """If it fails, a method touches the network, or the foretold cost is wrong."""
    for shape in (SHAPE_2D, SHAPE_3D):
        classifier = build_classifier(len(shape))
        batch = build_cohort(shape, subjects=6).batch(np.arange(3))
        maps = explainer(classifier, batch, Margin(0, 1))
        forward, backward = explainer.passes
        assert maps.shape == batch.images.shape
        assert classifier.passes == PassCounter(3 * forward, 3 * backward)
        assert not batch.images.requires_grad


@by_name
def test_maps_are_made_on_the_device_of_the_model(explainer: Explainer) -> None:
    """If it fails, a map goes through the host, or fails, wherever there is an accelerator."""
    # The device "meta" computes shapes only, and refuses to mix with the host as any other does.
    classifier, images = build_classifier().to("meta"), build_images(2).to("meta")
    assert explainer.attribute(classifier, images, Margin(0, 1)).device.type == "meta"


@by_name
def test_a_map_does_not_depend_on_its_batch(classifier: Classifier, explainer: Explainer) -> None:
    """If it fails, a subject's map changes with its neighbours."""
    images = build_images(40, classifier.input_shape)
    together = explainer.attribute(classifier, images, Margin(0, 1))
    alone = explainer.attribute(classifier, images[33:34], Margin(0, 1))
    scale = float(alone.abs().max())
    torch.testing.assert_close(together[33:34], alone, rtol=0, atol=1e-6 * scale)


def test_integrated_gradients_are_the_same_to_the_bit_in_any_batch(classifier: Classifier) -> None:
    """If it fails, an image's nodes share a pass with another image's."""
    images = build_images(5, classifier.input_shape)
    method = IntegratedGradients()
    together = method.attribute(classifier, images, Margin(0, 1))
    assert torch.equal(together[3:4], method.attribute(classifier, images[3:4], Margin(0, 1)))


@by_name
def test_on_a_linear_model_the_map_is_known(explainer: Explainer) -> None:
    """If it fails, sign or scale of a map is wrong: weights, or weights times image."""
    classifier, images = linear_classifier(6), build_images(3, (6, 6))
    assert isinstance(classifier.head, nn.Linear)
    weight = (classifier.head.weight[0] - classifier.head.weight[1]).view(1, 1, 6, 6)
    expected = weight * images if explainer.name == "integrated_gradients" else weight
    result = explainer.attribute(classifier, images, Margin(0, 1))
    torch.testing.assert_close(result, expected.expand_as(images))


def test_saliency_is_the_slope_that_finite_differences_see(classifier: Classifier) -> None:
    """If it fails, saliency is not the gradient, or holds an absolute value already."""
    slow = classifier.copy().double()
    image = build_images(1, classifier.input_shape).double()
    target = Margin(0, 1)
    result = Saliency().attribute(slow, image, target).flatten()
    assert float(result.min()) < 0 < float(result.max())
    for pixel in (5, 100, 333):
        step = torch.zeros_like(image)
        step.view(-1)[pixel] = 1e-6
        rise = target(*slow(image + step)) - target(*slow(image - step))
        assert float(rise) / 2e-6 == pytest.approx(float(result[pixel]), rel=1e-4, abs=1e-9)


def test_saliency_of_repeated_channels_is_that_of_the_grey_image() -> None:
    """If it fails, a model of colour images gives maps of three channels or of one of them."""
    preprocessing = Preprocessing(3, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    classifier = build_classifier(preprocessing=preprocessing)
    images = build_images(2)
    result = Saliency().attribute(classifier, images, ClassLogit(0))
    colour = preprocessing(images).clone().requires_grad_()
    score = ClassLogit(0)(*classifier.tail(classifier.trunk(colour))).sum()
    (gradient,) = torch.autograd.grad(score, colour)
    per_channel = gradient / torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    torch.testing.assert_close(result, per_channel.sum(1, keepdim=True))


@pytest.mark.parametrize(
    "target",
    [Margin(0, 1), ClassLogit(1), Projection(torch.linspace(-1, 1, 8))],
    ids=lambda one: type(one).__name__,
)
def test_integrated_gradients_are_complete(classifier: Classifier, target: Target) -> None:
    """If it fails, Σa is not F(x) − F(black) within 1 %: steps, rule or baseline are wrong."""
    images = build_images(4, classifier.input_shape)
    maps = IntegratedGradients().attribute(classifier, images, target)
    with torch.no_grad():
        change = target(*classifier(images)) - target(*classifier(torch.zeros_like(images)))
    error = (maps.flatten(1).sum(1) - change).abs() / change.abs()
    assert float(error.max()) < 0.01


def test_integrated_gradients_are_the_same_in_smaller_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, volumes, whose nodes go through in several passes, get other maps."""
    classifier, images = build_classifier(), build_images(2)
    whole = IntegratedGradients().attribute(classifier, images, Margin(0, 1))
    monkeypatch.setattr(module, "AT_ONCE", 5 * 24 * 24)
    parts = IntegratedGradients().attribute(classifier, images, Margin(0, 1))
    torch.testing.assert_close(parts, whole)


def test_the_settings_of_integrated_gradients_are_part_of_its_identity() -> None:
    """If it fails, maps of other steps or another baseline are taken for the same."""
    assert IntegratedGradients().config == {
        "baseline": "black",
        "method": "gausslegendre",
        "steps": 64,
    }


def test_integrated_gradients_are_captums(classifier: Classifier) -> None:
    """If it fails, our quadrature is another."""
    images = build_images(2, classifier.input_shape)
    oracle = Captum(lambda some: Margin(0, 1)(*classifier(some)))
    wanted = oracle.attribute(images, n_steps=64, method="gausslegendre", baselines=0.0)
    ours = IntegratedGradients().attribute(classifier, images, Margin(0, 1))
    assert float((ours - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


def test_guided_backprop_is_the_gradient_with_negative_parts_cut_off() -> None:
    """If it fails, something else goes by the name; written out by hand in float64."""
    torch.manual_seed(0)
    weights = [torch.randn(6, 1, 3, 3).double(), torch.randn(4, 6, 3, 3).double()]
    trunk = nn.Sequential(
        nn.Conv2d(1, 6, 3, bias=False), nn.ReLU(), nn.Conv2d(6, 4, 3, bias=False), nn.ReLU()
    )
    head = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        trunk[0].weight.copy_(weights[0])
        trunk[2].weight.copy_(weights[1])
    model = Classifier("small", trunk, head, (12, 12)).double()
    image = build_images(1, (12, 12)).double()
    first = functional.conv2d(image, weights[0])
    second = functional.conv2d(first.clamp_min(0), weights[1])
    cells = second.shape[2] * second.shape[3]
    slope = (head.weight[0] - head.weight[1]).double().view(1, 4, 1, 1) / cells
    back = slope.expand_as(second)
    back = torch.where((second > 0) & (back > 0), back, 0.0)
    back = functional.conv_transpose2d(back, weights[1])
    back = torch.where((first > 0) & (back > 0), back, 0.0)
    wanted = functional.conv_transpose2d(back, weights[0])
    result = GuidedBackprop().attribute(model, image, Margin(0, 1))
    torch.testing.assert_close(result, wanted)
    assert not torch.allclose(result, Saliency().attribute(model, image, Margin(0, 1)))


def test_guided_backprop_refuses_a_network_without_relus() -> None:
    """If it fails, the plain gradient is scored under its name."""
    assert "no ReLU" in str(GuidedBackprop().supports(build_transformer()))
    assert GuidedBackprop().supports(build_classifier()) is None
