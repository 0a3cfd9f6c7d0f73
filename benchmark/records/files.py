"""Files that are written whole or not at all, and read no further than memory allows."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.errors import InputError, StoreError
from benchmark.records.storage.claims import REFUSED, take_name
from benchmark.records.storage.owners import temporary_beside

_LONGEST_NAME = 300  # of a path in a message
_BLOCK = 4096  # a full disk may still take an empty file
_STRAYS = ("desktop.ini", "thumbs.db")


def read_bounded(path: Path, kind: str, error_class: type[InputError], most_bytes: int) -> bytes:
    """Return the content of a file that is not large.

    Args:
        path: Path of the file.
        kind: Kind of file for messages, such as ``"table"``.
        error_class: Class of what is raised if the file is missing, is no regular file (a pipe
            would wait for ever), or holds more.
        most_bytes: Number of bytes that it may hold.
    """
    name = str(path) if len(str(path)) <= _LONGEST_NAME else f"{str(path)[:_LONGEST_NAME]}…"
    try:
        if not stat.S_ISREG(mode := path.stat().st_mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise error_class(f"The {kind} {name} cannot be read: it is {what}.")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise error_class(f"The {kind} {name} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a NUL in its name
        raise error_class(f"The {kind} {name!r} cannot be read: {error}.") from error
    if len(content) > most_bytes:
        raise error_class(
            f"The {kind} {name} is larger than {most_bytes / 2**20:g} MiB, which no {kind} should "
            "be."
        )
    return content


def check_folder(folder: Path) -> None:
    """Make a folder, and show that it can be written to, before anything is computed for it.

    Raises:
        StoreError: If it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    show_writable(folder)


def show_writable(folder: Path) -> None:
    """Show that a file can be written to a folder.

    Raises:
        StoreError: If it cannot.
    """
    probe = temporary_beside(folder / "writable")
    try:
        try:
            probe.write_bytes(bytes(_BLOCK))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"The folder {folder} cannot be written to: {reason}.") from error


def check_file(path: Path) -> None:
    """Show that a file can be written, before anything is computed for it.

    Raises:
        StoreError: If it cannot.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder; a file was expected.")
    check_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        StoreError: If it cannot be written.
    """
    check_file(path)
    write_atomically(path, text.encode())


def write_atomically(path: Path, content: bytes | memoryview, replace: bool = True) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut.

    Raises:
        FileExistsError: If the file exists and ``replace`` is False.
        StoreError: If the file cannot be written; no temporary file stays.
    """
    temporary = temporary_beside(path)
    with store_errors(path, () if replace else (FileExistsError,)):
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                _sync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                take_name(temporary, path)
            _sync_folder(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder
        return
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a folder that one may write to, and not list
        return
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    """Wait until the disk holds a file or folder; a file system that cannot say so may refuse."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in REFUSED:
            raise


def is_stray(name: str) -> bool:
    """Return whether a file's name is one that systems and editors leave in any folder.

    Those are hidden files, such as ``.DS_Store``, ``._x`` and ``.nfs000``, backups and locks of
    editors, such as ``x.json~`` and ``#x.json#``, and what Windows puts into folders.
    """
    return name.startswith((".", "#", "~$")) or name.endswith("~") or name.lower() in _STRAYS


@contextmanager
def store_errors(path: Path, passing: tuple[type[OSError], ...] = ()) -> Iterator[None]:
    """Turn the system's errors about a file into one sentence, but for those in ``passing``."""
    try:
        yield
    except passing:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{path} cannot be read or written: {reason}.") from error


def hash_files(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files below a folder with their names."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    hashes = {
        file.relative_to(path.parent).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if "__pycache__" not in file.parts
    }
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
