"""How few pixels of the foreground a map concentrates on.

Each function takes importance [B, 1, *S], not negative, and foreground [B, 1, *S] bool, and
returns [B] float64. A map that is constant or not finite in the foreground gives NaN. Pixels of
the background are left out before anything is summed, so padding changes no bit.

The formulas of sparseness and entropy are those of Chalasani et al. (2020) and Bhatt et al. (2020).
They differ from Quantus 0.6 in counting the foreground alone, and in having no value for a map that
ranks nothing, to which Quantus gives the best one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.maps import similarity
from benchmark.maps.ranking import reason_unrankable

MOST_OF_MASS = 0.9
_ROUNDING = 1e-12  # relative, so that a sum of equal shares reaches the mass that it is meant to


def gini(importance: Tensor, foreground: Tensor) -> FloatArray:
    """Return the Gini index: 0 for a flat map, 1/3 for uniform noise, 1 − 1/n for one pixel."""
    return _of_each(importance, foreground, _gini)[:, 0]


def entropy(importance: Tensor, foreground: Tensor) -> FloatArray:
    """Return the entropy of the map's shares over ln n: 1 for a flat map, 0 for one pixel."""
    return _of_each(importance, foreground, _entropy)[:, 0]


def area90(importance: Tensor, foreground: Tensor) -> FloatArray:
    """Return the smallest share of the foreground that holds 90 % of the map's sum."""
    return _of_each(importance, foreground, _area90)[:, 0]


def concentration(importance: Tensor, foreground: Tensor) -> FloatArray:
    """Return Gini index, entropy and area of 90 % of each map, which is sorted once, [B, 3]."""
    return _of_each(importance, foreground, _gini, _entropy, _area90)


def _of_each(
    importance: Tensor, foreground: Tensor, *measures: Callable[[Tensor], float]
) -> FloatArray:
    """Return measures of the rising shares p of the sum, [n, M], of each map that ranks pixels."""
    values = np.full((len(importance), len(measures)), math.nan)
    for row, reason in enumerate(reason_unrankable(importance, foreground)):
        if reason is None:
            shares = similarity.rising_shares(importance[row], foreground[row])
            values[row] = [measure(shares) for measure in measures]
    return values


def _gini(shares: Tensor) -> float:
    return float(similarity.gini_of_shares(shares))


def _entropy(shares: Tensor) -> float:
    # Not below 0, which a share of 1 would give as −0.
    return max(0.0, -float(torch.xlogy(shares, shares).sum()) / math.log(len(shares)))


def _area90(shares: Tensor) -> float:
    held = shares.flip(0).cumsum(0)
    count = int((held < MOST_OF_MASS - _ROUNDING).sum()) + 1
    return count / len(shares)
