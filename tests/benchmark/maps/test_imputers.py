"""Imputers against plain float64 versions, and each image on its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from benchmark.errors import InputError
from benchmark.maps.imputers import Blur, CohortMean, Imputer, NoisyLinear
from benchmark.seeding import stream

SHAPES = [(24, 20), (8, 10, 9)]
SUBJECTS = ("a", "b", "c")
Array = npt.NDArray[np.float64]


def images_of(shape: Sequence[int], count: int = 3) -> Tensor:
    noise = stream("test_imputation", "images").random((count, 1, *shape))
    smooth = ndimage.gaussian_filter(noise, (0, 0, *(1,) * len(shape)))
    return torch.from_numpy(smooth).float()


def masks_of(shape: Sequence[int], count: int = 3) -> Tensor:
    """Return a blob, scattered pixels, a border strip, one pixel, none, and nearly all."""
    noise = stream("test_imputation", "masks").random((count, *shape))
    blob = ndimage.gaussian_filter(noise, (0, *(2,) * len(shape)))
    masks = torch.zeros(count, 6, *shape, dtype=torch.bool)
    for image in range(count):
        masks[image, 0] = torch.from_numpy(blob[image] > np.quantile(blob[image], 0.8))
        masks[image, 1] = torch.from_numpy(noise[image] > 0.8)
        masks[image, 2, : 2 + image] = True
        masks[image, 3].view(-1)[7 + image] = True
        masks[image, 5] = True
        masks[image, 5].view(-1)[40 + image] = False
    return masks


def foreground_of(images: Tensor) -> Tensor:
    inside = torch.zeros_like(images, dtype=torch.bool)
    inside[..., 2:-2] = True
    return inside


def all_imputers(shape: Sequence[int]) -> list[Imputer]:
    return [CohortMean(images_of(shape, 5)[4, 0]), Blur(), NoisyLinear(0)]


def dense_solution(image: Array, mask: npt.NDArray[np.bool_]) -> Array:
    """Return the linear imputation by building and solving the whole matrix."""
    voxels = [tuple(one) for one in np.argwhere(mask).tolist()]
    place = {voxel: number for number, voxel in enumerate(voxels)}
    matrix, right = np.zeros((len(voxels), len(voxels))), np.zeros(len(voxels))
    steps = [one for one in itertools.product((-1, 0, 1), repeat=image.ndim) if any(one)]
    total = sum(1 / np.dot(step, step) for step in steps)
    for voxel, row in place.items():
        for step in steps:
            other = tuple(here + by for here, by in zip(voxel, step, strict=True))
            if any(not 0 <= at < size for at, size in zip(other, image.shape, strict=True)):
                continue
            weight = 1 / np.dot(step, step) / total
            matrix[row, row] += weight
            if other in place:
                matrix[row, place[other]] -= weight
            else:
                right[row] += weight * image[other]
    filled = image.copy()
    filled[mask] = np.linalg.solve(matrix, right)
    return filled


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_imputation_matches_a_dense_solve(shape: tuple[int, ...]) -> None:
    """If it fails, weights, borders or convergence are wrong, and the fill is not ROAD's."""
    images, masks = images_of(shape), masks_of(shape)
    filled = NoisyLinear(0, noise=0.0).prepare(images, foreground_of(images), SUBJECTS)(masks)
    for image, mask in itertools.product(range(3), range(6)):
        expected = dense_solution(images[image, 0].double().numpy(), masks[image, mask].numpy())
        np.testing.assert_allclose(filled[image, mask].numpy(), expected, atol=1e-5, rtol=0)


def test_a_lone_pixel_gets_the_weights_of_the_paper() -> None:
    """If it fails, direct neighbours do not weigh 1/6 and diagonal ones 1/12."""
    image, mask = torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5, dtype=torch.bool)
    image[0, 0, 2, 1], image[0, 0, 3, 3], mask[0, 0, 2, 2] = 0.6, 0.12, True
    filled = NoisyLinear(0, noise=0.0).prepare(image, ~mask, ["a"])(mask)
    assert filled[0, 0, 2, 2].item() == pytest.approx(0.6 / 6 + 0.12 / 12)


def test_a_linear_ramp_is_restored() -> None:
    """If it fails, the fill is not harmonic and leaves an edge of its own."""
    ramp = torch.linspace(0, 1, 20).expand(1, 1, 24, 20).contiguous()
    mask = torch.zeros(1, 1, 24, 20, dtype=torch.bool)
    mask[0, 0, 6:18, 5:14] = True
    filled = NoisyLinear(0, noise=0.0).prepare(ramp, ~mask, ["a"])(mask)
    torch.testing.assert_close(filled, ramp, atol=1e-5, rtol=0)


def test_noise_lies_in_the_mask_and_belongs_to_the_subject() -> None:
    """If it fails, noise depends on masks or order, and differences between masks are noise."""
    images, masks = images_of(SHAPES[0]), masks_of(SHAPES[0])
    inside = foreground_of(images)
    clean = NoisyLinear(0, noise=0.0).prepare(images, inside, SUBJECTS)(masks)
    noise = NoisyLinear(0, noise=0.01).prepare(images, inside, SUBJECTS)(masks) - clean
    assert not noise[~masks].any()
    assert noise[masks].std().item() == pytest.approx(0.01, rel=0.1)
    both = masks[0, 0] & masks[0, 1]
    torch.testing.assert_close(noise[0, 0][both], noise[0, 1][both], atol=1e-6, rtol=0)
    others = NoisyLinear(0).prepare(images, inside, ("b", "a", "x"))(masks) - clean
    field, swapped = noise[:, 5], others[:, 5]
    assert not torch.allclose(field[0], swapped[0], atol=1e-3)
    again = NoisyLinear(1).prepare(images, inside, SUBJECTS)(masks)[:, 5] - clean[:, 5]
    assert not torch.allclose(field, again, atol=1e-3)


def test_a_mask_over_the_whole_image_does_not_crash() -> None:
    """If it fails, the singular system stops the run or iterates for ever."""
    images = images_of(SHAPES[0])
    masks = torch.ones(3, 1, *SHAPES[0], dtype=torch.bool)
    filled = NoisyLinear(0, noise=0.0).prepare(images, masks, SUBJECTS)(masks)
    assert filled.eq(0.5).all()


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_an_altered_image_depends_on_its_image_and_mask_alone(
    number: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a subject's score changes with its neighbours in the batch."""
    imputer = all_imputers(shape)[number]
    images, masks = images_of(shape), masks_of(shape)
    inside = foreground_of(images)
    together = imputer.prepare(images, inside, SUBJECTS)(masks)
    assert together.shape == masks.shape
    assert together.dtype == torch.float32
    for image, subject in enumerate(SUBJECTS):
        fill = imputer.prepare(images[[image]], inside[[image]], [subject])
        for mask in range(masks.shape[1]):
            assert torch.equal(fill(masks[[image]][:, [mask]])[0, 0], together[image, mask])
    monkeypatch.setattr("benchmark.maps.neighbour_system._CHUNK_ENTRIES", 1)
    assert torch.equal(imputer.prepare(images, inside, SUBJECTS)(masks), together)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_beyond_mask_and_rim_stay(number: int, shape: tuple[int, ...]) -> None:
    """If it fails, an imputer changes what it was not asked to remove."""
    imputer, images, masks = all_imputers(shape)[number], images_of(shape), masks_of(shape)
    filled = imputer.prepare(images, foreground_of(images), SUBJECTS)(masks)
    structure = ndimage.generate_binary_structure(len(shape), 1)
    feathered = isinstance(imputer, CohortMean | Blur)
    for image, mask in itertools.product(range(3), range(6)):
        touched = masks[image, mask].numpy()
        if feathered:
            touched = ndimage.binary_dilation(touched, structure)
        np.testing.assert_array_equal(
            filled[image, mask].numpy()[~touched], images[image, 0].numpy()[~touched]
        )


def test_feathering_is_half_on_direct_neighbours() -> None:
    """If it fails, masks have a hard edge, which the network sees, or a wide halo."""
    image, mask = torch.full((1, 1, 5, 5), 0.2), torch.zeros(1, 1, 5, 5, dtype=torch.bool)
    mask[0, 0, 2, 2] = True
    template = torch.linspace(0, 1, 25).view(5, 5)
    target = 0.2 + 0.4 * template
    image = torch.where(mask, image, target)
    filled = CohortMean(template).prepare(image, ~mask, ["a"])(mask)
    torch.testing.assert_close(filled[0, 0, 2, 2], target[2, 2])
    assert filled[0, 0, 1, 1] == image[0, 0, 1, 1]
    blurred = Blur().prepare(image, ~mask, ["a"])
    everywhere = blurred(torch.ones_like(mask))
    halfway = (everywhere[0, 0, 1, 2] + image[0, 0, 1, 2]) / 2
    torch.testing.assert_close(blurred(mask)[0, 0, 1, 2], halfway)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_template_is_fitted_within_the_foreground(shape: tuple[int, ...]) -> None:
    """If it fails, gain, offset or the background of a scanner tells subjects apart."""
    template, images = images_of(shape, 5)[4, 0], images_of(shape)
    inside = foreground_of(images)
    everywhere = torch.ones_like(inside)
    filled = CohortMean(template).prepare(images, inside, SUBJECTS)(everywhere)
    for image in range(3):
        where = inside[image, 0].numpy()
        slope, offset = np.polyfit(
            template.double().numpy()[where], images[image, 0].double().numpy()[where], 1
        )
        expected = offset + slope * template.double().numpy()
        np.testing.assert_allclose(filled[image, 0].numpy(), expected, atol=1e-6)
    flat = CohortMean(torch.full(shape, 0.3)).prepare(images, inside, SUBJECTS)(everywhere)
    assert flat[0].max() == flat[0].min()
    assert flat[0].mean().item() == pytest.approx(images[0][inside[0]].mean().item(), abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_blur_matches_scipy(shape: tuple[int, ...]) -> None:
    """If it fails, the blur has another width or darkens the border."""
    images = images_of(shape)
    everywhere = torch.ones_like(images, dtype=torch.bool)
    filled = Blur().prepare(images, everywhere, SUBJECTS)(everywhere)
    expected = [
        ndimage.gaussian_filter(one.double().numpy(), min(shape) / 12) for one in images[:, 0]
    ]
    np.testing.assert_allclose(filled[:, 0].numpy(), np.stack(expected), atol=1e-6)


def test_a_template_of_another_shape_is_refused() -> None:
    """If it fails, a template is broadcast over images that it does not fit."""
    images = images_of(SHAPES[0])
    with pytest.raises(InputError, match="template's shape"):
        CohortMean(torch.zeros(20)).prepare(images, foreground_of(images), SUBJECTS)
