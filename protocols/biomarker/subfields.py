"""Parts of regions, each with a volume of its own: does the map tell them apart?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from benchmark.arrays import FloatArray
from benchmark.cohort import Cohort
from benchmark.statistics.linear import (
    Design,
    PartialCorrelation,
    correlation_test,
    nuisance_design,
)
from benchmark.trial import Study
from protocols.biomarker.associations import Setting
from protocols.biomarker.measures import Marks
from protocols.biomarker.regions import Regions
from protocols.biomarker.statistics import BiomarkerStatistics

UNRESOLVED = 0.9
"""Mean partial correlation among the parts' values, above which a map does not tell them apart."""

REASON = "the map does not resolve the subfields"
_SIDES = ("left", "right")


def read_subfields(notes: Study, setting: Setting, marks: Marks, regions: Regions) -> None:
    """Read how the map on each part goes with the part's volume, given the others' volumes."""
    statistics, people = BiomarkerStatistics, setting.people
    families = _families(notes.trial.test.anatomy.parents, people.parts)
    if not families:
        return
    volumes = people.signed_volumes(people.parts)
    resolutions = {
        parent: _resolution(marks.parts[:, members], setting.by_group)
        for parent, members in families.items()
    }
    for parent, resolution in resolutions.items():
        notes.constant(statistics.resolution, resolution, {"parent": parent})
    is_resolved = float(np.mean(list(resolutions.values()))) <= UNRESOLVED
    explained: dict[str, float] = {}
    for members in families.values():
        for column in members:
            name, where = people.parts[column], {"subfield": people.parts[column]}
            if not is_resolved:
                notes.read_missing(statistics.subfield, REASON, where)
                continue
            others = {
                people.parts[other]: volumes[:, other] for other in members if other != column
            }
            design = nuisance_design(people.covariates, setting.groups, extra=others)
            pair = marks.parts_absolute[:, column], volumes[:, column]
            correlation = PartialCorrelation(*pair, design)
            # A correlation has no unit: what leaks over a soft edge correlates like the change.
            left = design.residuals(pair[0]).std()
            explained[name] = correlation.estimate * float(left)
            notes.read(statistics.subfield, correlation.values, where, reasons={})
            test = correlation_test(*pair, design, setting.permutations)
            notes.constant(statistics.p, test.p, {"of": statistics.subfield.name, **where})
    if explained and (changes := _changes(notes.trial.test, people.rows, regions)) is not None:
        order = _rank_agreement(explained, changes)
        notes.constant(statistics.subfield_order, order)


def _families(parents: Mapping[str, str], parts: Sequence[str]) -> dict[str, list[int]]:
    """Return the columns of the parts of each region that has several."""
    families: dict[str, list[int]] = {}
    for column, part in enumerate(parts):
        families.setdefault(parents[part], []).append(column)
    return {parent: members for parent, members in families.items() if len(members) > 1}


def _resolution(values: FloatArray, design: Design) -> float:
    """Return the mean partial correlation among columns [n, J]."""
    count = values.shape[1]
    pairs = [(i, j) for i in range(count) for j in range(i)]
    correlations = [
        PartialCorrelation(values[:, i], values[:, j], design).estimate for i, j in pairs
    ]
    return float(np.mean(correlations))


def _changes(test: Cohort, rows: np.ndarray, regions: Regions) -> dict[str, float] | None:
    """Return the mean change of each part against the other group's anatomy, where it is known."""
    if test.change is None:
        return None
    change = test.change[rows]
    return {name: float(change[mask].mean()) for name, mask in regions.subfields.items()}


def _rank_agreement(explained: Mapping[str, float], changes: Mapping[str, float]) -> float:
    """Return the rank correlation of what goes with volume and of change, both sides averaged."""
    sectors: dict[str, list[tuple[float, float]]] = {}
    for name, spread in explained.items():
        sector = name
        for side in _SIDES:
            sector = sector.replace(side, "")
        sectors.setdefault(sector, []).append((spread, changes[name]))
    means = np.array([np.mean(pairs, axis=0) for pairs in sectors.values()])
    if len(means) < 2 or (np.ptp(means, axis=0) == 0).any():
        return 0.0
    return float(scipy.stats.spearmanr(means[:, 0], means[:, 1]).statistic)
