"""Published records in a folder: read with every fault named, written whole or not at all.

::

    <cohort>/<model>/<explainer>/<protocol>.json      the record
    <cohort>/<model>/<explainer>/<protocol>.readings  its sidecar

A record and its sidecar change one after the other. Meanwhile a hidden file beside them,
``.<protocol>.readings``, holds the sidecar that one of both belongs to. So a reader finds the
sidecar of the record that is there, at every moment and after a kill. Writing again ends it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmark.reading import Reading, find
from benchmark.records.files import is_stray, store_errors, write_atomically
from benchmark.records.storage.sharing import SharedParts
from leaderboard.published.budget import Budget
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.record import MOST_BYTES, PublishedRecord, seal_of
from leaderboard.published.sidecar import MOST_PACKED, unpack

RECORD, SIDECAR = ".json", ".readings"
# Of a stranger's folder: the board of a suite has some 1,500 files; a bundle, 30.
MOST_FILES, DEEPEST = 20_000, 8
Advanced = Callable[[str, int, int | None], None]
# Rounding to six digits here and to eighteen bits there.
_ROUNDING = 1e-5
_MOST_ATTEMPTS = 5  # to read a record that another process is replacing


@dataclass(frozen=True)
class Contents:
    """Contents of a folder of records.

    Attributes:
        records: Records without a fault, by path.
        faults: Faults of all other files.
    """

    records: tuple[PublishedRecord, ...]
    faults: tuple[Fault, ...]


def read_folder(
    folder: Path, budget: Budget | None = None, advanced: Advanced | None = None
) -> Contents:
    """Return every record below a folder, and the fault of every other file.

    What systems and editors leave, and a killed process's temporary files, are passed over.

    Args:
        folder: Folder of records.
        budget: Processor time after which no further file is read, and sign of a stranger's
            folder; one of one's own may have any number of files.
        advanced: Listener that is called with a step, the number of records read, and None, since
            the number of all is not known.

    Raises:
        FaultError: ``no-records`` where the folder does not exist.
    """
    records: dict[str, PublishedRecord] = {}
    faults: list[Fault] = []
    parts = SharedParts()
    for record, _ in read_each(folder, faults, budget, advanced):
        records[record.path] = parts.with_shared_fields(record)
    return Contents(tuple(records[location] for location in sorted(records)), tuple(faults))


def read_each(
    folder: Path,
    faults: list[Fault],
    budget: Budget | None = None,
    advanced: Advanced | None = None,
) -> Iterator[tuple[PublishedRecord, bytes]]:
    """Yield every record below a folder, and the content of its file, as ``read_folder`` has it.

    Args:
        folder: Folder of records.
        faults: List that is extended by the faults of all other files.
        budget: Budget of processor time, as for ``read_folder``.
        advanced: Listener to the progress, as for ``read_folder``.

    Raises:
        FaultError: ``no-records`` where the folder does not exist.
    """
    if not folder.is_dir() or folder.is_symlink():
        raise FaultError("no-records", str(folder), "it is no folder")
    count = 0
    for path in walk(folder, faults, None if budget is None else MOST_FILES):
        location = relative_path(path, folder)
        try:
            if budget is not None:
                budget.check(location)
        except FaultError as error:
            faults.append(error.fault)
            break
        if any(map(is_stray, location.split("/"))):
            continue
        if path.suffix == RECORD:
            try:
                yield _read_pair(folder, location)
            except FaultError as error:
                faults.append(error.fault)
                continue
            count += 1
            if advanced is not None:
                advanced("records read", count, None)
        elif path.suffix != SIDECAR:
            faults.append(Fault("unknown-file", location, "a folder of records holds nothing else"))
        elif not path.with_suffix(RECORD).exists():
            faults.append(Fault("sidecar-orphan", location, "there is no record beside it"))


def load_folder(folder: Path) -> tuple[PublishedRecord, ...]:
    """Return the records of a folder.

    Raises:
        FaultError: The first fault of any file.
    """
    contents = read_folder(folder)
    for fault in contents.faults:
        raise FaultError(fault.name, fault.location, fault.detail)
    return contents.records


def read_record(folder: Path, location: str) -> PublishedRecord:
    """Return a record, after checking that its sidecar belongs to it.

    Args:
        folder: Folder of records.
        location: Path of the record below it, with ``/`` between folders.

    Raises:
        FaultError: Named by what is wrong.
    """
    return _read_pair(folder, location)[0]


def _read_pair(folder: Path, location: str) -> tuple[PublishedRecord, bytes]:
    """Return a record, and the content of its file."""
    content = read_bytes(folder / location, location, MOST_BYTES)
    for _ in range(_MOST_ATTEMPTS):
        record = PublishedRecord.from_json(content, location)
        if record.path != location:
            detail = f"a record of these names stands at {record.path}"
            raise FaultError("misplaced", location, detail)
        try:
            _check_sidecar(folder, record)
        except FaultError:
            earlier, content = content, read_bytes(folder / location, location, MOST_BYTES)
            if content == earlier:
                raise
        else:
            return record, content
    raise FaultError("unreadable", location, "it changes all the time")


def _check_sidecar(folder: Path, record: PublishedRecord) -> None:
    if record.readings is not None:
        read_readings(folder, record)
    elif (folder / record.path).with_suffix(SIDECAR).exists():
        detail = "the record names no sidecar, but it exists"
        raise FaultError("sidecar-orphan", record.path, detail)


def read_readings(folder: Path, record: PublishedRecord) -> list[Reading]:
    """Return all readings of a record, from its sidecar.

    Raises:
        FaultError: ``sidecar-missing``, ``sidecar-checksum``, ``sidecar-bomb``,
            ``sidecar-malformed``, or ``scores-differ`` where it holds another score.
    """
    location = record.path.removesuffix(RECORD) + SIDECAR
    if record.readings is None:
        raise FaultError("sidecar-missing", location, "the record names no sidecar")
    content = _pending_content(folder / location, record)
    if content is None:
        if not (folder / location).exists():
            raise FaultError("sidecar-missing", location, "it is not there")
        content = read_bytes(folder / location, location, MOST_PACKED)
    if not content or seal_of(content) != record.readings:
        raise FaultError("sidecar-checksum", location, "it is not the file that the record names")
    readings = unpack(content, location)
    _check_score(record, readings, location)
    return readings


def write_records(
    folder: Path, published: Iterable[tuple[PublishedRecord, bytes | None]]
) -> list[Path]:
    """Write records and sidecars, each whole or not at all; return the paths of the records.

    A file that is equal stays.

    Raises:
        StoreError: If a file cannot be written.
    """
    paths = []
    for record, sidecar in published:
        path = folder / record.path
        with store_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_pair(path, record.to_json().encode(), sidecar)
        paths.append(path)
    return paths


def walk(folder: Path, faults: list[Fault], most_files: int | None = MOST_FILES) -> Iterator[Path]:
    """Yield every plain file below a folder, by path; everything else there becomes a fault.

    Args:
        folder: Folder in which no link is followed.
        faults: List that is extended by ``symlink``, ``not-a-file``, ``too-deep``,
            ``too-many-files`` and ``unreadable``.
        most_files: Number of files and folders after which no more are looked at; None for all.
    """
    folders_left, count = [folder], 0
    while folders_left:
        current = folders_left.pop()
        try:
            with os.scandir(current) as scan:
                some = scan if most_files is None else islice(scan, most_files + 1)
                entries = sorted(some, key=lambda entry: entry.name)
        except OSError as error:
            detail = f"it cannot be read: {error.strerror}"
            faults.append(Fault("unreadable", relative_path(current, folder), detail))
            continue
        count += len(entries)
        if most_files is not None and count > most_files:
            detail = f"there are more than {most_files:,} files and folders"
            faults.append(Fault("too-many-files", relative_path(current, folder), detail))
            return
        folders = []
        for entry in entries:
            path = Path(entry.path)
            location = relative_path(path, folder)
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except OSError as error:
                detail = f"it cannot be read: {error.strerror}"
                faults.append(Fault("unreadable", location, detail))
                continue
            if stat.S_ISLNK(mode):
                faults.append(Fault("symlink", location, "a link could lead anywhere"))
            elif stat.S_ISREG(mode):
                yield path
            elif not stat.S_ISDIR(mode):
                faults.append(Fault("not-a-file", location, "only plain files are read"))
            elif location.count("/") + 1 >= DEEPEST:
                faults.append(Fault("too-deep", location, f"it lies {DEEPEST} folders down"))
            else:
                folders.append(path)
        folders_left.extend(reversed(folders))


def relative_path(path: Path, folder: Path) -> str:
    """Return a path below a folder, with ``/`` between folders."""
    return path.relative_to(folder).as_posix()


def read_bytes(path: Path, location: str, most: int) -> bytes:
    """Return the content of a plain file, following no link and reading no more than allowed.

    Raises:
        FaultError: ``too-large``, ``symlink``, ``not-a-file`` or ``unreadable``.
    """
    # Opening a pipe would wait for whoever writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise FaultError("not-a-file", location, "only plain files are read")
            content = file.read(most + 1)
    except OSError as error:
        name = "symlink" if path.is_symlink() else "unreadable"
        raise FaultError(name, location, f"it cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise FaultError("too-large", location, f"it has more than {most:,} bytes")
    return content


def holds(path: Path, content: bytes) -> bool:
    """Return whether a plain file is there and has this content."""
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content


def _check_score(record: PublishedRecord, readings: Sequence[Reading], location: str) -> None:
    unpacked, published = find(readings, record.scale.statistic), record.score
    if published is None:
        return
    if unpacked is None:
        raise FaultError("scores-differ", location, f"it lacks {record.scale.statistic!r}")
    published_values = dict(zip(published.sample.keys, published.values, strict=True))
    sidecar_values = dict(zip(unpacked.sample.keys, unpacked.values, strict=True))
    if published_values.keys() != sidecar_values.keys():
        raise FaultError("scores-differ", location, "it is about other images than the record")
    for key, value in published_values.items():
        if not np.isclose(value, sidecar_values[key], rtol=_ROUNDING, atol=1e-12, equal_nan=True):
            detail = f"{key} has {sidecar_values[key]:.6g} here and {value:.6g} in the record"
            raise FaultError("scores-differ", location, detail)


def _write(path: Path, content: bytes) -> None:
    if not holds(path, content):
        write_atomically(path, content)


def _write_pair(path: Path, record: bytes, sidecar: bytes | None) -> None:
    """Write a record and its sidecar so that a reader has the sidecar of either at every moment."""
    last = path.with_suffix(SIDECAR)
    pending = _pending_of(last)
    if sidecar is None:
        if last.exists():
            last.replace(pending)  # the earlier record still finds it there
        _write(path, record)
    elif holds(last, sidecar):
        _write(path, record)
    else:
        _write(pending, sidecar)
        _write(path, record)
        pending.replace(last)
    pending.unlink(missing_ok=True)


def _pending_of(sidecar: Path) -> Path:
    return sidecar.with_name(f".{sidecar.name}")


def _pending_content(sidecar: Path, record: PublishedRecord) -> bytes | None:
    """Return the sidecar that a record has while it is being replaced, or was when killed."""
    pending = _pending_of(sidecar)
    if not pending.exists():
        return None
    try:
        content = read_bytes(pending, pending.name, MOST_PACKED)
    except FaultError:  # such as another's hidden folder; what counts is the sidecar itself
        return None
    return content if content and seal_of(content) == record.readings else None
