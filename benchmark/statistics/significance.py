"""Tests of hypotheses over subjects: paired permutations, Page's trend, and Holm's adjustment.

A p-value from random permutations is (count + 1)/(permutations + 1), so it is never 0 (Phipson &
Smyth 2010). The order of rows plays no part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.arrays import FloatArray
from benchmark.errors import InputError
from benchmark.seeding import stream

_DRAW_ROWS = 256
_EXACT_CONDITIONS = 6  # 720 orders of a row; 7 would be 5040
# Sums of the same numbers in another order may differ in the last bit and are still ties.
_ROUNDING = 1e-12


def sign_flip_p(differences: npt.ArrayLike, *, permutations: int = 10_000, seed: int = 0) -> float:
    """Return the p-value of a paired sign-flip test of a zero mean against a positive one.

    It is the p-value of the studentised mean, too, which skewed differences need: flipping signs
    keeps the sum of squares, so that mean/error rises with the mean and orders the flips alike.

    NaNs among the differences [N] of subjects are left out; where none is known, p is NaN.
    """
    rows = np.asarray(differences, dtype=np.float64)
    # The null does not care which row bears which sign; sorted, it does not depend on row order.
    known = np.sort(rows[~np.isnan(rows)])
    if not len(known):
        return math.nan
    signs = _signs(len(known), permutations, "sign_flip", seed)
    null = np.concatenate([block @ known for block in signs])
    return _share_above(null, float(known.sum()) - _ROUNDING * float(np.abs(known).sum()))


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
    never between subjects; the T of a swap is ‖Σ ±(f − f′)‖ / n. Where every pair is equal, p is 1,
    and NaN where there is none. Rows [n, D] of one subject, as ``keys`` [n] name it, are swapped
    together.

    Raises:
        InputError: If the shapes do not fit, or an embedding is not finite.
    """
    first, second = (np.asarray(rows, dtype=np.float64) for rows in (clean, altered))
    if first.ndim != 2 or first.shape != second.shape or len(keys) != len(first):
        raise InputError(
            f"Expected two times embeddings [n, D] and n keys but got shapes {list(first.shape)} "
            f"and {list(second.shape)} and {len(keys)} keys."
        )
    differences = first - second
    if not np.isfinite(differences).all():
        raise InputError("Expected finite embeddings but got one that is NaN or infinite.")
    if not len(differences):
        return math.nan
    unique, index = np.unique(np.asarray(keys, dtype=np.str_), return_inverse=True)
    pairs = np.zeros((len(unique), differences.shape[1]))
    np.add.at(pairs, index, differences)
    signs = _signs(len(unique), permutations, "swap", seed)
    null = np.concatenate([np.linalg.norm(block @ pairs, axis=1) for block in signs])
    slack = _ROUNDING * float(np.linalg.norm(pairs, axis=1).sum())
    return _share_above(null, float(np.linalg.norm(pairs.sum(0))) - slack)


@dataclass(frozen=True)
class PageTrend:
    """Page's L = Σ_j j · (sum of the ranks in condition j), with its one-sided p-value."""

    statistic: float
    p: float


def page_trend(values: npt.ArrayLike, *, permutations: int = 10_000, seed: int = 0) -> PageTrend:
    """Return whether values [n, k] rise along the conditions within subjects (Page 1963).

    Ranks are taken within each row, ties averaged; rows with a missing value are left out, and the
    trend is NaN where no row is complete. ``p`` counts every order of every row up to six
    conditions, and random orders beyond. The null is that of the ranks with their ties, where
    SciPy's is that of untied ranks.

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
        return PageTrend(math.nan, math.nan)
    # Those of scipy.stats are the same, and take twice as long to import as pandas, which is here.
    ranks: FloatArray = pd.DataFrame(complete).rank(axis=1).to_numpy()
    # The null permutes within rows; sorted, it does not depend on their order.
    ranks = ranks[np.lexsort(ranks.T)]
    weights = np.arange(1.0, ranks.shape[1] + 1)
    statistic = float((ranks @ weights).sum())
    if len(weights) <= _EXACT_CONDITIONS:
        return PageTrend(statistic, _exact_tail(ranks, statistic))
    null = [
        (generator.permuted(np.broadcast_to(ranks, (rows, *ranks.shape)), axis=2) @ weights).sum(1)
        for generator, rows in _blocks(permutations, "page", seed, *ranks.shape)
    ]
    return PageTrend(statistic, _share_above(np.concatenate(null), statistic))


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Return p-values [K] adjusted for the family-wise error rate (Holm 1979).

    NaNs stay NaN and do not count as tests.

    Raises:
        InputError: If a value lies outside [0, 1].
    """
    raw = np.asarray(p_values, dtype=np.float64)
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
    for generator, rows in _blocks(permutations, name, seed, count):
        bits = generator.integers(0, 2, size=(rows, count), dtype=np.int8)
        yield 2 * bits.astype(np.float64) - 1


def _blocks(permutations: int, *name: str | int) -> Iterator[tuple[np.random.Generator, int]]:
    """Yield the generator of a named test, with the number of permutations to draw at once."""
    if permutations < 1:
        raise InputError(f"Expected at least one permutation but got {permutations}.")
    generator = stream(*name, permutations)
    for start in range(0, permutations, _DRAW_ROWS):
        yield generator, min(_DRAW_ROWS, permutations - start)


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
