"""How covariates are spread between the groups, and what each of them gives away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from benchmark.arrays import FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.classification import RESAMPLES, Predicted
from benchmark.training.learning_curve import auroc_within_folds, folds_by_subject
from benchmark.training.shortcuts import SITE_WORDS

_MOST_LEVELS = 20  # values of a category, beyond which text is as good as a name
_FEWEST_SUBJECTS = 2  # of each group, below which nothing can be held out


@dataclass(frozen=True)
class CovariateFinding:
    """How well one covariate alone tells the groups apart.

    Attributes:
        name: Column of the table of participants.
        kind: ``"number"``, whose AUROC is that of its ranks, above 0.5 where cases have larger
            values; ``"category"``, whose AUROC is that of the share of cases among the other
            subjects of the same value, cross-validated by subject in five folds; or ``"name"``,
            text with more than 20 different values, which has no AUROC.
        auroc: AUROC over all images with a value; NaN where it does not exist.
        low: Lower limit of the 95 % interval over subjects, resampled within groups.
        high: Upper limit of the same interval.
        n_missing: Number of images without a value.
    """

    name: str
    kind: Literal["number", "category", "name"]
    auroc: float
    low: float
    high: float
    n_missing: int


def describe_covariates(cohort: Cohort) -> list[CovariateFinding]:
    """Return how well each covariate alone tells the groups apart, by name.

    A covariate that differs between the groups is a confounder: a network may have learned it
    instead of the disease.

    Args:
        cohort: Cohort; where a group has fewer than two subjects no AUROC exists.
    """
    order = np.argsort(np.array(cohort.keys), kind="stable")
    table = cohort.covariates.rename(columns=str).iloc[order]
    subjects, groups = [cohort.subjects[row] for row in order], cohort.groups[order]
    return [_describe(table[name], subjects, groups) for name in sorted(table.columns)]


def _describe(column: pd.Series, subjects: list[str], groups: Rows) -> CovariateFinding:
    name, unknown = str(column.name), (math.nan,) * 3
    kind = _kind_of(column)
    missing = column.isna().to_numpy()
    if kind == "number":
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        missing = ~np.isfinite(numbers)
    known = np.flatnonzero(~missing)
    count, owners = int(missing.sum()), [subjects[row] for row in known]
    smallest = min(len({subjects[row] for row in known if groups[row] == g}) for g in (0, 1))
    if kind == "name" or smallest < _FEWEST_SUBJECTS:
        return CovariateFinding(name, kind, *unknown, count)
    bootstrap = SubjectBootstrap(owners, RESAMPLES, groups[known])
    if kind == "number":
        auroc = bootstrap.auroc(numbers[known], groups[known])
        return CovariateFinding(name, kind, auroc.estimate, auroc.low, auroc.high, count)
    folds = list(folds_by_subject(groups[known], owners))
    levels = column.iloc[known].astype(str).to_numpy()
    margins = np.full(len(known), np.nan)
    for rows, rates in _held_out_rates(levels, groups[known], folds):
        margins[rows] = rates
    predicted, tested = Predicted(groups[known], margins), [test for _, test in folds]
    metric = auroc_within_folds(predicted, tested, bootstrap)
    estimate, low, high = (
        math.nan if value is None else value for value in (metric.estimate, metric.low, metric.high)
    )
    return CovariateFinding(name, kind, estimate, low, high, count)


def _held_out_rates(
    levels: npt.NDArray[np.generic], groups: Rows, folds: list[tuple[Rows, Rows]]
) -> Iterator[tuple[Rows, FloatArray]]:
    """Yield the rows of each fold with the share of cases among others of the same value.

    The share counts one more subject at the overall rate (Micci-Barreca 2001), so that a value
    which nobody else has tells nothing.
    """
    for train, test in folds:
        overall = float(groups[train].mean())
        rates = {}
        for level in np.unique(levels[test]):
            members = groups[train][levels[train] == level]
            rates[level] = (members.sum() + overall) / (len(members) + 1)
        yield test, np.array([rates[level] for level in levels[test]])


def _kind_of(column: pd.Series) -> Literal["number", "category", "name"]:
    levels = column.nunique()
    is_site = any(word in str(column.name).lower() for word in SITE_WORDS)
    is_number = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    if is_number and not (is_site and levels <= _MOST_LEVELS):
        return "number"
    return "category" if levels <= _MOST_LEVELS else "name"
