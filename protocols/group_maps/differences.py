"""How much the groups' maps differ, how much of that is reliable, and where it lies.

All sums over voxels of products of subjects' maps are products with one Gram matrix, so that
permutations and halves cost nothing per voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.statistics.linear import Design
from benchmark.statistics.own import of_mean

_BLOCK_ELEMENTS = 2**21
_ROUNDING = 1e-20  # squared, of maps in double precision
_SLACK = 1e-12  # sums of the same numbers in another order are ties


@dataclass(frozen=True)
class Model:
    """Groups and covariates of n subjects.

    Attributes:
        groups: [n] group of each subject, 0 or 1.
        covariates: Covariates to adjust for; the intercept alone where there are none.
    """

    groups: Rows
    covariates: Design

    @cached_property
    def full(self) -> FloatArray:
        """Intercept, covariates and, last, the group (1 in A, 0 in B), [n, p + 1]."""
        return np.column_stack([self.covariates.matrix, self.groups == 0])

    @cached_property
    def basis(self) -> FloatArray:
        """Orthonormal basis of ``full``, [n, p + 1]."""
        basis: FloatArray = np.linalg.qr(self.full)[0]
        return basis

    @cached_property
    def weights(self) -> FloatArray:
        """Weights [n] whose product with values is the groups' difference given the covariates."""
        weights: FloatArray = np.linalg.pinv(self.full)[-1]
        return weights

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the residuals."""
        return int(len(self.groups) - self.full.shape[1])

    @cached_property
    def inflation(self) -> float:
        """How much larger the variance of the difference is than residuals alone would say.

        It is 1 without covariates.
        """
        if not self.covariates.used:
            return 1.0
        plain = (1 / np.bincount(self.groups, minlength=2)).sum()
        of_design = float(self.weights @ self.weights) / plain
        return float(of_design * (len(self.groups) - 2) / self.degrees)

    def adjusted(self, values: FloatArray) -> FloatArray:
        """Return values [n, V] without what the covariates explain beside the group."""
        if not self.covariates.used:
            return values
        slopes = (np.linalg.pinv(self.full) @ values)[1:-1]
        return np.asarray(values - self.covariates.matrix[:, 1:] @ slopes)


@dataclass(frozen=True)
class Recovery:
    """What one set of maps says of the groups, a value per subject each.

    Attributes:
        located: [n] pseudo-values of (Σ_M E − āΣE)/(1 − ā).
        energy: [n] pseudo-values of ΣE.
        total: [n] pseudo-values of ΣD²; all of the same scale.
        difference: [V] D, mean of group A minus mean of group B.
        power: Mean over subjects of Σy², which tells a difference from rounding.
    """

    located: FloatArray
    energy: FloatArray
    total: FloatArray
    difference: FloatArray
    power: float

    @property
    def is_silent(self) -> bool:
        """Whether the maps of both groups are alike but for rounding."""
        return not float(np.mean(self.total)) > _ROUNDING * self.power

    @property
    def values(self) -> FloatArray:
        """Values [n] whose mean is the recovery, 0 of maps that do not differ."""
        return self._over_total(self.located)

    @property
    def reliability(self) -> FloatArray:
        """Values [n] whose mean is the reliability, 0 of maps that do not differ."""
        return self._over_total(self.energy)

    @property
    def shares(self) -> tuple[FloatArray, FloatArray]:
        """Pseudo-values [n] whose ratio is the located share: ``located`` and ``energy``.

        In units of ΣD², which no factor of the maps changes.
        """
        unit = 1.0 if self.is_silent else float(np.mean(self.total))
        return self.located / unit, self.energy / unit

    def _over_total(self, values: FloatArray) -> FloatArray:
        return np.zeros(len(values)) if self.is_silent else of_mean(values, self.total)


def measure(maps: FloatArray, model: Model, change: BoolArray) -> Recovery:
    """Return how much the groups' maps differ reliably, and how much of it lies in ``change``.

    Args:
        maps: [n, V] smoothed maps, without what covariates explain.
        model: Groups and covariates.
        change: [V] bool where the groups' anatomy differs, M.
    """
    share = float(change.mean())
    counts, n = np.bincount(model.groups, minlength=2), len(maps)
    means = np.stack([maps[model.groups == group].mean(0) for group in (0, 1)])
    deviations = maps - means[model.groups]
    squares = np.stack([(deviations[model.groups == group] ** 2).sum(0) for group in (0, 1)])
    difference = means[0] - means[1]
    noise = (squares / (counts * (counts - 1))[:, None]).sum(0)
    energy = difference**2 - model.inflation * noise

    def sums(voxels: FloatArray) -> tuple[float, float]:
        whole = float(voxels.sum())
        return (float(voxels[change].sum()) - share * whole) / (1 - share), whole

    own = np.array(sums(energy))
    pseudo = np.empty((n, 2))
    for subject, group in enumerate(model.groups):
        others, sign = counts[group] - 1, 1 - 2 * group
        moved = difference - sign * deviations[subject] / others
        without = squares[group] - counts[group] / others * deviations[subject] ** 2
        # Leaving a subject out moves an unbiased variance to another one, divided by fewer.
        of_group = without / (others * (others - 1))
        of_other = squares[1 - group] / (counts[1 - group] * (counts[1 - group] - 1))
        unbiased = moved**2 - of_group - of_other
        same_size = without / ((others - 1) * counts[group]) + of_other
        left = sums(unbiased - (model.inflation - 1) * same_size)
        pseudo[subject] = n * own - (n - 1) * np.array(left)
    total = pseudo[:, 1] + model.inflation * float(noise.sum())
    power = float((maps**2).sum()) / n
    return Recovery(pseudo[:, 0], pseudo[:, 1], total, difference, power)


def difference_p(maps: FloatArray, model: Model, orders: Rows) -> float:
    """Return the permutation p of ΣE by Freedman and Lane, (count + 1)/(permutations + 1).

    Args:
        maps: [n, V] smoothed maps as they are.
        model: Groups and covariates.
        orders: [P, n] permutations of the subjects.
    """
    residuals = model.covariates.residuals(maps)
    gram = residuals @ residuals.T
    trace, length = float(np.trace(gram)), float(model.weights @ model.weights)

    def energies(some: Rows) -> FloatArray:
        # Permuting the few weights backwards spares permuting the many products.
        inverse = np.argsort(some, axis=1)
        squared = _quadratic(model.weights[inverse], gram)
        explained = sum(_quadratic(column[inverse], gram) for column in model.basis.T)
        return np.asarray(squared - (trace - explained) * length / model.degrees)

    observed = float(energies(np.arange(len(maps))[None])[0])
    size = max(1, _BLOCK_ELEMENTS // len(gram))
    null = np.concatenate(
        [energies(orders[start : start + size]) for start in range(0, len(orders), size)]
    )
    reached = null >= observed - _SLACK * trace
    return float((np.count_nonzero(reached) + 1) / (len(null) + 1))


def split_half(maps: FloatArray, groups: Rows, halves: tuple[Rows, ...]) -> float:
    """Return the agreement of D between halves of the subjects, for both together.

    It is the mean of Σ D₁D₂ over that of √(Σ D₁² Σ D₂²), stepped up by Spearman and Brown.

    Args:
        maps: [n, V].
        groups: [n].
        halves: [n] each, 0 or 1: which half a subject falls into.
    """
    gram, agreements = maps @ maps.T, []
    for half in halves:
        first, second = (_contrast(groups, half == part) for part in (0, 1))
        lengths = float(first @ gram @ first) * float(second @ gram @ second)
        agreements.append(float(first @ gram @ second) / np.sqrt(lengths) if lengths > 0 else 0.0)
    mean = float(np.mean(agreements))
    return 2 * mean / (1 + mean) if mean > -1 else -1.0


def _quadratic(weights: FloatArray, gram: FloatArray) -> FloatArray:
    """Return wᵀGw of each row w of weights [P, n], [P]."""
    return np.asarray(np.einsum("pi,pi->p", weights @ gram, weights))


def _contrast(groups: Rows, chosen: BoolArray) -> FloatArray:
    """Return weights [n] of the groups' difference among some subjects."""
    parts = [(groups == group) & chosen for group in (0, 1)]
    return np.asarray(parts[0] / parts[0].sum() - parts[1] / parts[1].sum())
