"""The table of a BIDS ``participants.tsv``, read and written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.cohort import split_by_subject
from benchmark.errors import CohortError

PARTICIPANTS = "participants.tsv"
SESSIONS = ("session", "visit")
"""Columns that tell a subject's images apart; they name files and are no covariates."""

_MISSING = frozenset({"", "n/a", "N/A", "NA", "nan", "NaN"})
_BOOLEANS = {"true": True, "false": False}
# A leading zero marks a code, such as site 007, and not a number.
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d*)")
_NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return a ``participants.tsv`` as text, a mapping from column to cell for each image.

    Raises:
        CohortError: If it is missing, is no table, lacks a column, or lists an image twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise CohortError(f"The table {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CohortError(f"The table {path} is no UTF-8 text: {error}.") from error
    cells = [line.split("\t") for line in lines if line.strip()]
    columns = cells[0] if cells else []
    if missing := [name for name in ("participant_id", "group") if name not in columns]:
        raise CohortError(
            f"The table {path} lacks the column(s) {', '.join(missing)}; "
            f"it has {', '.join(columns) or 'none'}."
        )
    if repeated := [name for name in columns if columns.count(name) > 1 or name == "subject"]:
        raise CohortError(f"The table {path} has the column {repeated[0]!r} twice or reserved.")
    for number, line in enumerate(cells):
        if len(line) != len(columns):
            raise CohortError(
                f"The table {path} has {len(line)} cells in row {number} but "
                f"{len(columns)} columns; are they separated by tabs?"
            )
    rows = [dict(zip(columns, line, strict=True)) for line in cells[1:]]
    listed: set[tuple[str, ...]] = set()
    for row in rows:
        image = (row["participant_id"], *(row[name] for name in SESSIONS if name in row))
        if image in listed:
            raise CohortError(
                f"The table {path} lists {' '.join(image)!r} twice; several images of a subject "
                f"need a column {' or '.join(SESSIONS)} that tells them apart."
            )
        listed.add(image)
    return rows


def build_participants(
    rows: Sequence[Mapping[str, str]], groups: tuple[str, str], path: Path
) -> pd.DataFrame:
    """Return the participants of a cohort, covariates as numbers where all of a column is one.

    Raises:
        CohortError: If a group is unknown.
    """
    for row in rows:
        if row["group"] not in groups:
            raise CohortError(
                f"The table {path} puts {row['participant_id']!r} into the group "
                f"{row['group']!r}; known: {', '.join(groups)}."
            )
    subjects = [row["participant_id"] for row in rows]
    numbers = [groups.index(row["group"]) for row in rows]
    has_splits = "split" in rows[0]
    splits = [row["split"] for row in rows] if has_splits else split_by_subject(subjects, numbers)
    columns: dict[str, Sequence[object]] = {"subject": subjects, "group": numbers, "split": splits}
    for name in rows[0]:
        if name not in ("participant_id", "group", "split", *SESSIONS):
            columns[name] = _typed([row[name] for row in rows])
    return pd.DataFrame(columns)


def _typed(cells: Sequence[str]) -> list[object]:
    """Return a column's cells as booleans, integers or floats where all of them are, or as text."""
    known = [cell for cell in cells if cell not in _MISSING]
    is_complete = len(known) == len(cells)
    if is_complete and all(cell in _BOOLEANS for cell in cells):
        return [_BOOLEANS[cell] for cell in cells]
    if is_complete and all(_INTEGER.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    numeric = all(_NUMBER.fullmatch(cell) for cell in known)
    return [math.nan if cell in _MISSING else float(cell) if numeric else cell for cell in cells]


def format_rows(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the text of a ``participants.tsv``; floats are written so that none loses a bit.

    Raises:
        CohortError: If a cell holds a tab or a line break.
    """
    lines = ["\t".join(rows[0])]
    for row in rows:
        cells = [_cell(value) for value in row.values()]
        for name, cell in zip(row, cells, strict=True):
            if len(f"{cell}.".splitlines()) > 1 or "\t" in cell:
                raise CohortError(
                    f"The column {name!r} holds {cell!r}; a tab or line break fits in no table."
                )
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (float, np.floating)):
        return "n/a" if math.isnan(value) else repr(float(value))
    return str(value)
