"""Finished cells whose readings stay on disk until they are asked for.

A record takes a hundred kilobytes of memory, nearly all of them readings, of which a report needs
those of one cell at a time. What is left takes two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmark.errors import StoreError
from benchmark.reading import Reading, Sample, State
from benchmark.records.files import store_errors
from benchmark.records.identity import Identity, Names
from benchmark.records.provenance import Provenance
from benchmark.records.record import Resources, VerdictWord
from benchmark.records.storage.sharing import SharedParts
from benchmark.records.store import RECORD, Store, is_store, list_paths, read_file

Advanced = Callable[[str, int, int], None]  # step, files done and files there are


class CellHeader(Protocol):
    """What is known of a finished cell without its readings."""

    @property
    def identity(self) -> Identity:
        """Everything that the score depends on."""

    @property
    def identity_sha256(self) -> str:
        """Hash of the identity."""

    @property
    def names(self) -> Names:
        """Names of cohort, model, explainer and protocol."""

    @property
    def state(self) -> State:
        """State in which the cell ended."""

    @property
    def reason(self) -> str | None:
        """Reason why it did not pass."""

    @property
    def verdict(self) -> VerdictWord | None:
        """Judgement of the protocol."""

    @property
    def provenance(self) -> Provenance:
        """Machine and software that measured it."""

    @property
    def resources(self) -> Resources:
        """Cost of the measurement."""

    @property
    def created(self) -> str:
        """Time of the measurement."""

    @property
    def checksum(self) -> str:
        """Hash of the whole record."""


class FinishedCell(CellHeader, Protocol):
    """What results and reports are made of: a ``Record``, or a ``StoredCell``."""

    @property
    def has_readings(self) -> bool:
        """Whether anything was measured."""

    def to_readings(self) -> list[Reading]:
        """Return the readings; those of the same images share their sample."""


@dataclass(frozen=True, slots=True)
class CellOnDisk:
    """Base of finished cells that hold their header, and read the rest when it is asked for.

    Args:
        header: Record, with or without what is measured.
    """

    header: CellHeader

    @property
    def identity(self) -> Identity:
        """Everything that the score depends on."""
        return self.header.identity

    @property
    def identity_sha256(self) -> str:
        """Hash of the identity."""
        return self.header.identity_sha256

    @property
    def names(self) -> Names:
        """Names of cohort, model, explainer and protocol."""
        return self.header.names

    @property
    def state(self) -> State:
        """State in which the cell ended."""
        return self.header.state

    @property
    def reason(self) -> str | None:
        """Reason why it did not pass."""
        return self.header.reason

    @property
    def verdict(self) -> VerdictWord | None:
        """Judgement of the protocol."""
        return self.header.verdict

    @property
    def provenance(self) -> Provenance:
        """Machine and software that measured it."""
        return self.header.provenance

    @property
    def resources(self) -> Resources:
        """Cost of the measurement."""
        return self.header.resources

    @property
    def created(self) -> str:
        """Time of the measurement."""
        return self.header.created

    @property
    def checksum(self) -> str:
        """Hash of the whole record."""
        return self.header.checksum


@dataclass(frozen=True, slots=True)
class StoredCell(CellOnDisk):
    """A finished cell in a folder.

    Args:
        header: Record without samples and readings.
        _folder: Folder of its file.
        _sha256: Hash of the file.
        has_readings: Whether anything was measured.
    """

    _folder: Path
    _sha256: bytes
    has_readings: bool

    def to_readings(self) -> list[Reading]:
        """Return the readings, from the file; those of the same images share their sample.

        Raises:
            StoreError: If the file cannot be read, or is no longer the one that was checked.
        """
        if not self.has_readings:
            return []
        path = self._folder / f"{self.identity_sha256}{RECORD}"
        with store_errors(path):
            content = path.read_bytes()
        if hashlib.sha256(content).digest() != self._sha256:
            raise StoreError(f"The record {path} was changed while it was read; read it again.")
        fields = json.loads(content)
        samples = [_sample(entry) for entry in fields["samples"]]
        return [_reading(entry, samples[entry["sample"]]) for entry in fields["readings"]]


def read_cells(
    folder: Path, advanced: Advanced | None = None, with_failed: bool = True
) -> list[StoredCell]:
    """Return the cells of a folder of records, by name; of a store, then those that failed.

    Args:
        folder: A store, or a folder of records.
        advanced: Listener that is called with a step, the number of files done, and the number of
            files.
        with_failed: Whether those of a store that failed are read.

    Raises:
        StoreError: If the folder cannot be read or a file is damaged.
    """
    advanced = advanced or (lambda step, done, total: None)
    if not folder.is_dir():
        raise StoreError(f"The folder of records {folder} does not exist.")
    if is_store(folder):
        Store(folder)
    paths = list_paths(folder, with_failed)
    parts, cells = SharedParts(), []
    for done, path in enumerate(paths, start=1):
        record, content = read_file(path)
        rest = record.model_copy(update={"samples": (), "readings": ()})
        digest = hashlib.sha256(content).digest()
        shared = parts.with_shared_fields(rest)
        cells.append(StoredCell(shared, path.parent, digest, record.has_readings))
        advanced("records read", done, len(paths))
    return cells


def _sample(entry: dict[str, Any]) -> Sample:
    keys, subjects, groups = (tuple(entry[name]) for name in ("keys", "subjects", "groups"))
    return _kept_once(Sample(keys, subjects, groups))


@lru_cache(maxsize=64)
def _kept_once(sample: Sample) -> Sample:
    """Return the first sample that is equal; scores of many records are held side by side."""
    return sample


def _reading(entry: dict[str, Any], sample: Sample) -> Reading:
    below = entry.get("denominators")
    return Reading(
        statistic=entry["statistic"],
        sample=sample,
        # None, which stands for no value, becomes NaN.
        values=np.array(entry["values"], dtype=np.float64),
        conditions=entry["conditions"],
        reasons=entry["reasons"],
        denominators=None if below is None else np.array(below, dtype=np.float64),
    )
