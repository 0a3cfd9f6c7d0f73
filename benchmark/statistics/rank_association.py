"""Rank correlations over subjects: plain, partial, by thirds, and what foretells errors.

A statistic is written once, as a function of the weights of the rows, and asked three times: with
weights of 1 for the estimate, with one subject left out for its influence, and with the numbers of
times that subjects were drawn for the bootstrap. Ranks are taken anew each time, ties averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import scipy

from benchmark.arrays import BoolArray, FloatArray
from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap

Weighted = Callable[[FloatArray], FloatArray]
"""From weights [r, N] of the rows in r resamples to a statistic of each, [r]."""

_ROUNDING = 1e-12


def weighted_ranks(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the rank of each of N values where each counts as often as weights [r, N] say.

    Equal values share the mean of their ranks, and so do the repeats of a row.
    """
    unique, index = np.unique(values, return_inverse=True)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(unique)))
    of_ties = np.add.reduceat(weights[:, order], starts, axis=1)
    middles = np.cumsum(of_ties, axis=1) - of_ties / 2 + 0.5
    ranks: FloatArray = middles[:, index]
    return ranks


def spearman_of(first: FloatArray, second: FloatArray, *covariates: FloatArray) -> Weighted:
    """Return the Spearman correlation of values [N], given covariates [N], as a function.

    The partial correlation is that of the ranks (Kendall 1942), from the inverse of their
    correlation matrix. Rows in which a value is missing are left out. Where a column does not vary
    the correlation is NaN; a covariate that does not vary explains nothing.
    """
    columns = np.column_stack([first, second, *covariates])
    known: BoolArray = np.asarray(np.isfinite(columns).all(axis=1))

    def correlate(weights: FloatArray) -> FloatArray:
        matrix = _rank_correlations(columns[known], weights[:, known])
        result = np.full(len(weights), np.nan)
        sound = np.isfinite(matrix[:, :2, :2]).all((1, 2))
        matrix = np.where(np.isfinite(matrix), matrix, np.eye(matrix.shape[1]))
        if not covariates:
            return np.where(sound, matrix[:, 0, 1], np.nan)
        # Where a covariate is a function of the others, its part is shared, not doubled.
        inverse = np.linalg.pinv(matrix[sound], rcond=1e-10, hermitian=True)
        scale = np.sqrt(inverse[:, 0, 0] * inverse[:, 1, 1])
        result[sound] = -inverse[:, 0, 1] / scale
        return result

    return correlate


def thirds_of(sorting: FloatArray, values: FloatArray) -> Weighted:
    """Return the mean of values [N] in the lowest third of ``sorting`` minus that in the highest.

    Rows in which either is missing are left out.
    """
    known: BoolArray = np.isfinite(sorting) & np.isfinite(values)

    def differ(weights: FloatArray) -> FloatArray:
        drawn = weights[:, known]
        total = drawn.sum(1, keepdims=True)
        shares = (weighted_ranks(sorting[known], drawn) - 0.5) / np.where(total > 0, total, np.nan)
        ends = (drawn * (shares < 1 / 3), drawn * (shares > 2 / 3))
        low, high = (_divide(end @ values[known], end.sum(1)) for end in ends)
        return low - high

    return differ


def auroc_gain_of(first: FloatArray, second: FloatArray, labels: BoolArray) -> Weighted:
    """Return the AUROC of ``first`` for the labels [N] minus that of ``second``, as a function.

    Rows in which a value is missing are left out.
    """
    known: BoolArray = np.isfinite(first) & np.isfinite(second)
    positives, negatives = np.flatnonzero(known & labels), np.flatnonzero(known & ~labels)
    wins = np.sign(first[positives][:, None] - first[negatives][None])
    wins = wins - np.sign(second[positives][:, None] - second[negatives][None])

    def differ(weights: FloatArray) -> FloatArray:
        of_positives, of_negatives = weights[:, positives], weights[:, negatives]
        won = np.einsum("rp,rp->r", of_positives, of_negatives @ (wins.T / 2))
        return _divide(won, of_positives.sum(1) * of_negatives.sum(1))

    return differ


def association_interval(statistic: Weighted, bootstrap: SubjectBootstrap, rows: int) -> Interval:
    """Return a statistic of N rows with its 95 % percentile interval over subjects."""
    estimate = float(statistic(np.ones((1, rows)))[0])
    replicates = bootstrap.statistic_replicates(lambda weights: statistic(weights)[:, None])
    return bootstrap.statistic_interval(estimate, replicates[:, 0])


def influence_values(statistic: Weighted, subjects: Sequence[str]) -> FloatArray:
    """Return values [N] whose mean is the statistic, and whose spread is that of the jackknife.

    Each row bears the pseudo-value of its subject (Miller 1974), moved so that they average to the
    statistic itself. NaN throughout where the statistic is not known.
    """
    unique, index = np.unique(np.asarray(subjects, dtype=np.str_), return_inverse=True)
    count, rows = len(unique), len(index)
    estimate = float(statistic(np.ones((1, rows)))[0])
    without = statistic((index[None] != np.arange(count)[:, None]).astype(np.float64))
    values: FloatArray = ((count - 1) * (estimate - without))[index]
    values = np.where(np.isfinite(values), values, 0.0)
    centred: FloatArray = estimate + values - values.mean()
    return centred


def permutation_p(
    first: npt.ArrayLike, second: npt.ArrayLike, *, permutations: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of Spearman's correlation of values [N] of N subjects.

    Subjects are exchanged; where a value is missing its subject is left out. NaN below three.
    """
    pair = np.column_stack([first, second]).astype(np.float64)
    pair = pair[np.isfinite(pair).all(1)]
    if len(pair) < 3:
        return float("nan")
    # In an order of their own, so that the order of rows decides nothing.
    pair = pair[np.lexsort(pair.T)]
    ranks = scipy.stats.rankdata(pair, axis=0)
    ranks -= ranks.mean(0)
    generator = stream("rank association", seed, len(pair), permutations)
    shuffled = generator.permuted(np.tile(ranks[:, 0], (permutations, 1)), axis=1)
    null, observed = np.abs(shuffled @ ranks[:, 1]), abs(float(ranks[:, 0] @ ranks[:, 1]))
    slack = _ROUNDING * float(np.abs(ranks[:, 0]) @ np.abs(ranks[:, 1]))
    return float((np.count_nonzero(null >= observed - slack) + 1) / (permutations + 1))


def _rank_correlations(columns: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the correlation matrix of the ranks of columns [N, V] for each resample, [r, V, V]."""
    if not len(columns):
        raise InputError("Expected rows with a value in every column but got none.")
    total = weights.sum(1)
    centred = []
    for column in columns.T:
        ranks = weighted_ranks(column, weights)
        centred.append(ranks - _divide((weights * ranks).sum(1), total)[:, None])
    ranks = np.stack(centred, axis=1)
    products = np.einsum("rvn,rwn->rvw", ranks * weights[:, None], ranks)
    deviations = np.sqrt(np.einsum("rvv->rv", products))
    deviations = np.where(deviations > _ROUNDING * total[:, None], deviations, np.nan)
    matrix: FloatArray = products / (deviations[:, :, None] * deviations[:, None, :])
    return matrix


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    quotient: FloatArray = numerator / np.where(denominator > 0, denominator, np.nan)
    return quotient
