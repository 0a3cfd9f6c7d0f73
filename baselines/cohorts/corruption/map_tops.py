"""Where maps of a finished run are highest, as the places to corrupt.

A run explains the test split alone. Either each image is corrupted at the top of its own map, and
the cohort consists of the images that have one; or everybody is corrupted at the top of the mean
map, which needs a registered cohort and serves every split.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from baselines.cohorts.corruption.sites import Sites
from benchmark.arrays import BoolArray, FloatArray, ImageArray, Rows
from benchmark.cohort import Cohort, split_by_subject
from benchmark.errors import InputError
from benchmark.maps.masks import descending_order, top_masks
from benchmark.seeding import stream


def with_maps(cohort: Cohort, rows: Rows, seed: int) -> Cohort:
    """Return the cohort of the images that have a map, divided anew 60/20/20 by subject."""
    mapped = cohort.take(rows)
    splits = split_by_subject(mapped.subjects, mapped.groups.tolist(), seed)
    return replace(mapped, participants=mapped.participants.assign(split=splits))


def at_own_tops(cohort: Cohort, importance: ImageArray, share: float, seed: int) -> Sites:
    """Return the ⌈q·|Ω|⌉ most important voxels of each image's own map.

    Args:
        cohort: Cohort to corrupt.
        importance: [N, 1, *S] importance, not negative, a map of each of its images.
        share: Share q of the foreground Ω, in (0, 1).
        seed: Seed of the order of voxels that are equally important.

    Raises:
        InputError: If the share is none, or a map marks fewer voxels than it asks for.
    """
    masks = np.empty(cohort.images.shape, dtype=np.bool_)
    for row, key in enumerate(cohort.keys):
        foreground = cohort.anatomy.foreground[row, 0]
        masks[row, 0] = _top(importance[row, 0], foreground, share, seed, f"The map of {key!r}")
    return Sites(masks, {"places": "top of each image's own map", "share": share})


def at_mean_top(
    cohort: Cohort, mapped: Cohort, importance: ImageArray, share: float, seed: int
) -> Sites:
    """Return the ⌈q·|Ω|⌉ most important voxels of the mean map, the same for everybody.

    Each map is first divided by its sum in the foreground, and both groups count the same. Ω is the
    foreground that all images of the cohort share.

    Args:
        cohort: Registered cohort to corrupt.
        mapped: Cohort of the images that have a map.
        importance: [M, 1, *S] importance maps of the images, not negative.
        share: Share q of the foreground Ω, in (0, 1).
        seed: Seed of the order of voxels that are equally important.

    Raises:
        InputError: If the cohort is not registered, the share is none, or the mean map marks fewer
            voxels than it asks for.
    """
    if not cohort.geometry.registered:
        raise InputError(
            f"The mean map needs a registered cohort, and {cohort.name!r} is not: a voxel means "
            "another place in each subject. Corrupt each image at the top of its own map instead."
        )
    common: BoolArray = np.all(cohort.anatomy.foreground[:, 0], axis=0)
    if not common.any():
        raise InputError(f"The images of cohort {cohort.name!r} share no voxel of foreground.")
    sums: list[FloatArray] = [np.zeros(cohort.shape), np.zeros(cohort.shape)]
    for row in np.argsort(np.array(mapped.keys)):  # sums of floats depend on their order
        inside = np.where(mapped.anatomy.foreground[row, 0], importance[row, 0].astype(float), 0.0)
        total = inside.sum()
        if total > 0:
            sums[int(mapped.groups[row])] += inside / total
    counts = np.bincount(mapped.groups, minlength=2)
    means = [total / count for total, count in zip(sums, counts, strict=True) if count]
    mean = np.mean(means, axis=0)
    top = _top(mean, common, share, seed, "The mean map")
    masks = np.broadcast_to(top, cohort.images.shape).copy()
    return Sites(masks, {"places": "top of the mean map", "share": share})


def _top(
    importance: ImageArray | FloatArray, foreground: BoolArray, share: float, seed: int, title: str
) -> BoolArray:
    """Return the highest voxels [*S] of a map [*S]."""
    if not 0 < share < 1:
        raise InputError(f"Expected a top share of the foreground in (0, 1), got {share:g}.")
    inside = torch.from_numpy(foreground[None, None])
    values = torch.from_numpy(np.ascontiguousarray(importance))[None, None]
    order = descending_order(values, inside, [stream("corruption", seed, "ties", title)])
    top: BoolArray = top_masks(order, inside, [share])[0, 0].numpy()
    marked = int((importance[foreground] > 0).sum())
    if marked < top.sum():
        raise InputError(
            f"{title} marks {marked} of {int(foreground.sum())} voxels of the foreground, fewer "
            f"than the {int(top.sum())} that a top share of {share:g} asks for."
        )
    return top
