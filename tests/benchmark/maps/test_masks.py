"""Masks: exact counts, inside the foreground, and nobody's business but their image's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from benchmark.errors import InputError
from benchmark.maps.masks import (
    PackedMasks,
    descending_order,
    dilate_box,
    dilate_cross,
    iid_masks,
    shape_matched,
    top_masks,
)
from benchmark.seeding import stream

SHAPES = [(24, 20), (10, 12, 9)]
QUANTILES = (0.02, 0.1, 0.3)
REPEATS = 4
Draw = Callable[[Tensor, Tensor, Sequence[np.random.Generator], int], Tensor]


def generators(count: int, name: str = "test") -> list[np.random.Generator]:
    return [stream("test_masking", name, image) for image in range(count)]


def ellipsoid(shape: Sequence[int], batch: int) -> Tensor:
    """Return a foreground that fills about half of each image, [batch, 1, *shape]."""
    axes = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    inside = torch.from_numpy(np.sum(np.square(axes), axis=0) < 0.8)
    return inside.expand(batch, 1, *shape).clone()


def smooth_maps(shape: Sequence[int], batch: int) -> Tensor:
    noise = stream("smooth maps").random((batch, *shape))
    blurred = np.stack([ndimage.gaussian_filter(one, 2) for one in noise])
    return torch.from_numpy(blurred)[:, None]


def top(shape: Sequence[int], batch: int = 3) -> tuple[Tensor, Tensor]:
    """Return top-q masks of smooth maps [B, Q, *S] and their foreground."""
    foreground = ellipsoid(shape, batch)
    order = descending_order(smooth_maps(shape, batch), foreground, generators(batch, "ties"))
    return top_masks(order, foreground, QUANTILES), foreground


def pixel_counts(masks: Tensor, axes: int) -> Tensor:
    return masks.flatten(-axes).sum(-1)


@pytest.mark.parametrize("shape", SHAPES)
def test_order_is_by_falling_importance_with_the_background_last(shape: tuple[int, ...]) -> None:
    """If it fails, other pixels than the most important ones are removed."""
    maps, foreground = smooth_maps(shape, 3), ellipsoid(shape, 3)
    order = descending_order(maps, foreground, generators(3))
    everyone = torch.arange(order.shape[1]).expand_as(order)
    assert torch.equal(order.sort(dim=1).values, everyone)
    for image in range(3):
        inside = foreground[image].flatten()
        first = order[image, : int(inside.sum())]
        assert inside[first].all()
        assert (maps[image].flatten()[first].diff() <= 0).all()


def test_ties_are_broken_at_random_and_not_by_index() -> None:
    """If it fails, a flat map marks the upper left corner and looks like a position."""
    shape, batch = (20, 20), 200
    foreground = torch.ones(batch, 1, *shape, dtype=torch.bool)
    order = descending_order(torch.zeros(batch, 1, *shape), foreground, generators(batch))
    share = top_masks(order, foreground, (0.25,)).double().mean(0)
    halves = [share[0, :10].mean(), share[0, 10:].mean(), share[0, :, :10].mean()]
    assert [one.item() for one in halves] == pytest.approx([0.25] * 3, abs=0.01)
    assert 0.1 < share.min() < share.max() < 0.4


def test_jitter_never_overrules_importance() -> None:
    """If it fails, nearly equal pixels are swapped."""
    maps = 1 + 1e-7 * torch.arange(64, dtype=torch.float32).round().view(1, 1, 8, 8)
    foreground = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    orders = [descending_order(maps, foreground, generators(1, name)) for name in ("a", "b")]
    values = [maps.flatten()[order[0]] for order in orders]
    assert torch.equal(values[0], values[1])
    assert (values[0].diff() <= 0).all()


@pytest.mark.parametrize(
    ("pixels", "q", "expected"),
    [(100, 0.07, 7), (100, 0.071, 8), (100, 0.29, 29), (10, 0.01, 1), (7, 1.0, 7)],
)
def test_a_top_mask_counts_to_the_next_whole_pixel(pixels: int, q: float, expected: int) -> None:
    """If it fails, rounding in the last bit adds a pixel, or a small share removes none."""
    foreground = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    foreground.view(-1)[5 : 5 + pixels] = True
    order = descending_order(torch.rand(1, 1, 12, 12), foreground, generators(1))
    mask = top_masks(order, foreground, (q,))
    assert mask.shape == foreground.shape
    assert mask.sum() == (mask & foreground).sum() == expected


def test_top_masks_are_nested_and_each_is_that_of_its_share() -> None:
    """If it fails, the steps of a deletion curve remove unrelated pixels."""
    maps, foreground = smooth_maps(SHAPES[0], 3), ellipsoid(SHAPES[0], 3)
    order = descending_order(maps, foreground, generators(3))
    masks = top_masks(order, foreground, QUANTILES)
    for place, q in enumerate(QUANTILES):
        assert torch.equal(masks[:, [place]], top_masks(order, foreground, (q,)))
    assert not (masks[:, :-1] & ~masks[:, 1:]).any()


@pytest.mark.parametrize("draw", [shape_matched, iid_masks])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_masks_have_the_count_and_stay_inside(draw: Draw, shape: tuple[int, ...]) -> None:
    """If it fails, the null removes more or less than the map does."""
    masks, foreground = top(shape)
    drawn = draw(masks, foreground, generators(3), REPEATS)
    assert drawn.shape == (3, len(QUANTILES), REPEATS, *shape)
    assert not (drawn & ~foreground[:, None]).any()
    expected = pixel_counts(masks, len(shape))[..., None].expand(-1, -1, REPEATS)
    assert torch.equal(pixel_counts(drawn, len(shape)), expected)


@pytest.mark.parametrize("draw", [shape_matched, iid_masks])
@pytest.mark.parametrize("shape", SHAPES)
def test_random_masks_do_not_depend_on_their_batch(
    draw: Draw, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a subject's score changes with batch size, order or memory chunks."""
    masks, foreground = top(shape)
    together = draw(masks, foreground, generators(3), REPEATS)
    for image in range(3):
        alone = draw(masks[[image]], foreground[[image]], [generators(3)[image]], REPEATS)
        assert torch.equal(alone[0], together[image])
    back = draw(masks.flip(0), foreground.flip(0), generators(3)[::-1], REPEATS)
    assert torch.equal(back.flip(0), together)
    monkeypatch.setattr("benchmark.maps.masks._CHUNK_PIXELS", 1)
    assert torch.equal(draw(masks, foreground, generators(3), REPEATS), together)


def test_moved_masks_keep_their_shape_where_nothing_is_cut() -> None:
    """If it fails, random masks are not shape-matched."""
    shape = (16, 18)
    mask = torch.zeros(1, 1, *shape, dtype=torch.bool)
    mask[0, 0, 3:5, 2:8] = True
    mask[0, 0, 5, 2] = True
    everywhere = torch.ones(1, 1, *shape, dtype=torch.bool)
    moved = shape_matched(mask, everywhere, generators(1), 200)[0, 0]
    reachable = {
        tuple(flipped.roll((down, right), (0, 1)).flatten().nonzero()[:, 0].tolist())
        for flips in ([], [0], [1], [0, 1])
        for flipped in [mask[0, 0].flip(flips)]
        for down in range(shape[0])
        for right in range(shape[1])
    }
    assert {tuple(one.flatten().nonzero()[:, 0].tolist()) for one in moved} <= reachable
    assert len({tuple(one.flatten().tolist()) for one in moved}) > 150
    share = moved.double().mean(0)
    assert share.max() < 5 * share.mean()


def test_cut_masks_grow_in_one_piece_from_the_nearest_ring() -> None:
    """If it fails, the top-up scatters pixels, which survive imputation where blobs do not."""
    mask = torch.zeros(1, 1, 24, 20, dtype=torch.bool)
    mask[0, 0, 10:15, 8:13] = True
    moved = shape_matched(mask, ellipsoid((24, 20), 1), generators(1), 100)[0, 0]
    toroidal_pieces = [ndimage.label(one.numpy(), np.ones((3, 3)))[1] for one in moved]
    assert np.mean(toroidal_pieces) < 1.3
    assert moved.flatten(1).sum(1).tolist() == [25] * 100


def test_moved_masks_always_land_on_the_foreground() -> None:
    """If it fails, a mask misses the organ and is replaced by scattered pixels."""
    foreground = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
    foreground[..., 4:10, 11:17] = True
    mask = torch.zeros_like(foreground)
    mask[..., 4:7, 13:16] = True
    moved = shape_matched(mask, foreground, generators(1), 100)[0, 0]
    assert {ndimage.label(one.numpy(), np.ones((3, 3)))[1] for one in moved} == {1}


def test_the_last_ring_is_taken_at_random() -> None:
    """If it fails, grown masks lean towards the upper left corner."""
    foreground = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
    rows, columns = 4 * np.indices((6, 6)) + stream("last ring").integers(0, 3, size=(2, 6, 6))
    foreground[0, 0, rows, columns] = True  # None has a neighbour: all growth is one last ring.
    mask = foreground.clone()
    mask[..., 8:, :] = False
    share = shape_matched(mask, foreground, generators(1), 800)[0, 0].double().mean(0)
    upper, lower = share[:12].sum() / 18, share[12:].sum() / 18
    assert [upper.item(), lower.item()] == pytest.approx([1 / 3] * 2, abs=0.03)


def test_a_foreground_in_pieces_is_filled_from_the_others() -> None:
    """If it fails, growth stalls for ever or the count falls short."""
    foreground = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    foreground[..., :4, :4] = foreground[..., 8:, 8:] = True
    mask = torch.zeros_like(foreground)
    mask[..., :4, :4] = True
    mask[..., 8, 8:] = True
    moved = shape_matched(mask, foreground, generators(1), 50)
    assert pixel_counts(moved, 2).eq(20).all()
    assert not (moved & ~foreground[:, None]).any()


@pytest.mark.parametrize("draw", [shape_matched, iid_masks])
def test_empty_and_full_masks_have_only_one_answer(draw: Draw) -> None:
    """If it fails, an image without a region crashes the run."""
    foreground = ellipsoid((12, 12), 2)
    masks = torch.cat([torch.zeros_like(foreground), foreground, ~foreground], dim=1)
    drawn = draw(masks, foreground, generators(2), 3)
    assert not drawn[:, [0, 2]].any()
    assert torch.equal(drawn[:, 1], foreground.expand(-1, 3, -1, -1))
    assert not draw(masks[:, :1], foreground, generators(2), 3).any()


def test_independent_pixels_are_spread_evenly() -> None:
    """If it fails, the easy null has a favourite place."""
    foreground = ellipsoid((12, 12), 1)
    mask = torch.zeros_like(foreground)
    mask[0, 0, 6, 4:8] = True
    share = iid_masks(mask, foreground, generators(1), 4000).double().mean(2)[foreground]
    expected = 4 / foreground.sum().item()
    assert share.min() > 0.6 * expected
    assert share.max() < 1.4 * expected


@pytest.mark.parametrize("shape", SHAPES)
def test_dilations_match_scipy(shape: tuple[int, ...]) -> None:
    """If it fails, rings or feathered rims have the wrong neighbours, or wrap around."""
    masks = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)) < 0.05
    for dilate, connectivity in ((dilate_cross, 1), (dilate_box, len(shape))):
        structure = ndimage.generate_binary_structure(len(shape), connectivity)
        structure = structure[None, None]
        np.testing.assert_array_equal(
            dilate(masks, len(shape)), ndimage.binary_dilation(masks, structure)
        )


def test_misuse_is_refused() -> None:
    """If it fails, broken maps are ranked or shares above one are taken."""
    maps, foreground = smooth_maps(SHAPES[0], 1), ellipsoid(SHAPES[0], 1)
    order = descending_order(maps, foreground, generators(1))
    with pytest.raises(InputError, match=r"shares of the foreground"):
        top_masks(order, foreground, (1.5,))
    maps[foreground] = float("nan")
    with pytest.raises(InputError, match="finite in the foreground"):
        descending_order(maps, foreground, generators(1))


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 5)])
def test_packed_masks_are_the_masks(shape: tuple[int, ...]) -> None:
    """If it fails, other pixels are removed than were drawn, or masks of other images."""
    masks = torch.rand(9, 2, 3, *shape, generator=torch.Generator().manual_seed(0)) < 0.5
    asked: list[slice] = []

    def make(few: slice) -> Tensor:
        asked.append(few)
        return masks[few]

    packed = PackedMasks(len(masks), make)
    assert packed.shape == masks.shape
    assert sum(few.stop - few.start for few in asked) == len(masks)
    for chunk in (slice(None), slice(0, 4), slice(3, 9), slice(8, 20), slice(4, 4)):
        assert torch.equal(packed[chunk], masks[chunk])
    assert PackedMasks(0, lambda few: masks[:0])[:].shape == (0, *masks.shape[1:])
