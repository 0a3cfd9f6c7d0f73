"""Which axis of a network's feature maps runs along which of the image, found by moving a blob.

Feature maps are [B, K, *s] by contract, but some networks, such as Swin, hold channels last, and
nothing in a shape tells channels from cells. A blob that moves along an axis of the image moves
what it changes in the maps along the same axis. Where another order of the axes follows the blob
clearly better than the declared one, it is the true one. Where neither follows it, as in an
untrained deep network or behind global mixing, the declared order stands. The exception are cells
that are slivers, many times longer than wide where another order's are square: then nobody can
tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Of half the length of an axis, that the blob goes: how far what it changes must go after it.
# Untrained networks follow by 0.6 at 224 pixels and by 0.1 at 64; another axis by less than 0.08.
_FOLLOWS = 0.15
_RADIUS = 0.1
_SLIVER = 8.0
_LARGEST_BATCH = 2**20  # pixels


@dataclass(frozen=True)
class MapsLayout:
    """Order of the axes of feature maps.

    Attributes:
        order: Axis of an image's maps that holds channels, then that of each axis of the image;
            (0, 1, 2) is the contract's [K, *s] in two dimensions.
        fault: Reason why the maps cannot be laid on the image, or None where they can.
    """

    order: tuple[int, ...]
    fault: str | None = None

    @property
    def is_declared(self) -> bool:
        """Whether channels come first and the others as in the image."""
        return self.order == tuple(range(len(self.order)))


class Turned(nn.Module):
    """Reorders the axes of each image's maps.

    Args:
        order: Axis of the given maps, the batch not counted, that each of the result's is.
    """

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps with their axes reordered."""
        return maps.permute(0, *(axis + 1 for axis in self.order))

    @property
    def inverse(self) -> Turned:
        """Module that undoes this one."""
        return Turned(torch.tensor(self.order).argsort().tolist())


def find_layout(maps_of: Callable[[Tensor], Tensor], example: Tensor) -> MapsLayout:
    """Return the layout of feature maps, by passes of a few images.

    Args:
        maps_of: Function from images [B, 1, *S] to their feature maps; it should count no pass.
        example: Any image [1, 1, *S] of the right type and device.
    """
    dimensions = example.ndim - 2
    moves = [(axis, side) for axis in range(dimensions) for side in (1, -1)]
    images = torch.cat([_blob(example, move) for move in (None, *moves)])
    with torch.no_grad():
        # Single images take a network three times as long, and many volumes a lot of memory.
        at_once = max(1, _LARGEST_BATCH // example.numel())
        maps = torch.cat([maps_of(some) for some in images.split(at_once)])
    if maps.ndim != dimensions + 2 or maps.is_meta:  # where nothing is computed
        return MapsLayout(tuple(range(maps.ndim - 1)))
    centres = [_centre(change) for change in maps[1:] - maps[:1]]
    follows = [_distance(*pair) for pair in zip(centres[::2], centres[1::2], strict=True)]
    return _read(follows, maps.shape[1:], example.shape[2:])


def _read(
    follows: Sequence[Sequence[float]], shape: Sequence[int], size: Sequence[int]
) -> MapsLayout:
    """Return the layout of maps of a shape, by how each axis follows the blob along the image's."""
    declared, spatial = tuple(range(len(shape))), tuple(range(1, len(shape)))
    if any(row[axis] < -_FOLLOWS for row, axis in zip(follows, spatial, strict=True)):
        return MapsLayout(declared, "an axis of its feature maps runs against the image's")

    def total(axes: Sequence[int]) -> float:
        return sum(row[axis] for row, axis in zip(follows, axes, strict=True))

    best = max(itertools.permutations(declared, len(spatial)), key=total)
    is_clear = all(row[axis] > _FOLLOWS for row, axis in zip(follows, best, strict=True))
    if is_clear and total(best) - total(spatial) > _FOLLOWS * len(spatial):
        (channels,) = set(declared).difference(best)
        return MapsLayout((channels, *best))
    is_declared = is_clear and best == spatial
    if not is_declared and _length(shape[1:], size) > _SLIVER * _length(shape[:-1], size):
        sizes = ", ".join(["B", *map(str, shape)])
        return MapsLayout(
            declared,
            f"its feature maps are [{sizes}], and their axes do not follow the image's: channels "
            "come second by contract",
        )
    return MapsLayout(declared)


def _length(cells: Sequence[int], size: Sequence[int]) -> float:
    """Return how many times longer than wide a cell is."""
    steps = [length / count for length, count in zip(size, cells, strict=True)]
    return max(steps) / min(steps)


def _blob(example: Tensor, moved: tuple[int, int] | None) -> Tensor:
    """Return a grey texture, with a bright blob off its centre along an axis, or without one."""
    axes = [torch.arange(length, dtype=torch.float64) / length for length in example.shape[2:]]
    grid = torch.meshgrid(*axes, indexing="ij")
    # Waves of no common period: no cell looks like another.
    waves = [torch.sin(coordinate * (9.7 + 4.1 * axis)) for axis, coordinate in enumerate(grid)]
    image = 0.4 + 0.1 * torch.stack(waves).mean(0)
    if moved is not None:
        centre = [0.5] * len(grid)
        centre[moved[0]] += 0.25 * moved[1]
        squares = [(values - middle) ** 2 for values, middle in zip(grid, centre, strict=True)]
        image = image + 0.5 * torch.exp(-torch.stack(squares).sum(0) / (2 * _RADIUS**2))
    return image.expand_as(example).to(example)


def _centre(change: Tensor) -> list[float]:
    """Return the centre of what changed along each axis of an image's maps, from 0 to 1."""
    weights = change.cpu().abs().double()
    total = float(weights.sum())
    if not 0 < total < float("inf"):
        return [0.5] * weights.ndim
    centres = []
    for axis, length in enumerate(weights.shape):
        profile = weights.movedim(axis, 0).flatten(1).sum(1)
        centres.append(
            float(profile @ (torch.arange(length, dtype=torch.float64) + 0.5)) / length / total
        )
    return centres


def _distance(ahead: Sequence[float], behind: Sequence[float]) -> list[float]:
    """Return how far a centre moved, in units of how far the blob did: half of an axis."""
    return [2 * (end - start) for end, start in zip(ahead, behind, strict=True)]
