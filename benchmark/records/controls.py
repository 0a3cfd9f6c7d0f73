"""Published records of a suite's controls, which every run can take in place of measuring.

What a control scores on the suite's own cohorts and networks is the same for everybody, and a run
asks for it only to know whether a protocol is healthy. A folder beside the suite holds the records
of a cohort and a model in one compressed file, a line for each::

    <cohort>-<model>.xz      <identity> <record as JSON>

They are records as a store holds them, with names and values of synthetic subjects, but that values
have seven significant digits. A record is taken only for its very identity, so one that is out of
date is never taken.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.reading import FAILED
from benchmark.records.files import store_errors, write_atomically
from benchmark.records.record import ReadingEntry, Record
from benchmark.records.storage.finished import FinishedCell

FOLDER = "controls"
_ENDING = ".xz"
_DIGITS = 7
_MOST_BYTES = 2**28  # of a file when unpacked; those of suite v1 have 2**22


@dataclass
class ControlRecords:
    """Published records of controls.

    Attributes:
        folder: Folder with a file for each cohort and model; None, or one that does not exist,
            holds no record.
    """

    folder: Path | None = None
    _texts: dict[Path, dict[str, str]] = field(default_factory=dict, init=False, repr=False)

    def find(self, identity_sha256: str, cohort: str, model: str) -> Record | None:
        """Return the published record of an identity, or None.

        Args:
            identity_sha256: SHA-256 of the identity.
            cohort: Name of its cohort.
            model: Name of its model.

        Raises:
            StoreError: If the file is damaged.
        """
        path = self._path(cohort, model)
        text = None if path is None else self._read(path).get(identity_sha256)
        if path is None or text is None:
            return None
        record = Record.from_json(text, f"The record in {path}")
        if record.identity_sha256 != identity_sha256:
            raise StoreError(
                f"The published controls {path} are damaged: the record of "
                f"{record.identity_sha256[:12]} stands under {identity_sha256[:12]}."
            )
        return record

    def beside(self, records: Sequence[FinishedCell]) -> list[Record]:
        """Return the controls that stand beside records: of their cohorts, networks and protocols.

        Those that are among the records already are left out.
        """
        present = {record.identity_sha256 for record in records}
        wanted = {_shared_part(record) for record in records}
        pairs = dict.fromkeys((record.names.cohort, record.names.model) for record in records)
        return [
            record
            for pair in pairs
            for record in self.all_of(*pair)
            if record.identity_sha256 not in present and _shared_part(record) in wanted
        ]

    def all_of(self, cohort: str, model: str) -> Iterator[Record]:
        """Yield the published records of a cohort and a model."""
        path = self._path(cohort, model)
        if path is not None:
            for text in self._read(path).values():
                yield Record.from_json(text, f"The record in {path}")

    def _path(self, cohort: str, model: str) -> Path | None:
        path = None if self.folder is None else self.folder / f"{cohort}-{model}{_ENDING}"
        return path if path is not None and path.is_file() else None

    def _read(self, path: Path) -> dict[str, str]:
        """Return the text of each record of a file by its identity; read once."""
        if path not in self._texts:
            with store_errors(path):
                packed = path.read_bytes()
            unpacking = lzma.LZMADecompressor()
            try:
                text = unpacking.decompress(packed, _MOST_BYTES).decode()
            except (lzma.LZMAError, ValueError) as error:
                raise StoreError(f"The published controls {path} are damaged: {error}.") from error
            if not unpacking.eof:
                raise StoreError(f"The published controls {path} are damaged: they end too early.")
            parts = (line.partition(" ") for line in text.splitlines())
            self._texts[path] = {identity: record for identity, _, record in parts}
        return self._texts[path]


def write_controls(folder: Path, records: Iterable[Record]) -> list[Path]:
    """Write records of controls, a file for each cohort and model; return the paths.

    Raises:
        StoreError: If a record is that of a failed cell, or a file cannot be written.
    """
    files: dict[str, dict[str, Record]] = {}
    for record in records:
        if record.state == FAILED:
            raise StoreError(
                f"{record.names.explainer} · {record.names.protocol} failed, and nothing is "
                f"written: {record.reason}"
            )
        name = f"{record.names.cohort}-{record.names.model}{_ENDING}"
        files.setdefault(name, {})[record.identity_sha256] = rounded(record)
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, of_pair in files.items():
        # By protocol first: what controls read alike of a model then lies close together.
        ordered = sorted(of_pair.values(), key=_place)
        lines = [f"{each.identity_sha256} {each.to_json()}" for each in ordered]
        packed = lzma.compress("".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME)
        write_atomically(folder / name, packed)
        paths.append(folder / name)
    return paths


def rounded(record: Record) -> Record:
    """Return a record whose values have seven significant digits."""

    def shorter(values: tuple[float | None, ...] | None) -> tuple[float | None, ...] | None:
        if values is None:
            return None
        return tuple(None if value is None else float(f"{value:.{_DIGITS}g}") for value in values)

    def of(entry: ReadingEntry) -> ReadingEntry:
        changes = {"values": shorter(entry.values), "denominators": shorter(entry.denominators)}
        return entry.model_copy(update=changes)

    return record.resealed({"readings": tuple(map(of, record.readings))})


def _place(record: Record) -> tuple[str, str]:
    return record.names.protocol, record.names.explainer


def _shared_part(record: FinishedCell) -> tuple[object, ...]:
    """Return what records of one cohort, network and protocol have in common."""
    identity = record.identity
    protocol = identity.protocol.model_dump_json()
    return identity.suite, identity.cohort_fingerprint, identity.network, protocol, identity.seed
