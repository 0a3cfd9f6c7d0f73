"""Control regions: as many voxels as were corrupted, where nothing was."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from benchmark.arrays import BoolArray, Rows
from benchmark.cohort import Cohort
from benchmark.maps.alteration import depth_inside
from benchmark.seeding import stream


def control_masks(cohort: Cohort, masks: BoolArray, seed: int) -> BoolArray | None:
    """Return, for each mask, equally many voxels round a point of the foreground beside it.

    The point is drawn where a ball of that size fits, and clear of the mask by its radius where
    there is room. A registered cohort has one point for everybody.

    Args:
        cohort: Cohort that the masks belong to.
        masks: [N, 1, *S] bool, inside the foreground.
        seed: Seed of the points.

    Returns:
        [N, 1, *S] bool, or None where some image has not so much foreground left.
    """
    free = cohort.anatomy.foreground & ~masks
    sizes = masks.sum(axis=tuple(range(1, masks.ndim)))
    if (free.sum(axis=tuple(range(1, masks.ndim))) < sizes).any():
        return None
    controls = np.zeros_like(masks)
    common: Rows | None = None
    everywhere: BoolArray = np.all(free[:, 0], axis=0)
    if cohort.geometry.registered and everywhere.any():
        union: BoolArray = np.any(masks[:, 0], axis=0)
        common = _draw_centre(cohort, everywhere, union, int(sizes.max()), seed, "everybody")
    for row, key in enumerate(cohort.keys):
        own, mask, size = free[row, 0], masks[row, 0], int(sizes[row])
        centre = _draw_centre(cohort, own, mask, size, seed, key) if common is None else common
        controls[row, 0] = _nearest(cohort, own, centre, size)
    return controls


def _draw_centre(
    cohort: Cohort, free: BoolArray, mask: BoolArray, size: int, seed: int, key: str
) -> Rows:
    """Return the voxel [len(S)] that a control of ``size`` voxels lies round."""
    spacing = cohort.geometry.spacing
    depth = depth_inside(free, spacing)
    radius = _radius_of(size, spacing)
    fitting = depth >= min(radius, depth.max())
    away = ndimage.distance_transform_edt(~mask, sampling=spacing)
    clear = fitting & (away >= min(2 * radius, away[fitting].max()))
    voxels = np.argwhere(clear)
    chosen: Rows = voxels[stream("corruption", seed, "control", key).integers(len(voxels))]
    return chosen


def _radius_of(size: int, spacing: tuple[float, ...]) -> float:
    """Return the radius in mm of a disc or ball of so many voxels."""
    volume = size * float(np.prod(spacing))
    if len(spacing) == 2:
        return math.sqrt(volume / math.pi)
    return math.cbrt(0.75 * volume / math.pi)


def _nearest(cohort: Cohort, free: BoolArray, centre: Rows, size: int) -> BoolArray:
    """Return the ``size`` free voxels nearest to a centre, [*S]."""
    voxels = np.argwhere(free)
    squares = (((voxels - centre) * cohort.geometry.spacing) ** 2).sum(1)
    chosen = voxels[np.argsort(squares, kind="stable")[:size]]
    mask = np.zeros(cohort.shape, dtype=np.bool_)
    mask[tuple(chosen.T)] = True
    return mask
