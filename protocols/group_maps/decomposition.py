"""Which part of the distance of the groups a map puts where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from protocols.group_maps.population import Population
from protocols.group_maps.statistics import ALL, CHANGE

MOST_DEPARTURE = 0.1


@dataclass(frozen=True)
class Decomposition:
    """Sums of raw, unsmoothed maps over parts of all pixels, on the images' own grids.

    Attributes:
        people: The subjects.
        maps: [m, 1, *S] signed maps of all of their images.
        phi: [n] φ of each subject.
    """

    people: Population
    maps: Tensor
    phi: FloatArray

    @cached_property
    def separation(self) -> float:
        """T_w, the mean of φ over group A minus that over group B."""
        groups = self.people.groups
        return float(self.phi[groups == 0].mean() - self.phi[groups == 1].mean())

    @cached_property
    def sums(self) -> Mapping[str, FloatArray]:
        """Sum of the map over each part, [n] by its name."""
        people, anatomy = self.people, self.people.cohort.anatomy
        own = {name: mask[people.all_rows] for name, mask in anatomy.rois.items()}
        masks: dict[str, BoolArray] = {CHANGE: people.on_own_grids(people.change), **own}
        masks |= {name: people.on_own_grids(side) for name, side in people.sides.items()}
        maps = self.maps.double().numpy()
        whole = {ALL: people.of_subjects(maps.reshape(len(maps), -1).sum(1))}
        parts = {
            name: people.of_subjects((maps * mask).reshape(len(maps), -1).sum(1))
            for name, mask in masks.items()
        }
        return {**whole, **parts}

    @cached_property
    def departures(self) -> FloatArray:
        """|Σa − (φ − c)| in units of T_w, [n], where c is the mean of φ − Σa.

        An additive method explains the distance to φ of its baseline, which is one number c for all
        subjects where the baseline is.
        """
        rest = self.phi - self.sums[ALL]
        return np.asarray(np.abs(rest - rest.mean()) / abs(self.separation))
