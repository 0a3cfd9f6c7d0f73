"""Permutation tests given covariates, by the residuals of what is explained.

The residuals of the outcome given the covariates are permuted and their fit is added back, which
keeps what the covariates explain in place (Freedman & Lane 1983; of the ways to permute in a linear
model it holds its level best, Winkler et al. 2014, NeuroImage 92). A statistic given the covariates
does not see the fit that is added, so only the residuals are carried along.

Subjects are permuted whole. Permutations are drawn beforehand and handed in. So tests of a
network and of its copies meet the same ones, and a map that looks at no network gets the same p.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from benchmark.arrays import FloatArray
from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.linear.design import Design

Permutations = npt.NDArray[np.signedinteger]
Alternative = Literal["greater", "two-sided"]

_BLOCK_ELEMENTS = 2**20
# Statistics of the same numbers in another order may differ in the last bits and are still ties.
_ROUNDING = 1e-10


@dataclass(frozen=True)
class PermutationTest:
    """A statistic with its permutation p-value.

    Attributes:
        statistic: Statistic of the subjects as they are.
        p: (count + 1)/(permutations + 1), where count is the number of permutations whose
            statistic is at least as large; never 0.
    """

    statistic: float
    p: float


@dataclass(frozen=True)
class VoxelTest:
    """Two-sample t-tests of V voxels, given covariates.

    Attributes:
        t: [V] t of group 0 minus group 1; 0 where a voxel does not vary.
        p: [V] two-sided p of Student's t, for one voxel at a time.
        q: [V] the same, adjusted for the false discovery rate (Benjamini & Hochberg 1995).
        p_fwe: [V] p adjusted for the family-wise error rate, against the largest |t| of each
            permutation.
        largest: [R] the largest |t| of each permutation.
    """

    t: FloatArray
    p: FloatArray
    q: FloatArray
    p_fwe: FloatArray
    largest: FloatArray


def draw_permutations(
    subjects: int, permutations: int, *name: str | int, within: npt.ArrayLike | None = None
) -> Permutations:
    """Return random orders of subjects [R, n]; a name has its own, whatever else is drawn.

    Args:
        subjects: Number of subjects n.
        permutations: Number of orders R.
        name: Name of the purpose of the orders.
        within: [n] group of each subject, where only subjects of one group change places. It
            keeps the level of a correlation given the group where the groups vary by different
            amounts, which orders of all subjects do not.

    Raises:
        InputError: If no permutation is asked for.
    """
    if permutations < 1:
        raise InputError(f"Expected at least one permutation but got {permutations}.")
    generator = stream("permutations", *name, subjects, permutations)
    # In few bytes, since all orders are held as long as tests are made.
    unmoved = np.arange(subjects, dtype=np.min_scalar_type(-subjects))
    orders: Permutations = np.tile(unmoved, (permutations, 1))
    levels = np.zeros(subjects) if within is None else np.asarray(within)
    for level in np.unique(levels):
        members = np.flatnonzero(levels == level)
        orders[:, members] = generator.permuted(orders[:, members], axis=1)
    return orders


def correlation_test(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    design: Design,
    permutations: Permutations,
    alternative: Alternative = "greater",
) -> PermutationTest:
    """Return the test of a partial correlation, or of the Fisher mean of several.

    Args:
        first: [n] or [n, K] what may follow the other, such as the share of a map on K regions.
        second: [n] or [n, K] what is permuted, such as the volumes of the same regions. All K
            columns of a subject are permuted together.
        design: Design of what is given.
        permutations: [R, n] orders of the subjects.
        alternative: Whether large correlations count alone, or also strongly negative ones.
    """
    own, other = (_columns(design.residuals(values)) for values in (first, second))
    own_sizes = np.sqrt((own**2).sum(axis=0))
    squares = (other**2).sum(axis=0)
    observed = float(_fisher_mean((own * other).sum(axis=0), own_sizes * np.sqrt(squares)))
    rows = max(1, _BLOCK_ELEMENTS // other.size)
    null = []
    for start in range(0, len(permutations), rows):
        shuffled = other[permutations[start : start + rows]]  # [r, n, K]
        products = np.einsum("nk,rnk->rk", own, shuffled)
        explained = np.einsum("np,rnk->rpk", design.basis[:, 1:], shuffled, optimize=True)
        left = np.maximum(squares - (explained**2).sum(axis=1), 0.0)
        null.append(_fisher_mean(products, own_sizes * np.sqrt(left)))
    p = permutation_p(observed, np.concatenate(null), alternative)
    return PermutationTest(float(np.tanh(observed)), p)


def voxelwise_test(
    values: npt.ArrayLike, groups: npt.ArrayLike, design: Design, permutations: Permutations
) -> VoxelTest:
    """Return two-sample t-tests of values [n, V] between two groups, given covariates.

    Args:
        values: [n, V] a value of each subject at each voxel.
        groups: [n] group of each subject, 0 or 1.
        design: Covariates without the group; the intercept alone where there are none.
        permutations: [R, n] orders of the subjects.
    """
    residuals = _columns(design.residuals(values))
    contrast = design.residuals((np.asarray(groups) == 0).astype(np.float64))
    size = float(np.linalg.norm(contrast))
    if size == 0:
        raise InputError("Expected subjects of two groups, which no covariate determines.")
    contrast = contrast / size
    freedom = design.degrees_of_freedom - 1
    squares = (residuals**2).sum(axis=0)
    observed = _t(contrast @ residuals, squares, freedom)
    directions = np.column_stack([contrast, design.basis[:, 1:]])  # the intercept never moves
    inverse = np.argsort(permutations, axis=1)
    rows = max(1, _BLOCK_ELEMENTS // residuals.shape[1])
    largest = []
    for start in range(0, len(inverse), rows):
        # Permuting the few directions backwards spares permuting the many voxels.
        moved = directions[inverse[start : start + rows]]  # [r, n, 1 + covariates]
        products = moved[:, :, 0] @ residuals
        left = np.broadcast_to(squares, products.shape).copy()
        for column in range(1, directions.shape[1]):
            left -= (moved[:, :, column] @ residuals) ** 2
        largest.append(np.abs(_t(products, left, freedom)).max(axis=1))
    null = np.sort(np.concatenate(largest))
    beaten = np.searchsorted(null, np.abs(observed) * (1 - _ROUNDING), side="left")
    p = 2 * scipy.stats.t.sf(np.abs(observed), freedom)
    return VoxelTest(
        t=observed,
        p=p,
        q=scipy.stats.false_discovery_control(p),
        p_fwe=(len(null) - beaten + 1) / (len(null) + 1),
        largest=np.concatenate(largest),
    )


def permutation_p(observed: float, null: FloatArray, alternative: Alternative = "greater") -> float:
    """Return the p-value of a statistic against its permutations [R] (Phipson & Smyth 2010)."""
    if alternative == "two-sided":
        observed, null = abs(observed), np.abs(null)
    reached = null >= observed - _ROUNDING * max(1.0, abs(observed))
    return float((np.count_nonzero(reached) + 1) / (len(null) + 1))


def _columns(values: FloatArray) -> FloatArray:
    """Return values [n] or [n, K] as [n, K]."""
    return values[:, None] if values.ndim == 1 else values


def _fisher_mean(products: FloatArray, sizes: FloatArray) -> FloatArray:
    """Return the mean over the last axis of atanh r, with r = products/sizes and 0 of nothing."""
    r = np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)
    mean: FloatArray = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)).mean(axis=-1)
    return mean


def _t(products: FloatArray, squares: FloatArray, freedom: int) -> FloatArray:
    """Return t of contrasts of length 1, from the squares that are left after the covariates."""
    left = np.maximum(squares - products**2, 0.0)
    errors = np.sqrt(left / freedom)
    t: FloatArray = np.divide(products, errors, out=np.zeros_like(products), where=errors > 0)
    return t
