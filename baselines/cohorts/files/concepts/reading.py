"""Concepts that a ``cohort.toml`` offers: folders of images, a condition, or a pasted patch."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from baselines.cohorts.files.cohort_toml import CohortFile
from baselines.cohorts.files.concepts.patches import paste_patch
from baselines.cohorts.files.fitting import FittedMask
from baselines.cohorts.files.formats.reading import ScanReader
from baselines.cohorts.files.formats.scan import Source
from baselines.cohorts.files.layout import find_layout
from baselines.cohorts.files.window import find_window
from benchmark.arrays import BoolArray
from benchmark.cohort import Cohort
from benchmark.concept import Concept, ConceptImages
from benchmark.errors import CohortError
from benchmark.records.toml_file import list_some

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*(\w+)\s*(==|!=|>=|<=|>|<)\s*(\S.*?)\s*", re.ASCII)


def read_concepts(folder: Path, recipe: CohortFile, cohort: Cohort) -> dict[str, Concept]:
    """Return the concepts that a cohort's file describes, by name.

    Args:
        folder: Folder of the ``cohort.toml``.
        recipe: Contents of the recipe.
        cohort: The cohort without concepts.

    Raises:
        CohortError: If a folder or an image cannot be read or does not fit the cohort's images, or
            a condition is not understood.
    """
    concepts = {}
    for name, rule in recipe.concept.items():
        if rule.where is not None:
            present, absent = _of_table(name, rule.where, cohort)
            paired = False
        elif rule.patch is not None:
            present, absent = paste_patch(name, folder / rule.patch, rule.place, recipe, cohort)
            paired = True
        else:
            sets = (("with", rule.present), ("without", rule.without))
            present, absent = (
                _of_folder(f"{which} the concept {name!r}", folder / (path or ""), recipe, cohort)
                for which, path in sets
            )
            paired = present.subjects == absent.subjects
        added = None if rule.added is None else np.full(len(present), rule.added)
        concepts[name] = Concept(
            present, absent, paired, rule.description, rule.nuisance, rule.covariates, added
        )
    return concepts


def _of_table(name: str, condition: str, cohort: Cohort) -> tuple[ConceptImages, ConceptImages]:
    """Return the images of subjects that meet a condition, and of those that do not.

    They are the first images of subjects outside the test split. Sets are compared within group
    and split: what tells the groups apart is no concept of the condition, and a network projects
    the images that it was trained on farther apart.
    """
    people = cohort.participants
    eligible = (people["split"] != "test").to_numpy() & ~people["subject"].duplicated().to_numpy()
    holds, known = _evaluate(condition, name, people)
    strata = [f"{row.group} {row.split}" for row in people.itertuples()]

    def chosen(mask: BoolArray) -> ConceptImages:
        rows = np.flatnonzero(mask & eligible & known)
        subjects = tuple(cohort.subjects[row] for row in rows)
        return ConceptImages(cohort.images[rows], subjects, tuple(strata[row] for row in rows))

    return chosen(holds), chosen(~holds)


def _evaluate(condition: str, name: str, people: pd.DataFrame) -> tuple[BoolArray, BoolArray]:
    """Return which rows meet a condition, and of which that is known."""
    holds, known = np.ones(len(people), dtype=np.bool_), np.ones(len(people), dtype=np.bool_)
    for part in re.split(r"\s+and\s+", condition):
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise CohortError(
                f"The concept {name!r} holds where {part!r}; a comparison of a column with a value "
                "was expected, such as 'age > 75', or several joined by 'and'."
            )
        column, sign, text = match.groups()
        if column not in people.columns:
            raise CohortError(
                f"The concept {name!r} compares the column {column!r}, but the table has "
                f"{list_some(map(str, people.columns))}."
            )
        values = people[column]
        value: object = text.strip("'\"")
        if pd.api.types.is_numeric_dtype(values):
            try:
                value = float(text)
            except ValueError as error:
                raise CohortError(
                    f"The concept {name!r} compares the numbers of {column!r} with {text!r}."
                ) from error
        elif sign not in ("==", "!="):
            raise CohortError(
                f"The concept {name!r} orders the texts of {column!r}; they can only be equal, as "
                f"in '{column} == {text}', or not."
            )
        holds &= _COMPARISONS[sign](values, value).to_numpy(dtype=np.bool_)
        known &= values.notna().to_numpy()
    return holds, known


def _of_folder(title: str, folder: Path, recipe: CohortFile, cohort: Cohort) -> ConceptImages:
    """Return the images of a folder, in the order of their names, read as the cohort's are."""
    if not folder.is_dir():
        raise CohortError(f"The folder {folder} of images {title} does not exist.")
    if not recipe.foreground.whole and recipe.intensity.percentiles is not None:
        raise CohortError(
            f"The images {title} are files without a foreground, of which intensity = percentiles "
            "cannot be taken; give intensity = { low = …, high = … }."
        )
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    images, subjects = [], []
    with ScanReader() as scans:
        for path in paths:
            scan = scans.read(Source(path, f"image {title}"))
            layout = find_layout(scan, recipe)
            if layout.shape != cohort.shape:
                raise CohortError(
                    f"The {scan.source} becomes an array {list(layout.shape)}, but the images of "
                    f"the cohort are {list(cohort.shape)}."
                )
            whole = np.ones(layout.shape, dtype=np.bool_)
            window = find_window(scan, FittedMask(whole, None), layout, recipe.intensity)
            images.append(window.scale(layout.arrange(scan.voxels))[None])
            subjects.append(_subject_of(path, cohort))
    if not images:
        raise CohortError(f"The folder {folder} of images {title} is empty.")
    return ConceptImages(np.stack(images), tuple(subjects))


def _subject_of(path: Path, cohort: Cohort) -> str:
    """Return whose image a file is: the subject whose name it begins with, else its own name."""
    name = path.name.partition(".")[0]
    known = [
        each for each in set(cohort.subjects) if re.match(rf"{re.escape(each)}(?![^\W_])", name)
    ]
    return max(known, key=len, default=name)
