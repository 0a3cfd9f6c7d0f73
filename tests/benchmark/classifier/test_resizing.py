"""Images that a model resizes by itself: what arrives, what is hashed, and where cells look."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch.nn import functional

from baselines.explainers.class_activation import GradCAMAligned
from baselines.explainers.relevance import LRPEpsilon
from benchmark.classifier import Classifier, Preprocessing
from benchmark.classifier.resizing import carry_back, resize
from benchmark.errors import ClassifierError
from benchmark.plugins.examples import build_classifier
from benchmark.target import Margin

SIZED = Preprocessing(size=(48, 48))


def images_of(*shape: int) -> torch.Tensor:
    return torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(48, 20), (24, 96), (7, 11), (31, 33)])
def test_images_are_resized_as_torch_does(size: tuple[int, int]) -> None:
    """If it fails, a network is shown other pixels than it was trained on."""
    images = images_of(24, 33)
    expected = functional.interpolate(images, size, mode="bilinear", antialias=True)
    torch.testing.assert_close(resize(images, size), expected, rtol=0, atol=1e-5)


def test_volumes_are_resized_along_all_three_axes() -> None:
    """If it fails, a network for volumes sees them stretched."""
    volumes = images_of(6, 7, 8)
    expected = functional.interpolate(volumes, (12, 14, 9), mode="trilinear")
    torch.testing.assert_close(resize(volumes, (12, 14, 9)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 20), (7, 11)])
def test_relevance_comes_back_without_a_loss(size: Sequence[int]) -> None:
    """If it fails, relevance is lost between the network's pixels and the image's."""
    maps = images_of(*size)
    back = carry_back(maps, (24, 33))
    assert back.shape == (2, 1, 24, 33)
    torch.testing.assert_close(back.sum((1, 2, 3)), maps.sum((1, 2, 3)))


def test_the_size_is_part_of_the_weights_identity_and_none_is_not() -> None:
    """If it fails, another size is served the old scores, or every old score is lost."""
    plain, sized = build_classifier(), build_classifier(preprocessing=SIZED)
    assert sized.weights_sha256 != plain.weights_sha256
    other = build_classifier(preprocessing=Preprocessing(size=(48, 49)))
    assert other.weights_sha256 != sized.weights_sha256
    assert repr(Preprocessing()) == "Preprocessing(channels=1, mean=(0.0,), std=(1.0,))"


@pytest.mark.parametrize("shape", [(24, 24), (96, 96), (60, 36)])
def test_cells_look_where_the_gradient_says(shape: tuple[int, int]) -> None:
    """If it fails, aligned maps of a network that resizes its images are shifted."""
    model = build_classifier(input_shape=shape, preprocessing=Preprocessing(size=(48, 48)))
    grid = model.feature_grid
    assert model.maps_shape[1:] == grid.shape
    images = images_of(*shape).requires_grad_()
    cell = tuple(length // 2 for length in grid.shape)
    total = model.feature_maps(images)[:, :, cell[0], cell[1]].sum()
    gradient = torch.autograd.grad(total, images)[0].abs().sum((0, 1))
    for axis in (0, 1):
        weight = gradient.sum(1 - axis)
        centroid = float((weight * torch.arange(shape[axis])).sum() / weight.sum())
        centre = grid.offset[axis] + grid.step[axis] * cell[axis]
        assert centroid == pytest.approx(centre, abs=grid.step[axis] / 2)


def test_methods_give_maps_of_the_images_own_shape() -> None:
    """If it fails, the maps of a network that resizes its images are of another shape."""
    model = build_classifier(input_shape=(30, 24), preprocessing=SIZED)
    for method in (LRPEpsilon(), GradCAMAligned()):
        assert method.supports(model) is None
        assert method.attribute(model, images_of(30, 24), Margin(0, 1)).shape == (2, 1, 30, 24)


def test_volumes_for_a_network_of_slices_are_refused() -> None:
    """If it fails, the user sees a traceback of an interpolation."""
    with pytest.raises(ClassifierError, match=r"resized to \[48, 48\]"):
        build_classifier(input_shape=(8, 8, 8), preprocessing=SIZED)


def test_a_copy_keeps_its_size(tiny_classifier: Classifier) -> None:
    """If it fails, a randomised copy is shown other images than the network itself."""
    model = build_classifier(input_shape=(24, 24), preprocessing=SIZED)
    images = images_of(24, 24)
    assert model.randomised(0, images).preprocessing == SIZED
    torch.testing.assert_close(model.streamlined()(images)[0], model(images)[0])
