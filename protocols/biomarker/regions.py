"""The regions that maps are read on, and what to do where a mask is as large as its volume.

A segmentation of a structure shrinks with it. A share of the map on it then tells the volume
whatever the map shows, and the tissue that was vacated, where the change is, lies outside. In such
a cohort everyone gets one region: where the reference group of the training split has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.errors import NotAssessableError
from benchmark.maps.poses import carried, in_common_space
from benchmark.trial import Trial
from protocols.biomarker.people import People

SHRINKING = 0.3
"""Partial correlation of a mask's size with its volume, above which the mask is not used."""

COMMON = 0.1
"""Share of the reference group's masks that a voxel of the common region lies in."""


@dataclass(frozen=True)
class Regions:
    """Masks of the assessed images, each [N, 1, *S] bool, inside the foreground.

    Attributes:
        rois: Regions by name.
        controls: Control region of each of them.
        subfields: Parts of them that have a volume of their own.
        is_common: Whether regions and controls are those of the reference group, the same place
            for everyone.
    """

    rois: Mapping[str, BoolArray]
    controls: Mapping[str, BoolArray]
    subfields: Mapping[str, BoolArray]
    is_common: bool


def sizes(people: People, masks: BoolArray) -> FloatArray:
    """Return the number of voxels in the masks [N, 1, *S] of images, averaged by subject, [n]."""
    counts: FloatArray = masks.reshape(len(masks), -1).sum(axis=1).astype(np.float64)
    return people.mean(counts)


def own_regions(test: Cohort, people: People) -> Regions:
    """Return the masks that the cohort declares.

    Raises:
        NotAssessableError: If a region has no control region.
    """
    anatomy, rows = test.anatomy, people.rows
    if lacking := [name for name in people.regions if name not in anatomy.control_rois]:
        raise NotAssessableError(f"no control region of {', '.join(lacking)}")
    inside = anatomy.foreground[rows]
    return Regions(
        {name: anatomy.rois[name][rows] & inside for name in people.regions},
        {name: anatomy.control_rois[name][rows] & inside for name in people.regions},
        {name: anatomy.subfields[name][rows] & inside for name in people.parts},
        is_common=False,
    )


def common_regions(trial: Trial, people: People, regions: Regions) -> Regions:
    """Return the regions and controls of the training split's reference group, for everyone.

    The test split's reference group stands in where there is no training split. Subfields stay as
    they are declared.

    Raises:
        NotAssessableError: If the images lie neither in one space nor in known poses.
    """
    geometry = trial.cohort.geometry
    if not geometry.registered and geometry.poses is None:
        raise NotAssessableError(
            "the regions shrink with the structure, and the images are not in one space"
        )
    test, rows = trial.test, people.rows
    in_train = (trial.cohort.participants["split"] == "train").to_numpy()
    source = trial.train if 0 in trial.cohort.groups[in_train] else test
    reference = np.flatnonzero(source.groups == 0)
    inside = test.anatomy.foreground[rows]

    def everyones(masks: BoolArray) -> BoolArray:
        common = mean_mask(source, masks, reference) >= COMMON
        on_grid: BoolArray = carried(common, test.geometry.take(rows)) & inside
        return on_grid

    anatomy = source.anatomy
    return Regions(
        {name: everyones(anatomy.rois[name]) for name in regions.rois},
        {name: everyones(anatomy.control_rois[name]) for name in regions.controls},
        regions.subfields,
        is_common=True,
    )


def mean_mask(cohort: Cohort, masks: BoolArray, rows: Rows) -> FloatArray:
    """Return how often a voxel of the common space lies in masks [N, 1, *S] of rows, [*S]."""
    # In the order of keys, so that the order of the rows leaves no trace in the sum.
    ordered = rows[np.argsort(np.array(cohort.keys)[rows])]
    share: FloatArray = np.zeros(cohort.shape)
    for row in ordered:
        alone = np.array([row])
        moved = in_common_space(masks[alone].astype(np.float32), cohort.geometry.take(alone))
        share += moved[0, 0] / len(ordered)
    return share + 1e-9  # so that rounding does not decide where exactly a tenth lies
