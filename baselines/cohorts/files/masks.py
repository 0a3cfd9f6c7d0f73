"""Masks as segmentation tools write them: binary, by label, or by threshold."""

from __future__ import annotations

from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.cohort_toml import MaskFile
from baselines.cohorts.files.formats.scan import Scan
from benchmark.arrays import BoolArray
from benchmark.errors import CohortError

_SHOWN = 8  # values that a message lists
_WHOLE = 1e-3  # how far a label may lie from a whole number, after a header's scaling


def to_mask(scan: Scan, rule: MaskFile) -> BoolArray:
    """Return which voxels belong to a mask; NaN belongs to none.

    Without label or threshold, the file must hold 0 and a single other value.

    Raises:
        CohortError: If the values are others than the rule expects, or a label is missing.
    """
    voxels: npt.NDArray[Any] = scan.voxels
    if voxels.dtype.kind == "f":
        voxels = np.nan_to_num(voxels, nan=0.0)
    if rule.threshold is not None:
        low, high = float(voxels.min()), float(voxels.max())
        if high < rule.threshold:
            raise CohortError(
                f"The {scan.source} has no voxel at or above the threshold {rule.threshold:g}; its "
                f"values lie in [{low:g}, {high:g}]."
            )
        return np.asarray(voxels >= rule.threshold)
    values = np.unique(voxels)
    if rule.label is None:
        if len(values) > 2 or (len(values) == 2 and not (values == 0).any()):
            raise CohortError(
                f"The {scan.source} holds the values {_list_values(values)}, but a mask holds 0 "
                "and one other value; name the label of a segmentation, as in "
                '{ path = "…", label = 17 }, or the threshold of a probability map.'
            )
        return np.asarray(voxels != 0)
    if np.abs(values - np.rint(values)).max() > _WHOLE:
        raise CohortError(
            f"The {scan.source} holds the values {_list_values(values)}, which are no labels; for "
            'a probability map name a threshold, as in { path = "…", threshold = 0.5 }.'
        )
    labels = rule.label if isinstance(rule.label, tuple) else (rule.label,)
    rounded = np.rint(values).astype(np.int64)
    if missing := sorted(set(labels) - set(rounded.tolist())):
        raise CohortError(
            f"The {scan.source} has no voxel of label {missing[0]}; its values are "
            f"{_list_values(values)}."
        )
    return np.isin(voxels, values[np.isin(rounded, labels)])


def turn(mask: BoolArray, axes: str, wanted: str) -> BoolArray | None:
    """Return a mask whose axes run as ``axes`` says, turned to run as ``wanted`` says.

    None is returned if these are not the same axes of the body.
    """
    start, end = (nibabel.orientations.axcodes2ornt(tuple(letters)) for letters in (axes, wanted))
    if sorted(start[:, 0]) != sorted(end[:, 0]) or len(start) != mask.ndim:
        return None
    order = nibabel.orientations.ornt_transform(start, end)
    return np.asarray(nibabel.orientations.apply_orientation(mask, order), dtype=np.bool_)


def _list_values(values: npt.NDArray[np.generic]) -> str:
    written = ", ".join(f"{value:g}" for value in values[:_SHOWN].tolist())
    return written if len(values) <= _SHOWN else f"{written}, … ({len(values)} values)"
