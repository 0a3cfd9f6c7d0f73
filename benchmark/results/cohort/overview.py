"""What there is to know of a cohort before anything is scored on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import nibabel
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.arrays import BoolArray, FloatArray
from benchmark.cohort import SPLITS, Cohort
from benchmark.training.covariates import CovariateFinding, describe_covariates

_FAINT = 0.05  # share of [0, 1]; 8 bits in a window of 16 take up a twentieth of that


class StoredValues(Protocol):
    """What the files of a cohort held before their values were brought into [0, 1]."""

    @property
    def spans(self) -> FloatArray:
        """[N, 2] smallest and largest value of each image."""

    @property
    def clipped(self) -> FloatArray:
        """[N, 2] share of each image's foreground below and above the window."""

    @property
    def blank(self) -> npt.NDArray[np.int64]:
        """[N] voxels of each image that are NaN or infinite."""


@dataclass(frozen=True)
class Intensities:
    """Values of the images as their files hold them.

    Attributes:
        low: Smallest value of any image.
        high: Largest value of any image.
        below: Mean share of the foreground that is clipped to 0.
        above: Mean share of the foreground that is clipped to 1.
        blank: Voxels of all images that are NaN or infinite.
    """

    low: float
    high: float
    below: float
    above: float
    blank: int


@dataclass(frozen=True)
class MaskOverview:
    """Size and place of one mask over all images.

    Attributes:
        name: Name of the region, or ``foreground``.
        kind: ``foreground``, ``region``, ``subfield`` or ``control region``.
        mean: Mean size in mm³, or in mm² for slices.
        smallest: Smallest size of any image.
        largest: Largest size of any image.
        outside: Share of its voxels that lie outside the foreground.
        auroc: AUROC of its size alone for group 1, a mean over each subject's images; None where
            a group is missing.
    """

    name: str
    kind: str
    mean: float
    smallest: float
    largest: float
    outside: float
    auroc: float | None


@dataclass(frozen=True)
class CohortOverview:
    """What a cohort holds.

    Attributes:
        name: Name of the cohort.
        subjects: Number of subjects.
        images: Number of images.
        visits: Smallest and largest number of images of a subject.
        single: Number of subjects with one image.
        group_names: Names of the reference group and of the case group.
        sizes: Subjects of each split, by group.
        images_by_split: Images of each split, by group.
        shape: Spatial shape.
        spacing: Size of a voxel in mm along each axis.
        orientation: Direction in which each axis runs, such as ``"IR"``; None if nobody knows.
        registered: Whether a voxel means the same place in every subject.
        shares_affine: Whether all images lie alike in the world.
        has_poses: Whether each image's place in a common anatomical space is known.
        has_partners: Whether each subject's image with the other group's anatomy is known.
        has_normals: Whether each subject's image with regions of normal volume is known.
        sources: Independent structures that label the images each in its own way.
        intensities: Values as stored; None where the cohort does not come from files.
        masks: Foreground, regions, subfields and control regions.
        truth: Regions that hold the whole difference.
        covariates: AUROC by which each covariate alone tells the groups apart.
        is_whole: Whether the foreground is the whole of every image.
        faint: Subjects of images whose foreground takes up less than 5 % of [0, 1].
        fingerprint: Hash of everything that a score depends on.
    """

    name: str
    subjects: int
    images: int
    visits: tuple[int, int]
    single: int
    group_names: tuple[str, str]
    sizes: Mapping[str, tuple[int, int]]
    images_by_split: Mapping[str, tuple[int, int]]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    orientation: str | None
    registered: bool
    shares_affine: bool
    has_poses: bool
    has_partners: bool
    has_normals: bool
    sources: tuple[str, ...]
    intensities: Intensities | None
    masks: tuple[MaskOverview, ...]
    truth: tuple[str, ...]
    covariates: tuple[CovariateFinding, ...]
    is_whole: bool
    faint: tuple[str, ...]
    fingerprint: str


def describe_cohort(cohort: Cohort, stored: StoredValues | None = None) -> CohortOverview:
    """Return what a cohort holds.

    Args:
        cohort: The cohort.
        stored: Content of the cohort's files, where it comes from files.
    """
    visits = Counter(cohort.subjects)
    return CohortOverview(
        name=cohort.name,
        subjects=len(visits),
        images=len(cohort),
        visits=(min(visits.values()), max(visits.values())),
        single=sum(count == 1 for count in visits.values()),
        group_names=cohort.group_names,
        sizes=_count(cohort.participants.drop_duplicates("subject")),
        images_by_split=_count(cohort.participants),
        shape=cohort.shape,
        spacing=tuple(float(size) for size in cohort.geometry.spacing),
        orientation=_name_axes(cohort),
        registered=cohort.geometry.registered,
        shares_affine=cohort.geometry.affines is None,
        has_poses=cohort.geometry.poses is not None,
        has_partners=cohort.partners is not None,
        has_normals=cohort.normals is not None,
        sources=tuple(cohort.sources),
        intensities=None if stored is None else _describe_intensities(stored),
        masks=tuple(_describe_masks(cohort)),
        truth=cohort.anatomy.truth,
        covariates=tuple(describe_covariates(cohort)),
        is_whole=bool(cohort.anatomy.foreground.all()),
        faint=tuple(_faint_images(cohort)),
        fingerprint=cohort.fingerprint,
    )


def _faint_images(cohort: Cohort) -> Iterator[str]:
    for subject, image, mask in zip(
        cohort.subjects, cohort.images, cohort.anatomy.foreground, strict=True
    ):
        if np.ptp(image[mask]) < _FAINT:
            yield subject


def _count(people: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Return the number of rows of each group, by split."""
    counts: dict[str, tuple[int, int]] = {}
    for split in SPLITS:
        groups = people["group"][people["split"] == split]
        counts[split] = int((groups == 0).sum()), int((groups == 1).sum())
    return counts


def _name_axes(cohort: Cohort) -> str | None:
    """Return the side that each array axis runs towards, as letters."""
    if not cohort.geometry.oriented:
        return None
    codes = nibabel.aff2axcodes(cohort.geometry.affine)
    return "".join(code or "?" for code in codes[: len(cohort.shape)])


def _describe_intensities(stored: StoredValues) -> Intensities:
    below, above = stored.clipped.mean(axis=0)
    low, high = np.nanmin(stored.spans[:, 0]), np.nanmax(stored.spans[:, 1])
    blank = int(stored.blank.sum())
    return Intensities(float(low), float(high), float(below), float(above), blank)


def _describe_masks(cohort: Cohort) -> list[MaskOverview]:
    anatomy = cohort.anatomy
    masks = [("foreground", "foreground", anatomy.foreground)]
    masks += [(name, "region", mask) for name, mask in anatomy.rois.items()]
    masks += [(name, "subfield", mask) for name, mask in anatomy.subfields.items()]
    masks += [(name, "control region", mask) for name, mask in anatomy.control_rois.items()]
    return [_describe_mask(cohort, name, kind, mask) for name, kind, mask in masks]


def _describe_mask(cohort: Cohort, name: str, kind: str, mask: BoolArray) -> MaskOverview:
    axes = tuple(range(1, mask.ndim))
    voxels = mask.sum(axis=axes)
    sizes = voxels * math.prod(cohort.geometry.spacing)
    outside = sum(
        int((region & ~inside).sum())
        for region, inside in zip(mask, cohort.anatomy.foreground, strict=True)
    )
    return MaskOverview(
        name=name,
        kind=kind,
        mean=float(sizes.mean()),
        smallest=float(sizes.min()),
        largest=float(sizes.max()),
        outside=outside / max(1, int(voxels.sum())),
        auroc=_auroc(cohort, sizes),
    )


def _auroc(cohort: Cohort, values: FloatArray) -> float | None:
    """Return the AUROC of values [N] for group 1, over subjects."""
    # Here, since scikit-learn takes a quarter of a second that most commands do without.
    from sklearn.metrics import roc_auc_score

    table = pd.DataFrame({"value": values, "group": cohort.groups, "subject": cohort.subjects})
    people = table.groupby("subject").mean()
    if people["group"].nunique() < 2:
        return None
    return float(roc_auc_score(people["group"] > 0.5, people["value"]))
