"""Published records whose scores stay on disk."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
from publications import GATE, MEANS, published, with_sidecar

from leaderboard.board.build import build_board
from leaderboard.published.fault import FaultError
from leaderboard.published.folder import load_folder, read_readings, write_records
from leaderboard.published.stored import StoredRecords

MODELS = ("first", "second", "third")


class Watched(StoredRecords):
    """Records of which is known how many were in memory together."""

    most = now = 0

    def __getitem__(self, index: Any) -> Any:
        """Return a record, and count those that are there."""
        record = super().__getitem__(index)
        if isinstance(index, int):
            self.now += 1
            self.most = max(self.most, self.now)
            weakref.finalize(record, self._forget)
        return record

    def _forget(self) -> None:
        self.now -= 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written = [
        with_sidecar(name, protocol, model, scale=scale)
        for model in MODELS
        for name in MEANS
        for protocol, scale in (("loading", published().scale), ("noticing", GATE))
    ]
    write_records(tmp_path, written)
    return tmp_path


def test_a_board_is_the_same_and_one_model_is_in_memory_at_a_time(folder: Path) -> None:
    """If it fails, a board of many records needs all of their scores in memory, or tells others."""
    records, whole = Watched(folder), load_folder(folder)
    noise = {
        record.path: read_readings(folder, record)
        for record in whole
        if record.names.explainer == "random"
    }
    assert dict(records.noise).keys() == noise.keys()
    board = build_board(records, noise=records.noise)
    assert board.to_json() == build_board(whole, noise=noise).to_json()
    assert records.most <= len(records) / len(MODELS) + 1
    assert list(records) == list(whole)
    assert records[1:3] == list(whole[1:3])
    assert not any(header.scores for header in records.headers)


def test_a_record_that_changes_meanwhile_is_refused(folder: Path) -> None:
    """If it fails, a board shows numbers that nobody checked."""
    records = StoredRecords(folder)
    path = folder / records.headers[0].path
    with path.open("a", encoding="utf-8") as file:
        file.write(" ")
    with pytest.raises(FaultError, match=r"unreadable: .* was changed while it was read"):
        records[0]
    assert [fault.name for fault in StoredRecords(folder).faults] == ["not-canonical"]
