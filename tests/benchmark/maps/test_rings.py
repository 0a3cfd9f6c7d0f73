"""Ring permutations: bijections of the foreground that leave no pixel, and no count, as a clue."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmark.errors import InputError
from benchmark.maps.masks import descending_order, top_masks
from benchmark.maps.rings import permute, ring_permutations
from benchmark.seeding import stream

SHAPES = [(96, 96), (24, 28, 26)]


def build_foreground(shape: tuple[int, ...]) -> np.ndarray:
    """Return an ellipsoid with a hole, so that rows and columns differ in length and are torn."""
    axes = np.meshgrid(*(np.linspace(-1.1, 1.1, length) for length in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    return (radius < 1) & ~(np.abs(axes[0] - 0.3) + np.abs(axes[1]) < 0.15)


def draw(foreground: np.ndarray, repeats: int = 8) -> np.ndarray:
    return ring_permutations(foreground, [stream("rings", "a", r) for r in range(repeats)])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_permutation_is_a_bijection_of_the_foreground_that_moves_it(
    shape: tuple[int, ...],
) -> None:
    """If it fails, the null of a map holds other pixels than the map, or the map's own place."""
    foreground = build_foreground(shape)
    inside = np.flatnonzero(foreground)
    for permutation in draw(foreground):
        np.testing.assert_array_equal(np.sort(permutation[inside]), inside)
        outside = np.flatnonzero(~foreground)
        np.testing.assert_array_equal(permutation[outside], outside)
        assert np.mean(permutation[inside] != inside) >= 0.99


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_keep_their_count_and_stay_nested(shape: tuple[int, ...]) -> None:
    """If it fails, a null removes more or less of an image than the map that it stands beside."""
    foreground = torch.from_numpy(build_foreground(shape))[None, None]
    importance = torch.from_numpy(stream("map").random(shape))[None, None]
    order = descending_order(importance, foreground, [stream("ties")])
    masks = top_masks(order, foreground, (0.01, 0.02, 0.05, 0.1, 0.2))
    turned = permute(masks, torch.from_numpy(draw(foreground[0, 0].numpy()))[None])
    assert turned.shape == (1, 5, 8, *shape)
    counts = masks.flatten(2).sum(2)[:, :, None].expand(-1, -1, 8)
    torch.testing.assert_close(turned.flatten(3).sum(3), counts)
    assert not (turned & ~foreground[:, :, None]).any()
    assert not (turned[:, :-1] & ~turned[:, 1:]).any()


def test_each_pixel_lands_anywhere_alike() -> None:
    """If it fails, the null prefers some part of the organ, and a fixed map can profit from it."""
    foreground = build_foreground((40, 44))
    mask = torch.zeros(1, 1, 40, 44, dtype=torch.bool)
    mask[0, 0, 6:10, 20:24] = True
    turned = permute(mask, torch.from_numpy(draw(foreground, 2000))[None])[0, 0]
    hits = turned.double().mean(0).numpy()[foreground]
    expected = 16 / foreground.sum()
    # Quarters of the organ, since pixels of one blob land together.
    rows, columns = np.nonzero(foreground)
    for half in (rows < 20, rows >= 20, columns < 22, columns >= 22):
        assert hits[half].mean() == pytest.approx(expected, rel=0.1)


def test_blobs_stay_together() -> None:
    """If it fails, the null is scattered where the map is not, and any blob beats it."""
    foreground = build_foreground((96, 96))
    blob = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    blob[0, 0, 40:48, 50:58] = True
    turned = permute(blob, torch.from_numpy(draw(foreground, 50))[None])[0, 0].numpy()
    largest = [np.bincount(ndimage.label(mask)[0].ravel())[1:].max() for mask in turned]
    assert np.median(largest) >= 0.8 * 64


def test_a_permutation_follows_from_its_stream_alone() -> None:
    """If it fails, two protocols or two explainers meet other nulls."""
    foreground = build_foreground((96, 96))
    np.testing.assert_array_equal(draw(foreground, 4), draw(foreground, 8)[:4])


def test_a_foreground_that_cannot_be_turned_is_refused() -> None:
    """If it fails, the draw never ends."""
    alone = np.zeros((8, 8), dtype=bool)
    alone[3, 3] = True
    with pytest.raises(InputError, match="got one of 1 pixels"):
        draw(alone, 1)
    diagonal = np.eye(8, dtype=bool)
    with pytest.raises(InputError, match="turned along"):
        draw(diagonal, 1)
