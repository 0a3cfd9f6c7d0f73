"""The direction between the groups, and where the test images lie along it.

φ(x) = wᵀf(x) is one function for every subject: its sign does not follow the label, as that of the
own group's margin does. The direction comes from the training split. A direction that is fitted on
the subjects it is then asked about separates them on any network, random weights among them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from benchmark.arrays import FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.errors import NotAssessableError
from benchmark.seeding import seed_of
from benchmark.target import Projection
from benchmark.trial.memory import Keeping, remembered
from benchmark.trial.trial import Trial

FEWEST_SUBJECTS = 20
"""Subjects of each group below which no direction is fitted on halves of the test split."""


@dataclass(frozen=True)
class GroupAxis:
    """The direction between the groups' mean embeddings, unsigned.

    Attributes:
        directions: [K, D] unit vectors w = (μ_A − μ_B)/‖μ_A − μ_B‖: one, of the training split; or
            two where there is none, each of one half of the test subjects.
        fold: [N] index of the direction that stands for each test image; never one that was fitted
            on its own subject.
        embeddings: [N, D] embeddings of the test images.
        groups: [N] groups of the test images.
    """

    directions: FloatArray
    fold: Rows
    embeddings: FloatArray
    groups: Rows

    @cached_property
    def values(self) -> FloatArray:
        """φ of each test image, [N]."""
        return self.values_of(self.embeddings, np.arange(len(self.fold)))

    @cached_property
    def separation(self) -> float:
        """T, the mean of φ over group A minus that over group B, over the test images."""
        return float(self.values[self.groups == 0].mean() - self.values[self.groups == 1].mean())

    @cached_property
    def targets(self) -> tuple[Projection, ...]:
        """φ as a target for explainers, one for each direction."""
        return tuple(Projection(torch.from_numpy(direction)) for direction in self.directions)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the directions and of which stands for whom."""
        return hashlib.sha256(self.directions.tobytes() + self.fold.tobytes()).hexdigest()

    def values_of(self, embeddings: FloatArray, rows: Rows) -> FloatArray:
        """Return φ of embeddings [n, ..., D] of test rows [n], such as of altered images."""
        return np.asarray(np.einsum("n...d,nd->n...", embeddings, self.directions[self.fold[rows]]))

    def targets_of(self, rows: Rows) -> list[Projection]:
        """Return the target for each of some test rows."""
        return [self.targets[fold] for fold in self.fold[rows].tolist()]


def group_axis(trial: Trial) -> GroupAxis:
    """Return the direction between the groups on a trial's model, made once.

    Raises:
        NotAssessableError: If there is no training split and a group has fewer than 20 test
            subjects, or if the model embeds both groups alike.
    """

    def read() -> GroupAxis:
        directions, fold = _fit(trial)
        return GroupAxis(directions, fold, trial.evaluation.embeddings, trial.test.groups)

    return trial.once(("group axis", trial.model_identity), read)


def embed_split(trial: Trial, split: Cohort) -> FloatArray:
    """Return the embeddings [n, D] of a split on a trial's model, the same in any order."""
    return trial.models.embed_rows(split.images, np.arange(len(split)))[1]


@remembered(by_model=True, keeping=Keeping("1"))
def _fit(trial: Trial) -> tuple[FloatArray, Rows]:
    """Return the directions [K, D], and which of them stands for each test image, [N]."""
    test, embeddings = trial.test, trial.evaluation.embeddings
    in_train = (trial.cohort.participants["split"] == "train").to_numpy()
    if len(set(trial.cohort.groups[in_train].tolist())) == 2:
        train = trial.train
        order = np.argsort(np.array(train.keys))  # a mean depends on the order in its last bit
        known = embed_split(trial, train)[order]
        direction = _direction(known, train.groups[order])
        fold = np.zeros(len(test), dtype=np.int64)
        return direction[None], fold
    fold = _halves(trial)
    order = np.argsort(np.array(test.keys))
    directions = []
    for half in (0, 1):
        others = order[fold[order] != half]
        directions.append(_direction(embeddings[others], test.groups[others]))
    return np.stack(directions), fold


def _direction(embeddings: FloatArray, groups: Rows) -> FloatArray:
    difference = embeddings[groups == 0].mean(0) - embeddings[groups == 1].mean(0)
    length = float(np.linalg.norm(difference))
    if length == 0:
        raise NotAssessableError("the model embeds both groups alike")
    direction: FloatArray = difference / length
    return direction


def _halves(trial: Trial) -> Rows:
    """Return the half, 0 or 1, that each test image's subject falls into, [N], by group."""
    test = trial.test
    subjects, groups = np.array(test.subjects), test.groups
    fold = np.zeros(len(test), dtype=np.int64)
    for group, name in enumerate(trial.cohort.group_names):
        members = np.unique(subjects[groups == group])
        if len(members) < FEWEST_SUBJECTS:
            raise NotAssessableError(
                f"there is no training split to fit the groups' direction on, and fewer than "
                f"{FEWEST_SUBJECTS} subjects in group {name} of the test split"
            )
        ranked = sorted(members, key=lambda subject: seed_of(trial.runtime.suite, "half", subject))
        fold[np.isin(subjects, ranked[::2])] = 1
    return fold
