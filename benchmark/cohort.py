"""A cohort: its images, its subjects, and the regions known in them.

Arrays live on the host and may be memory maps; ``batches`` moves a few rows at a time to a device.
``*S`` is (H, W) or (D, H, W), and nothing above this file branches on which.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from benchmark.arrays import BoolArray, FloatArray, ImageArray, Rows
from benchmark.cohort_batch import Batch, References
from benchmark.cohort_faults import OWN_COLUMNS, SPLITS, faults_of
from benchmark.cohort_fingerprint import fingerprint_of
from benchmark.concept import Concept
from benchmark.errors import CohortError

__all__ = [
    "SPLITS",
    "Anatomy",
    "Batch",
    "Cohort",
    "Geometry",
    "References",
    "Source",
    "split_by_subject",
]

REFERENCE_IMAGES = 16


@dataclass(frozen=True)
class Geometry:
    """Where the voxels lie in the world.

    Attributes:
        spacing: Voxel size in mm along each of the axes ``*S``.
        affine: [4, 4] map from array indices to RAS+ millimetres. A two-dimensional image counts
            as [H, W, 1].
        registered: Whether all images share one anatomical space, so that a voxel means the same
            place in every subject.
        affines: [N, 4, 4] map of each image, where images lie differently in the world, such as in
            their scanners; None where all share ``affine``, which is else that of the first image.
        oriented: Whether the affine says where the patient's left is; a picture file, for example,
            does not.
        poses: [N, 4, 4] map from array indices of each image to the millimetres of a space in which
            an anatomical place is the same in every subject; None where it is not known.
            ``affine`` lays that space on the grid of the images. No mean over images is taken where
            there are poses.
    """

    spacing: tuple[float, ...]
    affine: FloatArray
    registered: bool = False
    affines: FloatArray | None = None
    oriented: bool = True
    poses: FloatArray | None = None

    def take(self, rows: Rows) -> Geometry:
        """Return the geometry of these rows."""
        return replace(
            self,
            affines=None if self.affines is None else self.affines[rows],
            poses=None if self.poses is None else self.poses[rows],
        )

    def affine_of(self, row: int) -> FloatArray:
        """Return the [4, 4] map from array indices to RAS+ millimetres of one image."""
        return self.affine if self.affines is None else self.affines[row]


@dataclass(frozen=True)
class Anatomy:
    """Known regions of every image, each [N, 1, *S] bool.

    Attributes:
        foreground: Mask of the organ; every protocol ranks pixels inside it only.
        rois: Regions that the disease is known to change, by name, one per hemisphere.
        control_rois: Regions of the same area away from the disease, by name of their region.
        truth: Names of the ``rois`` whose union is where the groups are known to differ; empty
            where no such truth is known.
        subfields: Parts of the ``rois`` that are studied by themselves, by name; no protocol that
            asks about regions as a whole looks at them.
        parents: Name of the region that each subfield is a part of.
        volume_signs: Sign of what a larger volume of a region or subfield speaks for: 1 for the
            reference group, as where the disease shrinks it, −1 for the case group, as where the
            disease widens it. 1 for those that are not named.
    """

    foreground: BoolArray
    rois: Mapping[str, BoolArray] = field(default_factory=dict)
    control_rois: Mapping[str, BoolArray] = field(default_factory=dict)
    truth: tuple[str, ...] = ()
    subfields: Mapping[str, BoolArray] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    volume_signs: Mapping[str, int] = field(default_factory=dict)

    def take(self, rows: Rows | slice) -> Anatomy:
        """Return the anatomy of these rows."""
        return replace(
            self,
            foreground=self.foreground[rows],
            rois={name: mask[rows] for name, mask in self.rois.items()},
            control_rois={name: mask[rows] for name, mask in self.control_rois.items()},
            subfields={name: mask[rows] for name, mask in self.subfields.items()},
        )


@dataclass(frozen=True)
class Source:
    """A structure whose size alone labels the images, independently of the other sources.

    Attributes:
        labels: [N] label of each image, 0 or 1.
        rois: Names of the regions that hold the source.
        partners: [N, 1, *S] float32 the same subjects with the source's size exchanged, and all
            else as it is; None where they are not known.
    """

    labels: Rows
    rois: tuple[str, ...]
    partners: ImageArray | None = None

    def take(self, rows: Rows | slice) -> Source:
        """Return the source of these rows."""
        partners = None if self.partners is None else self.partners[rows]
        return replace(self, labels=self.labels[rows], partners=partners)


@dataclass(frozen=True)
class Cohort:
    """Images of subjects from two groups, divided into splits by subject.

    Attributes:
        name: Name of the cohort in records and tables.
        images: [N, 1, *S] float32 in [0, 1]; may be a memory map.
        participants: Table of one row an image: ``subject`` (str, may repeat), ``group`` (0
            reference, 1 case), ``split`` (train, validation or test), and any covariates: ``age``
            in years, ``sex``, ``tiv`` in mL, ``scanner``, volumes in mm³.
        anatomy: Foreground and regions.
        geometry: Spacing and affine.
        group_names: Names of group 0 and group 1.
        partners: [N, 1, *S] float32 counterfactual images: the same subjects with the other group's
            anatomy, and all else as it is, down to the noise; None where they are not known.
        sources: Independent structures that label the images each in its own way, by name.
        normals: [N, 1, *S] float32 the same subjects with their regions at normal volume, and all
            else as it is, down to the noise; None where they are not known. A control alone looks
            at them, so they are part of its identity and not of the fingerprint.
        concepts: Sets of images that show something and that do not, by name, of subjects outside
            the test split. The protocol that asks about them names them in its settings; they are
            not part of the fingerprint.

    Raises:
        CohortError: If the parts contradict each other or hold what no protocol can use.
    """

    name: str
    images: ImageArray
    participants: pd.DataFrame
    anatomy: Anatomy
    geometry: Geometry
    group_names: tuple[str, str] = ("A", "B")
    partners: ImageArray | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    normals: ImageArray | None = None
    concepts: Mapping[str, Concept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a cohort that contradicts itself."""
        for fault in faults_of(self):
            raise CohortError(f"Cohort {self.name!r}{fault}.")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape ``*S``."""
        return tuple(self.images.shape[2:])

    @cached_property
    def groups(self) -> Rows:
        """Group of each image, [N]: 0 reference, 1 case."""
        return self.participants["group"].to_numpy(dtype=np.int64, copy=True)

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """Subject of each image."""
        return tuple(self.participants["subject"].astype(str))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Unique name of each image: its subject, and its content where a subject has several.

        Random streams are seeded by it, so they do not depend on the order of the rows.
        """
        counts = Counter(self.subjects)
        return tuple(
            subject
            if counts[subject] == 1
            else f"{subject}#{hashlib.sha256(self.images[row].tobytes()).hexdigest()[:8]}"
            for row, subject in enumerate(self.subjects)
        )

    @property
    def covariates(self) -> pd.DataFrame:
        """Every column of ``participants`` that is not subject, group or split."""
        return self.participants.drop(columns=list(OWN_COLUMNS))

    @cached_property
    def truth(self) -> BoolArray | None:
        """Union of the regions known to hold the difference, [N, 1, *S], or None."""
        return _union([self.anatomy.rois[name] for name in self.anatomy.truth])

    @cached_property
    def regions(self) -> BoolArray | None:
        """Union of all regions, [N, 1, *S], or None where none is declared."""
        if set(self.anatomy.truth) == set(self.anatomy.rois):
            return self.truth
        return _union(list(self.anatomy.rois.values()))

    @cached_property
    def change(self) -> ImageArray | None:
        """Graded truth |x − x̃|, [N, 1, *S]: what the other group's anatomy changes, or None."""
        return None if self.partners is None else np.abs(self.images - self.partners)

    @cached_property
    def deviation(self) -> ImageArray | None:
        """Image minus the same subject at normal volume, signed, [N, 1, *S]; None if unknown."""
        return None if self.normals is None else self.images - self.normals

    @cached_property
    def normals_sha256(self) -> str:
        """SHA-256 of the normals, the same for any order of the rows; of nothing without any."""
        if self.normals is None:
            return hashlib.sha256().hexdigest()
        rows = sorted(range(len(self)), key=self.keys.__getitem__)
        parts = (np.ascontiguousarray(self.normals[row], dtype="<f4").tobytes() for row in rows)
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def take(self, rows: Rows) -> Cohort:
        """Return the cohort of these rows, in this order; rows in a run share its arrays."""
        in_a_run = len(rows) > 0 and bool((np.diff(rows) == 1).all())
        chosen = slice(int(rows[0]), int(rows[-1]) + 1) if in_a_run else rows
        return replace(
            self,
            images=self.images[chosen],
            participants=self.participants.iloc[chosen].reset_index(drop=True),
            anatomy=self.anatomy.take(chosen),
            geometry=self.geometry.take(rows),
            partners=None if self.partners is None else self.partners[chosen],
            sources={name: source.take(chosen) for name, source in self.sources.items()},
            normals=None if self.normals is None else self.normals[chosen],
        )

    def labelled_by(self, source: str) -> Cohort:
        """Return the cohort whose groups, truth and partners are those of one of its sources.

        Raises:
            CohortError: If it has no source of that name.
        """
        if source not in self.sources:
            known = ", ".join(self.sources) or "none"
            raise CohortError(f"Cohort {self.name!r} has no source {source!r}; known: {known}.")
        chosen = self.sources[source]
        return replace(
            self,
            name=f"{self.name}+{source}",
            participants=self.participants.assign(group=chosen.labels),
            anatomy=replace(self.anatomy, truth=chosen.rois),
            partners=chosen.partners,
            sources={},
        )

    def select(self, split: str) -> Cohort:
        """Return the cohort of one split.

        Raises:
            CohortError: If no image belongs to it.
        """
        rows = np.flatnonzero((self.participants["split"] == split).to_numpy())
        if not len(rows):
            raise CohortError(f"Cohort {self.name!r} has no image in its {split} split.")
        return self.take(rows)

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """Yield the rows in order, ``size`` at a time, on ``device``."""
        for start in range(0, len(self), size):
            yield self.batch(np.arange(start, min(start + size, len(self))), device)

    def batch(self, rows: Rows, device: torch.device | str = "cpu") -> Batch:
        """Return these rows on ``device``."""
        # Of these rows alone: most batches are of methods that never see them.
        rois = {name: mask[rows] for name, mask in self.anatomy.rois.items()}
        truth = _union([rois[name] for name in self.anatomy.truth])
        regions = _union(list(rois.values()))
        change = None if self.partners is None else np.abs(self.images[rows] - self.partners[rows])
        deviation = None if self.normals is None else self.images[rows] - self.normals[rows]
        return Batch(
            rows=rows,
            keys=tuple(self.keys[row] for row in rows),
            images=torch.from_numpy(np.ascontiguousarray(self.images[rows])).to(device),
            foreground=torch.from_numpy(self.anatomy.foreground[rows]).to(device),
            truth=None if truth is None else torch.from_numpy(truth).to(device),
            change=None if change is None else torch.from_numpy(change).to(device),
            regions=None if regions is None else torch.from_numpy(regions).to(device),
            deviation=None if deviation is None else torch.from_numpy(deviation).to(device),
        )

    @cached_property
    def references(self) -> References:
        """Images of the training split, or of all where there is none; the same in any order."""
        in_training = (self.participants["split"] == "train").to_numpy()
        rows = np.flatnonzero(in_training if in_training.any() else ~in_training)
        rows = rows[np.argsort(np.array(self.keys)[rows])]
        mean: FloatArray = np.zeros(self.images.shape[1:])
        for row in rows:
            mean += self.images[row] / len(rows)
        reference_rows = rows[self.groups[rows] == 0][:REFERENCE_IMAGES]
        arrays = [np.asarray(mean[None], dtype=np.float32), np.array(self.images[reference_rows])]
        sha256 = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
        regions = None
        if masks := self.anatomy.rois.values():
            # Of an image at a time, since a union of all splits would stay in memory.
            unions = (np.logical_or.reduce([mask[row] for mask in masks]) for row in rows)
            counts = sum(union.astype(np.int64) for union in unions)
            regions = torch.from_numpy(np.asarray(counts / len(rows), dtype=np.float32)[None])
        return References(torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]), sha256, regions)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything a score depends on, the same for any order of the rows.

        The name is left out: a cohort that is exported and read back is the same cohort.
        """
        return fingerprint_of(self)


def _union(masks: Sequence[BoolArray]) -> BoolArray | None:
    """Return the union of masks [N, 1, *S], or None of none; of one it is the mask itself."""
    return masks[0] if len(masks) == 1 else np.logical_or.reduce(masks) if masks else None


def split_by_subject(subjects: Sequence[str], groups: Sequence[int], seed: int = 0) -> list[str]:
    """Return a division of subjects 60/20/20 into train, validation and test, within each group.

    A subject's images all fall into one split. The division depends on the subjects' names and
    ``seed`` alone, not on their order.

    Args:
        subjects: [N] subject of each image.
        groups: [N] group of each image; a subject counts to the group of its first image.
        seed: Seed of the division.
    """
    group_of: dict[str, int] = {}
    for subject, group in zip(subjects, groups, strict=True):
        group_of.setdefault(subject, int(group))
    split_of: dict[str, str] = {}
    for group in sorted(set(group_of.values())):
        members = sorted(subject for subject in group_of if group_of[subject] == group)
        members.sort(key=lambda subject: hashlib.sha256(f"{seed}:{subject}".encode()).digest())
        cuts = (round(0.6 * len(members)), round(0.8 * len(members)))
        for index, subject in enumerate(members):
            split_of[subject] = SPLITS[sum(index >= cut for cut in cuts)]
    return [split_of[subject] for subject in subjects]
