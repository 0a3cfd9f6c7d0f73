"""The design matrix of what a comparison is adjusted for, and residuals given it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.arrays import BoolArray, FloatArray
from benchmark.errors import InputError, NotAssessableError

COVARIATES = ("age", "sex", "tiv", "scanner", "site")
"""Columns of a participants table that comparisons are adjusted for, where they are present."""

MOST_LEVELS = 10
"""Levels up to which a scanner or a site is a fixed effect where a random one can be fitted."""

GROUP_DETERMINED = "a covariate determines the group"

_CATEGORIES = ("sex", "scanner", "site")  # categories also where they are written as numbers
_LARGEST_CONDITION = 1e6
# What a least-squares fit leaves of a column that it explains: rounding of single-precision maps.
_NOTHING_LEFT = 1e-6


@dataclass(frozen=True)
class Design:
    """Columns that a comparison is adjusted for, the intercept first.

    Attributes:
        matrix: [n, p] columns of full rank: numbers in units of their standard deviation, and
            categories as one indicator for each level but the first.
        terms: Name of the term that each column belongs to, [p].
        missing: Covariates that the table lacks, or knows of nobody.
        constant: Covariates that are the same for every subject, which nothing can be adjusted for.
        redundant: Covariates that add nothing to those before them, such as a site that is also
            the scanner.
        random: Categories with too many levels for fixed effects, left to a random intercept.
    """

    matrix: FloatArray
    terms: tuple[str, ...]
    missing: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()
    redundant: tuple[str, ...] = ()
    random: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """Terms beside the intercept, each once."""
        return tuple(dict.fromkeys(self.terms[1:]))

    @property
    def degrees_of_freedom(self) -> int:
        """Degrees of freedom n − p of the residuals."""
        subjects, columns = self.matrix.shape
        return int(subjects - columns)

    @cached_property
    def basis(self) -> FloatArray:
        """Orthonormal basis [n, p] of the columns; the first is the constant 1/√n."""
        basis: FloatArray = np.linalg.qr(self.matrix)[0]
        basis *= np.sign(basis[0, 0])
        return basis

    @cached_property
    def leverages(self) -> FloatArray:
        """Diagonal of the hat matrix, [n]."""
        leverages: FloatArray = (self.basis**2).sum(axis=1)
        return leverages

    def residuals(self, values: npt.ArrayLike) -> FloatArray:
        """Return what least squares leaves of values [n] or [n, V].

        A column that the design explains but for rounding is left as 0, so that a correlation with
        it is 0 and not one with rounding errors.
        """
        rows = np.asarray(values, dtype=np.float64)
        if rows.shape[:1] != (len(self.matrix),):
            raise InputError(
                f"Expected a row for each of {len(self.matrix)} subjects but got shape "
                f"{list(rows.shape)}."
            )
        residuals = rows - self.basis @ (self.basis.T @ rows)
        # Once more: the first pass leaves rounding of the size of the values, not of what is left.
        residuals -= self.basis @ (self.basis.T @ residuals)
        sizes = np.sqrt((rows**2).sum(axis=0))
        left = np.sqrt((residuals**2).sum(axis=0))
        cleaned: FloatArray = np.where(left > _NOTHING_LEFT * sizes, residuals, 0.0)
        return cleaned


def nuisance_design(
    table: pd.DataFrame,
    groups: npt.ArrayLike | None = None,
    *,
    extra: Mapping[str, npt.ArrayLike] | None = None,
    covariates: Sequence[str] = COVARIATES,
    most_levels: int | None = None,
) -> Design:
    """Return the design of the covariates that a table has, and of what else is asked for.

    Args:
        table: A row for each subject; see ``SubjectMeans.table`` where some have several.
        groups: [n] group of each subject, which becomes the column ``group``.
        extra: Further numbers [n] by name, such as the output φ.
        covariates: Columns to adjust for, where the table has them and they vary.
        most_levels: Largest number of levels of a scanner or site that become columns. All of them
            do unless it is given.

    Raises:
        InputError: If a value is missing; see ``complete_rows``.
        NotAssessableError: If the covariates determine the group (the condition number exceeds
            10⁶), or determine a number of ``extra`` together with the group.
    """
    kinds: dict[str, list[str]] = {"missing": [], "constant": [], "redundant": [], "random": []}
    columns, terms = [np.ones(len(table))], ["intercept"]
    for name in covariates:
        if not _is_known(table, name):
            kinds["missing"].append(name)
            continue
        if table[name].isna().any():
            raise InputError(f"Expected a value of {name} for every subject but some lack it.")
        if table[name].nunique() < 2:
            kinds["constant"].append(name)
            continue
        added = _columns(table[name], name)
        if name in ("scanner", "site") and len(added) >= (most_levels or np.inf):
            kinds["random"].append(name)
            continue
        kept = [column for column in added if _is_new(columns, column)]
        columns += kept
        terms += [name] * len(kept)
        if not kept:
            kinds["redundant"].append(name)
    demanded: dict[str, npt.ArrayLike] = {} if groups is None else {"group": groups}
    for name, values in {**demanded, **(extra or {})}.items():
        column = _standardise(np.asarray(values, dtype=np.float64))
        if not _is_new(columns, column):
            raise NotAssessableError(
                f"{GROUP_DETERMINED}{_culprits(columns, terms, column)}"
                if name == "group"
                else f"{name} follows from what is adjusted for"
            )
        columns.append(column)
        terms.append(name)
    if len(columns) >= len(table):
        raise NotAssessableError(
            f"{len(table)} subjects are too few to adjust for {len(columns) - 1} columns"
        )
    return Design(
        np.column_stack(columns),
        tuple(terms),
        **{kind: tuple(names) for kind, names in kinds.items()},
    )


def complete_rows(table: pd.DataFrame, covariates: Sequence[str] = COVARIATES) -> BoolArray:
    """Return which rows of a table [n] have a value of each covariate that it has.

    A column without a single value is none that it has.
    """
    present = [name for name in covariates if _is_known(table, name)]
    complete: BoolArray = table[present].notna().all(axis=1).to_numpy(dtype=bool)
    return complete


def gaps(table: pd.DataFrame, columns: Sequence[str] = COVARIATES) -> str:
    """Return what rows are left out for, such as ``"; 22 lack age or sex"``; empty if none is."""
    known = [name for name in columns if _is_known(table, name)]
    lacking = table[known].isna()
    names = [name for name in known if lacking[name].any()]
    return f"; {int(lacking.any(axis=1).sum())} lack {' or '.join(names)}" if names else ""


def _culprits(columns: Sequence[FloatArray], terms: Sequence[str], group: FloatArray) -> str:
    """Return which terms determine the group by themselves, such as ``": sex"``."""
    alone = []
    for term in dict.fromkeys(terms[1:]):
        own = [column for column, name in zip(columns, terms, strict=True) if name == term]
        if not _is_new([columns[0], *own], group):
            alone.append(term)
    return f": {', '.join(alone)}" if alone else ""


def _is_known(table: pd.DataFrame, name: str) -> bool:
    return name in table.columns and bool(table[name].notna().any())


class SubjectMeans:
    """Means over the images of each subject, in the sorted order of subjects.

    Args:
        subjects: [N] subject of each image; may repeat.

    Attributes:
        subjects: [n] each subject once, sorted.
    """

    def __init__(self, subjects: Sequence[str]) -> None:
        unique, self._index = np.unique(np.asarray(subjects, dtype=np.str_), return_inverse=True)
        self.subjects: tuple[str, ...] = tuple(unique.tolist())
        self._counts = np.bincount(self._index, minlength=len(unique))

    def of(self, values: npt.ArrayLike) -> FloatArray:
        """Return the means over images [N, ...] of each subject, [n, ...]."""
        rows = np.asarray(values, dtype=np.float64)
        if len(rows) == len(self.subjects):  # exact where each has one image
            return rows[np.argsort(self._index)]
        sums = np.zeros((len(self.subjects), *rows.shape[1:]))
        np.add.at(sums, self._index, rows)
        means: FloatArray = sums / self._counts.reshape(-1, *[1] * (rows.ndim - 1))
        return means

    def table(self, images: pd.DataFrame) -> pd.DataFrame:
        """Return a table of subjects: means of numbers, and the most frequent category.

        Of equally frequent categories the first in sorted order stands.
        """
        by_subject = images.groupby(self._index, sort=True)
        columns = {
            name: by_subject[name].mean()
            if pd.api.types.is_numeric_dtype(images[name]) and name not in _CATEGORIES
            else by_subject[name].agg(_most_frequent)
            for name in images.columns
        }
        return pd.DataFrame(columns).reset_index(drop=True)


def _most_frequent(values: pd.Series) -> object:
    modes = values.mode()
    return modes.iloc[0] if len(modes) else None


def _columns(values: pd.Series, name: str) -> list[FloatArray]:
    """Return the columns of a covariate."""
    if name not in _CATEGORIES and pd.api.types.is_numeric_dtype(values):
        return [_standardise(values.to_numpy(dtype=np.float64))]
    levels = sorted(values.unique().tolist(), key=str)
    return [(values == level).to_numpy(dtype=np.float64) for level in levels[1:]]


def _standardise(values: FloatArray) -> FloatArray:
    above = values - values.mean()
    deviation = float(above.std())
    standardised: FloatArray = above / deviation if deviation > 0 else above
    return standardised


def _is_new(columns: Sequence[FloatArray], column: FloatArray) -> bool:
    """Return whether the columns stay well conditioned with another."""
    matrix = np.column_stack([*columns, column])
    sizes = np.linalg.norm(matrix, axis=0)
    if not sizes.all() or matrix.shape[1] > len(matrix):
        return False
    return bool(np.linalg.cond(matrix / sizes) <= _LARGEST_CONDITION)
