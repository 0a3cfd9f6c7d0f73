"""Division of a cohort's subjects into splits: made by strata, written beside the cohort, read."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from baselines.cohorts.files.tables.delimited import read_table
from benchmark.cohort import SPLITS, split_by_subject
from benchmark.errors import CohortError
from benchmark.records.files import write_text
from benchmark.records.toml_file import list_some

SPLITS_FILE = "splits.tsv"

# Any run of subjects along this cycle, not only the first ones, is within one subject of
# 60/20/20, so that no stratum is starved, however small. Test comes before validation, since a
# cohort can do without the latter.
_CYCLE = ("train", "test", "train", "validation", "train")
_ALIKE = {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "development": "validation",
    "tune": "validation",
    "tuning": "validation",
    "testing": "test",
    "holdout": "test",
}


def divide(
    rows: Sequence[Mapping[str, str]],
    groups: tuple[str, str],
    by: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, str]:
    """Return the split of each subject: 60 % train, 20 % validation, 20 % test.

    Subjects are divided within each group, and within the values of the columns ``by``, where each
    stratum is within one subject of these shares. The division depends on the subjects, their
    strata and ``seed``, not on the order of the rows. A subject with several rows counts to the
    smallest of its values.

    Args:
        rows: Row of each image, as ``participants.read_rows`` gives them.
        groups: Reference group and case group, as the column ``group`` calls them.
        by: Columns such as ``"site"``.
        seed: Seed of the division.

    Raises:
        CohortError: If a column of ``by`` is missing, or leaves nothing to divide.
    """
    subjects = [row["participant_id"] for row in rows]
    if not by:
        numbers = [groups.index(row["group"]) for row in rows]
        return dict(zip(subjects, split_by_subject(subjects, numbers, seed), strict=True))
    for column in by:
        if rows and column not in rows[0]:
            raise CohortError(
                f"The division by {column!r} needs a column of that name in the table of "
                f"participants; it has {list_some(rows[0])}."
            )
        if column in ("participant_id", "split"):
            raise CohortError(
                f"A division by {column!r} leaves nothing to divide; name a column such as 'site'."
            )
    strata: dict[str, tuple[str, ...]] = {}
    for row in rows:
        stratum = (row["group"], *(row[column] for column in by))
        subject = row["participant_id"]
        strata[subject] = min(strata.get(subject, stratum), stratum)
    division = {}
    for group in groups:
        members = [subject for subject, stratum in strata.items() if stratum[0] == group]
        members.sort(key=lambda subject: (strata[subject], _draw(seed, subject)))
        for index, subject in enumerate(members):
            division[subject] = _CYCLE[index % len(_CYCLE)]
    return {subject: division[subject] for subject in dict.fromkeys(subjects)}


def write_splits(path: Path, division: Mapping[str, str]) -> None:
    """Write the split of each subject as a table, whole or not at all.

    Raises:
        StoreError: If it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(("participant_id", "split"))
    writer.writerows((subject, division[subject]) for subject in sorted(division))
    write_text(path, text.getvalue())


def read_splits(path: Path) -> dict[str, str]:
    """Return the split of each subject of a table.

    Raises:
        CohortError: If it is missing, is no such table, lists a subject twice, or names an unknown
            split.
    """
    table = read_table(path, ("participant_id", "split"))
    division: dict[str, str] = {}
    lines: dict[str, int] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        subject, split = row["participant_id"], row["split"]
        where = f"The table {path} puts {subject!r} (line {line})"
        if subject in lines:
            raise CohortError(
                f"{where} into {split!r}, but lists it already in line {lines[subject]}."
            )
        check_split(split, where)
        division[subject], lines[subject] = split, line
    return division


def check_split(split: str, where: str) -> None:
    """Refuse what is no split, with the name that may be meant.

    Args:
        split: Cell of a table.
        where: Beginning of the message, such as ``"The table splits.tsv puts 's1' (line 2)"``.

    Raises:
        CohortError: If it is none of train, validation and test.
    """
    if split in SPLITS:
        return
    meant = name_split(split)
    hint = f"; write {meant!r}" if meant in SPLITS else ""
    raise CohortError(f"{where} into the split {split[:60]!r}{hint}; known: {', '.join(SPLITS)}.")


def name_split(text: str) -> str:
    """Return the split that a text means, such as train for Training, or the text itself."""
    return _ALIKE.get(text.lower(), text.lower())


def _draw(seed: int, subject: str) -> bytes:
    """Return the place of a subject in its stratum, as ``split_by_subject`` draws it."""
    return hashlib.sha256(f"{seed}:{subject}".encode()).digest()
