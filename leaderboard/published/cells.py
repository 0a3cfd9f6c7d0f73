"""Published records as finished cells, from which reports and papers are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark.reading import SCORED, Reading
from benchmark.records.storage.finished import CellOnDisk
from leaderboard.published.fault import FaultError
from leaderboard.published.folder import read_bytes, read_readings
from leaderboard.published.record import MOST_BYTES, PublishedRecord


@dataclass(frozen=True)
class PublishedCell(CellOnDisk):
    """A published record in a folder, whose scores and readings stay on disk until asked for.

    Args:
        header: The record, with or without its scores.
        folder: Folder of records that it lies in.
        order: Names of subjects that sort as their cohort does, so that intervals are those of the
            board; a subject without one keeps its pseudonym.
    """

    header: PublishedRecord
    folder: Path
    order: Mapping[str, str]

    @property
    def has_readings(self) -> bool:
        """Whether anything was measured and published."""
        return self.header.readings is not None or self.header.state == SCORED

    def to_readings(self) -> list[Reading]:
        """Return the readings, the score with the digits that the record itself has.

        Raises:
            FaultError: If the sidecar is damaged, or the record is no longer the one that was read.
        """
        location = self.header.path
        content = read_bytes(self.folder / location, location, MOST_BYTES)
        record = PublishedRecord.from_json(content, location)
        if record.checksum != self.header.checksum:
            raise FaultError("unreadable", location, "it was changed while it was read")
        readings = [] if record.readings is None else read_readings(self.folder, record)
        score = record.score
        if score is not None:
            readings = list(_with_score(readings, score))
        return [self._in_order(reading) for reading in readings]

    def _in_order(self, reading: Reading) -> Reading:
        sample = reading.sample
        subjects = tuple(self.order.get(subject, subject) for subject in sample.subjects)
        return replace(reading, sample=replace(sample, subjects=subjects))


def _with_score(readings: Iterable[Reading], score: Reading) -> Iterable[Reading]:
    """Yield the readings with the record's score in the place of the sidecar's, or first."""
    others = list(readings)
    index = next((i for i, reading in enumerate(others) if reading.matches(score.statistic)), None)
    if index is None:
        yield score
        yield from others
        return
    for number, reading in enumerate(others):
        if number != index:
            yield reading
            continue
        rows = {key: row for row, key in enumerate(score.sample.keys)}
        order = np.array([rows[key] for key in reading.sample.keys], dtype=np.intp)
        below = None if score.denominators is None else score.denominators[order]
        yield replace(reading, values=score.values[order], denominators=below)
