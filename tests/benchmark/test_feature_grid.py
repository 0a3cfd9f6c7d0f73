"""Where feature cells look: by arithmetic, on known networks, and by where gradients really go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torchvision
from images import build_images
from torch import Tensor, nn

from benchmark.feature_grid import FeatureGrid, trace_grid, upsample, upsample_aligned


def resnet50() -> nn.Module:
    return nn.Sequential(*list(torchvision.models.resnet50(weights=None).children())[:-2])


def vgg16() -> nn.Module:
    features: nn.Module = torchvision.models.vgg16(weights=None, init_weights=False).features
    return features


def densenet121() -> nn.Module:
    features: nn.Module = torchvision.models.densenet121(weights=None).features
    return features


def convnext_tiny() -> nn.Module:
    features: nn.Module = torchvision.models.convnext_tiny(weights=None).features
    return features


def r3d_18() -> nn.Module:
    network = torchvision.models.video.r3d_18(weights=None)
    return nn.Sequential(*list(network.children())[:-2])


STACKS: dict[str, tuple[list[nn.Module], float, float]] = {
    "odd kernels, stride two": ([nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, 1)], 0, 4),
    "even pools": ([nn.Conv2d(1, 1, 3, 1, 1), nn.MaxPool2d(2), nn.AvgPool2d(2)], 1.5, 4),
    "patches": ([nn.Conv2d(1, 1, 8, 8)], 3.5, 8),
    "no padding": ([nn.Conv2d(1, 1, 5), nn.Conv2d(1, 1, 3, 2)], 3, 2),
    "dilated": ([nn.Conv2d(1, 1, 3, 2, 0, dilation=3)], 3, 2),
    "pool with its own stride": ([nn.AvgPool2d(3, 1, 1), nn.MaxPool2d(2, 3)], 0.5, 3),
    "pointwise layers": ([nn.BatchNorm2d(1), nn.ReLU(), nn.Conv2d(1, 1, 1)], 0, 1),
}


@pytest.mark.parametrize("stack", STACKS)
def test_known_stacks_have_the_centres_that_arithmetic_gives(stack: str) -> None:
    """If it fails, aligned maps of such layers are shifted."""
    layers, offset, step = STACKS[stack]
    grid = trace_grid(nn.Sequential(*layers).eval(), torch.zeros(1, 1, 48, 40))
    assert grid.offset == (offset, offset)
    assert grid.step == (step, step)


@pytest.mark.parametrize(
    ("build", "size", "offset", "step"),
    [
        (resnet50, (224, 224), (0.0, 0.0), (32.0, 32.0)),
        (vgg16, (224, 224), (15.5, 15.5), (32.0, 32.0)),
        (densenet121, (224, 224), (14.0, 14.0), (32.0, 32.0)),
        (convnext_tiny, (224, 224), (15.5, 15.5), (32.0, 32.0)),
        (r3d_18, (16, 64, 48), (0.0, 0.0, 0.0), (8.0, 16.0, 16.0)),
    ],
)
def test_torchvision_networks_have_their_known_centres(
    build: Callable[[], nn.Module],
    size: tuple[int, ...],
    offset: tuple[float, ...],
    step: tuple[float, ...],
) -> None:
    """If it fails, blocks, branches or functional calls of real networks are misread."""
    with torch.device("meta"):  # The operators run on shapes alone, so nothing is computed.
        trunk, example = build().eval(), torch.zeros(1, 3, *size)
    grid = trace_grid(trunk, example)
    assert grid.offset == pytest.approx(offset, abs=0.01)
    assert grid.step == step
    expected = [math.ceil(length / pace) for length, pace in zip(size, step, strict=True)]
    assert grid.shape == tuple(expected)


def test_axes_are_kept_apart() -> None:
    """If it fails, anisotropic kernels, common for thick slices, get another axis's centres."""
    trunk = nn.Conv3d(1, 2, (1, 3, 5), (1, 2, 3), (0, 1, 0))
    grid = trace_grid(trunk, torch.zeros(1, 1, 4, 9, 14))
    assert grid == FeatureGrid((4, 5, 4), (0.0, 0.0, 2.0), (1.0, 2.0, 3.0))


def test_a_shortcut_does_not_hide_the_stride() -> None:
    """If it fails, a residual block counts with the step of its finer input."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.short = nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(1, 2, 1, 2)

        def forward(self, maps: Tensor) -> Tensor:
            return torch.relu(self.first(maps) + self.short(maps))

    grid = trace_grid(nn.Sequential(Block(), nn.AvgPool2d(2)), torch.zeros(1, 1, 16, 16))
    assert (grid.offset, grid.step) == ((1.0, 1.0), (4.0, 4.0))


@pytest.mark.parametrize("trunk", [nn.Flatten(), nn.Flatten(2)])
def test_maps_without_space_have_an_empty_grid(trunk: nn.Module) -> None:
    """If it fails, vectors and tokens pass for images."""
    assert trace_grid(trunk, torch.zeros(1, 1, 8, 8)) == FeatureGrid((), (), ())


def positive_network(dimensions: int) -> tuple[nn.Sequential, Tensor]:
    """Return a network whose weights are all positive, and an image for it."""
    layers: list[nn.Module]
    if dimensions == 2:
        layers = [
            nn.Conv2d(1, 16, 7, 2, 3),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(16, 16, 3, 1, 1),
            nn.Conv2d(16, 16, 3, 2, 1),
            nn.AvgPool2d(2),
        ]
        image = build_images(1, (160, 160))
    else:
        layers = [
            nn.Conv3d(1, 16, 3, 2, 1),
            nn.AvgPool3d(2),
            nn.Conv3d(16, 16, 3, 1, 1),
            nn.Conv3d(16, 16, 3, 2, 1),
        ]
        image = build_images(1, (48, 48, 48))
    network = nn.Sequential(*layers)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return network, image


def gradient_centroid(network: nn.Module, image: Tensor, cell: Sequence[int]) -> list[float]:
    """Return the centroid of the gradient's magnitude, in pixels, of one cell's channels."""
    image = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(image)[(0, slice(None), *cell)].sum(), image)
    weight = gradient[0].abs().sum(0).double()
    coordinates = torch.nonzero(torch.ones_like(weight)).double()
    return ((coordinates * weight.flatten()[:, None]).sum(0) / weight.sum()).tolist()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_gradients_of_a_middle_cell_centre_where_computed(dimensions: int) -> None:
    """If it fails, the centres are arithmetic that has nothing to do with what a cell sees."""
    network, image = positive_network(dimensions)
    grid = trace_grid(network, image)
    cell = [length // 2 for length in grid.shape]
    centroid = gradient_centroid(network, image, cell)
    for axis in range(dimensions):
        computed = grid.offset[axis] + grid.step[axis] * cell[axis]
        assert abs(centroid[axis] - computed) < 0.5


def test_a_random_resnet50_looks_where_computed_rather_than_where_upsampling_assumes() -> None:
    """If it fails, there is no shift to correct on the network that made us correct it."""
    network, image = resnet50().eval(), build_images(1, (224, 224)).expand(-1, 3, -1, -1)
    grid = trace_grid(network, image)
    centroid = gradient_centroid(network, image, (3, 3))
    for axis in range(2):
        computed, assumed = grid.offset[axis] + 3 * grid.step[axis], 3 * 32 + 15.5
        assert abs(centroid[axis] - computed) < abs(centroid[axis] - assumed)


@pytest.mark.parametrize("size", [(32, 24), (16, 24, 32)])
def test_a_single_hot_cell_peaks_at_its_centre(size: tuple[int, ...]) -> None:
    """If it fails, an aligned map points beside what the cell saw."""
    shape = tuple(length // 4 for length in size)
    grid = FeatureGrid(shape, (1.0,) * len(size), (4.0,) * len(size))
    cell = tuple(range(1, 1 + len(size)))
    maps = torch.zeros(1, 1, *shape)
    maps[(0, 0, *cell)] = 1
    resized = upsample_aligned(maps, size, grid)
    peak = [int(index) for index in torch.unravel_index(resized[0, 0].argmax(), size)]
    assert peak == [1 + 4 * index for index in cell]
    assert float(resized.max()) == 1


@pytest.mark.parametrize("dimensions", [2, 3])
def test_aligning_moves_a_map_by_the_known_shift(dimensions: int) -> None:
    """If it fails, plain and aligned maps differ by something else than (s − 1)/2 pixels."""
    step, cells = 4, 8
    ramp = torch.arange(cells, dtype=torch.float64).expand(1, 1, *(cells,) * dimensions)
    size = (step * cells,) * dimensions
    grid = FeatureGrid((cells,) * dimensions, (0.0,) * dimensions, (float(step),) * dimensions)
    plain = upsample(ramp, size)[..., 4:-4]
    aligned = upsample_aligned(ramp, size, grid)[..., 4:-4]
    # On a ramp of slope 1/step, a shift by (step − 1)/2 pixels is a constant difference.
    torch.testing.assert_close(aligned - plain, torch.full_like(plain, (step - 1) / 2 / step))


def test_without_a_shift_both_resizings_agree() -> None:
    """If it fails, alignment changes maps of networks that need none, such as VGG-16."""
    maps = build_images(2, (6, 5))
    grid = FeatureGrid((6, 5), (1.5, 1.5), (4.0, 4.0))
    torch.testing.assert_close(upsample_aligned(maps, (24, 20), grid), upsample(maps, (24, 20)))


def test_beyond_the_outermost_centres_the_nearest_value_is_held() -> None:
    """If it fails, aligned maps extrapolate at the rim, and the rim outranks the inside."""
    grid = FeatureGrid((3,), (2.0,), (3.0,))
    resized = upsample_aligned(torch.tensor([[[1.0, 2.0, 4.0]]]), (12,), grid)
    assert resized[0, 0, :3].tolist() == [1, 1, 1]
    assert resized[0, 0, 8:].tolist() == [4, 4, 4, 4]


def test_a_single_cell_covers_everything() -> None:
    """If it fails, a map of one cell crashes the resizing."""
    grid = FeatureGrid((1, 1), (0.0, 0.0), (8.0, 8.0))
    assert torch.equal(
        upsample_aligned(torch.ones(1, 1, 1, 1), (8, 8), grid), torch.ones(1, 1, 8, 8)
    )
