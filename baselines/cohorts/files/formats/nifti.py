"""NIfTI, and the other formats of volumes that nibabel reads."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage

from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.arrays import FloatArray
from benchmark.errors import CohortError

NIFTI_ENDINGS = (".nii", ".nii.gz", ".img", ".img.gz", ".hdr", ".mgz", ".mgh")
LARGEST_IMAGE = 2**31
"""Bytes that a single image may take as float32; the largest scans take a quarter of it."""

_UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)
# Deflate packs at most 1032 bytes into one, whatever they are.
_DEFLATE_LIMIT = 1032
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_SMALLEST, _LARGEST = 1e-3, 100.0  # mm; what a voxel of any scanner or microscope measures
_SHEAR = 0.5  # volume of a voxel over that of a box with its edges; a tilted gantry leaves 0.85
_PACKED = (".gz", ".mgz", ".bz2", ".zst")


def read_nifti(source: Source) -> Scan:
    """Return a volume in RAS+ order, in millimetres whatever unit its header names.

    A header whose sform and qform codes are both 0 does not say where the voxels lie; its volume
    is returned as stored, with no more than a spacing.

    Raises:
        CohortError: If it is unreadable, no single volume of real numbers, or lies absurdly.
    """
    try:
        image = nibabel.load(source.path)
        if not isinstance(image, SpatialImage):
            raise CohortError(f"The {source} is no volume but a {type(image).__name__}.")
        _check_values(image, source)
        _check_size(image, source)
        voxels = np.asarray(_choose_volume(image, source), dtype=np.float32)
    except _UNREADABLE as error:
        raise CohortError(f"The {source} cannot be read as NIfTI: {explain(error)}.") from error
    affine = _find_affine(image, source)
    if not _is_placed(image):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        return Scan(source, voxels, spacing=tuple(float(size) for size in sizes))
    orientation = nibabel.io_orientation(affine)
    turned = nibabel.orientations.apply_orientation(voxels, orientation)
    to_stored = nibabel.orientations.inv_ornt_aff(orientation, voxels.shape)
    return Scan(source, turned, np.asarray(affine @ to_stored, dtype=np.float64))


def explain(error: BaseException) -> str:
    """Return why a file cannot be read, as the end of a sentence."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((reason or type(error).__name__).split()).rstrip(".")


def _check_values(image: SpatialImage, source: Source) -> None:
    """Refuse voxels that are no real numbers."""
    kind = image.get_data_dtype()
    if kind.fields is not None:
        raise CohortError(
            f"The {source} holds colours ({', '.join(kind.fields)}), but grey values were "
            "expected; convert it first, and note that a colour map is no intensity."
        )
    if kind.kind == "c":
        raise CohortError(
            f"The {source} holds complex numbers, but real ones were expected; save the magnitude."
        )
    if kind.kind not in "biuf":
        raise CohortError(f"The {source} holds values of the type {kind}, which are no numbers.")


def _check_size(image: SpatialImage, source: Source) -> None:
    """Refuse a header that asks for more than its file can hold, before anything is unpacked."""
    shape = tuple(int(length) for length in image.shape)
    written = "×".join(map(str, shape))
    if not shape or min(shape) < 1:
        raise CohortError(f"The {source} has the shape {written or 'of nothing'}.")
    path = Path(image.file_map["image"].filename or source.path)
    size, stored = path.stat().st_size, math.prod(shape) * image.get_data_dtype().itemsize
    is_packed = path.suffix.lower() in _PACKED
    if stored > size * (_DEFLATE_LIMIT if is_packed else 1):
        raise CohortError(
            f"The {source} names {written} voxels in its header, but its {size} bytes cannot hold "
            "them."
        )
    if (needed := 4 * math.prod(shape[:3])) > LARGEST_IMAGE:
        raise CohortError(
            f"The {source} has {written} voxels, {needed / 2**30:.1f} GiB as float32; at most "
            f"{LARGEST_IMAGE / 2**30:.0f} GiB are read for one image."
        )


def _choose_volume(image: SpatialImage, source: Source) -> npt.ArrayLike:
    """Return the one volume of a file, or that of the number asked for; nothing is unpacked yet."""
    shape = tuple(image.shape)
    count = math.prod(shape[3:])
    if (source.index is None and count > 1) or (len(shape) > 4 and count != max(shape[3:])):
        raise CohortError(
            f"The {source} has shape {list(shape)}, but one volume was expected; say which as "
            '{ path = "…", index = 0 }.'
        )
    index = source.index or 0
    if index >= count:
        raise CohortError(f"The {source} holds {count} volumes, counted from 0.")
    space = (slice(None),) * min(len(shape), 3)
    numbers = [index if length == count else 0 for length in shape[3:]]
    volume = image.dataobj[(*space, *numbers)]  # reads no other volume of a file that is not packed
    return np.reshape(volume, (*shape[:3], 1, 1)[:3])


def _find_affine(image: SpatialImage, source: Source) -> FloatArray:
    """Return the affine in millimetres, or refuse one that no scanner can have written."""
    units = getattr(image.header, "get_xyzt_units", lambda: ("mm",))()[0]
    if units not in _MILLIMETRES:
        raise CohortError(
            f"The {source} has the unit {units!r} of length; known: {', '.join(_MILLIMETRES)}."
        )
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= _MILLIMETRES[units]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    written = " × ".join(f"{size:.4g}" for size in sizes)
    if not np.isfinite(affine).all() or not ((sizes >= _SMALLEST) & (sizes <= _LARGEST)).all():
        raise CohortError(
            f"The {source} has voxels of {written} mm by its header; sizes between {_SMALLEST:g} "
            f"and {_LARGEST:g} mm were expected."
        )
    if abs(np.linalg.det(affine[:3, :3])) < _SHEAR * sizes.prod():
        raise CohortError(
            f"The {source} has an affine whose axes nearly coincide, so its voxels fill no space."
        )
    return affine


def _is_placed(image: SpatialImage) -> bool:
    """Return whether the header says where voxels lie, and which side is left."""
    if isinstance(image, nibabel.Nifti1Image | nibabel.Nifti1Pair):
        return bool(image.header["sform_code"] or image.header["qform_code"])
    return isinstance(image, nibabel.MGHImage) and bool(image.header["goodRASFlag"])
