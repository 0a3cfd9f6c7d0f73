"""Which explainer is better on the same subjects: how often, and at which rank.

Both compare subject by subject on the resamples of one ``SubjectBootstrap``, so that what makes a
subject easy for all explainers cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmark.errors import InputError
from benchmark.statistics.bootstrap import FloatArray, Interval, SubjectBootstrap

# Equal explainers have equal means but for rounding, and share a rank.
_ROUNDING = 1e-12
_NAN = float("nan")


def probability_of_improvement(
    first: npt.ArrayLike, second: npt.ArrayLike, bootstrap: SubjectBootstrap
) -> Interval:
    """Return how often the first beats the second on the same subject; a tie counts half.

    Deviation from Agarwal et al. 2021, who compare every run of one method with every run of the
    other: here both score the same images, so only the pairs of one image are compared.

    Args:
        first: [N] values, higher is better; negate both where lower is better.
        second: [N].
        bootstrap: Over the subjects of the N rows.

    Returns:
        The share of the rows where both have a value, in [0, 1]; 0.5 is no difference.

    Raises:
        InputError: If the shapes do not fit, or a value is infinite.
    """
    rows = [np.asarray(one, dtype=np.float64) for one in (first, second)]
    if rows[0].shape != rows[1].shape or np.isinf(rows).any():
        raise InputError(
            "Expected two times finite values, or NaN for none, [N] but got shapes "
            f"{list(rows[0].shape)} and {list(rows[1].shape)} or an infinite value."
        )
    return bootstrap.mean((np.sign(rows[0] - rows[1]) + 1) / 2)


def rank_intervals(
    values: npt.ArrayLike, bootstrap: SubjectBootstrap, *, higher_is_better: bool = True
) -> list[Interval]:
    """Return each explainer's competition rank by mean, with the ranks it takes on resamples.

    The rank is 1 + the number of strictly better explainers, so equal ones share the better rank.
    An explainer with no value at all has no rank and does not count for the others; these are
    compared on the rows where each of them has a value, since a mean over easier subjects is not
    comparable. Limits are whole ranks, rounded outwards.

    They hold for one explainer at a time, and fail where explainers are nearly equal (Mogstad et
    al. 2024): of five that are, the first and the last are covered 75 % of the time where 95 % is
    claimed (40 subjects; 95 % or more where neighbours differ by 0.1 SD). So they describe how
    firm a rank is; a claim that two explainers differ needs their paired difference.

    Args:
        values: [N, E] one column per explainer.
        bootstrap: Over the subjects of the N rows.
        higher_is_better: Whether rank 1 is the largest mean or the smallest.

    Returns:
        One for each explainer; NaN where it has no rank, or no row is shared.

    Raises:
        InputError: If the values have another shape, or one is infinite.
    """
    columns: FloatArray = np.array(values, dtype=np.float64)
    if columns.ndim != 2:
        raise InputError(f"Expected values [N, E] but got shape {list(columns.shape)}.")
    if not higher_is_better:
        columns = -columns
    ranked = np.flatnonzero(~np.isnan(columns).all(axis=0))
    shared = columns[:, ranked]
    shared[np.isnan(shared).any(axis=1)] = np.nan
    slack = _ROUNDING * float(np.abs(shared).max(initial=0.0, where=~np.isnan(shared)))
    means = bootstrap.means(shared)
    estimates = np.array([one.estimate for one in means])
    counts = [one.n_subjects for one in means]
    found = ranks_of_replicates(estimates, bootstrap.replicates(shared), bootstrap, slack, counts)
    result = [Interval(_NAN, _NAN, _NAN, 0)] * columns.shape[1]
    for column, rank in zip(ranked.tolist(), found, strict=True):
        result[column] = rank
    return result


def ranks_of_replicates(
    estimates: npt.ArrayLike,
    replicates: npt.ArrayLike,
    bootstrap: SubjectBootstrap,
    slack: float = _ROUNDING,
    n_subjects: Sequence[int] | None = None,
) -> list[Interval]:
    """Return competition ranks, 1 the largest, of any statistic that was bootstrapped.

    The limits are as for ``rank_intervals``, and hold as little for several explainers at once.

    Args:
        estimates: [E] a value per explainer.
        replicates: [R, E] the values on the same resamples.
        bootstrap: That drew them.
        slack: By how much values may differ and still be equal.
        n_subjects: [E] subjects with a value; all unless given.

    Returns:
        One for each explainer; NaN where it has no value.
    """
    values: FloatArray = np.asarray(estimates, dtype=np.float64)
    drawn: FloatArray = np.asarray(replicates, dtype=np.float64)
    ranks, of_drawn = _ranks(values[None], slack)[0].tolist(), _ranks(drawn, slack)
    counts = [bootstrap.n_subjects] * len(ranks) if n_subjects is None else n_subjects
    return [
        _outwards(bootstrap.statistic_interval(rank, of_drawn[:, place], counts[place]))
        for place, rank in enumerate(ranks)
    ]


def _ranks(scores: FloatArray, slack: float) -> FloatArray:
    """Return competition ranks along the rows of scores [R, E], 1 the largest; NaN of NaN."""
    ranks = np.full_like(scores, np.nan)
    for place in range(scores.shape[1]):
        own = scores[:, place : place + 1]
        better = (scores > own + slack).sum(axis=1)
        ranks[:, place] = np.where(np.isnan(own[:, 0]), np.nan, 1.0 + better)
    return ranks


def _outwards(rank: Interval) -> Interval:
    if math.isnan(rank.low):
        return rank
    return Interval(
        rank.estimate, float(math.floor(rank.low)), float(math.ceil(rank.high)), rank.n_subjects
    )
