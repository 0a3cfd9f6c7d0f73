"""What the map adds to a regression of the volume, and how much of the volume goes by the map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.errors import NotAssessableError
from benchmark.reading import Condition
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.linear import (
    COVARIATES,
    Design,
    Regression,
    mediate,
    nuisance_design,
    regress,
    regress_mixed,
)
from benchmark.statistics.linear.design import MOST_LEVELS
from benchmark.trial import Study
from protocols.biomarker.associations import Setting
from protocols.biomarker.measures import Marks
from protocols.biomarker.statistics import BiomarkerStatistics

GROUP, OUTPUT = "group", "output"


def read_regressions(notes: Study, setting: Setting, marks: Marks) -> None:
    """Read the regressions of each region: of subjects, and with random intercepts if called for.

    Random intercepts are those of subjects where visits repeat, and otherwise those of a scanner or
    site of more than ten levels. Up to ten, each level is a fixed effect.
    """
    people = setting.people
    for adjustment, design in ((GROUP, setting.by_group), (OUTPUT, setting.by_output)):
        for column, name in enumerate(setting.regions):
            pair = setting.volumes[:, column], marks.own[:, column]
            _read(notes, regress(*pair, design), name, adjustment)
    present = [name for name in COVARIATES if name in people.participants]
    table = people.participants[present] if people.has_visits else people.covariates
    groups = people.groups if people.has_visits else setting.groups
    volumes = (
        people.signed_volumes_by_image(setting.regions) if people.has_visits else setting.volumes
    )
    of_map = marks.by_image if people.has_visits else marks.own
    for adjustment in (GROUP, OUTPUT):
        output = setting.output if people.has_visits else people.mean(setting.output)
        extra = {"output": output} if adjustment == OUTPUT else None
        design = nuisance_design(table, groups, extra=extra, most_levels=MOST_LEVELS)
        clusters = _clusters(setting, design)
        if clusters is None:
            return
        for column, name in enumerate(setting.regions):
            fit = regress_mixed(volumes[:, column], of_map[:, column], design, clusters)
            _read(notes, fit, name, adjustment, "mixed")


def read_mediation(notes: Study, setting: Setting, marks: Marks, resamples: int) -> None:
    """Read how much of what the mean volume tells of the group goes by the mean of the map."""
    statistic = BiomarkerStatistics.mediation
    keys = tuple(notes.sample.keys)
    bootstrap = SubjectBootstrap(keys, resamples, strata=setting.groups)
    volume, of_map = setting.volumes.mean(axis=1), marks.own.mean(axis=1)
    try:
        by_map = mediate(
            volume, of_map, setting.groups, nuisance_design(setting.people.covariates), bootstrap
        )
    except NotAssessableError as error:
        notes.read_missing(statistic, str(error), {"quantity": "share", "note": str(error)})
        return
    share = by_map.share
    for quantity, value in (("share", share.estimate), ("low", share.low), ("high", share.high)):
        notes.constant(statistic, value, {"quantity": quantity})


def _clusters(setting: Setting, design: Design) -> Sequence[str] | None:
    """Return the cluster of each row of a mixed model, or None where none is called for."""
    people = setting.people
    if people.has_visits:
        return people.subjects
    if not design.random:
        return None
    column: Sequence[str] = people.covariates[design.random[0]].astype(str).tolist()
    return column


def _read(notes: Study, fit: Regression, region: str, adjustment: str, model: str = "OLS") -> None:
    """Read the numbers of one regression, those that it has."""
    where: dict[str, Condition] = {"roi": region, "given": adjustment, "model": model}
    if fit.note:
        where["note"] = fit.note
    numbers: dict[str, float | None] = {
        "beta": fit.beta,
        "error": fit.error,
        "p": fit.p,
        "partial_r2": fit.partial_r2,
        "delta_r2": fit.gained_r2,
        "delta_aic": fit.gained_aic,
    }
    for quantity, value in numbers.items():
        if value is not None and np.isfinite(value):
            notes.constant(BiomarkerStatistics.regression, value, {**where, "quantity": quantity})
