"""The axes of feature maps: found by a blob that moves, and turned where they must be."""

from __future__ import annotations

import pytest
import torch
import torchvision
from images import build_images
from torch import Tensor, nn

from baselines.explainers.class_activation import CAM, GradCAM, GradCAMAligned, HiResCAM
from benchmark.classifier import Classifier, GlobalAveragePool, PassCounter
from benchmark.classifier.layout import Turned
from benchmark.plugins.examples import build_classifier
from benchmark.target import Margin

SHAPES = {2: (32, 24), 3: (16, 20, 12)}
CHANNELS = 8


def network(dimensions: int) -> nn.Sequential:
    conv = nn.Conv2d if dimensions == 2 else nn.Conv3d
    torch.manual_seed(0)
    return nn.Sequential(conv(1, CHANNELS, 3, 2, 1), nn.ReLU(), conv(CHANNELS, CHANNELS, 3, 1, 1))


def reordered(dimensions: int, order: tuple[int, ...]) -> Classifier:
    """Return a network whose maps' axes are in another order, and whose pool undoes that."""
    trunk, turned = network(dimensions), Turned(order)
    pool = nn.Sequential(turned.inverse, GlobalAveragePool(), nn.Tanh())
    head = nn.Linear(CHANNELS, 2)
    return Classifier("mine", trunk.append(turned), head, SHAPES[dimensions], pool)


ORDERS = [(0, 1, 2), (1, 2, 0), (0, 2, 1), (2, 1, 0), (0, 1, 2, 3), (1, 2, 3, 0), (0, 3, 2, 1)]


@pytest.mark.parametrize("order", ORDERS)
def test_grad_cam_is_the_same_in_whatever_order_the_axes_are(order: tuple[int, ...]) -> None:
    """If it fails, a map of channels or of a transposed image is scored, without a word."""
    dimensions = len(order) - 1
    straight = reordered(dimensions, tuple(range(dimensions + 1)))
    other = reordered(dimensions, order)
    images, target = build_images(3, other.input_shape), Margin(0, 1)
    torch.testing.assert_close(other(images), straight(images))
    for method in (GradCAM(), HiResCAM(), GradCAMAligned()):
        assert method.supports(other) is None
        maps = method.attribute(other, images, target)
        torch.testing.assert_close(maps, method.attribute(straight, images, target))


@pytest.mark.parametrize("order", ORDERS)
def test_turned_models_share_layers_and_counter_and_can_be_cut(order: tuple[int, ...]) -> None:
    """If it fails, turning a network makes it another one, or hides its layers."""
    other = reordered(len(order) - 1, order)
    images = build_images(3, other.input_shape)
    turned = other.with_channels_first()
    assert turned.maps_shape[0] == CHANNELS
    assert other.passes == PassCounter()
    torch.testing.assert_close(turned(images), other(images))
    assert other.passes == turned.passes == PassCounter(6, 0)
    torch.testing.assert_close(turned.cut("0")(images), other(images))
    assert turned.with_channels_first() is turned
    assert turned.feature_grid.shape == turned.maps_shape[1:]


def test_maps_that_run_against_the_image_are_refused() -> None:
    """If it fails, maps are upside down."""

    class Flipped(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            return maps.flip(2)

    trunk = network(2).append(Flipped())
    classifier = Classifier("mine", trunk, nn.Linear(CHANNELS, 2), SHAPES[2])
    reason = GradCAM().supports(classifier)
    assert reason == "an axis of its feature maps runs against the image's"


def test_axes_that_nobody_can_tell_are_refused_only_where_cells_are_slivers() -> None:
    """If it fails, a network that mixes everything is refused, or its channels pass for cells."""

    class Mixed(nn.Module):
        def __init__(self, last: bool) -> None:
            super().__init__()
            self.last = last

        def forward(self, maps: Tensor) -> Tensor:
            mixed = maps.mean((2, 3), keepdim=True).expand(-1, -1, 2, 2)
            return mixed.movedim(1, -1) if self.last else mixed

    classifiers = []
    for last in (False, True):
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Conv2d(1, 64, 3), Mixed(last))
        pool = nn.Sequential(*([Turned((2, 0, 1))] if last else []), GlobalAveragePool())
        classifiers.append(Classifier("mine", trunk, nn.Linear(64, 2), (32, 32), pool))
    first, last_ones = (GradCAM().supports(classifier) for classifier in classifiers)
    assert first is None
    assert last_ones is not None
    assert "[B, 2, 2, 64], and their axes do not follow the image's" in last_ones


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet_b0"])
def test_untrained_deep_networks_are_taken_at_their_word(name: str) -> None:
    """If it fails, a network without training is refused, or turned where it was right."""
    torch.manual_seed(0)
    features = nn.Sequential(*list(getattr(torchvision.models, name)().children())[:-1])
    trunk = features[:-1] if name == "resnet18" else features[0]
    width = {"resnet18": 512}.get(name, 1280)
    stem = nn.Conv2d(1, 3, 1)
    classifier = Classifier("deep", nn.Sequential(stem, trunk), nn.Linear(width, 2), (64, 64))
    assert classifier.layout.is_declared
    assert classifier.layout.fault is None


@pytest.mark.parametrize("dimensions", [2, 3])
def test_what_the_blob_finds_costs_no_pass_and_is_kept(dimensions: int) -> None:
    """If it fails, class activation maps look dearer than they are."""
    classifier = build_classifier(dimensions)
    assert classifier.with_channels_first() is classifier
    assert classifier.passes == PassCounter()
    assert classifier.layout is classifier.copy().layout or classifier.layout.is_declared
    assert classifier.cut("stem").layout is classifier.cut("stem").layout


def test_weighing_channels_takes_a_plain_pool() -> None:
    """If it fails, CAM weighs the channels of a turned network by another pool than its own."""
    assert CAM().supports(reordered(2, (1, 2, 0))) is not None
