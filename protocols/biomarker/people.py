"""Who is assessed: one row a subject, with the volumes of its regions and its covariates.

The unit of every statement is the subject. Where a subject has several images, its volumes,
covariates and maps are averaged first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.errors import NotAssessableError, UnsupportedError
from benchmark.seeding import seed_of
from benchmark.statistics.linear import COVARIATES, SubjectMeans, complete_rows, gaps
from benchmark.trial import Trial

VOLUME = "_volume"
"""Ending of the column that holds the volume of a region, in mm³."""


@dataclass(frozen=True)
class People:
    """The assessed subjects of a test split, in the order of their names.

    Attributes:
        rows: [N] test rows of their images, by subject and then by key.
        subjects: [N] subject of each of these images.
        groups: [N] group of each of these images.
        participants: [N rows] table of covariates and volumes of each image.
        regions: Names of the regions whose volume is known.
        parts: Names of the parts of regions whose volume is known.
        signs: −1 for a region or part whose larger volume speaks for the cases, by name.
        excluded: Number of test subjects that lack a value, and are left out.
    """

    rows: Rows
    subjects: tuple[str, ...]
    groups: Rows
    participants: pd.DataFrame
    regions: tuple[str, ...]
    parts: tuple[str, ...]
    signs: Mapping[str, int]
    excluded: int

    def __len__(self) -> int:
        """Return the number of subjects n."""
        return len(self.first)

    @cached_property
    def first(self) -> Rows:
        """Position of the first image of each subject, which stands for it in readings, [n]."""
        positions: Rows = np.unique(np.array(self.subjects), return_index=True)[1]
        return positions

    @property
    def has_visits(self) -> bool:
        """Whether any subject has several images."""
        return len(self.rows) > len(self)

    def only(self, kept: BoolArray) -> People:
        """Return the same without some of the images, [N] bool; who has none left is excluded."""
        if kept.all():
            return self
        subjects = tuple(np.array(self.subjects)[kept].tolist())
        return replace(
            self,
            rows=self.rows[kept],
            subjects=subjects,
            groups=self.groups[kept],
            participants=self.participants[kept].reset_index(drop=True),
            excluded=self.excluded + len(self) - len(set(subjects)),
        )

    @cached_property
    def covariates(self) -> pd.DataFrame:
        """Covariates of each subject, [n rows]."""
        present = [name for name in COVARIATES if name in self.participants]
        if not present:
            return pd.DataFrame(index=range(len(self)))
        return self._means.table(self.participants[present])

    def volumes(self, names: Sequence[str]) -> FloatArray:
        """Return the volumes of some regions or parts, averaged by subject, [n, K]."""
        return self.mean(self._volumes_by_image(names))

    def signed_volumes(self, names: Sequence[str]) -> FloatArray:
        """Return the same with the sign by which each rises towards the reference group, [n, K]."""
        signed: FloatArray = self.volumes(names) * self._signs(names)
        return signed

    def signed_volumes_by_image(self, names: Sequence[str]) -> FloatArray:
        """Return the same of each image, [N, K]."""
        signed: FloatArray = self._volumes_by_image(names) * self._signs(names)
        return signed

    def _signs(self, names: Sequence[str]) -> FloatArray:
        return np.array([float(self.signs.get(name, 1)) for name in names])

    def _volumes_by_image(self, names: Sequence[str]) -> FloatArray:
        columns = [name + VOLUME for name in names]
        return self.participants[columns].to_numpy(dtype=np.float64)

    def mean(self, values: FloatArray) -> FloatArray:
        """Return values of images [N, ...] averaged over the images of each subject, [n, ...]."""
        return self._means.of(values)

    @cached_property
    def _means(self) -> SubjectMeans:
        return SubjectMeans(self.subjects)


def find_people(trial: Trial, minimum: int, subjects: int | None) -> People:
    """Return the test subjects who have volumes and covariates.

    Args:
        trial: Model and cohort.
        minimum: Fewer subjects than these are not assessable.
        subjects: Largest number of subjects, as many of each group by seeded order; all unless
            given.

    Raises:
        UnsupportedError: If the cohort declares no regions, or no volume of one.
        NotAssessableError: If too few subjects have all values.
    """
    test, anatomy = trial.test, trial.test.anatomy
    if not anatomy.rois:
        raise UnsupportedError("the cohort declares no regions of interest")
    regions, parts = (_measured(test, tuple(masks)) for masks in (anatomy.rois, anatomy.subfields))
    if not regions:
        columns = " or ".join(name + VOLUME for name in anatomy.rois)
        raise UnsupportedError(f"the table of participants has no column {columns}")
    table, names, keys = test.participants, np.array(test.subjects), np.array(test.keys)
    volumes = [name + VOLUME for name in (*regions, *parts)]
    # Of a subject with several images, only those that lack a value are left out.
    complete = complete_rows(table) & table[volumes].notna().all(axis=1).to_numpy(dtype=bool)
    kept = _chosen(trial, sorted(set(names[complete].tolist())), subjects)
    if len(kept) < minimum:
        lacking = gaps(table, (*COVARIATES, *volumes))
        raise NotAssessableError(
            f"fewer than {minimum} test subjects with volumes: {len(kept)}{lacking}"
        )
    rows = np.flatnonzero(complete & np.isin(names, kept))
    rows = rows[np.lexsort((keys[rows], names[rows]))]
    return People(
        rows=rows,
        subjects=tuple(names[rows].tolist()),
        groups=test.groups[rows],
        participants=table.iloc[rows].reset_index(drop=True),
        regions=regions,
        parts=parts,
        signs=anatomy.volume_signs,
        excluded=len(set(test.subjects)) - len(set(names[complete].tolist())),
    )


def _measured(cohort: Cohort, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of some regions whose volume the table of participants holds."""
    return tuple(name for name in names if name + VOLUME in cohort.participants)


def _chosen(trial: Trial, names: Sequence[str], subjects: int | None) -> list[str]:
    """Return some of the subjects, as many of each group, or all of them."""
    if subjects is None:
        return list(names)
    group_of: Mapping[str, int] = dict(zip(trial.test.subjects, trial.test.groups, strict=True))
    chosen: list[str] = []
    for group in (0, 1):
        members = [name for name in names if group_of[name] == group]
        members.sort(key=lambda name: seed_of(trial.runtime.suite, "biomarker", name))
        chosen.extend(members[: subjects // 2])
    return chosen
