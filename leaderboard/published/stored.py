"""Published records of a folder whose scores stay on disk until a record is asked for.

Of a record's memory most is the scores of subjects, and a board compares those of one model at a
time. What is left names a record, says how it ended, and is shared by many.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

from benchmark.reading import Reading
from benchmark.records.storage.sharing import SharedParts
from benchmark.results.scores import RANDOM
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.folder import Advanced, read_bytes, read_each, read_readings
from leaderboard.published.record import MOST_BYTES, PublishedRecord


class RecordsByPath(Sequence[PublishedRecord]):
    """Records in memory, by path.

    Attributes:
        headers: The same records, of which only those of ``StoredRecords`` lack their scores.
    """

    headers: Sequence[PublishedRecord]

    def __init__(self, records: Iterable[PublishedRecord]) -> None:
        self.headers = sorted(records, key=lambda record: record.path)

    @classmethod
    def of(cls, records: Iterable[PublishedRecord]) -> RecordsByPath:
        """Return the records by path, as they are where they have that order already."""
        return records if isinstance(records, RecordsByPath) else cls(records)

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.headers)

    @overload
    def __getitem__(self, index: int) -> PublishedRecord: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[PublishedRecord]: ...

    def __getitem__(self, index: int | slice) -> PublishedRecord | Sequence[PublishedRecord]:
        """Return a record, or several, with their scores."""
        return self.headers[index]


class StoredRecords(RecordsByPath):
    """The records of a folder, by path, each of which is read anew when it is asked for.

    Attributes:
        headers: The same records without their scores, in memory.
        faults: Faults of all other files.
    """

    def __init__(self, folder: Path, advanced: Advanced | None = None) -> None:
        """Read and check every file below a folder once.

        Args:
            folder: Folder of records.
            advanced: Listener to the progress, as for ``read_folder``.

        Raises:
            FaultError: ``no-records`` where the folder does not exist.
        """
        self._folder = folder
        faults: list[Fault] = []
        parts, entries = SharedParts(), list[tuple[str, PublishedRecord, bytes]]()
        for record, content in read_each(folder, faults, None, advanced):
            header = parts.with_shared_fields(record.model_copy(update={"scores": ()}))
            entries.append((record.path, header, hashlib.sha256(content).digest()))
        entries.sort(key=lambda entry: entry[0])
        self.headers = tuple(header for _, header, _ in entries)
        self._digests = [digest for _, _, digest in entries]
        self.faults = tuple(faults)

    @overload
    def __getitem__(self, index: int) -> PublishedRecord: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[PublishedRecord]: ...

    def __getitem__(self, index: int | slice) -> PublishedRecord | Sequence[PublishedRecord]:
        """Return a record with its scores.

        Raises:
            FaultError: ``unreadable`` where its file is no longer the one that was checked.
        """
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        header = self.headers[index]
        content = read_bytes(self._folder / header.path, header.path, MOST_BYTES)
        if hashlib.sha256(content).digest() != self._digests[index]:
            raise FaultError("unreadable", header.path, "it was changed while it was read")
        rows = tuple(map(tuple, json.loads(content)["scores"]))
        return header.model_copy(update={"scores": rows})

    @property
    def noise(self) -> Mapping[str, Sequence[Reading]]:
        """All readings of the records of ``random``, by path, read when they are asked for."""
        return _Noise(self._folder, self.headers)


class _Noise(Mapping[str, Sequence[Reading]]):
    def __init__(self, folder: Path, headers: Iterable[PublishedRecord]) -> None:
        self._folder = folder
        self._headers = {
            header.path: header
            for header in headers
            if header.names.explainer == RANDOM and header.readings is not None
        }

    def __getitem__(self, path: str) -> Sequence[Reading]:
        return read_readings(self._folder, self._headers[path])

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)
