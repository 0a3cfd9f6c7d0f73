"""Lays a mask over its image, whichever way both are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import nibabel
import numpy as np

from baselines.cohorts.files.cohort_toml import MaskFile
from baselines.cohorts.files.formats.limits import format_shape
from baselines.cohorts.files.formats.scan import Scan
from baselines.cohorts.files.layout import PLANES, Layout
from baselines.cohorts.files.masks import to_mask, turn
from benchmark.arrays import BoolArray
from benchmark.errors import CohortError


@dataclass(frozen=True)
class FittedMask:
    """A mask on the grid of its image.

    Attributes:
        array: Array [*S] of the cohort.
        stored: The mask of the image's stored voxels, where the file covers all of them, or None.
    """

    array: BoolArray
    stored: BoolArray | None


def fit_mask(scan: Scan, rule: MaskFile, layout: Layout) -> FittedMask:
    """Return a mask on the grid of its image.

    Raises:
        CohortError: If its values do not fit its rule, it lies elsewhere than its image, or is
            empty.
    """
    fitted = _fit(to_mask(scan, rule), scan, rule, layout)
    if not fitted.array.any():
        cut = layout.cut
        where = "" if cut is None else f" in {PLANES[layout.world_axis(cut[0])]} slice {cut[1]}"
        raise CohortError(f"The {scan.source} is empty{where}.")
    return fitted


def _fit(mask: BoolArray, scan: Scan, rule: MaskFile, layout: Layout) -> FittedMask:
    """Return a mask on the grid of its image, empty or not."""
    if scan.affine is None and (layout.is_placed or rule.axes or scan.axes):
        return _turn(mask, scan, rule, layout)
    if scan.affine is not None and not layout.is_placed:
        raise CohortError(
            f"The {scan.source} says where it lies in the world, but its image "
            f"{layout.source.path} does not, so nobody knows which pixel is which; save both "
            "in one format."
        )
    own = replace(layout, source=scan.source, stored=tuple(mask.shape))
    own = own if scan.affine is None else replace(own, affine=scan.affine)
    if scan.affine is None and own.stored != layout.stored:
        stack = '; say which of several as { path = "…", index = "{index}" }'
        raise CohortError(
            f"The {scan.source} has the shape {format_shape(own.stored)}, but its image "
            f"{layout.source.path} {format_shape(layout.stored)}; both must have the same pixels"
            f"{stack if mask.ndim > len(layout.stored) else ''}."
        )
    if not own.lies_like(layout):
        raise CohortError(
            f"The {scan.source} lies on the grid {own}, but its image {layout.source.path} on "
            f"{layout}; resample it first, for example with nilearn.image.resample_to_img."
        )
    return FittedMask(np.asarray(layout.arrange(mask), dtype=np.bool_), mask)


def _turn(mask: BoolArray, scan: Scan, rule: MaskFile, layout: Layout) -> FittedMask:
    """Return a mask that does not say how it lies, for an image that does."""
    axes = rule.axes or scan.axes
    if not layout.is_oriented:
        raise CohortError(
            f"The {scan.source} has the axes {axes!r}, but those of its image "
            f"{layout.source.path} are not known; give axes for the images in the cohort file too."
        )
    if axes is None:
        raise CohortError(
            f"The {scan.source} does not say how it lies, but its image {layout.source.path} does; "
            'give the directions of its axes, as in { path = "…", axes = "RAS" }.'
        )
    is_volume = mask.ndim == len(layout.stored)
    shape = layout.stored if is_volume else layout.shape
    codes = nibabel.aff2axcodes(layout.affine if is_volume else layout.array_affine)
    letters = "".join(map(str, codes))[: len(shape)]
    turned = turn(mask, axes, letters)
    if turned is None or turned.shape != shape:
        raise CohortError(
            f"The {scan.source} has the shape {list(mask.shape)} with the axes {axes!r}, "
            f"which does not fit its image, {list(shape)} with the axes {letters!r}."
        )
    if not is_volume:
        return FittedMask(turned, None)
    return FittedMask(np.asarray(layout.arrange(turned), dtype=np.bool_), turned)
