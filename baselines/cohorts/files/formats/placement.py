"""Volumes that lie in the world, turned into RAS+ order."""

from __future__ import annotations

import nibabel
import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.arrays import FloatArray
from benchmark.errors import CohortError

_SMALLEST, _LARGEST = 1e-3, 100.0  # mm; what a voxel of any scanner or microscope measures
_SHEAR = 0.5  # volume of a voxel over that of a box with its edges; a tilted gantry leaves 0.85


def to_ras(source: Source, voxels: npt.NDArray[np.generic], affine: FloatArray) -> Scan:
    """Return a volume with its axes in RAS+ order; no voxel is resampled.

    Args:
        source: Source that was read.
        voxels: [I, J, K] values as stored.
        affine: [4, 4] map from the indices of ``voxels`` to RAS+ millimetres.

    Raises:
        CohortError: If no scanner can have written such an affine.
    """
    check_affine(source, affine)
    orientation = nibabel.io_orientation(affine)
    turned = nibabel.orientations.apply_orientation(voxels, orientation)
    to_stored = nibabel.orientations.inv_ornt_aff(orientation, voxels.shape)
    return Scan(source, turned, np.asarray(affine @ to_stored, dtype=np.float64))


def check_affine(source: Source, affine: FloatArray) -> None:
    """Refuse an affine that no scanner can have written.

    Raises:
        CohortError: If it is not finite, or its voxels are absurdly small, large or flat.
    """
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    check_sizes(source, tuple(float(size) for size in sizes))
    if not np.isfinite(affine).all():
        raise CohortError(f"The {source} has an affine with values that are no finite numbers.")
    if abs(np.linalg.det(affine[:3, :3])) < _SHEAR * sizes.prod():
        raise CohortError(
            f"The {source} has an affine whose axes nearly coincide, so its voxels fill no space."
        )


def check_sizes(source: Source, sizes: tuple[float, ...]) -> None:
    """Refuse sizes of voxels, in mm, that no scanner has.

    Raises:
        CohortError: If one is zero, absurd or no number.
    """
    if not all(_SMALLEST <= size <= _LARGEST for size in sizes):
        written = " × ".join(f"{size:.4g}" for size in sizes)
        raise CohortError(
            f"The {source} has voxels of {written} mm by its header; sizes between {_SMALLEST:g} "
            f"and {_LARGEST:g} mm were expected."
        )
