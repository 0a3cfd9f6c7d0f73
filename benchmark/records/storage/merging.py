"""Makes one store of several, a record at a time, so that their number costs no memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.records.files import is_stray, store_errors, write_atomically
from benchmark.records.store import (
    RECORD,
    Store,
    contradiction,
    is_store,
    list_identities,
    read_file,
)

Advanced = Callable[[str, int, int], None]  # step, files done and files there are
_RECORDS, _FAILURES, _ARRAYS = "records", "failures", "arrays"


@dataclass(frozen=True, slots=True)
class _Kept:
    """The file of a finished cell: which store has it, and hashes of what it says and holds."""

    store: Path
    content: bytes
    file: bytes


def merge(stores: Sequence[Path], into: Path, advanced: Advanced | None = None) -> int:
    """Copy cells and arrays of stores into one, and return how many finished cells it then holds.

    All contradictions are found before anything is written. What was copied before a stop is found
    there by the next attempt.

    Args:
        stores: Folders of stores; of a cell that failed in several, the last one's attempt stays.
        into: Folder of the store to write.
        advanced: Listener that is called with a step, the number of files done, and the number of
            files.

    Raises:
        StoreError: If a folder is no store, or two hold different results under one identity.
    """
    advanced = advanced or (lambda step, done, total: None)
    target = Store(into)
    for path in stores:
        if not is_store(path):
            raise StoreError(f"The folder {path} is not a store; it has no store.json.")
        Store(path)
    cells, failures = _compare((into, *stores), advanced)
    target.prepare()
    new = [(identity, kept) for identity, kept in cells.items() if kept.store != into]
    for done, (identity, kept) in enumerate(new, start=1):
        _copy_record(identity, kept, target)
        advanced("records copied", done, len(new))
    _copy_failures(failures, cells, target)
    _copy_arrays(stores, into, advanced)
    return len(cells)


def _compare(
    stores: Sequence[Path], advanced: Advanced
) -> tuple[dict[str, _Kept], dict[str, Path]]:
    """Read every record, and return who has each finished cell first, and each failure last.

    Raises:
        StoreError: If two stores hold different results under one identity.
    """
    cells: dict[str, _Kept] = {}
    failures: dict[str, Path] = {}
    listed = [(store, list_identities(store / _RECORDS)) for store in stores]
    total, done = sum(len(names) for _, names in listed), 0
    for store, names in listed:
        for identity in names:
            record, text = read_file(_record_path(store, identity))
            own = _Kept(store, bytes.fromhex(record.content), hashlib.sha256(text).digest())
            kept = cells.setdefault(identity, own)
            if kept.content != own.content:
                earlier, _ = read_file(_record_path(kept.store, identity))
                raise StoreError(contradiction(earlier, record, store))
            done += 1
            advanced("records read", done, total)
        for identity in list_identities(store / _FAILURES):
            read_file(_record_path(store, identity, _FAILURES))
            failures[identity] = store
    return cells, failures


def _copy_record(identity: str, kept: _Kept, target: Store) -> None:
    path = _record_path(kept.store, identity)
    with store_errors(path):
        text = path.read_bytes()
    if hashlib.sha256(text).digest() != kept.file:
        raise StoreError(f"The record {path} was changed while it was merged; merge again.")
    try:
        write_atomically(_record_path(target.path, identity), text, replace=False)
    except FileExistsError:  # another process was quicker; the store compares both
        target.put(read_file(path)[0])


def _copy_failures(failures: dict[str, Path], cells: dict[str, _Kept], target: Store) -> None:
    """Copy the attempts of cells that no store has finished, and drop those of all others."""
    for identity, store in failures.items():
        path = _record_path(store, identity, _FAILURES)
        if identity in cells:
            target.forget_failure(identity)
        elif store != target.path:
            log = path.with_suffix(".log")
            with store_errors(log):
                text = log.read_text("utf-8") if log.exists() else ""
            target.put(read_file(path)[0], text)


def _copy_arrays(stores: Sequence[Path], into: Path, advanced: Advanced) -> None:
    listed = [(store, sorted((store / _ARRAYS).glob("*.npz"))) for store in stores]
    files = [file for _, paths in listed for file in paths if not is_stray(file.name)]
    for done, file in enumerate(files, start=1):
        copy = into / _ARRAYS / file.name
        with store_errors(file):
            if not copy.exists():
                write_atomically(copy, file.read_bytes())
        advanced("arrays copied", done, len(files))


def _record_path(store: Path, identity: str, folder: str = _RECORDS) -> Path:
    return store / folder / f"{identity}{RECORD}"
