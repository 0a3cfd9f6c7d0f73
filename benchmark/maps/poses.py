"""Masks that every subject shares: averaged where anatomy agrees, and laid back on each image.

Where a cohort brings poses, a place is the same in every subject in the space of the poses, on the
grid that the cohort's ``affine`` lays over it. Where it brings none, the grid of the images is all
that there is to average on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from benchmark.arrays import BoolArray, FloatArray, ImageArray
from benchmark.cohort import Geometry
from benchmark.maps.masks import dilate_cross

_MAJORITY = 0.5


def common_mask(masks: BoolArray, geometry: Geometry) -> BoolArray:
    """Return where more than half of the masks lie, grown by one pixel, [*S].

    It lies on the grid of ``geometry.affine``; it is empty where no place is common to more than
    half of the masks.

    Args:
        masks: [N, 1, *S] bool.
        geometry: Geometry of these images.
    """
    share: FloatArray = np.zeros(masks.shape[2:])
    for row, mask in enumerate(masks[:, 0]):
        moved = mask.astype(np.float64)
        if geometry.poses is not None:
            moved = _resampled(moved, np.linalg.inv(geometry.poses[row]) @ geometry.affine)
        share += moved / len(masks)
    # A rounding error of the sum must not decide what exactly half of the masks hold.
    majority = torch.from_numpy(share > _MAJORITY + 1e-9)
    grown: BoolArray = dilate_cross(majority, majority.ndim).numpy()
    return grown


def in_common_space(values: ImageArray, geometry: Geometry) -> ImageArray:
    """Return images or maps [N, 1, *S] where a voxel means the same place in every subject.

    They are read between pixels, linearly, on the grid of ``geometry.affine``, 0 beyond their own
    grid. Without poses they are returned as they are.

    Args:
        values: [N, 1, *S] float32.
        geometry: Geometry of these images.
    """
    if geometry.poses is None:
        return values
    there = [np.linalg.inv(pose) @ geometry.affine for pose in geometry.poses]
    return _each_resampled(values, there)


def on_own_grids(values: ImageArray, geometry: Geometry) -> ImageArray:
    """Return what lies in the common space, [N, 1, *S], on the grid of each image.

    It is the way back from ``in_common_space``, which may be asked for other values.
    """
    if geometry.poses is None:
        return values
    back = [np.linalg.inv(geometry.affine) @ pose for pose in geometry.poses]
    return _each_resampled(values, back)


def carried(mask: BoolArray, geometry: Geometry) -> BoolArray:
    """Return a common mask [*S] on the grid of each image of ``geometry``, [N, 1, *S] by its poses.

    Without poses it is returned as it is, [1, 1, *S].
    """
    if geometry.poses is None:
        return mask[None, None]
    back = [np.linalg.inv(geometry.affine) @ pose for pose in geometry.poses]
    values = mask.astype(np.float64)
    return np.stack([_resampled(values, matrix) >= _MAJORITY for matrix in back])[:, None]


def laid_over(image: FloatArray, pose: FloatArray, other: FloatArray) -> FloatArray:
    """Return an image [*S] of one pose on the grid of an image of another pose, 0 beyond it."""
    return _resampled(image, np.linalg.inv(pose) @ other)


def _each_resampled(values: ImageArray, matrices: Sequence[FloatArray]) -> ImageArray:
    moved = np.empty_like(values)
    for row, matrix in enumerate(matrices):
        moved[row, 0] = _resampled(values[row, 0], matrix)
    return moved


def _resampled(values: FloatArray, matrix: FloatArray) -> FloatArray:
    """Return values [*S] read between pixels, linearly, at matrix @ index; 0 beyond the grid."""
    axes = values.ndim
    resampled: FloatArray = ndimage.affine_transform(
        values, matrix[:axes, :axes], matrix[:axes, 3], order=1
    )
    return resampled
