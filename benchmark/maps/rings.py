"""Ring permutations: where a map's pixels would lie if they lay somewhere else in the organ.

A random mask to compare a map with must keep the map's size, its blobs and the organ, and must not
know where in the organ it lies. Each row of the foreground is taken as a ring and turned, and
perhaps turned over, then each column, then, of a volume, each line of planes. All rows are turned
by one fraction of their own length, so that what lies together in neighbouring rows stays together.
The result is a bijection of the foreground: masks of all sizes keep their number of pixels, nested
masks stay nested, and a map keeps its values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from benchmark.arrays import BoolArray
from benchmark.errors import InputError

SMALLEST_MOVE = 0.99  # share of the foreground that a permutation takes elsewhere
_MOST_DRAWS = 1000
_FEWEST_PIXELS = 2

Permutation = npt.NDArray[np.int64]


def ring_permutations(
    foreground: BoolArray, generators: Sequence[np.random.Generator]
) -> Permutation:
    """Return for every pixel the flat index of the pixel that comes to lie there, [R, P] int64.

    P is the number of pixels of the image; those outside of the foreground stay where they are.
    A fraction of a turn is uniform, and is drawn again where it moves less than 99 % of the
    foreground, as one of nearly nothing does.

    Args:
        foreground: [*S] bool.
        generators: One for each of the R permutations.

    Raises:
        InputError: If the foreground is so small or so thin that it cannot be turned.
    """
    return np.stack([_draw(foreground, generator) for generator in generators])


def permute(values: Tensor, permutations: Tensor) -> Tensor:
    """Return maps or masks with their pixels permuted, [B, Q, R, *S] of any type.

    Args:
        values: [B, Q, *S].
        permutations: [B, R, P] int64, as ``ring_permutations`` gives them for each image.
    """
    images, maps, *shape = values.shape
    repeats = permutations.shape[1]
    sources = permutations[:, None].expand(-1, maps, -1, -1)
    spread = values.flatten(2)[:, :, None].expand(-1, -1, repeats, -1)
    return spread.gather(3, sources).view(images, maps, repeats, *shape)


def _draw(foreground: BoolArray, generator: np.random.Generator) -> Permutation:
    inside = np.flatnonzero(foreground)
    for _ in range(_MOST_DRAWS if len(inside) >= _FEWEST_PIXELS else 0):
        source = np.arange(foreground.size).reshape(foreground.shape)
        for axis in reversed(range(foreground.ndim)):
            turn, flip = generator.random(), bool(generator.integers(2))
            source = _turned(source, foreground, axis, turn, flip=flip)
        permutation = source.ravel()
        if np.mean(permutation[inside] != inside) >= SMALLEST_MOVE:
            return permutation
    raise InputError(
        "Expected a foreground that can be turned along its rows and columns but got one of "
        f"{len(inside)} pixels."
    )


def _turned(
    values: Permutation, foreground: BoolArray, axis: int, turn: float, *, flip: bool
) -> Permutation:
    """Return values [*S] with the foreground's part of each line along an axis turned as a ring."""
    lines, inside = np.moveaxis(values, axis, -1).copy(), np.moveaxis(foreground, axis, -1)
    length = np.broadcast_to(inside.sum(-1, keepdims=True), inside.shape)[inside]
    position = (inside.cumsum(-1) - 1)[inside]
    start = np.arange(len(position)) - position
    shift = np.rint(turn * length).astype(np.int64)
    origin = (length - 1 - position if flip else position) - shift
    ring = lines[inside]
    lines[inside] = ring[start + origin % length]
    return np.moveaxis(lines, -1, axis)
