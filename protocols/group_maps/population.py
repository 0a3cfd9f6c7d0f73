"""The subjects of a group map, and the space in which their maps are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import ndimage
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, ImageArray, Rows
from benchmark.cohort import Cohort, Geometry
from benchmark.errors import NotAssessableError, UnsupportedError
from benchmark.maps.poses import carried, in_common_space
from benchmark.seeding import seed_of
from benchmark.statistics.linear import complete_rows

SHARE_OF_FOREGROUNDS = 0.8
SHARE_OF_CHANGE = 0.9
NEAR = 6.0  # mm
_FWHM = float(2 * np.sqrt(2 * np.log(2)))  # in standard deviations
_LEAST_WEIGHT = 1e-3
_HALF = 0.5
_CARRIED_AT_ONCE = 16


@dataclass(frozen=True)
class Population:
    """Subjects of both groups, in the order of their keys, and the voxels that all share.

    Attributes:
        cohort: The test images, all of them.
        rows: [n, images] test rows of each subject, as lists of unequal length.
        groups: [n] group of each subject.
        fwhm: Full width at half maximum of the smoothing, in mm.
    """

    cohort: Cohort
    rows: tuple[Rows, ...]
    groups: Rows
    fwhm: float

    @cached_property
    def all_rows(self) -> Rows:
        """Test rows of all subjects, one after the other."""
        return np.concatenate(self.rows)

    @cached_property
    def first_rows(self) -> Rows:
        """The row of each subject that readings are noted on, [n]."""
        return np.array([rows[0] for rows in self.rows])

    @cached_property
    def voxels(self) -> BoolArray:
        """Voxels in the foreground of four fifths of all test subjects, [*S], the same for all."""
        masks = self._carried_masks(self.cohort.anatomy.foreground)
        voxels: BoolArray = masks.mean(0) >= SHARE_OF_FOREGROUNDS - 1e-9
        if not voxels.any():
            raise NotAssessableError("no voxel lies in the foreground of four fifths of the images")
        return voxels

    @cached_property
    def change(self) -> BoolArray:
        """Where the groups' anatomy differs: which of ``voxels`` do, [V].

        With partners, the smallest set that holds nine tenths of the squared mean change; else
        what lies within 6 mm of the regions.

        Raises:
            UnsupportedError: If the cohort declares neither.
            NotAssessableError: If that is nowhere, or everywhere.
        """
        change = self._near_regions_only() if self.cohort.change is None else self._most_changed()
        if not change.any():
            raise NotAssessableError("no voxel is known to differ in most subjects")
        if change.all():
            raise NotAssessableError("there is no voxel away from the regions to compare with")
        return change

    def _near_regions_only(self) -> BoolArray:
        if self.cohort.regions is None:
            raise UnsupportedError("the cohort declares neither change nor regions")
        return self.near_regions

    def _most_changed(self) -> BoolArray:
        """Return the fewest voxels that hold nine tenths of the squared mean change, [V]."""
        change = np.asarray(self.cohort.change)
        moved = in_common_space(change, self.cohort.geometry)
        squares = moved.mean(0, dtype=np.float64)[0][self.voxels] ** 2
        order = np.argsort(-squares, kind="stable")
        held = np.cumsum(squares[order])
        count = int(np.searchsorted(held, SHARE_OF_CHANGE * held[-1])) + 1
        inside = np.zeros(len(squares), dtype=np.bool_)
        inside[order[:count]] = squares[order[:count]] > 0
        return inside

    @cached_property
    def near_regions(self) -> BoolArray:
        """Which of ``voxels`` lie within 6 mm of the regions, or of the change, [V]."""
        near: BoolArray = np.zeros(self.cohort.shape, dtype=np.bool_)
        if self.cohort.regions is None:
            near[self.voxels] = self.change
        else:
            near = self._majority(self.cohort.regions)
        spacing = self.cohort.geometry.spacing
        distance = ndimage.distance_transform_edt(~near, sampling=spacing) if near.any() else near
        within: BoolArray = (distance <= NEAR)[self.voxels] if near.any() else near[self.voxels]
        return within

    @cached_property
    def regions(self) -> Mapping[str, BoolArray]:
        """Which of ``voxels`` lie in most subjects' region, [V], by name; controls beside them."""
        anatomy = self.cohort.anatomy
        masks = dict(anatomy.rois)
        masks |= {f"control of {name}": mask for name, mask in anatomy.control_rois.items()}
        return {name: self._majority(mask)[self.voxels] for name, mask in masks.items()}

    @cached_property
    def sides(self) -> Mapping[str, BoolArray]:
        """Which of ``voxels`` lie in each hemisphere, [V]; empty where left is not known."""
        geometry = self.cohort.geometry
        if not geometry.oriented:
            return {}
        indices = np.argwhere(self.voxels).astype(np.float64)
        padded = np.zeros((len(indices), 4))
        padded[:, : indices.shape[1]], padded[:, 3] = indices, 1
        across = padded @ geometry.affine[0]  # RAS+: x grows towards the patient's right
        middle = (across.min() + across.max()) / 2
        return {"left": across < middle, "right": across > middle}

    def on_own_grids(self, voxels: BoolArray) -> BoolArray:
        """Return a mask of ``voxels`` [V] on the grid of each image of ``all_rows``, [m, 1, *S]."""
        mask = np.zeros(self.cohort.shape, dtype=np.bool_)
        mask[self.voxels] = voxels
        geometry = self.cohort.geometry.take(self.all_rows)
        laid = carried(mask, geometry)
        return np.broadcast_to(laid, (len(self.all_rows), *laid.shape[1:]))

    def of_subjects(self, values: FloatArray) -> FloatArray:
        """Return the means over each subject's images of values [m, ...] of ``all_rows``."""
        ends = np.cumsum([len(rows) for rows in self.rows])[:-1]
        means = np.empty((len(self.rows), *values.shape[1:]))
        for subject, part in enumerate(np.split(values, ends)):
            means[subject] = part.mean(0)
        return means

    def smooth(self, maps: Tensor) -> FloatArray:
        """Return each subject's map in the common space, smoothed in the foreground, [n, V].

        The weights of the Gaussian are those of the foreground, G∗(aΩ)/G∗Ω, so that a map that is
        the same everywhere stays so, also at the border.

        Args:
            maps: [m, 1, *S] maps of ``all_rows``.
        """
        smoothed = np.empty((len(maps), int(self.voxels.sum())))
        for position, row in enumerate(self.all_rows):
            geometry = self.cohort.geometry.take(np.array([row]))
            inside = self.cohort.anatomy.foreground[row : row + 1].astype(np.float32)
            moved = in_common_space(maps[position : position + 1].numpy() * inside, geometry)
            weight = self._weights[position]
            blurred = self._blur(moved[0, 0])[self.voxels]
            is_known = weight > _LEAST_WEIGHT
            values = blurred / np.where(is_known, weight, 1)
            # Far from the own foreground the mean of the map stands, which tells nothing.
            mean = values[is_known].mean() if is_known.any() else 0.0
            smoothed[position] = np.where(is_known, values, mean)
        return self.of_subjects(smoothed)

    @cached_property
    def _weights(self) -> list[FloatArray]:
        """Blurred foreground G∗Ω of each image of ``all_rows``, [V], the same for all maps."""
        weights = []
        for row in self.all_rows:
            geometry = self.cohort.geometry.take(np.array([row]))
            inside = self.cohort.anatomy.foreground[row : row + 1].astype(np.float32)
            weights.append(self._blur(in_common_space(inside, geometry)[0, 0])[self.voxels])
        return weights

    def in_place(self, values: FloatArray, beyond: float = 0.0) -> ImageArray:
        """Return values [V] of ``voxels`` on the grid, [1, 1, *S], ``beyond`` elsewhere."""
        image = np.full(self.cohort.shape, beyond, dtype=np.float32)
        image[self.voxels] = values
        return image[None, None]

    @cached_property
    def mean_image(self) -> FloatArray:
        """Mean of the images in the common space, [*S]."""
        geometry = self.cohort.geometry.take(self.all_rows)
        moved = in_common_space(np.array(self.cohort.images[self.all_rows]), geometry)
        mean: FloatArray = np.mean(moved[:, 0], axis=0, dtype=np.float64)
        return mean

    def only(self, kept: BoolArray) -> Population:
        """Return some of the subjects, [n] bool, on the same voxels."""
        if kept.all():
            return self
        rows = tuple(own for own, is_kept in zip(self.rows, kept, strict=True) if is_kept)
        return replace(self, rows=rows, groups=self.groups[kept])

    def balanced(self, subjects: int) -> Population:
        """Return so many of the subjects, the first of each group in the order of keys."""
        kept = np.zeros(len(self.rows), dtype=np.bool_)
        for group in (0, 1):
            kept[np.flatnonzero(self.groups == group)[: subjects // 2]] = True
        return self.only(kept)

    @cached_property
    def participants(self) -> pd.DataFrame:
        """Table of participants, the row of each subject's first image."""
        return self.cohort.participants.iloc[self.first_rows].reset_index(drop=True)

    def _blur(self, image: ImageArray) -> FloatArray:
        sigmas = [self.fwhm / _FWHM / step for step in self.cohort.geometry.spacing]
        return np.asarray(ndimage.gaussian_filter(image.astype(np.float64), sigmas))

    def _carried_masks(self, masks: BoolArray) -> BoolArray:
        """Return masks [N, 1, *S] in the common space, [N, *S]."""
        there: BoolArray = np.empty((len(masks), *masks.shape[2:]), dtype=np.bool_)
        starts = range(_CARRIED_AT_ONCE, len(masks), _CARRIED_AT_ONCE)
        for rows in np.split(np.arange(len(masks)), starts):
            geometry = self.cohort.geometry.take(rows)
            there[rows] = in_common_space(masks[rows].astype(np.float32), geometry)[:, 0] >= _HALF
        return there

    def _majority(self, masks: BoolArray) -> BoolArray:
        most: BoolArray = self._carried_masks(masks).mean(0) > _HALF
        return most


def refuse_unregistered(geometry: Geometry) -> None:
    """Refuse images whose voxels do not mean the same place in every subject.

    Raises:
        NotAssessableError: If nothing says where a place lies in another subject.
    """
    if not geometry.registered and geometry.poses is None:
        raise NotAssessableError("images are not in one space")


def choose_subjects(cohort: Cohort, suite: str, subjects: int) -> tuple[Rows, ...]:
    """Return the rows of each chosen subject, as many subjects of each group, in order of keys.

    Which are chosen depends on their keys alone, among those that lack no covariate. A subject's
    group is that of its first image.
    """
    keys, is_complete = cohort.keys, complete_rows(cohort.participants)
    rows_of: dict[str, list[int]] = {}
    for row in sorted(range(len(cohort)), key=keys.__getitem__):
        rows_of.setdefault(cohort.subjects[row], []).append(row)
    chosen: list[list[int]] = []
    for group in (0, 1):
        of_group = [rows for rows in rows_of.values() if cohort.groups[rows[0]] == group]
        members = [rows for rows in of_group if is_complete[rows].all()]
        members.sort(key=lambda rows: seed_of(suite, "masking rows", keys[rows[0]]))
        chosen.extend(members[: subjects // 2])
    chosen.sort(key=lambda rows: keys[rows[0]])
    return tuple(np.array(rows, dtype=np.int64) for rows in chosen)
