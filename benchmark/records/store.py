"""The store of finished cells: content-addressed and atomic; nothing in it depends on a lock.

::

    store.json                    says that this is a store
    records/<identity>.json       one file per finished cell; never replaced
    failures/<identity>.json      cells that failed, with their traceback in <identity>.log
    arrays/<sha256>.npz           attribution maps and embeddings; a cache that may be deleted

A file appears under its name only when all of it is on disk. So a process that is killed at any
moment leaves whole files behind, and temporary ones that the next run sweeps up. What else lies in
the folders, such as the hidden files of systems and the backups of editors, is passed over. A
record that another version of medsanity wrote is neither read nor replaced. Processes that need the
same array at the same time take turns, so that it is made once; see ``turns``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.reading import FAILED
from benchmark.records.arrays import ArrayFolder
from benchmark.records.files import is_stray, show_writable, store_errors, write_atomically
from benchmark.records.record import Record, VersionError
from benchmark.records.storage.owners import is_left_over, is_temporary

_FORMAT = 1
_MARKER, _MARK = "store.json", f'{{"format": {_FORMAT}}}\n'
_FOLDERS = ("records", "failures", "arrays")
RECORD = ".json"
_IDENTITY = re.compile(r"[0-9a-f]{64}")


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
        if (self.path / _MARKER).exists():
            show_writable(self.path)
        else:
            with suppress(FileExistsError):  # another process makes the same store
                write_atomically(self.path / _MARKER, _MARK.encode(), replace=False)
        self._check()  # that other process may be of another version
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
        if record.state == FAILED:
            failure = self._failure_path(record.identity_sha256)
            if not _is_of_another_version(failure):
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
        self.forget_failure(record.identity_sha256)

    def forget_failure(self, identity_sha256: str) -> None:
        """Drop the failed attempt of a cell that is finished now.

        Raises:
            StoreError: If it cannot be dropped.
        """
        failure = self._failure_path(identity_sha256)
        with store_errors(failure):
            failure.unlink(missing_ok=True)
            failure.with_suffix(".log").unlink(missing_ok=True)

    def records(self) -> Iterator[Record]:
        """Yield the finished cells, by identity.

        Raises:
            StoreError: If a file is damaged.
        """
        return _read_all(self.path / "records")

    def failures(self) -> Iterator[Record]:
        """Yield the latest attempt of each failed cell, by identity."""
        return _read_all(self.path / "failures")

    def _record_path(self, identity_sha256: str) -> Path:
        return self.path / "records" / f"{identity_sha256}.json"

    def _failure_path(self, identity_sha256: str) -> Path:
        return self.path / "failures" / f"{identity_sha256}.json"

    def _check(self) -> None:
        with store_errors(self.path):
            if not self.path.exists():
                return
            if not self.path.is_dir():
                raise StoreError(f"The store {self.path} is a file; a folder was expected.")
            names = {path.name for path in self.path.iterdir() if not is_stray(path.name)}
            if _MARKER not in names:
                # A process that was killed while making the store has left empty folders at most.
                held = (path.name for name in names & set(_FOLDERS) for path in self._list(name))
                if names <= set(_FOLDERS) and all(map(is_stray, held)):
                    return
                raise StoreError(
                    f"The folder {self.path} holds other things and is not a store; "
                    f"name an empty or new folder, or one with a {_MARKER}."
                )
            marker = (self.path / _MARKER).read_text("utf-8")
        if marker != _MARK:
            raise StoreError(
                f"The store {self.path} has the format {marker.strip()[:60]!r}, but this version "
                f"of medsanity reads format {_FORMAT}; use the version that made it, or another "
                "store."
            )

    def _list(self, name: str) -> Iterator[Path]:
        return (self.path / name).iterdir()

    def _sweep(self) -> None:
        """Remove what killed runs left, and nothing that a living one is writing."""
        left = [path for path in self.path.iterdir() if is_temporary(path)]
        left += [path for name in _FOLDERS for path in self._list(name) if is_temporary(path)]
        if not left:
            return
        marker = self.path / _MARKER
        with suppress(OSError):
            marker.touch()  # the time by the clock that dated what is left
            now = marker.stat().st_mtime_ns
            for path in left:
                with suppress(OSError):
                    if is_left_over(path, now):
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
        return list(Store(folder).records())
    return [_read(folder / name) for name in _list_names(folder)]


def list_paths(folder: Path, with_failed: bool = True) -> list[Path]:
    """Return the files of a folder of records, by name; of a store also those of failed cells.

    Args:
        folder: A store, or a folder of records.
        with_failed: Whether those of failed cells are wanted.

    Raises:
        StoreError: If the folder cannot be read.
    """
    if not is_store(folder):
        return [folder / name for name in _list_names(folder)]
    return [
        folder / kind / f"{identity}{RECORD}"
        for kind in (("records", "failures") if with_failed else ("records",))
        for identity in list_identities(folder / kind)
    ]


def read_file(path: Path) -> tuple[Record, bytes]:
    """Return a record of a store, and the content of its file.

    Raises:
        StoreError: If the file cannot be read, is damaged, or is of another version.
    """
    with store_errors(path):
        content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise StoreError(f"The record {path} is damaged or foreign: it is not UTF-8.") from error
    record = Record.from_json(text, f"The record {path}")
    if path.stem != record.identity_sha256:
        raise StoreError(f"The record {path} belongs under the name {record.identity_sha256}.json.")
    return record, content


def list_identities(folder: Path) -> list[str]:
    """Return the identities of the records in a folder of a store, sorted; nothing else counts.

    Raises:
        StoreError: If the folder cannot be read.
    """
    names = (name.removesuffix(RECORD) for name in _list_names(folder))
    return sorted(name for name in names if _IDENTITY.fullmatch(name))


def _list_names(folder: Path) -> list[str]:
    """Return the names of files that may be records, without those of systems and editors."""
    with store_errors(folder):
        if not folder.exists():
            return []
        with os.scandir(folder) as scan:  # names alone, since there may be 100,000
            names = [entry.name for entry in scan if entry.name.endswith(RECORD)]
    return sorted(name for name in names if not is_stray(name))


def _read_all(folder: Path) -> Iterator[Record]:
    for identity in list_identities(folder):
        yield _read(folder / f"{identity}{RECORD}")


def _read(path: Path) -> Record:
    return read_file(path)[0]


def _is_of_another_version(path: Path) -> bool:
    """Return whether a file holds a record that another version of medsanity wrote."""
    try:
        _read(path)
    except VersionError:
        return True
    except StoreError:  # it is missing or damaged
        return False
    return False
