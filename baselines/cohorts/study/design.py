"""Who the subjects of a longitudinal study are: groups, scanners, visits, and sizes of sectors.

A hippocampus has four sectors. At the first visit group B lacks 0.45, 0.30, 0.10 and 0 of their
volume, so 0.2125 of the whole. In the two years to the second visit group A loses 1.5 % a year
everywhere, group B 4 % of the whole: what it loses beyond A follows the same pattern, so the sector
that is spared stays the same in both groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from baselines.cohorts.generator import (
    ELLIPSOID_VOLUME,
    GROUP_EFFECT,
    SECTORS,
    SIDES,
    Person,
    covariates,
    draw_groups,
    draw_person,
)
from baselines.cohorts.rendering.scanner import Scanner
from benchmark.arrays import FloatArray
from benchmark.errors import CohortError
from benchmark.seeding import stream

LOSSES = (0.45, 0.30, 0.10, 0.0)
"""Relative volume of each sector that group B lacks at the first visit, in order of ``SECTORS``."""

SCANNERS: Mapping[str, Scanner] = {
    "scanner1": Scanner(gamma=1.00, noise=0.030, gain=0.98),
    "scanner2": Scanner(gamma=1.04, noise=0.035, gain=1.04),
    "scanner3": Scanner(gamma=1.08, noise=0.040, gain=0.97),
    "scanner4": Scanner(gamma=1.12, noise=0.045, gain=1.01),
}

VISITS = (0.0, 2.0)
"""Years from the first visit to each."""

_COUNTS = {"train": 50, "test": 100}
_DECLINE_A, _DECLINE_B = 0.015, 0.04  # of the whole hippocampus, a year
_SECTOR_DEVIATION = 0.10
_RANGE = (0.25, 1.35)  # the smallest and the largest relative volume of a sector at first


@dataclass(frozen=True)
class StudyDesign:
    """What a study is made of.

    Attributes:
        seed: Seed of everything random in it.
        scanner_correlation: Correlation of the group with being on one of the last two scanners,
            from 0, where each group is spread evenly over all four, to 1.

    Raises:
        CohortError: If the correlation is out of range.
    """

    seed: int
    scanner_correlation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a correlation out of range."""
        if not 0 <= self.scanner_correlation <= 1:
            got = f"but got {self.scanner_correlation}"
            raise CohortError(f"A study's scanner_correlation must lie in [0, 1], {got}.")

    @property
    def name(self) -> str:
        """Name of the cohort, by which its random streams are named too."""
        return "phantom_study"


@dataclass(frozen=True)
class Participant:
    """A subject of a study, as drawn once for all visits.

    Attributes:
        number: Number of the subject, from 1.
        person: Person that the subject is at the first visit; its volumes are not those of the
            study.
        usual: Relative volume of each sector before any loss, by name of its hippocampus, [4].
    """

    number: int
    person: Person
    usual: Mapping[str, FloatArray]

    def at(self, years: float, group: int | None = None, normal: bool = False) -> Person:
        """Return the subject so many years after the first visit.

        Args:
            years: Years since the first visit.
            group: Group whose losses it has; its own if None.
            normal: Whether every sector has volume 1 instead.
        """
        own = self.person.group if group is None else group
        loss, decline = np.array(LOSSES) * own, _declines()[own]
        sectors = {
            name: np.clip(usual - loss, *_RANGE) * (1 - decline * years)
            for name, usual in self.usual.items()
        }
        if normal:
            sectors = {name: np.ones(len(SECTORS)) for name in sectors}
        return replace(
            self.person,
            group=own,
            age=round(self.person.age + years, 1),
            volumes={name: float(sizes.mean()) for name, sizes in sectors.items()},
            sectors={name: tuple(sizes.tolist()) for name, sizes in sectors.items()},
        )


def draw_participants(design: StudyDesign) -> tuple[pd.DataFrame, list[Participant]]:
    """Return ``subject``, ``group`` and ``split``, one row a subject, and who they are."""
    people = draw_groups(_COUNTS, design.seed)
    scanners = _scanners(people, design)
    rows = zip(people["group"].tolist(), scanners, strict=True)
    return people, [
        _draw_participant(design, number, group, scanner)
        for number, (group, scanner) in enumerate(rows, start=1)
    ]


def tabulate(people: pd.DataFrame, persons: Sequence[Sequence[Person]]) -> pd.DataFrame:
    """Return the table of a cohort, one row an image, visits of a subject next to each other.

    Args:
        people: Table of one row a subject.
        persons: Each subject at each of its visits.

    Returns:
        ``subject``, ``group``, ``split``, ``years`` since the first visit, the covariates that
        `phantom` has, and the volume of each sector in mm³ at the template's head size.
    """
    rows = people.loc[people.index.repeat(len(VISITS))].reset_index(drop=True)
    # Not the number of the visit: `visit` names files in a cohort's table, and is no covariate.
    rows["years"] = np.tile(VISITS, len(people))
    images = [person for visits in persons for person in visits]
    sizes = {
        f"{name}_{sector}_volume": [
            round(person.sectors[name][number] * ELLIPSOID_VOLUME / len(SECTORS), 1)
            for person in images
        ]
        for name in SIDES
        for number, sector in enumerate(SECTORS)
    }
    return pd.concat([rows, covariates(images), pd.DataFrame(sizes)], axis=1)


def _declines() -> tuple[FloatArray, FloatArray]:
    """Return the share of each sector that a group loses in a year, for A and for B."""
    losses = np.array(LOSSES)
    left = 1 - losses  # at the first visit, of which a share is lost
    pattern = losses * left.sum() / (losses * left).sum()
    common = np.full(len(SECTORS), _DECLINE_A)
    return common, common + (_DECLINE_B - _DECLINE_A) * pattern


def _scanners(people: pd.DataFrame, design: StudyDesign) -> list[str]:
    """Return the scanner of each subject, spread over each group of each split by quota."""
    rng = stream(design.name, design.seed, "scanners")
    names = list(SCANNERS)
    first, last = names[: len(names) // 2], names[len(names) // 2 :]
    chosen = np.empty(len(people), dtype=object)
    for (_, group), members in people.groupby(["split", "group"]):
        share = 0.5 + (0.5 if group else -0.5) * design.scanner_correlation
        on_last = round(len(members) * share)
        pool = [first[i % len(first)] for i in range(len(members) - on_last)]
        pool += [last[i % len(last)] for i in range(on_last)]
        chosen[members.index] = rng.permutation(np.array(pool, dtype=object))
    return [str(name) for name in chosen]


def _draw_participant(design: StudyDesign, number: int, group: int, scanner: str) -> Participant:
    rng = stream(design.name, design.seed, number, "person")
    person = replace(draw_person(rng, group), scanner=scanner)
    usual = {
        # What `phantom` takes from group B everywhere is given back, and taken by sector.
        name: volume + GROUP_EFFECT * group + _SECTOR_DEVIATION * rng.standard_normal(len(SECTORS))
        for name, volume in person.volumes.items()
    }
    return Participant(number, person, usual)
