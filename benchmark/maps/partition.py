"""The foreground cut into compact cells, and how much importance lies in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy

from benchmark.arrays import BoolArray, FloatArray

OUTSIDE = -1
_LLOYD_STEPS = 8


def cut(
    foreground: BoolArray, count: int, generator: np.random.Generator, spacing: Sequence[float]
) -> npt.NDArray[np.int64]:
    """Return which cell each pixel belongs to, [*S]; −1 outside the foreground.

    The cells are Voronoi cells of random pixels, which are moved to the middle of their cells a few
    times (Lloyd 1982). So cells are of similar size, and compact in the world for voxels of a
    spacing in mm. Every cell holds a pixel, so there are fewer where the foreground has fewer
    pixels.
    """
    pixels = np.argwhere(foreground) * np.asarray(spacing)
    centres = pixels[generator.choice(len(pixels), min(count, len(pixels)), replace=False)]
    owners = scipy.spatial.cKDTree(centres).query(pixels)[1]
    for _ in range(_LLOYD_STEPS):
        sizes = np.bincount(owners, minlength=len(centres))
        sums = [np.bincount(owners, weights=axis, minlength=len(centres)) for axis in pixels.T]
        moved = np.stack(sums, axis=1) / np.maximum(sizes, 1)[:, None]
        centres = np.where((sizes > 0)[:, None], moved, centres)
        owners = scipy.spatial.cKDTree(centres).query(pixels)[1]
    regions = np.full(foreground.shape, OUTSIDE, dtype=np.int64)
    regions[foreground] = np.unique(owners, return_inverse=True)[1]
    return regions


def masses(importance: FloatArray, regions: npt.NDArray[np.signedinteger]) -> FloatArray:
    """Return the sum of importance [*S] in each cell of a cut [*S]."""
    inside = regions != OUTSIDE
    return np.bincount(regions[inside], weights=importance[inside]).astype(np.float64)
