"""Means over subjects and runs: against analysis of variance, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import simulations
from numpy.testing import assert_allclose
from statsmodels.api import stats as analysis
from statsmodels.formula.api import ols

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.two_way import satterthwaite_interval, two_way_mean

VALUES = stream("test_two_way").normal(size=(12, 4)) + np.arange(4) / 2 + np.arange(12)[:, None] / 5


def test_components_are_those_of_an_analysis_of_variance() -> None:
    """If it fails, the table of components blames runs for what subjects vary by."""
    long = pd.DataFrame(VALUES).melt(ignore_index=False, var_name="run").reset_index(names="person")
    squares = analysis.anova_lm(ols("value ~ C(person) + C(run)", long).fit())["mean_sq"]
    result = two_way_mean(VALUES)
    assert_allclose(result.residual, squares["Residual"])
    assert_allclose(result.of_subjects, (squares["C(person)"] - squares["Residual"]) / 4)
    assert_allclose(result.of_runs, (squares["C(run)"] - squares["Residual"]) / 12)
    assert_allclose(result.interval.estimate, VALUES.mean())
    transposed = two_way_mean(VALUES.T).interval
    assert_allclose(transposed.low, result.interval.low)


@pytest.mark.parametrize("of_runs", [0.0, 0.05, 0.2])
def test_intervals_cover_what_they_claim(of_runs: float) -> None:
    """If it fails, few trainings look like certainty."""
    assert 0.91 <= simulations.coverage_of_two_way_mean(of_runs, data_sets=800) <= 0.97


def test_one_run_varies_with_subjects_alone_and_equal_values_not_at_all() -> None:
    """If it fails, a single training has no interval, or certainty has one of rounding."""
    single = two_way_mean(VALUES[:, :1])
    parts = [(float(VALUES[:, 0].var(ddof=1)) / 12, 11.0)]
    assert single.interval == satterthwaite_interval(float(VALUES[:, 0].mean()), parts, 12)
    assert math.isnan(single.of_runs)
    flat = two_way_mean(np.full((12, 4), 0.1)).interval
    assert flat.low == flat.high == flat.estimate
    with pytest.raises(InputError, match="not finite"):
        two_way_mean(np.full((12, 4), math.nan))
    with pytest.raises(InputError, match=r"\[1, 4\]"):
        two_way_mean(VALUES[:1])
