"""Tests of hypotheses whose unit is the subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import page_trend_test

from benchmark.seeding import stream
from benchmark.statistics import holm, sign_flip_p

__all__ = ["Trend", "holm", "page_trend", "sign_flip_p", "swap_p"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """Page's L and its one-sided p-value."""

    statistic: float
    p: float


def page_trend(values: FloatArray) -> Trend:
    """Return Page's trend test (1963) over columns that should rise, values [n, k]."""
    known = values[~np.isnan(values).any(axis=1)]
    result = page_trend_test(known)
    return Trend(float(result.statistic), float(result.pvalue))


def swap_p(
    clean: FloatArray,
    altered: FloatArray,
    keys: Sequence[str],
    permutations: int = 1000,
    seed: int = 0,
) -> float:
    """Return the p-value of T between paired embeddings [n, D], labels swapped within pairs."""
    differences = (clean - altered)[np.argsort(np.array(keys))]
    generator = stream("swap", seed, len(differences), permutations)
    signs = 2.0 * generator.integers(0, 2, (permutations, len(differences))) - 1
    observed = np.linalg.norm(differences.sum(0)) * (1 - 1e-12)
    null = np.linalg.norm(signs @ differences, axis=1)
    return float((np.count_nonzero(null >= observed) + 1) / (permutations + 1))
