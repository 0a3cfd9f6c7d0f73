"""Regressions with statsmodels: what the printed numbers are, and that they always are some."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.mediation import Mediation as ReferenceMediation

from benchmark.errors import InputError, NotAssessableError
from benchmark.seeding import global_seed, stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.linear import (
    AT_BOUNDARY,
    PartialCorrelation,
    mediate,
    nuisance_design,
    regress,
    regress_mixed,
)

COUNT = 120
GROUPS = np.repeat([0, 1], COUNT // 2)
GENERATOR = stream("test_regression")
PEOPLE = pd.DataFrame({"age": GENERATOR.normal(70, 8, COUNT), "sex": ["F", "M"] * (COUNT // 2)})
DESIGN = nuisance_design(PEOPLE, GROUPS)
SHARES = GENERATOR.normal(size=COUNT)
VOLUMES = 3000 + 200 * (GENERATOR.normal(size=COUNT) + 0.4 * SHARES - 0.6 * GROUPS)


def test_numbers_of_least_squares_are_those_of_the_definitions() -> None:
    """If it fails, the table of a biomarker prints numbers under wrong names."""
    result = regress(VOLUMES, SHARES, DESIGN)
    y, x = ((values - values.mean()) / values.std(ddof=1) for values in (VOLUMES, SHARES))
    full = OLS(y, np.column_stack([DESIGN.matrix, x])).fit()
    reduced = OLS(y, DESIGN.matrix).fit()
    (r,) = PartialCorrelation(SHARES, VOLUMES, DESIGN).by_pair
    assert_allclose(result.partial_r2, r**2, atol=1e-10)
    assert_allclose(result.gained_r2, full.rsquared - reduced.rsquared, atol=1e-10)
    assert_allclose(result.gained_aic, full.aic - reduced.aic, atol=1e-8)
    assert_allclose(result.beta, full.params[-1])
    assert_allclose(result.error, full.HC3_se[-1])
    assert (result.model, result.n, result.note) == ("OLS", COUNT, "")


def test_a_subject_alone_at_a_scanner_leaves_no_nan() -> None:
    """If it fails, one subject at a site of its own empties the whole table."""
    people = PEOPLE.assign(scanner=["alone", *["shared", "other"] * 59, "shared"])
    result = regress(VOLUMES, SHARES, nuisance_design(people, GROUPS))
    rest = nuisance_design(people.iloc[1:].reset_index(drop=True), GROUPS[1:])
    without = regress(VOLUMES[1:], SHARES[1:], rest)
    assert_allclose(result.p, without.p, rtol=1e-6)
    assert result.n == COUNT - 1


def test_a_predictor_that_says_nothing_new_adds_nothing() -> None:
    """If it fails, a constant map has a p-value made of rounding errors."""
    flat = regress(VOLUMES, np.ones(COUNT), DESIGN)
    assert (flat.beta, flat.p, flat.partial_r2) == (0, 1, 0)
    assert regress_mixed(VOLUMES, np.ones(COUNT), DESIGN, list(range(60)) * 2).p == 1
    with pytest.raises(InputError, match="120 finite values"):
        regress(VOLUMES[1:], SHARES, DESIGN)


def test_visits_of_a_subject_do_not_count_as_subjects() -> None:
    """If it fails, what repeats within subjects makes differences significant."""
    generator = stream("visits")
    people = np.repeat(np.arange(40), 3)
    shares = generator.normal(size=40)[people] + 0.1 * generator.normal(size=COUNT)
    volumes = generator.normal(size=40)[people] + 0.3 * generator.normal(size=COUNT)
    design = nuisance_design(PEOPLE)
    mixed = regress_mixed(volumes, shares, design, people.tolist())
    assert (mixed.model, mixed.note, mixed.partial_r2) == ("mixed", "", None)
    assert mixed.error > 1.4 * regress(volumes, shares, design).error


def test_sites_that_do_not_differ_end_in_least_squares_and_say_so() -> None:
    """If it fails, tables hold NaN, or warnings run over the terminal."""
    generator = stream("sites")
    notes = set()
    for _ in range(4):  # warnings are errors here
        sites = generator.integers(0, 12, COUNT).tolist()
        result = regress_mixed(generator.normal(size=COUNT), SHARES, DESIGN, sites)
        assert np.isfinite([result.beta, result.error, result.p, result.gained_aic]).all()
        assert (result.model == "OLS") == (result.note == AT_BOUNDARY)
        notes.add(result.note)
    assert AT_BOUNDARY in notes
    with pytest.raises(InputError, match="120 clusters"):
        regress_mixed(VOLUMES, SHARES, DESIGN, [1, 2])


def test_mediation_is_that_of_statsmodels() -> None:
    """If it fails, the share that a map carries is not the one of the literature."""
    names = [f"s{number:03d}" for number in range(COUNT)]
    design, bootstrap = nuisance_design(PEOPLE), SubjectBootstrap(names, 500, GROUPS)
    result = mediate(VOLUMES, SHARES, GROUPS, design, bootstrap)
    exposure = design.residuals(VOLUMES)
    exposure /= exposure.std()
    data = np.column_stack([design.matrix, exposure])
    outcome = OLS(GROUPS.astype(float), np.column_stack([data, SHARES]))
    reference = ReferenceMediation(outcome, OLS(SHARES, data), (3, 3), mediator=4)
    with global_seed(0, torch.device("cpu")):  # statsmodels draws from the global stream
        effects = reference.fit(n_rep=400)
    acme, ade = effects.ACME_avg, effects.ADE_avg
    width = np.ptp(np.quantile(acme, (0.025, 0.975)))
    assert abs(result.indirect.estimate - acme.mean()) < 4 * acme.std() / 20
    assert abs(result.direct.estimate - ade.mean()) < 4 * ade.std() / 20
    assert result.indirect.high - result.indirect.low == pytest.approx(width, rel=0.4)
    total = result.direct.estimate + result.indirect.estimate
    assert_allclose(result.total.estimate, total)
    with pytest.raises(NotAssessableError, match="volume separates the groups"):
        mediate(VOLUMES - 5000 * GROUPS, SHARES, GROUPS, design, bootstrap)
