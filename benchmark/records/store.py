"""The store of finished cells: content-addressed, atomic, without locks.

::

    store.json                    says that this is a store
    records/<identity>.json       one file per finished cell; never replaced
    failures/<identity>.json      cells that failed, with their traceback in <identity>.log
    arrays/<sha256>.npz           attribution maps and embeddings; a cache that may be deleted

A file appears under its name only when all of it is on disk, so a process that is killed at any
moment leaves whole files behind, and temporary ones that the next run sweeps up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.reading import FAILED
from benchmark.records.arrays import ArrayFolder
from benchmark.records.files import is_temporary, store_errors, write_atomically
from benchmark.records.record import Record

_FORMAT = 1
_MARKER, _MARK = "store.json", f'{{"format": {_FORMAT}}}\n'
_FOLDERS = ("records", "failures", "arrays")
_STALE_SECONDS = 24 * 60 * 60


class Store:
    """A folder of records, which is made when something is first written.

    Raises:
        StoreError: If there is something else than a store at the path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrays = ArrayFolder(path / "arrays", self.prepare)
        self._prepared = False
        self._check()

    def prepare(self) -> None:
        """Make the folder, and show that it can be written to.

        Raises:
            StoreError: If it cannot be written to.
        """
        if self._prepared:
            return
        with store_errors(self.path):
            for name in _FOLDERS:
                (self.path / name).mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / _MARKER, _MARK.encode())
        self._sweep()
        self._prepared = True

    def now(self) -> int:
        """Return the time in nanoseconds, by the clock that dates the files of the store.

        Raises:
            StoreError: If it cannot be written to.
        """
        self.prepare()
        marker = self.path / _MARKER
        with store_errors(marker):
            marker.touch()
            return marker.stat().st_mtime_ns

    def get(self, identity_sha256: str) -> Record | None:
        """Return the record of a finished cell, or None.

        Raises:
            StoreError: If the file is damaged.
        """
        path = self._record_path(identity_sha256)
        return _read(path) if path.exists() else None

    def holds(self, identity_sha256: str) -> bool:
        """Return whether a finished cell is kept."""
        return self._record_path(identity_sha256).exists()

    def put(self, record: Record, log: str = "") -> None:
        """Keep a record.

        The file of a finished cell is never replaced: the same content changes nothing, and other
        content is an error. A failed cell is kept apart, with the traceback as its log, and
        replaced by its next attempt.

        Raises:
            StoreError: If the store holds another result under this identity, or cannot be
                written.
        """
        self.prepare()
        failure = self.path / "failures" / f"{record.identity_sha256}.json"
        if record.state == FAILED:
            write_atomically(failure.with_suffix(".log"), log.encode())
            write_atomically(failure, record.to_json().encode())
            return
        path = self._record_path(record.identity_sha256)
        try:
            write_atomically(path, record.to_json().encode(), replace=False)
        except FileExistsError:
            kept = _read(path)
            if kept.content != record.content:
                raise StoreError(contradiction(kept, record, path)) from None
        with store_errors(failure):
            failure.unlink(missing_ok=True)
            failure.with_suffix(".log").unlink(missing_ok=True)

    def records(self) -> Iterator[Record]:
        """Yield the finished cells, by identity.

        Raises:
            StoreError: If a file is damaged.
        """
        return _read_folder(self.path / "records")

    def failures(self) -> Iterator[Record]:
        """Yield the latest attempt of each failed cell, by identity."""
        return _read_folder(self.path / "failures")

    def _record_path(self, identity_sha256: str) -> Path:
        return self.path / "records" / f"{identity_sha256}.json"

    def _check(self) -> None:
        with store_errors(self.path):
            if not self.path.exists():
                return
            if not self.path.is_dir():
                raise StoreError(f"The store {self.path} is a file; a folder was expected.")
            names = {path.name for path in self.path.iterdir() if not is_temporary(path)}
            if _MARKER not in names:
                # A process that was killed while making the store has left empty folders at most.
                if names <= set(_FOLDERS) and not any(
                    any((self.path / name).iterdir()) for name in names
                ):
                    return
                raise StoreError(
                    f"The folder {self.path} holds other things and is not a store; "
                    f"name an empty or new folder, or one with a {_MARKER}."
                )
            marker = (self.path / _MARKER).read_text("utf-8")
        if marker != _MARK:
            raise StoreError(
                f"The store {self.path} has the format {marker.strip()!r}, "
                f"but this version reads format {_FORMAT}."
            )

    def _sweep(self) -> None:
        """Remove what killed runs left; a young temporary file may belong to a running one."""
        oldest = time.time() - _STALE_SECONDS
        for folder in (self.path, *(self.path / name for name in _FOLDERS)):
            for path in filter(is_temporary, folder.iterdir()):
                with suppress(OSError):
                    if path.stat().st_mtime < oldest:
                        path.unlink()


def is_store(folder: Path) -> bool:
    """Return whether a folder is marked as a store."""
    return (folder / _MARKER).is_file()


def contradiction(kept: Record, other: Record, path: Path | None = None) -> str:
    """Return the sentence for two records of one identity that differ."""
    where = f" ({path})" if path else ""
    return (
        f"Two results under one identity {kept.identity_sha256[:12]}: the one of {kept.created} "
        f"with checksum {kept.checksum[:12]}{where} and the one of {other.created} with checksum "
        f"{other.checksum[:12]}; whatever changed needs a version of its own, or use another store."
    )


def read_records(folder: Path) -> list[Record]:
    """Return the records of a folder of JSON files, by name; a store's are its finished cells.

    Raises:
        StoreError: If the folder cannot be read or a file is damaged.
    """
    if not folder.is_dir():
        raise StoreError(f"The folder of records {folder} does not exist.")
    if is_store(folder):
        folder = folder / "records"
    return list(_read_folder(folder))


def merge(stores: Sequence[Path], into: Path) -> int:
    """Copy cells and arrays of stores into one, and return how many finished cells it then holds.

    All contradictions are found before anything is written.

    Raises:
        StoreError: If a folder is no store, or two hold different results under one identity.
    """
    target = Store(into)
    merged = {record.identity_sha256: record for record in target.records()}
    failures: dict[str, tuple[Record, str]] = {}
    for path in stores:
        if not is_store(path):
            raise StoreError(f"The folder {path} is not a store; it has no {_MARKER}.")
        source = Store(path)
        for record in source.records():
            kept = merged.setdefault(record.identity_sha256, record)
            if kept.content != record.content:
                raise StoreError(contradiction(kept, record, path))
        for record in source.failures():
            log = path / "failures" / f"{record.identity_sha256}.log"
            with store_errors(log):
                text = log.read_text("utf-8") if log.exists() else ""
            failures[record.identity_sha256] = (record, text)
    target.prepare()
    for record in merged.values():
        target.put(record)
    for identity, (record, log_text) in failures.items():
        if identity not in merged:
            target.put(record, log_text)
    for path in stores:
        for file in sorted((path / "arrays").glob("*.npz")):
            with store_errors(file):
                if not (into / "arrays" / file.name).exists():
                    write_atomically(into / "arrays" / file.name, file.read_bytes())
    return len(merged)


def _read_folder(folder: Path) -> Iterator[Record]:
    with store_errors(folder):
        paths = sorted(folder.glob("*.json"))
    yield from map(_read, paths)


def _read(path: Path) -> Record:
    with store_errors(path):
        text = path.read_bytes()
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise StoreError(f"The record {path} is damaged or foreign: it is not UTF-8.") from error
    record = Record.from_json(decoded, f"The record {path}")
    if path.stem != record.identity_sha256:
        raise StoreError(f"The record {path} belongs under the name {record.identity_sha256}.json.")
    return record
