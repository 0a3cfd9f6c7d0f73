"""Masks of the pixels to remove: the top of a map, and random masks to compare it with.

Importance is [B, 1, *S] float, foreground [B, 1, *S] bool, and ``P`` the number of pixels of
``*S``. Random numbers come from one NumPy generator per image and are drawn on the host. So a mask
does not depend on the device or on who else is in the batch; a generator that is passed in moves
on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.errors import InputError
from benchmark.maps.ranking import a_few_each, is_many, sort_stably

_CHUNK_PIXELS = 2**21
_PACKED_AT_ONCE = 4


class PackedMasks:
    """Masks that are held as one bit a pixel, an eighth of a bool tensor.

    ``masks[start:end]`` are the bool masks [k, ...] of some of the images.

    Args:
        images: Number n of images.
        make: Function from a slice of the images to their masks [k, ...] bool on the host; it is
            called for a few images at a time, in order.
    """

    def __init__(self, images: int, make: Callable[[slice], Tensor]) -> None:
        packed = []
        for start in range(0, max(1, images), _PACKED_AT_ONCE):
            masks = make(slice(start, min(images, start + _PACKED_AT_ONCE)))
            self.shape = (images, *masks.shape[1:])
            packed.append(np.packbits(masks.flatten(1).numpy(), axis=1))
        self._bits = np.concatenate(packed)

    def __getitem__(self, chunk: slice) -> Tensor:
        """Return the masks of a slice of the images, [k, ...] bool."""
        bits, shape = self._bits[chunk], self.shape[1:]
        pixels = np.unpackbits(bits, axis=1, count=math.prod(shape))
        return torch.from_numpy(pixels.view(np.bool_).reshape(len(bits), *shape))


Masks = Tensor | PackedMasks


def descending_order(
    importance: Tensor, foreground: Tensor, jitter: Sequence[np.random.Generator]
) -> Tensor:
    """Return the flat indices [B, P] of pixels by falling importance, the foreground's first.

    The generators ``jitter`` order pixels of exactly equal importance.

    Raises:
        InputError: If a map is not finite in the foreground.
    """
    if is_many(importance):
        generators = iter(jitter)
        return torch.cat(
            [
                descending_order(values, organ, list(islice(generators, len(values))))
                for values, organ in a_few_each(importance, foreground)
            ]
        )
    inside = foreground.flatten(1)
    values = torch.where(inside, importance.flatten(1), -math.inf)
    if not len(values):
        return torch.empty_like(values, dtype=torch.int64)
    if not torch.equal(values.isfinite(), inside):
        raise InputError("Expected maps that are finite in the foreground but got one that is not.")
    shuffled = _on_device([generator.permutation(values.shape[1]) for generator in jitter], values)
    _, by_value = sort_stably(values.gather(1, shuffled), descending=True)
    return shuffled.gather(1, by_value)


def top_masks(order: Tensor, foreground: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Return the ⌈q·|Ω|⌉ foremost pixels of a ``descending_order`` for Q shares q, [B, Q, *S].

    Raises:
        InputError: If a share does not lie in (0, 1].
    """
    if outside := [q for q in quantiles if not 0 < q <= 1]:
        raise InputError(f"Expected shares of the foreground in (0, 1] but got {outside[0]}.")
    positions = torch.arange(order.shape[1], device=order.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(1, order, positions)
    shares = torch.tensor(quantiles, dtype=torch.float64, device=order.device)
    # Rounded first: 0.07 · 100 is a little more than 7 in floating point, and its ceiling 8.
    products = (foreground.flatten(1).sum(1)[:, None] * shares).round(decimals=6)
    chosen = ranks[:, None] < products.ceil()[..., None]
    return chosen.view(len(order), len(quantiles), *foreground.shape[2:])


def shape_matched(
    masks: Tensor, foreground: Tensor, generators: Sequence[np.random.Generator], repeats: int
) -> Tensor:
    """Return masks of the same shape and size at random places in the foreground.

    A mask is flipped along random axes and shifted on the torus, so that a random one of its
    pixels lands on a random pixel of the foreground. What leaves the foreground is cut off, and
    the rest grows ring by ring inside the foreground to the old pixel count; the last ring is
    taken in random order. Where nothing more can be reached, because the foreground is in pieces,
    random pixels of the other pieces are taken. An empty mask stays empty.

    Args:
        masks: [B, Q, *S] bool; only what lies in the foreground counts.
        foreground: [B, 1, *S] bool.
        generators: Generator of each image.
        repeats: Number R of random places for each mask.

    Returns:
        [B, Q, R, *S] bool.
    """
    images, quantiles, *shape = masks.shape
    result = masks.new_empty(images, quantiles, repeats, *shape)
    step = max(1, _CHUNK_PIXELS // max(1, result[:1].numel()))
    for start in range(0, images, step):
        rows = slice(start, start + step)
        organ, streams = foreground[rows], generators[rows]
        inside = masks[rows] & organ
        moved = _move(inside, organ, streams, repeats) & organ[:, None]
        sizes = inside.flatten(2).sum(2)[..., None].expand(-1, -1, repeats)
        result[rows] = _grow(moved, organ, sizes, streams)
    return result


def iid_masks(
    masks: Tensor, foreground: Tensor, generators: Sequence[np.random.Generator], repeats: int
) -> Tensor:
    """Return independent random pixels of the foreground, as many as in each mask.

    Scattered pixels survive imputation where blobs do not, so this null is easy to beat. Arguments
    and result are as those of ``shape_matched``.
    """
    sizes = (masks & foreground).flatten(2).sum(2).tolist()
    result = np.zeros((len(masks), masks.shape[1], repeats, *masks.shape[2:]), dtype=np.bool_)
    flat = result.reshape(*result.shape[:3], -1)
    for image, generator in enumerate(generators):
        pixels = np.flatnonzero(foreground[image].cpu().numpy())
        for quantile, size in enumerate(sizes[image]):
            for repeat in range(repeats):
                chosen = generator.choice(pixels, size=size, replace=False, shuffle=False)
                flat[image, quantile, repeat, chosen] = True
    return torch.from_numpy(result).to(masks.device)


def dilate_box(masks: Tensor, dimensions: int) -> Tensor:
    """Return masks grown by one pixel along the last axes, diagonals included, bool like them."""
    grown = masks
    for axis in range(-dimensions, 0):
        grown = _with_neighbours(grown, axis)
    return grown


def dilate_cross(masks: Tensor, dimensions: int) -> Tensor:
    """Return masks grown by their direct neighbours along the last axes, bool like them."""
    grown = masks.clone()
    for axis in range(-dimensions, 0):
        grown |= _with_neighbours(masks, axis)
    return grown


def _with_neighbours(masks: Tensor, axis: int) -> Tensor:
    # Shifted bool tensors: a tenth of the time of a max-pool, and no float copy.
    grown, rest = masks.clone(), masks.shape[axis] - 1
    grown.narrow(axis, 1, rest).logical_or_(masks.narrow(axis, 0, rest))
    grown.narrow(axis, 0, rest).logical_or_(masks.narrow(axis, 1, rest))
    return grown


def _move(
    masks: Tensor, foreground: Tensor, generators: Sequence[np.random.Generator], repeats: int
) -> Tensor:
    """Return masks [B, Q, *S] flipped and shifted on the torus, [B, Q, R, *S]."""
    images, quantiles, *shape = masks.shape
    flip_shape, draw_shape = (quantiles, repeats, len(shape)), (2, quantiles, repeats)
    flips = _on_device([rng.integers(0, 2, size=flip_shape) for rng in generators], masks)
    draws = _on_device([rng.random(draw_shape) for rng in generators], masks)
    moved = masks.new_zeros(images, quantiles, repeats, *shape)
    # One entry for each pixel of each mask: its image and mask, and its position along every axis.
    image, quantile, *position = masks.nonzero(as_tuple=True)
    flat = masks.flatten(0, 1).flatten(1)
    start = _exclusive_cumsum(flat.sum(1)).view(images, quantiles)
    sizes = flat.sum(1).view(images, quantiles)
    if not len(image):
        return moved
    anchor = start[..., None] + _scaled(draws[:, 0], sizes[..., None])
    anchor = anchor.clamp_max(len(image) - 1)  # An empty mask's, which no entry refers to.
    _, _, *inside = foreground.nonzero(as_tuple=True)
    areas = foreground.flatten(1).sum(1)
    landing = _exclusive_cumsum(areas)[:, None, None] + _scaled(draws[:, 1], areas[:, None, None])
    landing = landing.clamp_max(len(inside[0]) - 1)
    targets = []
    for axis, length in enumerate(shape):
        sign = 1 - 2 * flips[..., axis]
        shift = inside[axis][landing] - sign * position[axis][anchor]  # [B, Q, R]
        target = position[axis][:, None] * sign[image, quantile] + shift[image, quantile]
        targets.append(target.remainder(length))  # [pixels, R]
    repeat = torch.arange(repeats, device=masks.device).expand_as(targets[0])
    moved[image[:, None], quantile[:, None], repeat, *targets] = True
    return moved


def _grow(
    masks: Tensor, foreground: Tensor, sizes: Tensor, generators: Sequence[np.random.Generator]
) -> Tensor:
    """Return masks [B, Q, R, *S] grown inside the foreground to ``sizes`` [B, Q, R] pixels."""
    dimensions, per_image = foreground.ndim - 2, sizes.shape[1] * sizes.shape[2]
    grown = masks.flatten(0, 2)
    region = foreground[:, 0].repeat_interleave(per_image, 0)
    missing = sizes.flatten() - _counts(grown)
    rim, quota = torch.zeros_like(grown), torch.zeros_like(missing)
    rows = missing.nonzero()[:, 0]
    current, allowed, short = grown[rows], region[rows], missing[rows]
    while len(rows):
        ring = dilate_box(current, dimensions) & allowed & ~current
        reached = _counts(ring)
        stalled = reached == 0
        if stalled.any():
            ring[stalled] = allowed[stalled] & ~current[stalled]
        partial = stalled | (reached > short)
        rim[rows[partial]], quota[rows[partial]] = ring[partial], short[partial]
        current = current | (ring & ~partial.view(-1, *[1] * dimensions))
        short = short - reached
        done = partial | (short == 0)
        grown[rows[done]] = current[done]
        keep = ~done
        rows, current, allowed, short = rows[keep], current[keep], allowed[keep], short[keep]
    return (grown | _choose(rim, quota, generators)).view(masks.shape)


def _choose(rims: Tensor, quota: Tensor, generators: Sequence[np.random.Generator]) -> Tensor:
    """Return ``quota`` [N] random pixels of each of the rims [N, *S], N = images · masks."""
    flat, sizes = rims.flatten(1), _counts(rims)
    owner, pixel = flat.nonzero(as_tuple=True)
    per_image = sizes.view(len(generators), -1).sum(1).tolist()
    draws = [rng.random(count) for rng, count in zip(generators, per_image, strict=True)]
    jitter = torch.from_numpy(np.concatenate(draws)).to(rims.device)
    # One row for each rim: rows sort side by side, which one long list does not.
    column = torch.arange(len(owner), device=rims.device) - _exclusive_cumsum(sizes)[owner]
    rows = jitter.new_full((len(flat), int(sizes.max())), math.inf)
    rows[owner, column] = jitter
    order = rows.argsort(dim=1)
    is_early = torch.arange(rows.shape[1], device=rims.device) < quota[:, None]
    chosen = torch.zeros_like(is_early).scatter_(1, order, is_early)
    result = torch.zeros_like(flat)
    result[owner, pixel] = chosen[owner, column]
    return result.view(rims.shape)


def _counts(masks: Tensor) -> Tensor:
    """Return the number of pixels of each of the masks [N, *S], int64 [N]."""
    flat = masks.flatten(1)
    words = functional.pad(flat, (0, -flat.shape[1] % 8)).contiguous().view(torch.int64)
    # Eight bytes of 0 or 1 are summed into the highest by one multiplication: a hundredth of the
    # time of a sum of bools.
    return ((words * 0x0101010101010101) >> 56).sum(1)


def _scaled(draws: Tensor, counts: Tensor) -> Tensor:
    """Return uniform draws in [0, 1) as whole numbers below ``counts``, int64."""
    return (draws * counts).long().minimum((counts - 1).clamp_min(0))


def _exclusive_cumsum(counts: Tensor) -> Tensor:
    return counts.cumsum(0) - counts


def _on_device(arrays: Sequence[np.ndarray], like: Tensor) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(like.device)
