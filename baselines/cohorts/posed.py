"""Phantom subjects on grids of their own, with the images that a changed anatomy would give.

Each slice is shifted and turned in its plane. Only the points at which it samples the head move;
what lies on the grid, which is the random deformation, the bias field and the noise, stays on it.
So a subject without a pose is, byte for byte, the subject of `phantom`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from baselines.cohorts.committed_file import Bytes, CommittedArrays
from baselines.cohorts.generator import Person, covariates
from baselines.cohorts.template import load_template
from benchmark.arrays import BoolArray, FloatArray

MAX_SHIFT = 12.0
"""Largest shift of a slice along each of its axes, in mm."""

MAX_ANGLE = 6.0
"""Largest rotation of a slice about its centre, in degrees."""


@dataclass(frozen=True)
class PosedSubject:
    """A subject, its slice, and what a changed anatomy would make of the slice.

    Attributes:
        person: Person that the subject is.
        pose: [4, 4] map from array indices of the slice to template millimetres.
        image: [*S] uint8 grey levels.
        partners: Counterfactual images by name, each [*S] uint8.
        masks: Masks by name, each [*S] bool.
    """

    person: Person
    pose: FloatArray
    image: Bytes
    partners: Mapping[str, Bytes]
    masks: Mapping[str, BoolArray]


def draw_motion(rng: np.random.Generator) -> FloatArray:
    """Return a random rigid motion [4, 4] in mm within a coronal slice, about x = z = 0."""
    angle = np.deg2rad(rng.uniform(-MAX_ANGLE, MAX_ANGLE))
    x, z = rng.uniform(-MAX_SHIFT, MAX_SHIFT, size=2)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array(
        [
            [cosine, 0.0, sine, x],
            [0.0, 1.0, 0.0, 0.0],
            [-sine, 0.0, cosine, z],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def gather(people: pd.DataFrame, make: Callable[[int], PosedSubject]) -> CommittedArrays:
    """Return the arrays of a cohort whose subject of each row ``make`` draws and renders.

    Args:
        people: Table of one row a subject, with ``subject``, ``group`` and ``split``.
        make: Returns the subject of a row, whatever the other rows are.
    """
    load_template()  # read before there are several threads to read it
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        subjects = list(pool.map(make, range(len(people))))
    first = subjects[0]
    return CommittedArrays(
        images=np.stack([subject.image[None] for subject in subjects]),
        participants=pd.concat(
            [people, covariates([subject.person for subject in subjects])], axis=1
        ),
        masks={
            name: np.stack([subject.masks[name][None] for subject in subjects])
            for name in first.masks
        },
        partners={
            name: np.stack([subject.partners[name][None] for subject in subjects])
            for name in first.partners
        },
        poses=np.stack([subject.pose for subject in subjects]),
    )
