"""Reads a cohort from its folder: a table of subjects, image and mask files, a ``cohort.toml``."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.cohort_toml import CohortFile, ImageFile, MaskFile, read_cohort_file
from baselines.cohorts.files.concepts import read_concepts
from baselines.cohorts.files.contradictions import refuse_shared_images
from baselines.cohorts.files.fitting import FittedMask, fit_mask
from baselines.cohorts.files.formats.reading import ScanReader
from baselines.cohorts.files.formats.scan import Scan, Source
from baselines.cohorts.files.layout import Layout, find_layout, make_geometry
from baselines.cohorts.files.participants import build_participants, read_rows
from baselines.cohorts.files.paths import fill, naming_columns
from baselines.cohorts.files.window import Window, find_window
from benchmark.arrays import BoolArray, FloatArray, ImageArray
from benchmark.cohort import Anatomy, Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import CohortError
from benchmark.plugins.cohort_checks import IMAGE, refuse_contradictions


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
    naming = naming_columns(recipe)
    people = [{key: cell for key, cell in row.items() if key not in naming} for row in rows]
    participants = build_participants(people, recipe.groups, table_path, recipe.split)
    reader = _Reader(toml_path.parent, recipe, rows)
    refuse_shared_images(rows, [reader.image_source(row) for row in rows], recipe.image.path)
    content = reader.read(toml_path)
    cohort = Cohort(
        name=recipe.name,
        images=content.images,
        participants=participants,
        anatomy=Anatomy(
            foreground=content.masks["foreground"],
            rois={
                name: content.masks[f"region {name!r}"]
                for name in recipe.rois
                if name not in recipe.parents
            },
            control_rois={
                name: content.masks[f"control of {name!r}"] for name in recipe.control_rois
            },
            truth=recipe.truth,
            subfields={name: content.masks[f"subfield {name!r}"] for name in recipe.parents},
            parents=recipe.parents,
            volume_signs={
                name: region.volume_sign
                for name, region in recipe.rois.items()
                if region.volume_sign != 1
            },
        ),
        geometry=make_geometry(content.layouts, recipe.registered),
        group_names=recipe.groups,
    )
    refuse_contradictions(cohort, reader.file_of)
    if recipe.concept:
        cohort = replace(cohort, concepts=read_concepts(toml_path.parent, recipe, cohort))
    findings = Findings(
        paths=tuple(layout.source.path for layout in content.layouts),
        spans=np.array([window.span for window in content.windows]),
        clipped=np.array([window.clipped for window in content.windows]),
        blank=np.array([window.blank for window in content.windows]),
    )
    return cohort, findings


@dataclass(frozen=True)
class _Content:
    """What the files hold: images [N, 1, *S], masks by title, and how each image was read."""

    images: ImageArray
    masks: dict[str, BoolArray]
    layouts: list[Layout]
    windows: list[Window]


class _Reader:
    """Reads a cohort's files one by one, and each file that all subjects share only once."""

    def __init__(self, folder: Path, recipe: CohortFile, rows: Sequence[Mapping[str, str]]) -> None:
        self._folder, self._recipe, self._rows = folder, recipe, rows
        self._rules: dict[str, MaskFile] = {"foreground": recipe.foreground}
        self._rules |= {
            f"{'subfield' if name in recipe.parents else 'region'} {name!r}": mask
            for name, mask in recipe.rois.items()
        }
        self._rules |= {f"control of {name!r}": mask for name, mask in recipe.control_rois.items()}
        self._shared: dict[str, Scan] = {}

    def read(self, toml_path: Path) -> _Content:
        """Return the content of all files; the first image says how large the arrays are."""
        with ScanReader() as scans:
            return self._read(toml_path, scans)

    def _read(self, toml_path: Path, scans: ScanReader) -> _Content:
        content: _Content | None = None
        for number, row in enumerate(self._rows):
            scan = self._image(row, scans)
            layout = find_layout(scan, self._recipe)
            if content is None:
                shape = (len(self._rows), 1, *layout.shape)
                _check_memory(shape, len(self._rules), toml_path)
                masks = {title: np.empty(shape, dtype=np.bool_) for title in self._rules}
                content = _Content(np.empty(shape, dtype=np.float32), masks, [layout], [])
            else:
                content.layouts.append(layout)
                make_geometry([content.layouts[0], layout], self._recipe.registered)
            fitted = {title: self._mask(row, title, layout, scans) for title in self._rules}
            for title, mask in fitted.items():
                content.masks[title][number, 0] = mask.array
            window = find_window(scan, fitted["foreground"], layout, self._recipe.intensity)
            content.windows.append(window)
            content.images[number, 0] = window.scale(layout.arrange(scan.voxels))
        if content is None:
            raise CohortError(f"{toml_path} describes no image.")
        return content

    def image_source(self, row: Mapping[str, str]) -> Source:
        """Return where a row's image is found."""
        return self._source(row, f"image of {_name(row)}", self._recipe.image)

    def file_of(self, title: str, number: int) -> Path | None:
        """Return the file of an image or mask in a row, None for a foreground of every pixel."""
        rule: ImageFile = self._recipe.image if title == IMAGE else self._rules[title]
        return self._source(self._rows[number], title, rule).path if rule.path else None

    def _image(self, row: Mapping[str, str], scans: ScanReader) -> Scan:
        scan = scans.read(self.image_source(row))
        if not scan.voxels.any():
            raise CohortError(f"The {scan.source} is zero everywhere.")
        return scan

    def _mask(
        self, row: Mapping[str, str], title: str, layout: Layout, scans: ScanReader
    ) -> FittedMask:
        """Return a row's mask, on the grid of its image; an empty one is refused."""
        rule = self._rules[title]
        if not rule.path:
            whole = np.ones(layout.stored, dtype=np.bool_)
            return FittedMask(np.ones(layout.shape, dtype=np.bool_), whole)
        scan = self._shared.get(title)
        if scan is None:
            scan = scans.read(self._source(row, f"{title} of {_name(row)}", rule))
            if "{" not in f"{rule.path}{rule.index}":
                self._shared[title] = scan
        return fit_mask(scan, rule, layout)

    def _source(self, row: Mapping[str, str], title: str, file: ImageFile) -> Source:
        index = file.index
        if isinstance(index, str):
            cell = fill(index, row, title)
            if not re.fullmatch(r"\d{1,9}", cell):
                raise CohortError(
                    f"The {title} is number {cell!r} of its file; a whole number from 0 was "
                    "expected."
                )
            index = int(cell)
        return Source(self._folder / fill(file.path, row, title), title, index, file.array)


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


def _name(row: Mapping[str, str]) -> str:
    return repr(row["participant_id"])
