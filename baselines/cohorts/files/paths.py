"""Paths of image and mask files, from their patterns and the table's cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath

from baselines.cohorts.files.cohort_toml import CohortFile
from benchmark.errors import CohortError
from benchmark.records.toml_file import list_some

# Columns that only say where a file lies, if a path names them.
_PLACES = ("file", "folder")


def naming_columns(recipe: CohortFile) -> set[str]:
    """Return columns that only say which file is read, or which of its images: no covariates."""
    files = [recipe.image, recipe.foreground, *recipe.rois.values(), *recipe.control_rois.values()]
    columns = {name for file in files for name in re.findall(r"\{([^{}]*)\}", str(file.index))}
    columns |= {name for name in _PLACES if any(f"{{{name}}}" in file.path for file in files)}
    return columns - {"participant_id", "group", "split"}


def fill(pattern: str, row: Mapping[str, str], title: str) -> str:
    """Return a pattern with a row's cells in place of the columns in braces.

    Raises:
        CohortError: If there is no such column, or a cell leads out of the folder.
    """

    def cell(match: re.Match[str]) -> str:
        column = match[1]
        if column not in row:
            raise CohortError(
                f"The path of the {title}, {pattern!r}, names the column {column!r}, but the table "
                f"has {list_some(row)}."
            )
        value = row[column]
        steps = {*PurePosixPath(value).parts, *PureWindowsPath(value).parts}
        if ".." in steps or PurePosixPath(value).is_absolute() or PureWindowsPath(value).anchor:
            raise CohortError(
                f"The {column} {value!r} in the table leads out of the cohort's folder; a name or "
                "a path inside it was expected."
            )
        return value

    return re.sub(r"\{([^{}]*)\}", cell, pattern)
