"""Masks that all subjects share, with and without poses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.cohort import Geometry
from benchmark.maps.poses import carried, common_mask, in_common_space, on_own_grids


def box(shape: tuple[int, ...], first: int, last: int) -> np.ndarray:
    """Return a mask [1, *S] of a box along all axes."""
    mask = np.zeros((1, *shape), dtype=np.bool_)
    mask[(0, *(slice(first, last) for _ in shape))] = True
    return mask


@pytest.mark.parametrize("shape", [(20, 20), (16, 16, 16)], ids=["2-D", "3-D"])
def test_without_poses_the_majority_is_grown_by_a_pixel(shape: tuple[int, ...]) -> None:
    """If it fails, the common mask is another region, or that of one subject alone."""
    masks = np.stack([box(shape, 4, 9), box(shape, 5, 9), box(shape, 5, 12)])
    geometry = Geometry((1.0,) * len(shape), np.eye(4))
    mask = common_mask(masks, geometry)
    assert mask.sum() == 4 ** len(shape) + 2 * len(shape) * 4 ** (len(shape) - 1)
    np.testing.assert_array_equal(carried(mask, geometry), mask[None, None])


@pytest.mark.parametrize("shape", [(24, 24), (16, 16, 16)], ids=["2-D", "3-D"])
def test_with_poses_the_mask_follows_each_subject(shape: tuple[int, ...]) -> None:
    """If it fails, the gate removes what lies beside the region in everyone who lies askew."""
    shifts, axes = (-3, 0, 4), len(shape)
    poses = np.stack([np.eye(4)] * 3)
    for pose, shift in zip(poses, shifts, strict=True):
        pose[:axes, 3] = -shift  # the region lies ``shift`` further along every axis of the grid
    masks = np.stack([box(shape, 6 + shift, 10 + shift) for shift in shifts])
    geometry = Geometry((1.0,) * axes, np.eye(4), poses=poses)
    mask = common_mask(masks, geometry)
    assert mask[(slice(6, 10),) * axes].all()
    for row, shift in enumerate(shifts):
        moved = np.roll(mask, (shift,) * axes, tuple(range(axes)))
        np.testing.assert_array_equal(carried(mask, geometry)[row, 0], moved)


def test_the_common_space_and_back_is_the_image_again() -> None:
    """If it fails, maps of subjects who lie askew are averaged at places that do not belong."""
    coordinates = np.indices((32, 32)).astype(np.float32)
    smooth = np.exp(-((coordinates - 15.5) ** 2).sum(0) / 50)[None].repeat(2, 0)[:, None]
    poses = np.stack([np.eye(4)] * 2)
    angle = 0.1
    poses[1, :2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    poses[1, :2, 3] = 2.5, -1.25
    geometry = Geometry((1.0, 1.0), np.eye(4), poses=poses)
    there = in_common_space(smooth, geometry)
    np.testing.assert_array_equal(there[0], smooth[0])
    assert np.abs(there[1] - smooth[1]).max() > 0.1
    back = on_own_grids(there, geometry)
    assert np.abs(back - smooth)[:, :, 8:24, 8:24].max() < 0.02
    plain = replace(geometry, poses=None)
    assert in_common_space(smooth, plain) is smooth
