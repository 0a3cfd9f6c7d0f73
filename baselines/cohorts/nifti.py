"""Cohorts in a BIDS-like folder: NIfTI files, ``participants.tsv`` and a ``cohort.toml``.

A cohort is described by one file beside its ``participants.tsv``::

    name = "adni-hippocampus"
    groups = ["CN", "AD"]                  # reference first; the names that participants.tsv uses
    registered = true                      # a voxel means the same place in every subject
    truth = []                             # regions known to hold the whole difference
    image = "{participant_id}/anat/{participant_id}_T1w.nii.gz"
    intensity = { percentiles = [0.5, 99.5] }        # or { low = 0, high = 255 }

    [foreground]
    path = "masks/{participant_id}_brain.nii.gz"

    [rois]
    hippocampus_left = "masks/{participant_id}_left.nii.gz"

    [control_rois]
    hippocampus_left = "masks/control_left.nii.gz"   # no braces: one file for everyone

    [slice]                                # leave out to keep volumes
    plane = "coronal"
    mm = -21.0                             # or index = 75, counted in RAS+ order

Paths start at the folder of ``cohort.toml``; columns of ``participants.tsv`` stand in braces.
``participants.tsv`` needs ``participant_id`` and ``group``. ``split`` is optional (60/20/20 by
subject without it), ``session`` or ``visit`` tells several images of a subject apart, and every
further column is a covariate: ``age`` in years, ``sex``, ``tiv`` in mL, ``scanner``, volumes in
mm³.

Whatever the orientation of the files, arrays come out as [z, y, x] ascending; a coronal slice with
rows z descending and columns x ascending, an axial one with rows y descending and columns x, a
sagittal one with rows z descending and columns y. A voxel belongs to a mask if it is above 0.5.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage

from baselines.cohorts.cohort_toml import CohortFile, Intensity, Slice, read_cohort_file
from baselines.cohorts.nifti_export import write_cohort
from baselines.cohorts.participants import PARTICIPANTS, build_participants, read_rows
from benchmark.arrays import BoolArray, ImageArray
from benchmark.cohort import Anatomy, Cohort, Geometry
from benchmark.cohort_source import CohortSource
from benchmark.errors import CohortError

__all__ = ["NiftiSource", "read_cohort", "write_cohort"]

_PLANES = ("sagittal", "coronal", "axial")  # the plane across axis 0, 1, 2 of a RAS+ volume
_UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)


class NiftiSource(CohortSource):
    """A cohort in a BIDS-like folder.

    Args:
        toml_path: Path of its ``cohort.toml``.
    """

    name: ClassVar[str] = "nifti"
    description: ClassVar[str] = "A BIDS-like folder of NIfTI files, described by a cohort.toml."

    def __init__(self, toml_path: Path) -> None:
        self._toml_path = toml_path

    def load(self) -> Cohort:
        """Return the cohort that the file describes."""
        return read_cohort(self._toml_path)


def read_cohort(toml_path: Path) -> Cohort:
    """Return the cohort that a ``cohort.toml`` describes, its images in memory as float32.

    Raises:
        CohortError: If a file is missing, unreadable, on another grid than the rest, or
            contradicts another.
    """
    toml_path = Path(toml_path)
    recipe = read_cohort_file(toml_path)
    table_path = toml_path.with_name(PARTICIPANTS)
    if not (rows := read_rows(table_path)):
        raise CohortError(f"{table_path} lists no participants.")
    participants = build_participants(rows, recipe.groups, table_path)
    reader = _Reader(toml_path.parent, recipe, rows[0])
    masks = {"foreground": recipe.foreground.path}
    masks |= {f"region {name!r}": pattern for name, pattern in recipe.rois.items()}
    masks |= {f"control of {name!r}": pattern for name, pattern in recipe.control_rois.items()}

    images = np.empty((len(rows), 1, *reader.layout.shape), dtype=np.float32)
    filled = {title: np.empty(images.shape, dtype=np.bool_) for title in masks}
    for number, row in enumerate(rows):
        image, image_path = reader.image(row)
        for title, pattern in masks.items():
            mask, filled[title][number, 0] = reader.mask(row, title, pattern)
            if title == "foreground":
                image = _window(image, mask, recipe.intensity, image_path)
        images[number, 0] = reader.layout.arrange(image)
    return Cohort(
        name=recipe.name,
        images=images,
        participants=participants,
        anatomy=Anatomy(
            foreground=filled["foreground"],
            rois={name: filled[f"region {name!r}"] for name in recipe.rois},
            control_rois={name: filled[f"control of {name!r}"] for name in recipe.control_rois},
            truth=recipe.truth,
        ),
        geometry=reader.layout.geometry(recipe.registered),
        group_names=recipe.groups,
    )


@dataclass(frozen=True)
class Layout:
    """How a RAS+ volume becomes an array of the cohort.

    Attributes:
        volume: Shape (X, Y, Z) of every file.
        affine: [4, 4] map from indices of the RAS+ volume to millimetres.
        source: Path of the file that set both.
        cut: Axis and index of the slice, or None to keep the volume.
    """

    volume: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    source: Path
    cut: tuple[int, int] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape *S of the arrays."""
        kept = [axis for axis in (2, 1, 0) if self.cut is None or axis != self.cut[0]]
        return tuple(self.volume[axis] for axis in kept)

    def arrange(self, volume: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the array [*S] of a volume [X, Y, Z]."""
        if self.cut is None:
            return volume.T
        axis, index = self.cut
        cut: npt.NDArray[np.generic] = np.take(volume, index, axis=axis)
        return cut.T[::-1]

    def geometry(self, registered: bool) -> Geometry:
        """Return spacing and affine of the arrays."""
        to_volume = np.zeros((4, 4))
        to_volume[3, 3] = 1.0
        if self.cut is None:
            to_volume[[2, 1, 0], [0, 1, 2]] = 1.0
        else:
            axis, index = self.cut
            column, row = (other for other in range(3) if other != axis)
            to_volume[row, 0], to_volume[row, 3] = -1.0, self.volume[row] - 1
            to_volume[column, 1] = 1.0
            to_volume[axis, 2], to_volume[axis, 3] = 1.0, index
        affine = self.affine @ to_volume
        spacing = np.linalg.norm(affine[:3, : len(self.shape)], axis=0)
        return Geometry(tuple(float(size) for size in spacing), affine, registered)


class _Reader:
    """Reads a cohort's files one by one and holds them all to the grid of the first row's image."""

    def __init__(self, folder: Path, recipe: CohortFile, first: Mapping[str, str]) -> None:
        self._folder, self._recipe = folder, recipe
        self._shared: dict[str, BoolArray] = {}
        title = f"image of {first['participant_id']!r}"
        path = folder / _fill(recipe.image, first, title)
        volume, affine = _read_volume(path, title)
        cut = _find_slice(recipe.slice, volume.shape, affine, path)
        self.layout = Layout(volume.shape, affine, path, cut)

    def image(self, row: Mapping[str, str]) -> tuple[ImageArray, Path]:
        """Return the intensities [X, Y, Z] of a row's image, and the path of its file."""
        title = f"image of {row['participant_id']!r}"
        volume, path = self._volume(row, title, self._recipe.image)
        if not np.isfinite(volume).all():
            raise CohortError(
                f"The {title}, {path}, has {int((~np.isfinite(volume)).sum())} voxels that are "
                "NaN or infinite; fill them before."
            )
        if not volume.any():
            raise CohortError(f"The {title}, {path}, is zero everywhere.")
        return volume, path

    def mask(
        self, row: Mapping[str, str], title: str, pattern: str
    ) -> tuple[BoolArray, npt.NDArray[np.generic]]:
        """Return a row's mask [X, Y, Z] and its array [*S]; a shared file is read once."""
        name = f"{title} of {row['participant_id']!r}"
        mask = self._shared.get(title)
        if mask is None:
            mask = self._volume(row, name, pattern)[0] > 0.5
            if "{" not in pattern:
                self._shared[title] = mask
        array, cut = self.layout.arrange(mask), self.layout.cut
        if not array.any():
            where = "" if cut is None else f" in {_PLANES[cut[0]]} slice {cut[1]}"
            raise CohortError(f"The {name} is empty{where}.")
        return mask, array

    def _volume(self, row: Mapping[str, str], title: str, pattern: str) -> tuple[ImageArray, Path]:
        path = self._folder / _fill(pattern, row, title)
        volume, affine = _read_volume(path, title)
        first = self.layout
        if volume.shape != first.volume or not np.allclose(affine, first.affine, atol=1e-3):
            raise CohortError(
                f"The {title}, {path}, lies on the grid {_grid(volume.shape, affine)}, but "
                f"{first.source} on {_grid(first.volume, first.affine)}; resample it first, for "
                "example with nilearn.image.resample_to_img."
            )
        return volume, path


def _fill(pattern: str, row: Mapping[str, str], title: str) -> str:
    """Return a path pattern with a row's cells in place of the columns in braces."""

    def cell(match: re.Match[str]) -> str:
        if match[1] not in row:
            raise CohortError(
                f"The path of the {title}, {pattern!r}, names the column {match[1]!r}, "
                f"but {PARTICIPANTS} has {', '.join(row)}."
            )
        return row[match[1]]

    return re.sub(r"\{([^{}]*)\}", cell, pattern)


def _read_volume(path: Path, title: str) -> tuple[ImageArray, npt.NDArray[np.float64]]:
    """Return a file's voxels [X, Y, Z] in RAS+ order and their affine."""
    if not path.is_file():
        raise CohortError(f"The {title}, {path}, is missing.")
    try:
        image = nibabel.load(path)
        if not isinstance(image, SpatialImage):
            raise CohortError(f"The {title}, {path}, is no volume but a {type(image).__name__}.")
        image = nibabel.squeeze_image(image)
        if len(image.shape) != 3:
            raise CohortError(
                f"The {title}, {path}, has shape {list(image.shape)}, but one volume was expected."
            )
        image = nibabel.as_closest_canonical(image)
        volume = np.asarray(image.dataobj, dtype=np.float32)
    except _UNREADABLE as error:
        raise CohortError(
            f"The {title}, {path}, cannot be read as NIfTI: {_why(error)}."
        ) from error
    return volume, np.asarray(image.affine, dtype=np.float64)


def _find_slice(
    cut: Slice | None, shape: tuple[int, ...], affine: npt.NDArray[np.float64], path: Path
) -> tuple[int, int] | None:
    """Return axis and index of the slice in a RAS+ volume."""
    if cut is None:
        return None
    axis = _PLANES.index(cut.plane)
    step, origin, count = affine[axis, axis], affine[axis, 3], shape[axis]
    if cut.mm is None:
        position, index = f"index {cut.index}", cut.index or 0
    else:
        if np.abs(np.delete(affine[axis, :3], axis)).max() > 1e-3 * step:
            raise CohortError(
                f"{path} lies obliquely, so no {cut.plane} slice is at {cut.mm} mm "
                "throughout; give the slice's index instead."
            )
        position, index = f"{cut.mm} mm", round((cut.mm - origin) / step)
    if not 0 <= index < count:
        raise CohortError(
            f"The {cut.plane} slice at {position} lies outside {path}, which has slices 0 to "
            f"{count - 1}, from {origin:g} to {origin + step * (count - 1):g} mm."
        )
    return axis, index


def _window(
    volume: ImageArray, foreground: BoolArray, intensity: Intensity, path: Path
) -> ImageArray:
    """Return a volume in [0, 1], in float32 throughout, so that an export reads back bit by bit."""
    low, high = intensity.low, intensity.high
    if intensity.percentiles is not None:
        low, high = np.percentile(volume[foreground], intensity.percentiles)
    bottom, top = np.float32(low or 0), np.float32(high or 0)
    if not bottom < top:
        raise CohortError(
            f"The percentiles of {path} in its foreground are both {bottom:g}, "
            "so there is no contrast to scale."
        )
    scaled: ImageArray = (volume - bottom) / (top - bottom)
    return scaled.clip(np.float32(0), np.float32(1))


def _grid(shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> str:
    rows = "; ".join(" ".join(f"{value:g}" for value in row) for row in affine[:3].round(4))
    return f"{'×'.join(map(str, shape))} [{rows}]"


def _why(error: BaseException) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((reason or type(error).__name__).split()).rstrip(".")
