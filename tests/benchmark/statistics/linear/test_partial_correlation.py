"""Partial correlations: against regression, plain jackknife and plain bootstrap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from statsmodels.api import OLS

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.linear import Design, PartialCorrelation, nuisance_design

COUNT = 36
GROUPS = np.repeat([0, 1], COUNT // 2)
GENERATOR = stream("test_partial_correlation")
PEOPLE = pd.DataFrame(
    {"age": GENERATOR.normal(70, 8, COUNT), "scanner": ["alone", *"ab" * 17, "a"]}
)
DESIGN = nuisance_design(PEOPLE, GROUPS)
SHARES = GENERATOR.normal(size=(COUNT, 2))
VOLUMES = GENERATOR.normal(size=(COUNT, 2)) + 0.5 * SHARES + GROUPS[:, None]


def estimate_of(rows: np.typing.NDArray[np.int64]) -> float:
    """Return the estimate on rows, which may repeat, from least squares of NumPy."""
    design = DESIGN.matrix[rows]
    left = []
    for values in (SHARES[rows], VOLUMES[rows]):
        left.append(values - design @ np.linalg.lstsq(design, values, rcond=None)[0])
    products, squares = (left[0] * left[1]).sum(0), (left[0] ** 2).sum(0) * (left[1] ** 2).sum(0)
    return float(np.tanh(np.arctanh(products / np.sqrt(squares)).mean()))


def test_partial_correlations_are_those_of_a_regression() -> None:
    """If it fails, the correlation is not the one that the regression table implies."""
    correlation = PartialCorrelation(SHARES, VOLUMES, DESIGN)
    for pair, r in enumerate(correlation.by_pair):
        fit = OLS(VOLUMES[:, pair], np.column_stack([DESIGN.matrix, SHARES[:, pair]])).fit()
        t = fit.tvalues[-1]
        assert_allclose(r, t / np.sqrt(t**2 + fit.df_resid), atol=1e-10)
    assert_allclose(correlation.estimate, estimate_of(np.arange(COUNT)))
    products = np.multiply(*correlation.residuals)
    assert_allclose(products.mean(0), correlation.by_pair)


def test_values_of_subjects_are_those_of_leaving_each_out() -> None:
    """If it fails, intervals of the board are not those of the score, or its mean is another."""
    correlation = PartialCorrelation(SHARES, VOLUMES, DESIGN)
    everyone = np.arange(COUNT)
    plain = [estimate_of(np.delete(everyone, subject)) for subject in everyone]
    assert_allclose(correlation.left_out, plain, atol=1e-10)
    assert_allclose(correlation.values.mean(), correlation.estimate, atol=1e-12)


def test_replicates_fit_the_design_anew() -> None:
    """If it fails, limits ignore that the adjustment was estimated, and are too narrow."""
    subjects = [f"s{number:02d}" for number in range(COUNT)]
    bootstrap = SubjectBootstrap(subjects, 50, GROUPS)
    replicates = PartialCorrelation(SHARES, VOLUMES, DESIGN).replicates(bootstrap)
    (drawn,) = bootstrap.draws(1)
    plain = [estimate_of(np.repeat(np.arange(COUNT), counts.astype(int))) for counts in drawn]
    assert_allclose(replicates, plain, atol=1e-10)


def test_flat_values_correlate_with_nothing_and_shapes_must_fit() -> None:
    """If it fails, a constant map ends in NaN, or sides are compared crosswise."""
    flat = PartialCorrelation(np.ones(COUNT), VOLUMES[:, 0], DESIGN)
    assert flat.estimate == 0
    assert not flat.values.any()
    with pytest.raises(InputError, match=r"\[36, 2\] and \[36\]"):
        PartialCorrelation(SHARES, VOLUMES[:, 0], DESIGN)
    with pytest.raises(InputError, match="36 subjects"):
        Design(DESIGN.matrix, DESIGN.terms).residuals(np.ones(3))
