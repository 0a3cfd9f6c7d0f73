"""Tests of hypotheses whose unit is the subject, and corrections for making many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics import Interval, SubjectBootstrap

FloatArray = npt.NDArray[np.float64]
Alternative = Literal["greater", "less", "two-sided"]

_DRAW_ROWS = 256
_NAN = float("nan")


@dataclass(frozen=True)
class Trend:
    """Page's trend test.

    Attributes:
        statistic: L, the sum over columns of their place times their sum of ranks.
        p: One-sided: how probable so large an L is where no column exceeds another.
    """

    statistic: float
    p: float


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Return p-values adjusted for the family-wise error rate (Holm 1979).

    Args:
        p_values: [K]; NaNs stay NaN and do not count as tests.

    Returns:
        [K] in the order of the input.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(raw, np.nan)
    known = np.flatnonzero(~np.isnan(raw))
    order = known[np.argsort(raw[known], kind="stable")]
    scaled = raw[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def sign_flip_p(
    differences: npt.ArrayLike,
    *,
    permutations: int = 10_000,
    seed: int = 0,
    alternative: Alternative = "greater",
) -> float:
    """Return the p-value of a paired sign-flip permutation test of a zero mean.

    (count + 1)/(permutations + 1), so it is never 0 (Phipson & Smyth 2010). The order of the
    differences plays no part.

    Args:
        differences: [N] one difference per subject; NaNs are left out.
        permutations: Number of random sign patterns.
        seed: Names the random stream, together with the number of differences.
        alternative: Where the mean lies if the null is false.
    """
    rows = np.asarray(differences, dtype=np.float64)
    # The null does not care which row bears which sign; sorted, it does not depend on row order.
    known = np.sort(rows[~np.isnan(rows)])
    if not len(known):
        return _NAN
    generator, sums = stream("sign_flip", seed, len(known), permutations), []
    for start in range(0, permutations, _DRAW_ROWS):
        shape = (min(_DRAW_ROWS, permutations - start), len(known))
        signs = 2.0 * generator.integers(0, 2, size=shape, dtype=np.int8) - 1.0
        sums.append(signs @ known)
    null, observed = np.concatenate(sums), float(known.sum())
    if alternative == "less":
        null, observed = -null, -observed
    elif alternative == "two-sided":
        null, observed = np.abs(null), abs(observed)
    # Sums of the same numbers in another order may differ in the last bit and are still ties.
    slack = 1e-12 * float(np.abs(known).sum())
    return float((np.count_nonzero(null >= observed - slack) + 1) / (permutations + 1))


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Return p-values adjusted for the false discovery rate (Benjamini & Hochberg 1995).

    Args:
        p_values: [K]; NaNs stay NaN and do not count as tests.

    Returns:
        [K] in the order of the input.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    adjusted, known = np.full_like(raw, np.nan), ~np.isnan(raw)
    if known.any():
        adjusted[known] = stats.false_discovery_control(raw[known])
    return adjusted


def page_trend(values: npt.ArrayLike) -> Trend:
    """Return Page's test (1963) that columns rise from left to right, within subjects.

    Normal approximation, which holds for the dozens of subjects that protocols have; ties share
    their ranks, and make it conservative.

    Args:
        values: [n, k], k ≥ 3; rows with a NaN are left out.

    Raises:
        InputError: If there are fewer than three columns.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] < 3:
        raise InputError(f"Expected values [n, k] with k at least 3 but got {list(rows.shape)}.")
    known = rows[~np.isnan(rows).any(axis=1)]
    if len(known) < 2:
        return Trend(_NAN, _NAN)
    result = stats.page_trend_test(known, method="asymptotic")
    return Trend(float(result.statistic), float(result.pvalue))


def swap_p(
    clean: FloatArray,
    altered: FloatArray,
    keys: Sequence[str],
    *,
    permutations: int = 1000,
    seed: int = 0,
) -> float:
    """Return the permutation p-value of T = ‖mean f(x) − mean f(x')‖ of pairs.

    Labels are swapped within pairs, and (count + 1)/(permutations + 1) is returned.

    Args:
        clean: [n, D] embeddings.
        altered: [n, D] of the same subjects.
        keys: [n] names of the pairs, so that their order plays no part.
        permutations: Random swaps.
        seed: Names the random stream.
    """
    differences = (clean - altered)[np.argsort(np.array(keys))]
    generator = stream("swap", seed, len(differences), permutations)
    signs = 2.0 * generator.integers(0, 2, (permutations, len(differences)), dtype=np.int8) - 1.0
    # Swapping all labels gives the same T but for rounding, and is still a tie.
    observed = np.linalg.norm(differences.sum(0)) * (1 - 1e-12)
    null = np.linalg.norm(signs @ differences, axis=1)
    return float((np.count_nonzero(null >= observed) + 1) / (permutations + 1))


def probability_of_improvement(
    first: npt.ArrayLike, second: npt.ArrayLike, subjects: Sequence[str]
) -> Interval:
    """Return the share of images on which ``first`` exceeds ``second``, ties counting half.

    Paired within images, as all methods are measured on the same ones; Agarwal et al. 2021 compare
    all pairs of runs, since theirs share none.

    Args:
        first: [N]; images where either has no value are left out.
        second: [N].
        subjects: [N] subject of each image, resampled for the interval.
    """
    above = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return SubjectBootstrap(subjects).mean((np.sign(above) + 1) / 2)


def rank_intervals(
    values: npt.ArrayLike, subjects: Sequence[str], *, higher: bool = True
) -> list[Interval]:
    """Return the competition rank of each method by its mean, with its bootstrap interval.

    Rank 1 is best, and methods with equal means share the better rank. All methods meet the same
    resamples; images that any method has no value on are left out, so that ranks compare the same.

    Args:
        values: [N, E] of E methods.
        subjects: [N].
        higher: Whether more is better.
    """
    columns = np.array(values, dtype=np.float64)
    columns[np.isnan(columns).any(axis=1)] = np.nan
    bootstrap = SubjectBootstrap(subjects)
    sign = -1.0 if higher else 1.0
    means = np.nanmean(columns, axis=0) if np.isfinite(columns).any() else columns[0]
    drawn = bootstrap.replicates(columns)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    # What should be equal may differ in the last bit, and rank by it.
    ranks = stats.rankdata(np.round(sign * means, 12), method="min")
    replicates = stats.rankdata(np.round(sign * drawn, 12), method="min", axis=1)
    known = np.asarray(subjects)[np.isfinite(columns).all(axis=1)]
    return [
        bootstrap.statistic_interval(float(rank), one, len(set(known)))
        for rank, one in zip(ranks, replicates.T, strict=True)
    ]
