"""Reads a cohort from its folder: a table of subjects, image and mask files, a ``cohort.toml``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar

import nibabel
import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.cohort_toml import (
    CohortFile,
    ImageFile,
    Intensity,
    MaskFile,
    read_cohort_file,
)
from baselines.cohorts.files.contradictions import refuse_shared_images
from baselines.cohorts.files.formats.reading import read_scan, release_files
from baselines.cohorts.files.formats.scan import Scan, Source
from baselines.cohorts.files.layout import PLANES, Layout, find_layout, make_geometry
from baselines.cohorts.files.masks import to_mask, turn
from baselines.cohorts.files.participants import build_participants, read_rows
from benchmark.arrays import BoolArray, FloatArray, ImageArray
from benchmark.cohort import Anatomy, Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import CohortError
from benchmark.plugins.cohort_checks import IMAGE, refuse_contradictions
from benchmark.records.toml_file import list_some


class FolderSource(CohortSource):
    """A cohort in a folder of files.

    Args:
        toml_path: Path of its ``cohort.toml``.
    """

    name: ClassVar[str] = "folder"
    description: ClassVar[str] = "A folder of image files, described by a cohort.toml."

    def __init__(self, toml_path: Path) -> None:
        self._toml_path = toml_path

    def load(self) -> Cohort:
        """Return the cohort that the file describes."""
        return read_cohort(self._toml_path)

    def load_with_findings(self) -> tuple[Cohort, Findings]:
        """Return the cohort that the file describes, and what reading its files showed."""
        return read_with_findings(self._toml_path)


@dataclass(frozen=True)
class Findings:
    """What reading a cohort's files showed beside the cohort itself.

    Attributes:
        paths: File of each image.
        spans: [N, 2] smallest and largest intensity of each image as stored.
        clipped: [N, 2] share of each image's foreground that lies below and above the window.
        blank: [N] voxels of each image that are NaN or infinite; all lie outside the foreground.
    """

    paths: tuple[Path, ...]
    spans: FloatArray
    clipped: FloatArray
    blank: npt.NDArray[np.int64]


def read_cohort(toml_path: Path) -> Cohort:
    """Return the cohort that a ``cohort.toml`` describes, its images in memory as float32.

    Raises:
        CohortError: If a file is missing, unreadable, on another grid than the rest, or
            contradicts another.
    """
    return read_with_findings(toml_path)[0]


def read_with_findings(toml_path: Path) -> tuple[Cohort, Findings]:
    """Return the cohort of a ``cohort.toml``, and what reading its files showed.

    Raises:
        CohortError: As ``read_cohort``.
    """
    toml_path = Path(toml_path)
    recipe = read_cohort_file(toml_path)
    table_path = toml_path.parent / recipe.participants
    if not (rows := read_rows(table_path)):
        raise CohortError(f"{table_path} lists no participants.")
    naming = _naming_columns(recipe)
    people = [{key: cell for key, cell in row.items() if key not in naming} for row in rows]
    participants = build_participants(people, recipe.groups, table_path, recipe.split)
    masks: dict[str, MaskFile] = {"foreground": recipe.foreground}
    masks |= {f"region {name!r}": mask for name, mask in recipe.rois.items()}
    masks |= {f"control of {name!r}": mask for name, mask in recipe.control_rois.items()}

    release_files()  # those of a cohort whose reading failed
    reader = _Reader(toml_path.parent, recipe)
    sources = [reader.image_source(row) for row in rows]
    refuse_shared_images(rows, sources, recipe.image.path)
    arrays: dict[str, BoolArray] = {}
    images = np.empty(0, dtype=np.float32)
    layouts: list[Layout] = []
    windows: list[_Window] = []
    for number, row in enumerate(rows):
        scan = reader.image(row)
        layout = find_layout(scan, recipe)
        layouts.append(layout)
        make_geometry([layouts[0], layout], recipe.registered)
        if not number:
            shape = (len(rows), 1, *layout.shape)
            _check_memory(shape, len(masks), toml_path)
            images = np.empty(shape, dtype=np.float32)
            arrays = {title: np.empty(shape, dtype=np.bool_) for title in masks}
        inside = reader.mask(row, "foreground", recipe.foreground, layout)
        windows.append(_find_window(scan, inside, layout, recipe.intensity))
        images[number, 0] = windows[-1].scale(layout.arrange(scan.voxels))
        for title, rule in masks.items():
            mask = reader.mask(row, title, rule, layout) if title != "foreground" else inside
            arrays[title][number, 0] = mask.array
    release_files()
    cohort = Cohort(
        name=recipe.name,
        images=images,
        participants=participants,
        anatomy=Anatomy(
            foreground=arrays["foreground"],
            rois={name: arrays[f"region {name!r}"] for name in recipe.rois},
            control_rois={name: arrays[f"control of {name!r}"] for name in recipe.control_rois},
            truth=recipe.truth,
        ),
        geometry=make_geometry(layouts, recipe.registered),
        group_names=recipe.groups,
    )
    rules = masks | {IMAGE: recipe.image}
    refuse_contradictions(
        cohort, lambda title, number: reader.file_of(rows[number], title, rules[title])
    )
    findings = Findings(
        paths=tuple(layout.source.path for layout in layouts),
        spans=np.array([window.span for window in windows]),
        clipped=np.array([window.clipped for window in windows]),
        blank=np.array([window.blank for window in windows]),
    )
    return cohort, findings


@dataclass(frozen=True)
class _Mask:
    """A mask as array of the cohort [*S], and in the image's stored voxels where it covers them."""

    array: BoolArray
    stored: BoolArray | None


class _Reader:
    """Reads a cohort's files one by one, and each file that all subjects share only once."""

    def __init__(self, folder: Path, recipe: CohortFile) -> None:
        self._folder, self._recipe = folder, recipe
        self._shared: dict[str, Scan] = {}

    def image_source(self, row: Mapping[str, str]) -> Source:
        """Return where a row's image is found."""
        return self._source(row, f"image of {_name(row)}", self._recipe.image)

    def file_of(self, row: Mapping[str, str], title: str, rule: ImageFile) -> Path | None:
        """Return the file of a row's image or mask, None for a foreground of every pixel."""
        return self._source(row, title, rule).path if rule.path else None

    def image(self, row: Mapping[str, str]) -> Scan:
        """Return a row's image."""
        scan = read_scan(self.image_source(row))
        if not scan.voxels.any():
            raise CohortError(f"The {scan.source} is zero everywhere.")
        return scan

    def mask(self, row: Mapping[str, str], title: str, rule: MaskFile, layout: Layout) -> _Mask:
        """Return a row's mask, on the grid of its image; an empty one is refused."""
        if not rule.path:
            whole = np.ones(layout.stored, dtype=np.bool_)
            return _Mask(np.ones(layout.shape, dtype=np.bool_), whole)
        scan = self._shared.get(title)
        if scan is None:
            scan = read_scan(self._source(row, f"{title} of {_name(row)}", rule))
            if "{" not in f"{rule.path}{rule.index}":
                self._shared[title] = scan
        mask = self._fit(scan, rule, layout)
        if not mask.array.any():
            cut = layout.cut
            where = "" if cut is None else f" in {PLANES[layout.world_axis(cut[0])]} slice {cut[1]}"
            raise CohortError(f"The {scan.source} is empty{where}.")
        return mask

    @staticmethod
    def _fit(scan: Scan, rule: MaskFile, layout: Layout) -> _Mask:
        """Return a mask on the grid of its image."""
        mask = to_mask(scan, rule)
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
        if not own.lies_like(layout):
            raise CohortError(
                f"The {scan.source} lies on the grid {own}, but its image {layout.source.path} on "
                f"{layout}; resample it first, for example with nilearn.image.resample_to_img."
            )
        return _Mask(np.asarray(layout.arrange(mask), dtype=np.bool_), mask)

    def _source(self, row: Mapping[str, str], title: str, file: ImageFile) -> Source:
        index = file.index
        if isinstance(index, str):
            cell = _fill(index, row, title)
            if not re.fullmatch(r"\d{1,9}", cell):
                raise CohortError(
                    f"The {title} is number {cell!r} of its file; a whole number from 0 was "
                    "expected."
                )
            index = int(cell)
        return Source(self._folder / _fill(file.path, row, title), title, index, file.array)


def _turn(mask: BoolArray, scan: Scan, rule: MaskFile, layout: Layout) -> _Mask:
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
        return _Mask(turned, None)
    return _Mask(np.asarray(layout.arrange(turned), dtype=np.bool_), turned)


@dataclass(frozen=True)
class _Window:
    """The intensities of one image that become 0 and 1, and what lies outside of them."""

    low: np.float32
    high: np.float32
    span: tuple[float, float]
    clipped: tuple[float, float]
    blank: int

    def scale(self, array: npt.NDArray[np.generic]) -> ImageArray:
        """Return an array in [0, 1], in float32 throughout, so that exports read back exactly."""
        values: ImageArray = np.asarray(array, dtype=np.float32)
        # What is NaN lies outside the foreground and looks like the darkest value there is.
        values = np.where(np.isfinite(values), values, self.low)
        scaled: ImageArray = (values - self.low) / (self.high - self.low)
        return scaled.clip(np.float32(0), np.float32(1))


def _find_window(scan: Scan, mask: _Mask, layout: Layout, intensity: Intensity) -> _Window:
    """Return the window of an image.

    Percentiles are taken over the foreground of the whole volume, so that its slices are alike.
    """
    values = np.asarray(layout.arrange(scan.voxels), dtype=np.float32)
    is_finite = np.isfinite(values)
    if inside := int((~is_finite & mask.array).sum()):
        raise CohortError(
            f"The {scan.source} has {inside} voxels that are NaN, infinite or padding of a DICOM "
            "image inside its foreground; fill them first, or leave them out of it."
        )
    bounds = intensity.low, intensity.high
    if intensity.percentiles is not None:
        whole = values[mask.array] if mask.stored is None else scan.voxels[mask.stored]
        whole = np.asarray(whole[np.isfinite(whole)], dtype=np.float32)
        if whole.size:
            low, high = np.percentile(whole, intensity.percentiles)
            bounds = float(low), float(high)
    bottom, top = np.float32(bounds[0] or 0), np.float32(bounds[1] or 0)
    if not bottom < top:
        raise CohortError(
            f"The percentiles of the {scan.source} in its foreground are both {bottom:g}, so there "
            "is no contrast to scale."
        )
    finite = values[is_finite]
    span = (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
    foreground = values[mask.array]
    count = max(1, foreground.size)
    clipped = float((foreground < bottom).sum() / count), float((foreground > top).sum() / count)
    return _Window(bottom, top, span, clipped, int((~is_finite).sum()))


def _check_memory(shape: tuple[int, ...], masks: int, toml_path: Path) -> None:
    """Refuse a cohort that this machine cannot hold, before its arrays are made."""
    needed = math.prod(shape) * (4 + masks)
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        raise CohortError(
            f"The cohort {toml_path} has {shape[0]} images of {'×'.join(map(str, shape[2:]))} and "
            f"needs {needed / 2**30:.0f} GiB of memory, but this machine has "
            f"{present / 2**30:.0f}; take a slice, or resample the images more coarsely."
        )


def _naming_columns(recipe: CohortFile) -> set[str]:
    """Return columns that only say which file is read, or which of its images: no covariates."""
    files = [recipe.image, recipe.foreground, *recipe.rois.values(), *recipe.control_rois.values()]
    columns = {name for file in files for name in re.findall(r"\{([^{}]*)\}", str(file.index))}
    if any("{file}" in file.path for file in files):
        columns.add("file")
    return columns - {"participant_id", "group", "split"}


def _name(row: Mapping[str, str]) -> str:
    return repr(row["participant_id"])


def _fill(pattern: str, row: Mapping[str, str], title: str) -> str:
    """Return a pattern with a row's cells in place of the columns in braces."""

    def cell(match: re.Match[str]) -> str:
        column = match[1]
        if column not in row:
            raise CohortError(
                f"The path of the {title}, {pattern!r}, names the column {column!r}, but the table "
                f"has {list_some(row)}."
            )
        value = row[column]
        steps = {*PurePosixPath(value).parts, *PureWindowsPath(value).parts}
        if ".." in steps or PurePosixPath(value).is_absolute() or PureWindowsPath(value).anchor:
            raise CohortError(
                f"The {column} {value!r} in the table leads out of the cohort's folder; a name or "
                "a path inside it was expected."
            )
        return value

    return re.sub(r"\{([^{}]*)\}", cell, pattern)
