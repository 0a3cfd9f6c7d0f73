"""NIfTI, and the other formats of volumes that nibabel reads."""

from __future__ import annotations

import gzip
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel import imageglobals
from nibabel.spatialimages import SpatialImage

from baselines.cohorts.files.formats.limits import (
    check_content,
    check_image_size,
    check_index,
    explain,
)
from baselines.cohorts.files.formats.placement import check_affine, to_ras
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.arrays import FloatArray
from benchmark.errors import CohortError

NIFTI_ENDINGS = (".nii", ".nii.gz", ".img", ".img.gz", ".hdr", ".mgz", ".mgh")

_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_CHUNK = 2**26  # bytes of a file's values that are unpacked at a time
_TAIL = 2**20  # bytes that may follow the last voxel before the end of the file
_PACKED = (".gz", ".mgz", ".bz2", ".zst")


def read_nifti(source: Source) -> Scan:
    """Return a volume in RAS+ order, in millimetres whatever unit its header names.

    A header whose sform and qform codes are both 0 does not say where the voxels lie; its volume
    is returned as stored, with no more than a spacing.

    Raises:
        CohortError: If it is unreadable, no single volume of real numbers, or lies absurdly.
    """
    try:
        with _silence():
            image = nibabel.load(source.path, keep_file_open=True)
        if not isinstance(image, SpatialImage):
            raise CohortError(f"The {source} is no volume but a {type(image).__name__}.")
        _check_values(image, source)
        _check_size(image, source)
        affine = _find_affine(image, source)
        _check_sides(image, source)
        voxels = _read_volume(image, source)
        _check_end(image)
    except (CohortError, MemoryError):
        raise
    # A damaged header raises anything, down to KeyError and OverflowError.
    except Exception as error:
        raise CohortError(f"The {source} cannot be read as NIfTI: {explain(error)}.") from error
    if not _is_placed(image):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        return Scan(source, voxels, spacing=tuple(float(size) for size in sizes))
    return to_ras(source, voxels, affine)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep nibabel from printing what it mends in a header; what matters is checked afterwards."""
    logger = imageglobals.logger
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was_disabled


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
    path = Path(image.file_map["image"].filename or source.path)
    item, size = image.get_data_dtype().itemsize, path.stat().st_size
    check_content(source, shape, item, size, path.suffix.lower() in _PACKED)
    check_image_size(source, shape[:3])


def _read_volume(image: SpatialImage, source: Source) -> npt.NDArray[Any]:
    """Return the one volume of a file, or that of the number asked for, as [X, Y, Z].

    Whole numbers stay whole, since labels of large atlases are more than float32 tells apart.
    """
    shape = tuple(image.shape)
    count = math.prod(shape[3:])
    if (source.index is None and count > 1) or (len(shape) > 4 and count != max(shape[3:])):
        raise CohortError(
            f"The {source} has shape {list(shape)}, but one volume was expected; say which as "
            '{ path = "…", index = 0 }.'
        )
    index = check_index(source, count, "volumes")
    numbers = [index if length == count else 0 for length in shape[3:]]
    space = (*shape[:3], 1, 1)[:3]
    # A few slices at a time, so that a file's own type, and the float64 that a header's scale
    # makes of it, take little memory beside the volume.
    voxels: npt.NDArray[Any] | None = None
    step = max(1, _CHUNK // (space[0] * space[1] * image.get_data_dtype().itemsize))
    with np.errstate(over="ignore", invalid="ignore"):  # too large for float32 becomes infinite
        for start in range(0, space[2], step):
            chosen = (slice(None), slice(None), slice(start, start + step))[: len(shape)]
            chunk = np.asarray(image.dataobj[(*chosen, *numbers)])
            if voxels is None:
                is_whole = chunk.dtype.kind in "iu"
                dtype = chunk.dtype.newbyteorder("=") if is_whole else np.dtype(np.float32)
                voxels = np.empty(space, dtype=dtype, order="F")
            voxels[..., start : start + step] = np.reshape(chunk, (*space[:2], -1))
    if voxels is None:
        raise CohortError(f"The {source} has no voxels.")
    return voxels


def _find_affine(image: SpatialImage, source: Source) -> FloatArray:
    """Return the affine in millimetres, or refuse one that no scanner can have written."""
    try:
        units = getattr(image.header, "get_xyzt_units", lambda: ("mm",))()[0]
        scale = _MILLIMETRES[units]
    except KeyError as error:
        raise CohortError(
            f"The {source} has a unit of length of the code {error.args[0]}; known: "
            f"{', '.join(_MILLIMETRES)}."
        ) from error
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= scale
    check_affine(source, affine)
    return affine


def _check_sides(image: SpatialImage, source: Source) -> None:
    """Refuse a header of which one affine mirrors the other, so that nobody knows the left side.

    They may differ otherwise: the sform of an image that was registered leads to the template.
    """
    if not isinstance(image, nibabel.Nifti1Image | nibabel.Nifti1Pair):
        return
    sform, qform = image.get_sform(coded=True)[0], image.get_qform(coded=True)[0]
    if sform is None or qform is None:
        return
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise CohortError(
            f"The {source} contradicts itself about left and right: its sform has the axes "
            f"{''.join(map(str, nibabel.aff2axcodes(sform)))}, but its qform "
            f"{''.join(map(str, nibabel.aff2axcodes(qform)))}; find out which is right, and save "
            "it with that one in both."
        )


def _check_end(image: SpatialImage) -> None:
    """Read on to the checksum at the end of a gzip, without which damage may pass for values.

    nibabel keeps the file open where it was asked to, and stops after the last voxel. What follows
    it may be the tail of a bomb, so little of it is read.
    """
    opener = vars(image.dataobj).get("_opener")
    stream = getattr(opener, "fobj", None)
    if isinstance(stream, gzip.GzipFile):
        stream.read(_TAIL)


def _is_placed(image: SpatialImage) -> bool:
    """Return whether the header says where voxels lie, and which side is left."""
    if isinstance(image, nibabel.Nifti1Image | nibabel.Nifti1Pair):
        return bool(image.header["sform_code"] or image.header["qform_code"])
    return isinstance(image, nibabel.MGHImage) and bool(image.header["goodRASFlag"])
