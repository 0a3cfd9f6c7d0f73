"""Contradictions between the rows of a table and the files that they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from baselines.cohorts.files.formats.scan import Source
from baselines.cohorts.files.participants import SESSIONS
from benchmark.errors import CohortError


def refuse_shared_images(
    rows: Sequence[Mapping[str, str]], sources: Sequence[Source], pattern: str
) -> None:
    """Refuse two rows that read one image.

    Links count as the file that they lead to.

    Args:
        rows: Rows of the table.
        sources: Image of each row.
        pattern: Pattern that the paths were made of.

    Raises:
        CohortError: If there are such; the message names both, and a column that the pattern may
            have forgotten.
    """
    first_rows: dict[tuple[Path, int | None, str | None], Mapping[str, str]] = {}
    for row, source in zip(rows, sources, strict=True):
        image = (_resolve(source.path), source.index, source.array)
        first = first_rows.setdefault(image, row)
        if first is row:
            continue
        forgotten = [name for name in SESSIONS if name in row and f"{{{name}}}" not in pattern]
        if "{participant_id}" not in pattern and first["participant_id"] != row["participant_id"]:
            forgotten.insert(0, "participant_id")
        hint = (
            f"; does the path {pattern!r} lack {{{forgotten[0]}}}?"
            if forgotten and source.index is None
            else "; each image may be listed once"
        )
        number = "" if source.index is None else f" number {source.index} of"
        raise CohortError(
            f"The images of {_name(first)} and {_name(row)} are{number} one file, {source.path}"
            f"{hint}" + ("" if hint.endswith("?") else ".")
        )


def _resolve(path: Path) -> Path:
    """Return the file that links lead to, or the path itself if they lead nowhere."""
    try:
        return path.resolve()
    # A loop of links, or a name that no file can have; reading it will say so.
    except (OSError, RuntimeError, ValueError):
        return path


def _name(row: Mapping[str, str]) -> str:
    sessions = "".join(f", {name} {row[name]}" for name in SESSIONS if name in row)
    return f"{row['participant_id']!r}{sessions}"
