"""Writes a proposed ``cohort.toml``, and the tables that are missing beside it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from baselines.cohorts.files.cohort_toml import read_cohort_file
from baselines.cohorts.files.participants import PARTICIPANTS, format_rows, read_rows
from baselines.cohorts.files.proposal.draft import Draft, make_draft
from baselines.cohorts.files.proposal.listing import Listing, list_images
from baselines.cohorts.files.proposal.sources import Sources, Spec, find_sources
from baselines.cohorts.files.proposal.stacks import find_stacks
from baselines.cohorts.files.proposal.text import format_draft
from baselines.cohorts.files.splits import SPLITS_FILE, divide, write_splits
from baselines.cohorts.files.tables.delimited import read_table
from benchmark.errors import CohortError
from benchmark.records.files import write_text

_MOST_VALUES = 6  # values of a column that may name groups, and tables that are told of
_TABLE_ENDINGS = (".tsv", ".csv", ".xlsx", ".xls", ".ods")


@dataclass(frozen=True)
class Written:
    """What was written, and what the user is told of it.

    Attributes:
        toml_path: The ``cohort.toml``.
        tables: Tables that were written beside it.
        rows: Findings by name.
        guesses: Guesses that the user must check, a sentence each.
        undecided: Gaps that the user must fill in, a sentence each.
        is_complete: Whether nothing must be filled in before it can be read.
        advice: Advice on what to do next.
    """

    toml_path: Path
    tables: tuple[Path, ...]
    rows: Mapping[str, str]
    guesses: tuple[str, ...]
    undecided: tuple[str, ...]
    is_complete: bool
    advice: str


def write_proposal(folder: Path, out: Path | None, report: Callable[[str], None]) -> Written:
    """Write a ``cohort.toml`` for a folder of images; the images are never touched.

    ``participants.tsv`` and ``splits.tsv`` are written beside it where there are none. If anything
    fails, nothing stays behind.

    Args:
        folder: Folder of images.
        out: Path of the ``cohort.toml``; in the folder if None.
        report: Listener that is called with a line on the progress.

    Raises:
        CohortError: If the folder holds no images, or a ``cohort.toml`` exists already.
        StoreError: If a file cannot be written.
    """
    folder = Path(folder)
    toml_path = folder / "cohort.toml" if out is None else Path(out)
    if toml_path.is_dir():
        toml_path = toml_path / "cohort.toml"
    if os.path.lexists(toml_path):
        raise CohortError(
            f"{toml_path} exists already and is not overwritten; remove it, or name another file "
            "by --out."
        )
    listing = list_images(folder, report)
    table, unused = _find_table(folder, toml_path.parent)
    rows, fault = _read_table(table)
    sources = find_stacks(listing, rows)
    if sources is None:
        sources = find_sources(listing, listing.paths, rows, report)
    draft = make_draft(sources, bool(rows), fault)
    draft.undecided += [*unused, *listing.remarks]
    prefix = os.path.relpath(folder, toml_path.parent).replace(os.sep, "/")
    if prefix != ".":
        _move_paths(draft, prefix)
    return _write(draft, toml_path, table, bool(fault) or not sources.is_readable, listing)


def _find_table(folder: Path, parent: Path) -> tuple[Path | None, list[str]]:
    """Return the table of participants that lies there, and why another table is not used."""
    paths = [parent / PARTICIPANTS, folder / PARTICIPANTS]
    paths += sorted(folder.glob("participants.csv")) + sorted(folder.glob("participants.txt"))
    if named := [path for path in paths if path.is_file()]:
        return named[0], []
    others = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _TABLE_ENDINGS and path.name != SPLITS_FILE and path.is_file()
    )
    fitting, unused = [], []
    for path in others:
        try:
            read_table(path, ("participant_id",))
            fitting.append(path)
        except CohortError as error:
            unused.append(
                f"{path.name} is not used as the table of subjects: {error} To use it, mend it, "
                f"remove cohort.toml and {PARTICIPANTS}, and run `cohort init` again."
            )
    if len(fitting) == 1:
        return fitting[0], []
    unused += [
        f"{path.name} is one of several tables with a column participant_id; name one of them by "
        "participants in the cohort.toml."
        for path in fitting
    ]
    return None, unused[:_MOST_VALUES]


def _read_table(table: Path | None) -> tuple[list[dict[str, str]], str]:
    """Return the rows of a table, and why it cannot be used as it is."""
    if table is None:
        return [], ""
    try:
        return read_rows(table), ""
    except CohortError as error:
        fault = str(error)
    try:
        rows = read_table(table, ("participant_id",)).rows
    except CohortError:
        return [], fault
    return [{**row, "group": row.get("group", "")} for row in rows], fault + _suggest(rows)


def _suggest(rows: list[dict[str, str]]) -> str:
    """Return which columns may hold the groups."""
    columns = []
    for name in rows[0] if rows else ():
        values = sorted({row[name] for row in rows} - {"", "n/a"})
        if name != "group" and 2 <= len(values) <= _MOST_VALUES < len(rows):
            columns.append(f"{name} ({', '.join(values)})")
    return f" Columns that may hold them: {'; '.join(columns)}." if columns else ""


def _move_paths(draft: Draft, prefix: str) -> None:
    """Let paths begin at the folder of the ``cohort.toml``."""
    specs: list[Spec] = [draft.sources.image, draft.foreground[0]]
    specs += [*draft.rois.values(), *draft.offered_rois.values(), *draft.controls.values()]
    for spec in {id(spec): spec for spec in specs}.values():
        if "path" in spec:
            spec["path"] = f"{prefix}/{spec['path']}"
    draft.labels = {f"{prefix}/{path}": counts for path, counts in draft.labels.items()}


def _write(
    draft: Draft, toml_path: Path, table: Path | None, is_faulty: bool, listing: Listing
) -> Written:
    parent, rows = toml_path.parent, draft.sources.rows
    written: list[Path] = []
    named = None if table in (None, parent / PARTICIPANTS) else os.path.relpath(table, parent)
    splits = parent / SPLITS_FILE
    may_divide = draft.has_groups and not is_faulty and "split" not in rows[0]
    text = format_draft(draft, _name_of(listing.folder), named, may_divide or splits.exists())
    try:
        # Each is written whole or not at all, so only what was written is taken away again.
        if table is None:
            write_text(parent / PARTICIPANTS, format_rows(rows))
            written.append(parent / PARTICIPANTS)
        if may_divide and not splits.exists():
            write_splits(splits, divide(rows, draft.groups))
            written.append(splits)
        write_text(toml_path, text)
        written.append(toml_path)
        read_cohort_file(toml_path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return Written(
        toml_path=toml_path,
        tables=tuple(written[:-1]),
        rows=_describe(draft),
        guesses=tuple(draft.guesses),
        undecided=tuple(draft.undecided),
        is_complete=draft.has_groups and not is_faulty,
        advice=_advise(draft, toml_path, table or parent / PARTICIPANTS, is_faulty),
    )


def _advise(draft: Draft, toml_path: Path, table: Path, is_faulty: bool) -> str:
    if is_faulty:
        return f"Mend {table}, then run `cohort inspect {toml_path}`."
    if not draft.has_groups:
        return f"Fill in the column group of {table}, then run `cohort inspect {toml_path}`."
    return f"Read {toml_path}, change what is wrong, then run `cohort inspect {toml_path}`."


def _describe(draft: Draft) -> dict[str, str]:
    """Return what was found, for a table."""
    sources: Sources = draft.sources
    subjects = {row["participant_id"] for row in sources.rows}
    sizes = Counter(row["group"] for row in sources.rows)
    described = {
        "images": f"{len(sources.rows)} of {len(subjects)} subjects, {sources.image['path']}",
        "shape of the first": " × ".join(map(str, sources.look.shape)),
        "values of the first": f"{sources.look.low:g} to {sources.look.high:g}",
        "groups": ", ".join(f"{size} {group}" for group, size in sizes.items()),
        "foreground": str(draft.foreground[0].get("path", "the whole image")),
    }
    for name, spec in draft.rois.items():
        rule = f", label {spec['label']}" if "label" in spec else ""
        control = " and its control" if name in draft.controls else ""
        described[f"region {name}"] = f"{spec['path']}{rule}{control}"
    return described


def _name_of(folder: Path) -> str:
    name = re.sub(r"[^\w.+-]+", "_", folder.resolve().name, flags=re.ASCII).strip("._")
    return name or "cohort"
