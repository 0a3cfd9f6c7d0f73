"""Small versions of images and the extent of masks, for questions about raw pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from benchmark.arrays import BoolArray, ImageArray

SIDES = {2: 32, 3: 12}  # cells along each axis of an image and of a volume
_BORDER_SHARE = 16  # 8 of 128 pixels


def thumbnails(images: Tensor, side: int | None = None) -> Tensor:
    """Return the means of images [B, 1, *S] over a grid of cells, flat, [B, cells].

    Args:
        images: Images or masks of any type.
        side: Cells along each axis; 32 for images and 12 for volumes unless given, and never more
            than there are pixels.
    """
    shape = images.shape[2:]
    cells = [min(side or SIDES[len(shape)], length) for length in shape]
    pool = functional.adaptive_avg_pool2d if len(shape) == 2 else functional.adaptive_avg_pool3d
    # The stubs want an int for each axis by number, which depends on the dimensions.
    return pool(images.float(), cells).flatten(1)  # type: ignore[arg-type]


def border_widths(shape: Sequence[int]) -> tuple[int, ...]:
    """Return how many of the outermost pixels along each axis count as border, a sixteenth."""
    return tuple(max(1, round(length / _BORDER_SHARE)) for length in shape)


def border_mask(shape: Sequence[int]) -> Tensor:
    """Return the mask of the outermost pixels of an image of shape *S, [*S] bool."""
    mask = torch.ones(tuple(shape), dtype=torch.bool)
    inner = tuple(
        slice(width, length - width)
        for width, length in zip(border_widths(shape), shape, strict=True)
    )
    mask[inner] = False
    return mask


def box_lengths(masks: Tensor) -> Tensor:
    """Return the lengths in pixels of the smallest box around each mask [B, 1, *S], [B, axes].

    They are 0 where a mask is empty.
    """
    dimensions = masks.ndim - 2
    lengths = []
    for axis in range(dimensions):
        others = [2 + other for other in range(dimensions) if other != axis]
        occupied = masks.amax(dim=(1, *others)).bool()  # [B, length]
        first = occupied.int().argmax(1)
        last = occupied.shape[1] - occupied.flip(1).int().argmax(1)
        lengths.append(torch.where(occupied.any(1), last - first, 0))
    return torch.stack(lengths, dim=1)


def scanned_area(image: ImageArray) -> BoolArray:
    """Return where an image [*S] was scanned: everywhere but in zeros that reach its edge.

    Padding and collimation leave such zeros; dark tissue inside the body does not reach the edge.
    """
    if image.all():
        return np.ones(image.shape, dtype=np.bool_)
    labels, _ = ndimage.label(image == 0)
    at_edge = np.unique(labels[_edge(image.shape)])
    area: BoolArray = ~np.isin(labels, at_edge[at_edge > 0])
    return area


def _edge(shape: Sequence[int]) -> BoolArray:
    """Return the mask of the pixels on the edge of an image of shape *S."""
    mask = np.ones(tuple(shape), dtype=np.bool_)
    mask[(slice(1, -1),) * len(shape)] = False
    return mask
