"""What a covariate alone gives away is measured over subjects, and not invented."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.cohort import Cohort
from benchmark.plugins.examples import build_cohort
from benchmark.training.covariates import CovariateFinding, describe_covariates


def _findings(cohort: Cohort, **columns: Any) -> dict[str, CovariateFinding]:
    people = cohort.participants.assign(**columns)
    cohort = replace(cohort, participants=people)
    return {finding.name: finding for finding in describe_covariates(cohort)}


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return build_cohort((12, 12), subjects=200)


def test_a_number_has_the_auroc_of_its_ranks(cohort: Cohort) -> None:
    """If it fails, an age difference between the groups is told too large or too small."""
    rng = np.random.Generator(np.random.PCG64(3))
    age = np.round(65 + 8 * cohort.groups + rng.normal(0, 8, len(cohort)))
    age[:6] = np.nan
    finding = _findings(cohort, age=age)["age"]
    expected = roc_auc_score(cohort.groups[6:], age[6:])
    assert finding.auroc == pytest.approx(expected)
    assert finding.low < expected < finding.high
    assert (finding.kind, finding.n_missing) == ("number", 6)


def test_a_category_is_judged_on_subjects_left_out(cohort: Cohort) -> None:
    """If it fails, a list of hospitals tells the groups apart by chance and alarms for nothing."""
    rng = np.random.Generator(np.random.PCG64(4))
    aurocs = []
    for _ in range(8):
        ward = rng.permutation(np.arange(200) % 15).astype(str)
        finding = _findings(cohort, ward=ward)["ward"]
        aurocs.append(finding.auroc)
    # The shares of the subjects themselves would give 0.64 here.
    assert np.mean(aurocs) == pytest.approx(0.5, abs=0.04)
    site = np.where(cohort.groups == 1, "north", "south")
    site[:20] = "north"
    finding = _findings(cohort, site=site)["site"]
    assert finding.kind == "category"
    assert finding.low > 0.9


def test_kinds_follow_from_values(cohort: Cohort) -> None:
    """If it fails, scanners are ranked by their number, or names of people are a shortcut."""
    findings = _findings(
        cohort,
        scanner=np.arange(200) // 2 % 4,
        smoker=np.arange(200) % 4 == 0,
        initials=[f"n{number}" for number in range(200)],
        empty=np.nan,
    )
    kinds = {name: finding.kind for name, finding in findings.items()}
    assert kinds == {
        "age": "number",
        "empty": "number",
        "initials": "name",
        "scanner": "category",
        "sex": "category",
        "smoker": "category",
    }
    assert math.isnan(findings["initials"].auroc)
    assert math.isnan(findings["empty"].auroc)
    assert findings["empty"].n_missing == 200


def test_the_order_of_rows_changes_nothing(cohort: Cohort) -> None:
    """If it fails, a table sorted otherwise gives other numbers."""
    turned = cohort.take(np.arange(len(cohort))[::-1])
    assert describe_covariates(turned) == describe_covariates(cohort)


def test_too_few_subjects_have_no_auroc() -> None:
    """If it fails, `cohort inspect` breaks on the small cohort that it should describe."""
    cohort = build_cohort((12, 12), subjects=4).take(np.array([0, 1, 2]))
    assert all(math.isnan(finding.auroc) for finding in describe_covariates(cohort))
