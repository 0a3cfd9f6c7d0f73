"""Published records in a folder: read with every fault named, written whole or not at all.

::

    <cohort>/<model>/<explainer>/<protocol>.json      the record
    <cohort>/<model>/<explainer>/<protocol>.readings  its sidecar
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from benchmark.reading import Reading, find
from benchmark.records.files import write_atomically
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.record import MOST_BYTES, PublishedRecord, seal_of
from leaderboard.published.sidecar import MOST_PACKED, unpack

RECORD, SIDECAR = ".json", ".readings"
# The board of a suite has some 1,500 files; a bundle, 30.
MOST_FILES, DEEPEST = 20_000, 8
# Rounding to six digits here and to eighteen bits there.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Contents:
    """What a folder of records holds.

    Attributes:
        records: Those without a fault, by path.
        faults: Of all others.
    """

    records: tuple[PublishedRecord, ...]
    faults: tuple[Fault, ...]


def read_folder(folder: Path) -> Contents:
    """Read every record below a folder, and whatever lies there that is none.

    Raises:
        FaultError: ``no-records`` where the folder does not exist.
    """
    if not folder.is_dir() or folder.is_symlink():
        raise FaultError("no-records", str(folder), "it is no folder")
    records: dict[str, PublishedRecord] = {}
    faults: list[Fault] = []
    for path in walk(folder, faults):
        place = place_of(path, folder)
        if path.suffix == RECORD:
            try:
                records[place] = read_record(folder, place)
            except FaultError as error:
                faults.append(error.fault)
        elif path.suffix != SIDECAR:
            faults.append(Fault("unknown-file", place, "a folder of records holds nothing else"))
        elif not path.with_suffix(RECORD).exists():
            faults.append(Fault("sidecar-orphan", place, "there is no record beside it"))
    return Contents(tuple(records[place] for place in sorted(records)), tuple(faults))


def load_folder(folder: Path) -> tuple[PublishedRecord, ...]:
    """Return the records of a folder.

    Raises:
        FaultError: The first fault of any file.
    """
    contents = read_folder(folder)
    if contents.faults:
        first = contents.faults[0]
        raise FaultError(first.name, first.place, first.detail)
    return contents.records


def read_record(folder: Path, place: str) -> PublishedRecord:
    """Read one record, and hold its sidecar to it.

    Args:
        folder: Of records.
        place: Path below it, with ``/`` between folders.

    Raises:
        FaultError: Named by what is wrong.
    """
    record = PublishedRecord.from_json(read_bytes(folder / place, place, MOST_BYTES), place)
    if record.path != place:
        raise FaultError("misplaced", place, f"a record of these names stands at {record.path}")
    if record.readings is not None:
        read_readings(folder, record)
    elif (folder / place).with_suffix(SIDECAR).exists():
        raise FaultError("sidecar-orphan", place, "the record names no sidecar, and one is there")
    return record


def read_readings(folder: Path, record: PublishedRecord) -> list[Reading]:
    """Return everything that a record's protocol read, from its sidecar.

    Raises:
        FaultError: ``sidecar-missing``, ``sidecar-checksum``, ``sidecar-bomb``,
            ``sidecar-malformed``, or ``scores-differ`` where it holds another score.
    """
    place = record.path.removesuffix(RECORD) + SIDECAR
    if record.readings is None:
        raise FaultError("sidecar-missing", place, "the record names no sidecar")
    if not (folder / place).exists():
        raise FaultError("sidecar-missing", place, "it is not there")
    content = read_bytes(folder / place, place, MOST_PACKED)
    if not content or seal_of(content) != record.readings:
        raise FaultError("sidecar-checksum", place, "it is not the file that the record names")
    readings = unpack(content, place)
    _check_score(record, readings, place)
    return readings


def write_records(
    folder: Path, published: Iterable[tuple[PublishedRecord, bytes | None]]
) -> list[Path]:
    """Write records and their sidecars, each file whole or not at all; what is equal stays.

    Returns:
        Paths of the records.

    Raises:
        StoreError: If a file cannot be written.
    """
    paths = []
    for record, sidecar in published:
        path = folder / record.path
        path.parent.mkdir(parents=True, exist_ok=True)
        other = path.with_suffix(SIDECAR)
        if sidecar is not None:
            _write(other, sidecar)
        _write(path, record.to_json().encode())
        if sidecar is None:
            other.unlink(missing_ok=True)
        paths.append(path)
    return paths


def walk(folder: Path, faults: list[Fault]) -> Iterator[Path]:
    """Yield every plain file below a folder, by path; whatever else lies there becomes a fault.

    Args:
        folder: Where to look; no link is followed.
        faults: Takes ``symlink``, ``not-a-file``, ``too-deep``, ``too-many-files`` and
            ``unreadable``.
    """
    waiting, seen = [folder], 0
    while waiting:
        base = waiting.pop()
        try:
            with os.scandir(base) as found:
                entries = sorted(islice(found, MOST_FILES + 1), key=lambda one: one.name)
        except OSError as error:
            detail = f"it cannot be read: {error.strerror}"
            faults.append(Fault("unreadable", place_of(base, folder), detail))
            continue
        seen += len(entries)
        if seen > MOST_FILES:
            detail = f"there are more than {MOST_FILES:,} files and folders"
            faults.append(Fault("too-many-files", place_of(base, folder), detail))
            return
        folders = []
        for entry in entries:
            path, mode = Path(entry.path), entry.stat(follow_symlinks=False).st_mode
            place = place_of(path, folder)
            if stat.S_ISLNK(mode):
                faults.append(Fault("symlink", place, "a link could lead anywhere"))
            elif stat.S_ISREG(mode):
                yield path
            elif not stat.S_ISDIR(mode):
                faults.append(Fault("not-a-file", place, "only plain files are read"))
            elif place.count("/") + 1 >= DEEPEST:
                faults.append(Fault("too-deep", place, f"it lies {DEEPEST} folders down"))
            else:
                folders.append(path)
        waiting.extend(reversed(folders))


def place_of(path: Path, folder: Path) -> str:
    """Return a path below a folder, with ``/`` between folders."""
    return path.relative_to(folder).as_posix()


def read_bytes(path: Path, place: str, most: int) -> bytes:
    """Return a plain file's bytes, following no link and reading no more than allowed.

    Raises:
        FaultError: ``too-large``, ``symlink``, ``not-a-file`` or ``unreadable``.
    """
    # Opening a pipe would wait for whoever writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise FaultError("not-a-file", place, "only plain files are read")
            content = file.read(most + 1)
    except OSError as error:
        name = "symlink" if path.is_symlink() else "unreadable"
        raise FaultError(name, place, f"it cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise FaultError("too-large", place, f"it has more than {most:,} bytes")
    return content


def _check_score(record: PublishedRecord, readings: Sequence[Reading], place: str) -> None:
    score, told = find(readings, record.scale.statistic), record.score
    if told is None:
        return
    if score is None:
        raise FaultError("scores-differ", place, f"it lacks {record.scale.statistic!r}")
    here = dict(zip(told.sample.keys, told.values, strict=True))
    there = dict(zip(score.sample.keys, score.values, strict=True))
    if here.keys() != there.keys():
        raise FaultError("scores-differ", place, "it is about other images than the record")
    for key, value in here.items():
        if not np.isclose(value, there[key], rtol=_ROUNDING, atol=1e-12, equal_nan=True):
            detail = f"{key} has {there[key]:.6g} here and {value:.6g} in the record"
            raise FaultError("scores-differ", place, detail)


def _write(path: Path, content: bytes) -> None:
    if not path.is_file() or path.is_symlink() or path.read_bytes() != content:
        write_atomically(path, content)
