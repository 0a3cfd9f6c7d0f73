"""Designs of covariates: what they hold, what they name, what they refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from benchmark.errors import InputError, NotAssessableError
from benchmark.seeding import stream
from benchmark.statistics.linear import SubjectMeans, complete_rows, gaps, nuisance_design

GROUPS = np.repeat([0, 1], 20)


def table(**columns: object) -> pd.DataFrame:
    generator = stream("test_design")
    people = {
        "age": generator.normal(70, 8, 40),
        "sex": generator.choice(["F", "M"], 40),
        "scanner": np.tile([1, 2, 3, 4], 10),  # a number that is a name
    }
    return pd.DataFrame({**people, **columns})


def test_residuals_are_those_of_least_squares_on_named_columns() -> None:
    """If it fails, a comparison is adjusted for other things than its table says."""
    people = table()
    design = nuisance_design(people, GROUPS)
    assert design.used == ("age", "sex", "scanner", "group")
    assert design.missing == ("tiv", "site")
    assert design.degrees_of_freedom == 40 - 7
    values = stream("residuals").normal(size=(40, 3)) + people["age"].to_numpy()[:, None]
    dummies = pd.get_dummies(people, columns=["sex", "scanner"]).to_numpy(dtype=float)
    plain = np.column_stack([dummies, GROUPS])
    fit = plain @ np.linalg.lstsq(plain, values, rcond=None)[0]
    assert_allclose(design.residuals(values), values - fit, atol=1e-10)


def test_what_the_design_explains_leaves_zero_and_not_rounding() -> None:
    """If it fails, a map that only says the output correlates with volume by rounding errors."""
    people = table()
    design = nuisance_design(people, GROUPS, extra={"output": people["age"] ** 2})
    outputs = (3 * people["age"] ** 2).astype(np.float32)
    assert not design.residuals(outputs).any()
    assert not design.residuals(np.full(40, 0.1)).any()


def test_covariates_that_tell_nothing_new_are_named_and_left_out() -> None:
    """If it fails, a study with one scanner a site cannot be adjusted at all."""
    people = table(site=np.tile(["w", "x", "y", "z"], 10), tiv=1500.0)
    design = nuisance_design(people, GROUPS)
    assert design.redundant == ("site",)
    assert design.constant == ("tiv",)


def test_a_covariate_that_determines_the_group_is_refused() -> None:
    """If it fails, a study with a scanner a group reports the scanner as the disease."""
    with pytest.raises(NotAssessableError, match=r"a covariate determines the group: scanner$"):
        nuisance_design(table(scanner=GROUPS), GROUPS)
    with pytest.raises(NotAssessableError, match="phi follows from"):
        nuisance_design(table(), GROUPS, extra={"phi": 2.0 * GROUPS})
    with pytest.raises(NotAssessableError, match="too few"):
        nuisance_design(table(site=np.arange(40) // 2).iloc[::2], covariates=("site", "age"))


def test_many_sites_are_left_to_a_random_intercept_where_one_is_fitted() -> None:
    """If it fails, a dozen sites cost as many degrees of freedom in each regression."""
    people = table(site=np.arange(40) % 12)
    assert nuisance_design(people, most_levels=10).random == ("site",)
    assert "site" in nuisance_design(people).used


def test_missing_values_are_found_before_they_spread() -> None:
    """If it fails, one subject without an age makes every result NaN."""
    people = table()
    people.loc[3, "age"] = np.nan
    people["note"] = None  # no covariate
    assert np.flatnonzero(~complete_rows(people)).tolist() == [3]
    with pytest.raises(InputError, match="age"):
        nuisance_design(people)


def test_a_column_that_nobody_has_a_value_of_is_none() -> None:
    """If it fails, an empty column of age leaves every subject out, and nothing says why."""
    people = table().assign(tiv=np.nan, site=pd.Series([None] * 40, dtype=object))
    people.loc[[3, 5], "age"] = np.nan
    assert complete_rows(people).sum() == 38
    assert gaps(people) == "; 2 lack age"
    assert gaps(people.drop([3, 5])) == ""
    design = nuisance_design(people.drop([3, 5]), GROUPS[complete_rows(people)])
    assert {"tiv", "site"} <= set(design.missing)


def test_subjects_count_once_however_often_they_were_imaged() -> None:
    """If it fails, visits count as subjects, and p-values are too small."""
    people = table()
    names = [f"s{number:02d}" for number in range(39, -1, -1)]
    means = SubjectMeans(names + names)
    assert means.subjects == tuple(reversed(names))
    twice = pd.concat([people, people], ignore_index=True)
    once = people.iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(means.table(twice), once)
    values = stream("visits").normal(size=(40, 2))
    assert np.array_equal(means.of(np.concatenate([values, values])), values[::-1])
    assert np.array_equal(SubjectMeans(names).of(values), values[::-1])
    later = np.concatenate([values, values + 2])
    assert_allclose(means.of(later), values[::-1] + 1)
