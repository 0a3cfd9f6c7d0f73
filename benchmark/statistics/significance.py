"""Tests of hypotheses over subjects: paired permutations, Page's trend, and Holm's adjustment.

A p-value from random permutations is (count + 1)/(permutations + 1), so it is never 0 (Phipson &
Smyth 2010). The order of rows plays no part.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmark.arrays import FloatArray
from benchmark.errors import InputError
from benchmark.seeding import stream

Alternative = Literal["greater", "less", "two-sided"]

_DRAW_ROWS = 256
_EXACT_CONDITIONS = 6  # 720 orders of a row; 7 would be 5040
_NAN = float("nan")
# Sums of the same numbers in another order may differ in the last bit and are still ties.
_ROUNDING = 1e-12


def sign_flip_p(
    differences: npt.ArrayLike,
    *,
    permutations: int = 10_000,
    seed: int = 0,
    alternative: Alternative = "greater",
) -> float:
    """Return the p-value of a paired sign-flip permutation test of a zero mean.

    Args:
        differences: [N] difference of each subject; NaNs are left out.
        permutations: Number of random sign patterns.
        seed: Seed that names the random stream, together with the number of differences.
        alternative: Side of zero on which the mean lies if the null is false.

    Returns:
        The p-value; NaN where no difference is known.
    """
    rows = np.asarray(differences, dtype=np.float64)
    # The null does not care which row bears which sign; sorted, it does not depend on row order.
    known = np.sort(rows[~np.isnan(rows)])
    if not len(known):
        return _NAN
    signs = _signs(len(known), permutations, "sign_flip", seed)
    null, observed = np.concatenate([block @ known for block in signs]), float(known.sum())
    if alternative == "less":
        null, observed = -null, -observed
    elif alternative == "two-sided":
        null, observed = np.abs(null), abs(observed)
    return _share_above(null, observed - _ROUNDING * float(np.abs(known).sum()))


def swap_p(
    clean: npt.ArrayLike,
    altered: npt.ArrayLike,
    keys: Sequence[str],
    *,
    permutations: int = 1000,
    seed: int = 0,
) -> float:
    """Return the p-value of T = ‖mean f(clean) − mean f(altered)‖ for paired embeddings.

    Under the null the two labels of a pair are exchangeable, so they are swapped within pairs,
    never between subjects; the T of a swap is ‖Σ ±(f − f′)‖ / n. Where every pair is equal, p is 1.

    Args:
        clean: [n, D] embeddings.
        altered: [n, D] embeddings of the same images, altered.
        keys: [n] subject of each row; the rows of one subject are swapped together.
        permutations: Number of random swaps.
        seed: Seed that names the random stream, together with the number of subjects.

    Returns:
        The p-value; NaN where there are no rows.

    Raises:
        InputError: If the shapes do not fit, or an embedding is not finite.
    """
    first = np.asarray(clean, dtype=np.float64)
    second = np.asarray(altered, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape or len(keys) != len(first):
        raise InputError(
            f"Expected two times embeddings [n, D] and n keys but got shapes {list(first.shape)} "
            f"and {list(second.shape)} and {len(keys)} keys."
        )
    differences = first - second
    if not np.isfinite(differences).all():
        raise InputError("Expected finite embeddings but got one that is NaN or infinite.")
    if not len(differences):
        return _NAN
    unique, index = np.unique(np.asarray(keys, dtype=np.str_), return_inverse=True)
    pairs = np.zeros((len(unique), differences.shape[1]))
    np.add.at(pairs, index, differences)
    signs = _signs(len(unique), permutations, "swap", seed)
    null = np.concatenate([np.linalg.norm(block @ pairs, axis=1) for block in signs])
    slack = _ROUNDING * float(np.linalg.norm(pairs, axis=1).sum())
    return _share_above(null, float(np.linalg.norm(pairs.sum(0))) - slack)


@dataclass(frozen=True)
class PageTrend:
    """Page's test for values that rise with the condition.

    Attributes:
        statistic: L = Σ_j j · (sum of the ranks in condition j).
        p: One-sided p-value of L by permutation within subjects.
    """

    statistic: float
    p: float


def page_trend(values: npt.ArrayLike, *, permutations: int = 10_000, seed: int = 0) -> PageTrend:
    """Return whether values rise with the condition within subjects (Page 1963).

    Ranks are taken within each row, ties averaged; rows with a missing value are left out. ``p``
    counts every order of every row up to six conditions, and random orders beyond. The null is that
    of the ranks with their ties, where SciPy's is that of untied ranks.

    Args:
        values: [n, k] one row per subject, conditions in the order in which they should rise.
        permutations: Number of random orders of all rows, where more than six conditions.
        seed: Seed that names the random stream, together with the size of the table.

    Returns:
        The trend; NaNs where no row is complete.

    Raises:
        InputError: If there are fewer than two conditions or a value is infinite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or np.isinf(table).any():
        raise InputError(
            "Expected finite values, or NaN for none, of two or more conditions [n, k] "
            f"but got shape {list(table.shape)}{' and an infinite value' * (table.ndim == 2)}."
        )
    complete = table[~np.isnan(table).any(axis=1)]
    if not len(complete):
        return PageTrend(_NAN, _NAN)
    ranks: FloatArray = stats.rankdata(complete, axis=1)
    # The null permutes within rows; sorted, it does not depend on their order.
    ranks = ranks[np.lexsort(ranks.T)]
    weights = np.arange(1.0, ranks.shape[1] + 1)
    statistic = float((ranks @ weights).sum())
    if len(weights) <= _EXACT_CONDITIONS:
        return PageTrend(statistic, _exact_tail(ranks, statistic))
    null = _permuted_statistics(ranks, permutations, seed)
    return PageTrend(statistic, _share_above(null, statistic))


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Return p-values adjusted for the family-wise error rate (Holm 1979).

    Args:
        p_values: [K] p-values; NaNs stay NaN and do not count as tests.

    Returns:
        [K] adjusted p-values in the order of the input.

    Raises:
        InputError: If a value lies outside [0, 1].
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1:
        raise InputError(f"Expected p-values [K] but got shape {list(raw.shape)}.")
    known = np.flatnonzero(~np.isnan(raw))
    if strays := [p for p in raw[known].tolist() if not 0 <= p <= 1]:
        raise InputError(f"Expected p-values between 0 and 1 but got {strays[0]}.")
    adjusted = np.full_like(raw, np.nan)
    order = known[np.argsort(raw[known], kind="stable")]
    scaled = raw[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def _signs(count: int, permutations: int, name: str, seed: int) -> Iterator[FloatArray]:
    """Yield ``permutations`` random rows of ``count`` signs ±1, in blocks."""
    if permutations < 1:
        raise InputError(f"Expected at least one permutation but got {permutations}.")
    generator = stream(name, seed, count, permutations)
    for start in range(0, permutations, _DRAW_ROWS):
        shape = (min(_DRAW_ROWS, permutations - start), count)
        yield 2 * generator.integers(0, 2, size=shape, dtype=np.int8).astype(np.float64) - 1


def _share_above(null: FloatArray, observed: float) -> float:
    """Return the p-value of a statistic against its random permutations."""
    return float((np.count_nonzero(null >= observed) + 1) / (len(null) + 1))


def _exact_tail(ranks: FloatArray, statistic: float) -> float:
    """Return the probability of an L this large over all orders of all rows [n, k]."""
    patterns, counts = np.unique(np.sort(ranks, axis=1), axis=0, return_counts=True)
    weights = np.arange(1, ranks.shape[1] + 1)
    distribution, smallest = np.ones(1), 0
    for pattern, count in zip(patterns, counts.tolist(), strict=True):
        # Averaged ranks are multiples of a half, so that twice L is a whole number.
        doubled = np.rint(2 * pattern[_orders(len(weights))] @ weights).astype(np.int64)
        lowest = int(doubled.min())
        row = np.bincount(doubled - lowest) / len(doubled)
        for _ in range(count):
            distribution = np.convolve(distribution, row)
        smallest += count * lowest
    return min(1.0, float(distribution[max(0, round(2 * statistic) - smallest) :].sum()))


@lru_cache(maxsize=_EXACT_CONDITIONS)
def _orders(count: int) -> npt.NDArray[np.intp]:
    """Return every order of ``count`` things, [count!, count]."""
    return np.array(list(itertools.permutations(range(count))), dtype=np.intp)


def _permuted_statistics(ranks: FloatArray, permutations: int, seed: int) -> FloatArray:
    """Return L of random orders of every row [n, k], [permutations]."""
    if permutations < 1:
        raise InputError(f"Expected at least one permutation but got {permutations}.")
    generator = stream("page", seed, *ranks.shape, permutations)
    weights, null = np.arange(1.0, ranks.shape[1] + 1), np.empty(permutations)
    for start in range(0, permutations, _DRAW_ROWS):
        block = slice(start, min(start + _DRAW_ROWS, permutations))
        copies = np.broadcast_to(ranks, (block.stop - start, *ranks.shape))
        null[block] = (generator.permuted(copies, axis=2) @ weights).sum(axis=1)
    return null
