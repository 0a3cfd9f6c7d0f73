"""What the values of a file say: an image, a mask, labels, or a map of probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from baselines.cohorts.files.formats.nifti import NIFTI_ENDINGS
from baselines.cohorts.files.formats.reading import read_scan
from baselines.cohorts.files.formats.scan import Scan, Source
from baselines.cohorts.files.proposal import names
from baselines.cohorts.files.proposal.listing import DICOM
from benchmark.errors import CohortError

Kind = Literal["image", "mask", "labels", "probability"]
_MOST_LABELS = 300  # different whole numbers, beyond which no file is a segmentation
_FEW_LABELS = 12  # as many as a segmentation has that does not call itself one
_SCALES = (1.0, 100.0, 255.0)  # what tools write for a probability of 1


@dataclass(frozen=True)
class Look:
    """What one file of a family shows.

    Attributes:
        kind: Kind of content that it seems to hold.
        shape: Shape as read.
        is_placed: Whether it says where it lies in the world.
        has_spacing: Whether it says how large its voxels are.
        low: Smallest value.
        high: Largest value.
        stored: Type that the file stores its values as, such as ``uint8``; empty if unknown.
        counts: Voxels of each label, where it holds few whole numbers.
        covered: Share of the voxels that are not 0.
        affine: [4, 4] affine as tuple, or None.
        modality: Modality that DICOM names, or empty.
    """

    kind: Kind
    shape: tuple[int, ...]
    is_placed: bool
    has_spacing: bool
    low: float
    high: float
    stored: str
    counts: Mapping[int, int]
    covered: float
    affine: tuple[float, ...] | None
    modality: str

    @property
    def scale(self) -> float:
        """What a probability of 1 is written as."""
        return next((scale for scale in _SCALES if self.high <= scale * 1.001), self.high)


def look_at(path: Path, words: list[str], kind: str) -> Look | CohortError:
    """Return what a file shows, or why it cannot be read.

    Args:
        path: The file, or the folder of a DICOM series.
        words: Words of its name.
        kind: Ending of the file's name.
    """
    try:
        scan = read_scan(Source(path, "file"))
    except CohortError as error:
        return error
    modality = read_modality(path) if kind == DICOM else ""
    return look_at_scan(scan, words, _stored_type(path, kind, scan), modality)


def look_at_scan(scan: Scan, words: list[str], stored: str, modality: str = "") -> Look:
    """Return what the values of a scan show."""
    voxels: npt.NDArray[Any] = np.nan_to_num(scan.voxels)
    values, sizes = np.unique(voxels, return_counts=True)
    is_whole = len(values) <= _MOST_LABELS and bool((values == np.rint(values)).all())
    counts = dict(zip(np.rint(values).astype(int).tolist(), sizes.tolist(), strict=True))
    affine = None if scan.affine is None else tuple(scan.affine.round(3).ravel().tolist())
    return Look(
        kind=_find_kind(values, is_whole, words),
        shape=tuple(scan.voxels.shape),
        is_placed=scan.affine is not None,
        has_spacing=scan.affine is not None or scan.spacing is not None,
        low=float(values[0]),
        high=float(values[-1]),
        stored=stored,
        counts=counts if is_whole else {},
        covered=float(np.count_nonzero(voxels) / voxels.size),
        affine=affine,
        modality=modality,
    )


def _find_kind(values: npt.NDArray[Any], is_whole: bool, words: list[str]) -> Kind:
    spoken = set(words)
    if len(values) == 1 and spoken & (names.MASK_WORDS | names.REGION_WORDS):
        return "mask"  # of somebody without a lesion
    if len(values) == 2 and values[0] == 0:
        return "mask"
    is_named = bool(spoken & names.LABEL_WORDS)
    if is_whole and values[0] >= 0 and len(values) > 1 and (is_named or len(values) <= _FEW_LABELS):
        return "labels"
    is_map = bool(spoken & (names.PROBABILITY_WORDS | names.TISSUE_WORDS | names.MASK_WORDS))
    if is_map and values[0] >= 0:
        return "probability"
    return "image"


def read_modality(path: Path) -> str:
    """Return the modality that DICOM names, or nothing."""
    file = path
    if path.is_dir():
        file = min(child for child in path.iterdir() if child.is_file())
    try:
        header = dcmread(file, stop_before_pixels=True, specific_tags=["Modality"])
    except Exception:  # whatever a damaged header raises; the reader tells of it
        return ""
    return str(header.get("Modality", ""))


def read_affine(path: Path, kind: str) -> tuple[float, ...] | None:
    """Return shape and affine of a NIfTI file by its header alone, or None."""
    if kind not in NIFTI_ENDINGS:
        return None
    try:
        image: Any = nibabel.load(path)
        return (*map(float, image.shape[:3]), *np.asarray(image.affine).round(3).ravel().tolist())
    except Exception:  # whatever a damaged header raises; the reader tells of it
        return None


def _stored_type(path: Path, kind: str, scan: Scan) -> str:
    """Return the type of a file's values; NIfTI becomes float32 as it is read."""
    if kind not in NIFTI_ENDINGS:
        return str(scan.voxels.dtype)
    image: Any = nibabel.load(path)
    slope, inter = getattr(image.dataobj, "slope", 1), getattr(image.dataobj, "inter", 0)
    return str(image.get_data_dtype()) if (slope, inter) == (1, 0) else ""
