"""Mediation: how much of what a volume says about the group a map's value carries.

It describes and decides nothing: where the map comes from a network that was trained on the group,
the path from volume through the map to the group is circular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.arrays import FloatArray
from benchmark.errors import InputError, NotAssessableError
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap
from benchmark.statistics.linear.design import Design
from benchmark.statistics.linear.partial_correlation import residual_products


@dataclass(frozen=True)
class Mediation:
    """Effects of an exposure on the group, as changes of its probability for one SD of exposure.

    Attributes:
        total: Effect without the mediator.
        direct: Effect given the mediator.
        indirect: Effect through the mediator, a·b; ``direct`` and ``indirect`` add up to ``total``.
        share: indirect/total. Its limits are wide where the total effect may be 0.
    """

    total: Interval
    direct: Interval
    indirect: Interval
    share: Interval


def mediate(
    exposure: npt.ArrayLike,
    mediator: npt.ArrayLike,
    groups: npt.ArrayLike,
    design: Design,
    bootstrap: SubjectBootstrap,
) -> Mediation:
    """Return the mediation of group ~ exposure through a mediator (Baron & Kenny 1986).

    Both regressions are linear, with the group as a probability; limits are percentiles of a
    bootstrap of subjects (Preacher & Hayes 2008) in which both are fitted anew.

    Args:
        exposure: [n] such as the volume.
        mediator: [n] such as the share of a map on it.
        groups: [n] 0 or 1.
        design: Covariates, without the group.
        bootstrap: Bootstrap of the n subjects.

    Raises:
        InputError: If there are not two groups.
        NotAssessableError: If the exposure separates the groups, or the design leaves nothing of
            exposure or mediator.
    """
    members = np.asarray(groups)
    levels = np.unique(members)
    if len(levels) != 2:
        raise InputError(f"Expected subjects of two groups but got {len(levels)}.")
    volumes = np.asarray(exposure, dtype=np.float64)
    first, second = (volumes[members == level] for level in levels)
    if first.min() > second.max() or second.min() > first.max():
        raise NotAssessableError("volume separates the groups")
    outcome = (members == levels[1]).astype(np.float64)
    residuals = design.residuals(np.column_stack([volumes, mediator, outcome]))
    scale = residuals.std(axis=0)
    if not scale[:2].all():
        raise NotAssessableError("nothing is left of volume or map after the covariates")
    residuals[:, :2] /= scale[:2]
    observed = _effects((residuals.T @ residuals)[None])
    replicates = _effects(residual_products(residuals, design, bootstrap))
    intervals = [
        bootstrap.statistic_interval(float(estimate), values)
        for estimate, values in zip(observed[0], replicates.T, strict=True)
    ]
    return Mediation(*intervals)


def _effects(products: FloatArray) -> FloatArray:
    """Return total, direct and indirect effect and share, [R, 4], of products of residuals.

    The order of the three columns is exposure, mediator, outcome; NaN where one is 0/0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        total = products[:, 0, 2] / products[:, 0, 0]
        path = products[:, 0, 1] / products[:, 0, 0]
        left = products[:, 1, 1] - path * products[:, 0, 1]
        onwards = (products[:, 1, 2] - path * products[:, 0, 2]) / left
        indirect = path * onwards
        effects = np.column_stack([total, total - indirect, indirect, indirect / total])
    effects[~np.isfinite(effects)] = np.nan
    return effects
