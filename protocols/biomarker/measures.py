"""What a map puts on a region, in units of what it puts on a voxel of the foreground."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.errors import AttributionError
from benchmark.maps.ranking import NON_FINITE_MAP
from benchmark.trial.null_networks import MOST_ABSTENTIONS
from benchmark.trial.projection import SignedMaps
from protocols.biomarker.people import People
from protocols.biomarker.regions import Regions

_SMALLEST = 1e-12  # of the cohort's mean denominator


@dataclass(frozen=True)
class RegionMeans:
    """The signed mean of maps on K regions.

    Attributes:
        relative: [N, K] S, over the mean of |a| in the foreground: a positive factor for each image
            changes nothing.
        absolute: [N, K] S̃, on the scale of the map.
    """

    relative: FloatArray
    absolute: FloatArray


@dataclass(frozen=True)
class Marks:
    """What maps put on regions, averaged by subject.

    Attributes:
        own: [n, K] S of the regions on the network on trial.
        absolute: [n, K] S̃ of the same.
        control: [n, K] S of the control regions.
        copies: [n, K] S of the regions on each randomised copy.
        parts: [n, J] S of the parts of regions.
        parts_absolute: [n, J] S̃ of the same.
        by_image: [N, K] S of the regions of each image.
        left_out: Reason why a copy has no maps, by its number.
    """

    own: FloatArray
    absolute: FloatArray
    control: FloatArray
    copies: tuple[FloatArray, ...]
    parts: FloatArray
    parts_absolute: FloatArray
    by_image: FloatArray
    left_out: Mapping[int, str]


def measure_marks(
    maps: SignedMaps, people: People, regions: Regions, foreground: BoolArray
) -> Marks:
    """Return what maps [N, 1, *S] of the people's images put on their regions."""
    masks = [*regions.rois.values(), *regions.controls.values(), *regions.subfields.values()]
    count = len(regions.rois)
    own = region_means(maps.own, masks, foreground)
    relative, absolute = people.mean(own.relative), people.mean(own.absolute)
    copies = []
    for drawn in maps.copies.values():
        # A map that looks at no network is its own copy, to the bit. One that is not finite tells
        # nothing, and costs no other image its null.
        known = torch.nan_to_num(drawn, nan=0.0, posinf=0.0, neginf=0.0)
        copy = own if drawn is maps.own else region_means(known, masks[:count], foreground)
        copies.append(people.mean(copy.relative[:, :count]))
    return Marks(
        own=relative[:, :count],
        absolute=absolute[:, :count],
        control=relative[:, count : 2 * count],
        copies=tuple(copies),
        parts=relative[:, 2 * count :],
        parts_absolute=absolute[:, 2 * count :],
        by_image=own.relative[:, :count],
        left_out=maps.left_out,
    )


def finite_maps(maps: Tensor, foreground: BoolArray, explainer: str) -> BoolArray:
    """Return which maps [N, 1, *S] are finite, [N]; they are few or none that are not.

    A map that is 0 in the whole foreground says nothing. One that is constant does: how strong the
    output is, at no place.

    Raises:
        AttributionError: If the method abstains on more than a tenth of the images, by maps of
            zeros or by maps that are not finite.
    """
    finite, silent = np.ones(len(maps), dtype=np.bool_), 0
    for row in range(len(maps)):
        values = maps[row].numpy()[foreground[row]]
        finite[row] = np.isfinite(values).all()
        silent += not values.any()
    counts = {"map of zeros": silent, NON_FINITE_MAP: int((~finite).sum())}
    for what, count in counts.items():
        if count > MOST_ABSTENTIONS * len(maps):
            raise AttributionError(
                f"Explainer {explainer!r} abstains: a {what} on {count} of {len(maps)} images, "
                f"more than {MOST_ABSTENTIONS:.0%}."
            )
    return finite


def region_means(maps: Tensor, masks: list[BoolArray], foreground: BoolArray) -> RegionMeans:
    """Return the signed mean of each map in each region.

    An image without a voxel of a region has the mean 0 there, and so has a map of zeros.

    Args:
        maps: [N, 1, *S] signed maps.
        masks: K regions, each [N, 1, *S] bool.
        foreground: [N, 1, *S] bool.
    """
    absolute, level = np.zeros((len(maps), len(masks))), np.zeros(len(maps))
    # An image at a time, since volumes in double precision fill a memory.
    for row in range(len(maps)):
        values = maps[row].numpy().astype(np.float64)
        level[row] = _mean(np.abs(values), foreground[row])
        absolute[row] = [_mean(values, mask[row]) for mask in masks]
    floor = _SMALLEST * float(level.mean()) if len(level) else 0.0
    scale = np.where(level + floor > 0, level + floor, 1.0)
    return RegionMeans(absolute / scale[:, None], absolute)


def side_pairs(names: tuple[str, ...]) -> Mapping[str, tuple[int, int]]:
    """Return the positions of the left and the right region of each structure, by its name."""
    pairs = {}
    for left, name in enumerate(names):
        other = name.replace("left", "right")
        if other != name and other in names:
            structure = name.replace("left", "").replace("__", "_").strip("_-. ")
            pairs[structure or "regions"] = (left, names.index(other))
    return pairs


def _mean(values: FloatArray, mask: BoolArray) -> float:
    return float(values[mask].mean()) if mask.any() else 0.0
