"""How what a map puts on regions goes with their volumes, and what else could explain it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from benchmark.arrays import FloatArray, Rows
from benchmark.reading import Condition
from benchmark.statistics.linear import (
    Design,
    PartialCorrelation,
    Permutations,
    correlation_test,
    nuisance_design,
)
from benchmark.trial import Study
from protocols.biomarker.measures import Marks, side_pairs
from protocols.biomarker.people import People
from protocols.biomarker.statistics import BiomarkerStatistics

MAP, COPIES, CONTROL = "map", "copies", "control"
RELATIVE, ABSOLUTE = "relative", "absolute"
Where = dict[str, Condition]

_ROUNDING = 1e-9  # relative


@dataclass(frozen=True)
class Setting:
    """What correlations are made from, beside the maps.

    Attributes:
        people: Subjects to assess.
        volumes: [n, K] volumes of their regions, each with the sign by which it rises towards the
            reference group.
        output: [N] φ of the network on trial, of each image.
        by_group: Design of covariates and group.
        by_output: The same with φ.
        permutations: [R, n] orders of the subjects within their groups, the same for all that is
            tested.
    """

    people: People
    volumes: FloatArray
    output: FloatArray
    by_group: Design
    by_output: Design
    permutations: npt.NDArray[np.intp]

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the K regions."""
        return self.people.regions

    @property
    def groups(self) -> Rows:
        """Group of each subject, [n]."""
        return self.people.groups[self.people.first]

    def columns(self) -> Iterator[tuple[Where, list[int]]]:
        """Yield all regions together, and then each of several alone, with their columns."""
        yield {}, list(range(len(self.regions)))
        for column, name in enumerate(self.regions):
            yield {"roi": name}, [column]


def make_setting(
    people: People, volumes: FloatArray, output: FloatArray, permutations: Permutations
) -> Setting:
    """Return the setting of subjects, their volumes [n, K] and the network's output [N].

    Args:
        people: The subjects.
        volumes: [n, K] volume of each region.
        output: [N] output of each image.
        permutations: [R, n] random orders of the subjects within their groups.

    Raises:
        NotAssessableError: If a covariate determines the group or, with it, the output.
    """
    groups, covariates = people.groups[people.first], people.covariates
    return Setting(
        people=people,
        volumes=volumes,
        output=output,
        by_group=nuisance_design(covariates, groups),
        by_output=nuisance_design(covariates, groups, extra={"output": people.mean(output)}),
        permutations=permutations,
    )


def read_output(notes: Study, setting: Setting) -> None:
    """Read whether the network's own output follows the volume, within the groups."""
    volumes = setting.volumes - setting.volumes.mean(axis=0)
    spread = volumes.std(axis=0)
    mean = (volumes / np.where(spread > 0, spread, 1.0)).mean(axis=1)
    follows = PartialCorrelation(setting.people.mean(setting.output), mean, setting.by_group)
    notes.read(BiomarkerStatistics.output_volume, follows.values, reasons={})


def read_score(notes: Study, setting: Setting, marks: Marks) -> None:
    """Read the score, what copies and control regions reach, and the p-values."""
    statistics, volumes, design = BiomarkerStatistics, setting.volumes, setting.by_output
    for where, columns in setting.columns():

        def values(of: FloatArray, columns: list[int] = columns) -> FloatArray:
            return PartialCorrelation(of[:, columns], volumes[:, columns], design).values

        own, control = values(marks.own), values(marks.control)
        copies = [values(copy) for copy in marks.copies]
        notes.read(statistics.beyond_output, own, where, reasons={})
        notes.read(statistics.arm, own, {"arm": MAP, **where}, reasons={})
        notes.read(statistics.arm, control, {"arm": CONTROL, **where}, reasons={})
        notes.read(statistics.beyond_control, own - control, where, reasons={})
        if copies:
            notes.read(statistics.arm, np.mean(copies, axis=0), {"arm": COPIES, **where})
            # Differences first: a map that looks at no network owes exactly nothing.
            beyond = np.mean([own - copy for copy in copies], axis=0)
            notes.read(statistics.beyond_copies, beyond, where, reasons={})
        test = correlation_test(
            marks.own[:, columns], volumes[:, columns], design, setting.permutations
        )
        notes.constant(statistics.p, test.p, {"of": statistics.beyond_output.name, **where})


def read_tracking(notes: Study, setting: Setting, marks: Marks) -> None:
    """Read how the map goes with the volume given the group alone, and across both groups."""
    statistics, volumes = BiomarkerStatistics, setting.volumes
    for scale, of in ((RELATIVE, marks.own), (ABSOLUTE, marks.absolute)):
        for where, columns in setting.columns():
            pair = of[:, columns], volumes[:, columns]
            conditions = {"scale": scale, **where}
            tracks = PartialCorrelation(*pair, setting.by_group)
            notes.read(statistics.tracks_volume, tracks.values, conditions, reasons={})
            if "roi" not in where:
                continue
            first, second = (values[:, 0] for values in pair)
            tests = {"Pearson": scipy.stats.pearsonr, "Spearman": scipy.stats.spearmanr}
            for kind, correlate in tests.items():
                varies = _varies(first) and _varies(second)
                r = float(correlate(first, second).statistic) if varies else 0.0
                notes.constant(statistics.raw, r, {"kind": kind, **conditions})


def read_laterality(notes: Study, setting: Setting, marks: Marks) -> None:
    """Read whether the side that the map prefers is the side of the larger volume."""
    statistics = BiomarkerStatistics
    for structure, (left, right) in side_pairs(setting.regions).items():
        larger, smaller = setting.volumes[:, left], setting.volumes[:, right]
        both = np.abs(larger) + np.abs(smaller)
        volumes = (larger - smaller) / np.where(both > 0, both, 1.0)
        of_map = marks.own[:, left] - marks.own[:, right]
        pair, where = PartialCorrelation(of_map, volumes, setting.by_group), {"pair": structure}
        notes.read(statistics.laterality, pair.values, where, reasons={})
        test = correlation_test(of_map, volumes, setting.by_group, setting.permutations)
        notes.constant(statistics.p, test.p, {"of": statistics.laterality.name, **where})
        for of, residuals in zip((MAP, "volume"), pair.residuals, strict=True):
            notes.read(statistics.side, residuals[:, 0], {"of": of, **where}, reasons={})


def read_residuals(notes: Study, setting: Setting, marks: Marks) -> None:
    """Read what is left of map and volume of each subject, whose mean product is the score."""
    statistics = BiomarkerStatistics
    pair = PartialCorrelation(marks.own, setting.volumes, setting.by_output)
    for of, residuals in zip((MAP, "volume"), pair.residuals, strict=True):
        for column, name in enumerate(setting.regions):
            where = {"of": of, "roi": name}
            notes.read(statistics.residual, residuals[:, column], where, reasons={})


def read_levels(notes: Study, setting: Setting, marks: Marks) -> None:
    """Read the map on each region and control region, and the volumes."""
    statistics, volumes = BiomarkerStatistics, setting.people.volumes(setting.regions)
    for column, name in enumerate(setting.regions):
        for region, of in (("roi", marks.own), ("control", marks.control)):
            where = {"roi": name, "region": region}
            notes.read(statistics.level, of[:, column], where, reasons={})
        notes.read(statistics.volume, volumes[:, column], {"roi": name}, reasons={})


def _varies(values: FloatArray) -> bool:
    """Return whether values differ by more than rounding."""
    return bool(np.ptp(values) > _ROUNDING * np.abs(values).max())
