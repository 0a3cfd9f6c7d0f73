"""Resizing of images inside a model, and the way back from resized pixels to the image's own.

Each axis is multiplied by a matrix of triangle weights, as Pillow and torch's antialiased linear
interpolation do. A product of matrices has the same gradient on every device, in two and three
dimensions, where torch's own kernels are not deterministic on CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from benchmark.feature_grid import FeatureGrid


def resize(images: Tensor, size: Sequence[int]) -> Tensor:
    """Return images [B, C, *S] interpolated linearly to [B, C, *size], smoothed where they shrink.

    Args:
        images: Images or volumes.
        size: Spatial shape of the result.
    """
    for axis, (old, new) in enumerate(zip(images.shape[2:], size, strict=True)):
        if old != new:
            weights = _weights(old, new).to(images)
            images = torch.movedim(torch.movedim(images, 2 + axis, -1) @ weights.T, -1, 2 + axis)
    return images


def carry_back(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return relevance of resized pixels [B, C, *s] shared out among the pixels of the image.

    Each resized pixel gives to those that it was interpolated from, by their weights, so the sum
    of a map is kept.

    Args:
        maps: Relevance of the pixels of ``resize(images, s)``.
        size: Spatial shape *S of the images.
    """
    for axis, (old, new) in enumerate(zip(size, maps.shape[2:], strict=True)):
        if old != new:
            weights = _weights(old, new).to(maps)
            maps = torch.movedim(torch.movedim(maps, 2 + axis, -1) @ weights, -1, 2 + axis)
    return maps


def grid_before(grid: FeatureGrid, old: Sequence[int], new: Sequence[int]) -> FeatureGrid:
    """Return a grid over images resized from ``old`` to ``new`` in coordinates of the old pixels.

    Pixels are tiles of the image, so coordinate x of the resized one is (x + ½) · old / new − ½.
    """
    if not grid.shape:
        return grid
    scales = [before / after for before, after in zip(old, new, strict=True)]
    axes = list(zip(grid.offset, grid.step, scales, strict=True))
    offset = tuple((start + 0.5) * scale - 0.5 for start, _, scale in axes)
    return FeatureGrid(grid.shape, offset, tuple(step * scale for _, step, scale in axes))


@lru_cache(maxsize=16)
def _weights(old: int, new: int) -> Tensor:
    """Return the triangle weights of old pixels in new ones, [new, old] float64; rows sum to 1."""
    scale = old / new
    reach = max(scale, 1.0)
    centres = (torch.arange(new, dtype=torch.float64) + 0.5) * scale
    distances = torch.arange(old, dtype=torch.float64) + 0.5 - centres[:, None]
    weights = (1 - distances.abs() / reach).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)
