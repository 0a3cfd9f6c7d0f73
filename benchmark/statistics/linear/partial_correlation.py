"""Partial correlations of subjects, with values per subject and bootstrap replicates.

A partial correlation is no mean over subjects. So each subject gets a value, the estimate plus the
subject's influence on it by leaving the subject out, residuals refitted (the jackknife: Efron &
Stein 1981). The mean of the values is the estimate.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from benchmark.arrays import FloatArray
from benchmark.errors import InputError
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.linear.design import Design

_LARGEST = 1 - 1e-15  # a correlation of 1 has no finite Fisher z
_SINGULAR = 1e-9  # of a resample that lacks a level of a category


class PartialCorrelation:
    """The partial correlation of two values, or the Fisher mean of those of K pairs.

    Args:
        first: [n] or [n, K] a value of each subject, such as the share of a map on K regions.
        second: [n] or [n, K] the value that it may go with, such as the volume of each region.
        design: Design of what is given; a row for each subject.

    Raises:
        InputError: If shapes do not fit.
    """

    def __init__(self, first: npt.ArrayLike, second: npt.ArrayLike, design: Design) -> None:
        pairs = [np.asarray(values, dtype=np.float64) for values in (first, second)]
        if pairs[0].shape != pairs[1].shape or pairs[0].ndim not in (1, 2):
            shapes = " and ".join(str(list(pair.shape)) for pair in pairs)
            raise InputError(f"Expected two times values [n, K] but got {shapes}.")
        self._design = design
        own, other = (design.residuals(pair.reshape(len(pair), -1)) for pair in pairs)
        # In units of their spread, so that sums of squares stay near 1 in every resample.
        self._first, self._second = (_unit(residuals) for residuals in (own, other))

    @cached_property
    def by_pair(self) -> FloatArray:
        """Partial correlation of each pair, [K]; 0 where the design explains one of the two."""
        correlations: FloatArray = np.clip((self._first * self._second).sum(axis=0), -1, 1)
        return correlations

    @property
    def estimate(self) -> float:
        """The correlation whose atanh is the mean over pairs of atanh r."""
        return float(fisher_mean(self.by_pair))

    @cached_property
    def residuals(self) -> tuple[FloatArray, FloatArray]:
        """Standardised residuals [n, K] of both, whose mean product is the correlation."""
        root = np.sqrt(len(self._first))
        return self._first * root, self._second * root

    @cached_property
    def left_out(self) -> FloatArray:
        """Estimate without each subject, [n], the design refitted, in closed form.

        Without subject i a sum of products of residuals Σ eᵢfᵢ falls by eᵢfᵢ/(1 − hᵢ), where h is
        the leverage.
        """
        left = 1 - self._design.leverages
        # A subject alone in its level is fitted exactly: residuals are 0, and nothing is lost.
        shares = np.divide(1.0, left, out=np.zeros_like(left), where=left > _SINGULAR)[:, None]
        products = (self._first * self._second).sum(axis=0) - self._first * self._second * shares
        squares = [
            (residuals**2).sum(axis=0) - residuals**2 * shares
            for residuals in (self._first, self._second)
        ]
        return fisher_mean(_ratio(products, np.maximum(squares[0] * squares[1], 0.0)))

    @cached_property
    def values(self) -> FloatArray:
        """Estimate plus each subject's influence on it, [n]; their mean is the estimate."""
        influences = (len(self.left_out) - 1) * (self.left_out.mean() - self.left_out)
        values: FloatArray = self.estimate + influences
        return values

    def replicates(self, bootstrap: SubjectBootstrap) -> FloatArray:
        """Return bootstrap replicates [R] of the estimate, the design refitted in each.

        Differences of correlations of the same subjects are paired on the same bootstrap.
        """
        pairs = self._first.shape[1]
        left = residual_products(np.hstack([self._first, self._second]), self._design, bootstrap)
        diagonal = np.maximum(np.diagonal(left, axis1=1, axis2=2), 0.0)
        products = np.diagonal(left[:, :pairs, pairs:], axis1=1, axis2=2)
        return fisher_mean(_ratio(products, diagonal[:, :pairs] * diagonal[:, pairs:]))


def residual_products(
    values: FloatArray, design: Design, bootstrap: SubjectBootstrap
) -> FloatArray:
    """Return sums of products of residuals of values [n, q] in each resample, [R, q, q].

    The design is fitted anew in each resample, all at once: of the cross-products of all columns,
    those of the residuals are the Schur complement of the design's.
    """
    # The basis is orthonormal but for the resampling, so that few numbers are lost in solving.
    basis = design.basis * np.sqrt(len(design.basis))
    columns = basis.shape[1]
    rows = np.column_stack([basis, values])
    width = rows.shape[1]
    upper = np.triu_indices(width)
    crossed = rows[:, upper[0]] * rows[:, upper[1]]

    def statistic(weights: FloatArray) -> FloatArray:
        gram = np.empty((len(weights), width, width))
        gram[:, upper[0], upper[1]] = gram[:, upper[1], upper[0]] = weights @ crossed
        across = gram[:, :columns, columns:]
        inverse = np.linalg.pinv(gram[:, :columns, :columns], rcond=_SINGULAR, hermitian=True)
        left = gram[:, columns:, columns:] - across.transpose(0, 2, 1) @ (inverse @ across)
        return left.reshape(len(weights), -1)

    count = values.shape[1]
    return bootstrap.statistic_replicates(statistic).reshape(-1, count, count)


def fisher_mean(correlations: npt.ArrayLike) -> FloatArray:
    """Return tanh of the mean over the last axis of atanh of correlations [..., K]."""
    clipped = np.clip(np.asarray(correlations, dtype=np.float64), -_LARGEST, _LARGEST)
    mean: FloatArray = np.tanh(np.arctanh(clipped).mean(axis=-1))
    return mean


def _unit(residuals: FloatArray) -> FloatArray:
    """Return columns [n, K] of length 1; 0 where nothing is left."""
    sizes = np.sqrt((residuals**2).sum(axis=0))
    units: FloatArray = np.divide(residuals, sizes, out=np.zeros_like(residuals), where=sizes > 0)
    return units


def _ratio(products: FloatArray, squares: FloatArray) -> FloatArray:
    """Return products/√squares; 0 where the squares are."""
    sizes = np.sqrt(squares)
    ratio: FloatArray = np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 1e-12)
    return ratio
