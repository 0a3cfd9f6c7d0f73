"""DICOM: series in a folder, single images, and multi-frame objects.

Where slices lie is taken from their positions alone, never from names or numbers of files. A
series whose gantry was tilted keeps the affine that says so. pydicom reads and unpacks; the
geometry is written out below, since a refusal has to say which slice it is about.
"""

from __future__ import annotations

import numpy as np

from baselines.cohorts.files.formats.dicom_frames import Frame, list_frames, read_values
from baselines.cohorts.files.formats.limits import check_image_size, check_index
from baselines.cohorts.files.formats.placement import check_sizes, to_ras
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.arrays import FloatArray
from benchmark.errors import CohortError

_TO_RAS = np.array([-1.0, -1.0, 1.0])  # DICOM's x and y run to the left and to the back
_ALIKE = 1e-3  # what directions may differ by, and the share that spacings may
_UNEVEN = 0.1  # share of the distance of slices by which one may lie off its place
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_LETTERS = {"L": "L", "R": "R", "A": "A", "P": "P", "H": "S", "F": "I"}


def read_dicom(source: Source) -> Scan:
    """Return a DICOM series or file.

    Slices with a position become a volume in RAS+ order; a single slice becomes a volume one voxel
    thick. A picture without a position, such as an X-ray, is returned as stored [H, W], with the
    axes of its PatientOrientation. Its spacing is that of PixelSpacing, else of ImagerPixelSpacing
    (at the detector) or NominalScannedPixelSpacing. ``source.index`` is the frame of a film. Values
    are those of the modality's rescaling; windows that the header proposes for a viewer change
    nothing.

    Raises:
        CohortError: If it is no single image or volume of grey values, or is damaged.
    """
    frames = list_frames(source)
    _check_alike(source, frames)
    is_placed = [_is_placed(source, frame) for frame in frames]
    if not any(is_placed):
        return _read_picture(source, frames)
    if not all(is_placed):
        raise CohortError(
            f"The {source} has {sum(is_placed)} slices with a position and "
            f"{len(is_placed) - sum(is_placed)} without."
        )
    if source.index is not None:
        raise CohortError(
            f"The {source} is one volume of {len(frames)} slices, so no index can choose from it; "
            "take a slice by [slice] in the cohort file."
        )
    return _read_volume(source, frames)


def _check_alike(source: Source, frames: list[Frame]) -> None:
    """Refuse frames that cannot be of one volume."""
    first = frames[0]
    for frame in frames[1:]:
        for keyword in ("Rows", "Columns"):
            if frame.header.get(keyword) != first.header.get(keyword):
                raise CohortError(
                    f"The {source} has {first.header.get(keyword)} {keyword} in {first.path.name}, "
                    f"but {frame.header.get(keyword)} in {frame.path.name}."
                )
        for keyword, count in (("PixelSpacing", 2), ("ImageOrientationPatient", 6)):
            expected, values = (item.numbers(keyword, count, source) for item in (first, frame))
            if (expected is None) != (values is None) or (
                expected is not None
                and values is not None
                and not np.allclose(values, expected, rtol=_ALIKE, atol=_ALIKE)
            ):
                raise CohortError(
                    f"The {source} has slices of different {keyword}, in {first.path.name} and in "
                    f"{frame.path.name}; such as those of a localizer make no volume."
                )


def _is_placed(source: Source, frame: Frame) -> bool:
    """Return whether a frame says where it lies."""
    position = frame.numbers("ImagePositionPatient", 3, source)
    orientation = frame.numbers("ImageOrientationPatient", 6, source)
    if (position is None) != (orientation is None):
        missing = "Position" if position is None else "Orientation"
        raise CohortError(f"The {source} has no Image{missing}Patient{frame.where(source)}.")
    return position is not None


def _read_picture(source: Source, frames: list[Frame]) -> Scan:
    """Return a picture that does not say where it lies."""
    count = len(frames)
    if source.index is None and count > 1:
        raise CohortError(
            f"The {source} has {count} frames without a position, but one image was expected; say "
            'which frame of a file as { path = "…", index = 0 }.'
        )
    frame = frames[check_index(source, count, "frames")]
    check_image_size(source, (frame.header.Rows, frame.header.Columns))
    values = next(read_values(source, [frame]))
    sizes = [frame.numbers(keyword, 2, source) for keyword in _SPACINGS]
    size = next((spacing for spacing in sizes if spacing is not None), None)
    spacing = None if size is None else (float(size[0]), float(size[1]))
    if spacing is not None:
        check_sizes(source, spacing)
    return Scan(source, values, spacing=spacing, axes=_find_axes(frame))


def _find_axes(frame: Frame) -> str | None:
    """Return the letters of rows and columns from PatientOrientation, where it has them.

    Its first value says where a row runs to, which is the second axis of the array.
    """
    letters = [_LETTERS.get(value[:1], "") for value in frame.texts("PatientOrientation")]
    if len(letters) != 2 or not all(letters):
        return None
    is_same = any(set(letters) <= set(pair) for pair in ("LR", "AP", "SI"))
    return None if is_same else letters[1] + letters[0]


def _read_volume(source: Source, frames: list[Frame]) -> Scan:
    """Return slices in the order of their positions as one volume."""
    first = frames[0]
    shape = (first.header.Columns, first.header.Rows, len(frames))
    check_image_size(source, shape)
    spacing = first.numbers("PixelSpacing", 2, source)
    if spacing is None:
        raise CohortError(f"The {source} has no PixelSpacing{first.where(source)}.")
    check_sizes(source, (float(spacing[0]), float(spacing[1])))  # one below 0 would mirror
    # A row runs along the first three numbers, as the index of its columns grows.
    directions = _all_numbers(source, frames[:1], "ImageOrientationPatient", 6).reshape(2, 3)
    if not np.allclose(directions @ directions.T, np.eye(2), atol=0.01):
        raise CohortError(
            f"The {source} has an ImageOrientationPatient{first.where(source)} that is no pair of "
            "perpendicular directions."
        )
    normal = np.cross(directions[0], directions[1])
    positions = _all_numbers(source, frames, "ImagePositionPatient", 3)
    order = np.argsort(positions @ normal, kind="stable")
    step = _find_step(source, positions[order], normal, first)

    affine = np.eye(4)
    columns = (directions[0] * spacing[1], directions[1] * spacing[0], step)
    affine[:3, :3] = np.stack(columns, axis=1) * _TO_RAS[:, None]
    affine[:3, 3] = positions[order[0]] * _TO_RAS
    voxels = np.empty(shape, dtype=np.float32, order="F")
    # In the order of files, so that each is opened once.
    ranks = np.argsort(order, kind="stable")
    for rank, values in zip(ranks, read_values(source, frames), strict=True):
        if values.shape != (shape[1], shape[0]):
            raise CohortError(f"The {source} has frames of another shape than its header says.")
        voxels[:, :, rank] = values.T
    return to_ras(source, voxels, affine)


def _find_step(
    source: Source, positions: FloatArray, normal: FloatArray, first: Frame
) -> FloatArray:
    """Return the vector [3] from one slice to the next, in mm, or refuse slices that lie unevenly.

    Args:
        source: Source that is read.
        positions: [K, 3] positions of the slices, in their order along ``normal``.
        normal: [3] unit vector across the slices.
        first: Frame that says how thick a single slice is.
    """
    if len(positions) == 1:
        thickness = first.numbers("SpacingBetweenSlices", 1, source)
        if thickness is None:
            thickness = first.numbers("SliceThickness", 1, source)
        # Some files say 0 where they do not know.
        return np.asarray(normal * (1.0 if thickness is None else abs(thickness[0]) or 1.0))
    along = positions @ normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if gaps.min() < _ALIKE:
        at = along[int(gaps.argmin())]
        distinct = 1 + int((gaps >= _ALIKE).sum())
        raise CohortError(
            f"The {source} has {len(along)} slices at {distinct} positions, two of them at "
            f"{at:.4g} mm along the normal; several volumes in one series, such as echoes or "
            "times, cannot be told apart, so save the one that is meant alone."
        )
    widest = int(gaps.argmax())
    if gaps[widest] > 1.5 * usual:
        raise CohortError(
            f"The {source} lacks a slice: its {len(along)} slices lie {usual:.4g} mm apart, but "
            f"{gaps[widest]:.4g} mm between {along[widest]:.4g} and {along[widest + 1]:.4g} mm "
            "along the normal."
        )
    step: FloatArray = (positions[-1] - positions[0]) / (len(positions) - 1)
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    off = np.linalg.norm(positions - expected, axis=1)
    if off.max() > _UNEVEN * usual:
        raise CohortError(
            f"The {source} has slices that are not equally spaced: they lie {gaps.min():.4g} to "
            f"{gaps.max():.4g} mm apart, and the one at {along[int(off.argmax())]:.4g} mm along "
            f"the normal lies {off.max():.4g} mm off its place."
        )
    return step


def _all_numbers(source: Source, frames: list[Frame], keyword: str, count: int) -> FloatArray:
    """Return the numbers [K, count] of an attribute that every frame has."""
    rows = [frame.numbers(keyword, count, source) for frame in frames]
    return np.stack([row for row in rows if row is not None])
