"""The table of a BIDS ``participants.tsv``, read and written."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from baselines.cohorts.files.cohort_toml import Split
from baselines.cohorts.files.splits import SPLITS_FILE, check_split, divide, name_split, read_splits
from baselines.cohorts.files.tables.columns import (
    MISSING,
    check_column,
    point_decimals,
    type_column,
)
from baselines.cohorts.files.tables.delimited import Table, read_table
from benchmark.cohort import SPLITS
from benchmark.errors import CohortError
from benchmark.records.toml_file import list_some, shorten

PARTICIPANTS = "participants.tsv"
SESSIONS = ("session", "visit")
"""Columns that tell a subject's images apart; they name files and are no covariates."""

_OWN = ("participant_id", "group", "split", *SESSIONS)
_TABLES = (".csv", ".txt", ".tab", ".xlsx", ".xls", ".ods")  # where there is no .tsv
_LONGEST_ID = 200  # characters; no file system takes names beyond 255 bytes


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return a table of participants as text, a mapping from column to cell for each image.

    Blanks around cells are left out. Decimal commas become points in a table separated by tabs or
    semicolons, where all of a column is written so.

    Raises:
        CohortError: If it is missing, is no table, lacks a column, lists an image twice, or has a
            subject whose name is none.
    """
    if not path.exists() and path.name == PARTICIPANTS:
        others = sorted(
            (other for other in path.parent.glob("participants.*") if other.suffix in _TABLES),
            key=lambda other: (_TABLES.index(other.suffix), other.name),
        )
        if others:
            read_table(others[0], ("participant_id", "group"))  # a workbook says how to save it
            raise CohortError(
                f"The table {path} cannot be read: there is no such file, but {others[0].name} "
                f"lies there; name it in cohort.toml, as in participants = "
                f'"{others[0].name}".'
            )
    table = read_table(path, ("participant_id", "group"))
    if table.rows and "subject" in table.rows[0]:
        raise CohortError(
            f"The table {path} has the column 'subject', which is reserved; call it participant_id "
            "if it names the subject, and otherwise something else."
        )
    _check_columns(table, path)
    _check_subjects(table, path)
    if table.delimiter != "," and table.rows:
        for name in table.rows[0]:
            if name not in _OWN:
                cells = point_decimals([row[name] for row in table.rows])
                for row, cell in zip(table.rows, cells, strict=True):
                    row[name] = cell
    return table.rows


def _check_columns(table: Table, path: Path) -> None:
    """Refuse a column that is meant as one of ``_OWN``, but would do nothing by its name."""
    columns = table.rows[0] if table.rows else {}
    for name in columns:
        if name not in _OWN and (own := name.casefold().replace(" ", "_")) in _OWN:
            raise CohortError(
                f"The table {path} has the column {name!r}; call it {own!r}, or otherwise if it is "
                "none."
            )
        cells = {row[name] for row in table.rows}
        splits = {name_split(cell) for cell in cells}
        if "split" not in columns and {"train", "test"} <= splits <= set(SPLITS):
            raise CohortError(
                f"The table {path} has the splits {', '.join(sorted(cells))} in the column "
                f"{name!r}; call it 'split', or they would do nothing."
            )


def _check_subjects(table: Table, path: Path) -> None:
    """Refuse names that are none or nearly another, and images that are listed twice."""
    listed: dict[tuple[str, ...], int] = {}
    spellings: dict[str, tuple[str, int]] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        if reason := _fault_of(row["participant_id"]):
            raise CohortError(
                f"The table {path} has the participant_id {shorten(repr(row['participant_id']))} "
                f"in line {line}; {reason}."
            )
        subject = row["participant_id"]
        alike = unicodedata.normalize("NFKC", subject).casefold()
        other, first = spellings.setdefault(alike, (subject, line))
        if other != subject:
            raise CohortError(
                f"The table {path} has the subjects {other!r} in line {first} and {subject!r} in "
                f"line {line}, whose names differ by capitals or by how letters are encoded alone; "
                "write one person's name in one way, and those of two in ways that differ by more."
            )
        image = (subject, *(row[name] for name in SESSIONS if name in row))
        if image in listed:
            raise CohortError(
                f"The table {path} lists {' '.join(image)!r} twice, in lines {listed[image]} and "
                f"{line}; several images of a subject need a column {' or '.join(SESSIONS)} that "
                "tells them apart."
            )
        listed[image] = line


def _fault_of(name: str) -> str | None:
    """Return why a text cannot name a subject, or None."""
    if name in MISSING:
        return "each row needs the name of its subject"
    if {"/", "\\"} & set(name) or name in (".", ".."):
        return (
            "a plain name without / and \\ was expected, since file names are made of it and must "
            "not lead out of the cohort's folder"
        )
    if any(unicodedata.category(character) in ("Cc", "Cf") for character in name):
        return "a name without control characters and invisible ones was expected"
    if len(name) > _LONGEST_ID:
        return f"a name of at most {_LONGEST_ID} characters was expected"
    return None


def build_participants(
    rows: Sequence[Mapping[str, str]],
    groups: tuple[str, str],
    path: Path,
    split: Split | None = None,
) -> pd.DataFrame:
    """Return the participants of a cohort, covariates as numbers where all of a column is one.

    Args:
        rows: Rows of the table.
        groups: Reference group and case group.
        path: Path of the table; a table of splits lies beside it.
        split: Division of the subjects where the table has no column ``split``.

    Raises:
        CohortError: If a group or a split is unknown, a column is nearly one of numbers, or a
            table of splits does not fit the subjects.
    """
    for row in rows:
        if row["group"] not in groups:
            alike = [name for name in groups if name.casefold() == row["group"].casefold()]
            hint = f"; did you mean {alike[0]!r}?" if alike else ";"
            raise CohortError(
                f"The table {path} puts {shorten(repr(row['participant_id']))} into the group "
                f"{shorten(repr(row['group']))}{hint} known: {', '.join(groups)}; mend the "
                "table, or groups in the cohort file."
            )
    _check_groups(rows, path)
    subjects = [row["participant_id"] for row in rows]
    columns: dict[str, Sequence[object]] = {
        "subject": subjects,
        "group": [groups.index(row["group"]) for row in rows],
        "split": _splits(rows, groups, path, split),
    }
    for name in rows[0]:
        if name not in _OWN:
            cells = [row[name] for row in rows]
            check_column(name, cells, subjects, f"The table {path}")
            columns[name] = type_column(cells)
    return pd.DataFrame(columns)


def _check_groups(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Refuse subjects that are in one group at one visit, and in the other at another."""
    group_of: dict[str, str] = {}
    both: dict[str, tuple[str, str]] = {}
    for row in rows:
        subject, group = row["participant_id"], row["group"]
        if group_of.setdefault(subject, group) != group:
            both.setdefault(subject, (group_of[subject], group))
    if both:
        subject, names = next(iter(both.items()))
        raise CohortError(
            f"The table {path} has {list_some(map(repr, both))} in both groups, {subject!r} in "
            f"{names[0]} and {names[1]}; groups are compared as independent, so leave out the "
            "visits in one of them."
        )


def _splits(
    rows: Sequence[Mapping[str, str]], groups: tuple[str, str], path: Path, split: Split | None
) -> list[str]:
    """Return the split of each row: the table's own, that of a file beside it, or a new one."""
    subjects = [row["participant_id"] for row in rows]
    division = _division_beside(path, split, dict.fromkeys(subjects))
    if "split" in rows[0]:
        own: dict[str, str] = {}
        for row in rows:
            subject, cell = row["participant_id"], row["split"]
            check_split(cell, f"The table {path} puts {subject!r}")
            if own.setdefault(subject, cell) != cell:
                raise CohortError(
                    f"The table {path} has subject {subject!r} in more than one split, "
                    f"{own[subject]!r} and {cell!r}; a subject must stay in one, or scores leak."
                )
            if division is not None and division[subject] != cell:
                raise CohortError(
                    f"The table {path} puts {subject!r} into the split {cell!r}, but the table of "
                    f"splits beside it into {division[subject]!r}; remove one of both."
                )
        return [row["split"] for row in rows]
    by, seed = (split.by, split.seed) if split is not None else ((), 0)
    if division is None:
        division = divide(rows, groups, by, seed)
    elif (by or seed) and division != divide(rows, groups, by, seed):
        # Otherwise a seed or a column that is added later would do nothing, without a word.
        raise CohortError(
            f"The table of splits beside {path} is not the division by the seed {seed} and the "
            f"columns {list_some(by)} of cohort.toml; remove the table to divide anew, or these "
            "keys to keep it."
        )
    return [division[subject] for subject in subjects]


def _division_beside(
    path: Path, split: Split | None, subjects: Mapping[str, object]
) -> dict[str, str] | None:
    """Return what a table of splits says of these subjects, or None where there is none."""
    splits_path = path.parent / (SPLITS_FILE if split is None else split.path)
    if not splits_path.exists() and (split is None or "path" not in split.model_fields_set):
        return None
    if split is None:
        raise CohortError(
            f"The table {splits_path} lies beside {path.name}, but cohort.toml does not use it; "
            "add a line [split] to cohort.toml, or remove the table."
        )
    division = read_splits(splits_path)
    remedy = (
        "mend it by hand, or, to divide everybody anew, remove it and the line path of [split] in "
        "cohort.toml"
    )
    if missing := [subject for subject in subjects if subject not in division]:
        raise CohortError(
            f"The table {splits_path} lacks the subject(s) {list_some(missing)}; {remedy}."
        )
    if surplus := [subject for subject in division if subject not in subjects]:
        raise CohortError(
            f"The table {splits_path} has the subject(s) {list_some(surplus)}, which {path.name} "
            f"does not list; {remedy}."
        )
    return division


def format_rows(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the text of a ``participants.tsv``; floats are written so that none loses a bit.

    Raises:
        CohortError: If a cell holds a tab or a line break.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, delimiter="\t", lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        cells = [_cell(value) for value in row.values()]
        for name, cell in zip(row, cells, strict=True):
            if len(f"{cell}.".splitlines()) > 1 or "\t" in cell:
                raise CohortError(
                    f"The column {name!r} holds {cell!r}; a tab or line break fits in no table."
                )
        writer.writerow(cells)
    return lines.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (float, np.floating)):
        return "n/a" if math.isnan(value) else repr(float(value))
    return str(value)
