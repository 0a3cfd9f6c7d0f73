"""The folder of a report: replaced as a whole, and only where an earlier report wrote all of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.errors import StoreError
from benchmark.records.storage.owners import temporary_beside

MARKER = "report.json"
REPORT = "medsanity report"


def read_marker(folder: Path, kind: str = REPORT) -> dict[str, Any] | None:
    """Return what an earlier report left, or None where the folder is new or empty.

    Args:
        folder: Folder of the report.
        kind: Kind of report; one of another kind is refused as well.

    Raises:
        StoreError: If it is not a folder, or holds what no report wrote.
    """
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise StoreError(f"{folder} is a file; a folder was expected for the report.")
    # Hidden files are the system's, such as .DS_Store, and no reason to refuse.
    present = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    if not present:
        return None
    try:
        marker = json.loads((folder / MARKER).read_text("utf-8"))
        written = {MARKER, *marker["files"]} if marker["kind"] == kind else set()
    except (OSError, ValueError, KeyError, TypeError):
        written = set()
    if foreign := sorted(present - written):
        raise StoreError(
            f"The folder {folder} holds {foreign[0]!r}, which no {kind.split()[-1]} wrote; "
            f"choose a new or empty folder, or an earlier {kind.split()[-1]}."
        )
    return dict(marker)


def is_complete(folder: Path, marker: Mapping[str, Any], digest: str) -> bool:
    """Return whether the folder holds every file of the report with this digest."""
    return marker.get("digest") == digest and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in marker["files"].items()
    )


@contextmanager
def replace_folder(target: Path, digest: str, kind: str = REPORT) -> Iterator[Path]:
    """Yield a folder to write to, which takes the place of ``target`` if nothing is raised.

    Args:
        target: Resolved path of the report.
        digest: Hash of everything that the report is made from, for the marker.
        kind: Kind of report, for the marker.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    temporary.mkdir()
    try:
        yield temporary
        written = sorted(path for path in temporary.rglob("*") if path.is_file())
        sizes = {path.relative_to(temporary).as_posix(): path.stat().st_size for path in written}
        marker = json.dumps({"kind": kind, "digest": digest, "files": sizes}, indent=1)
        (temporary / MARKER).write_text(marker + "\n", encoding="utf-8")
        _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(finished: Path, target: Path) -> None:
    """Move a finished folder to the place of another, which comes back if that fails."""
    earlier = finished.with_suffix(".old")
    if target.exists():
        target.rename(earlier)
    try:
        finished.rename(target)
    except OSError:
        if earlier.exists():
            earlier.rename(target)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
