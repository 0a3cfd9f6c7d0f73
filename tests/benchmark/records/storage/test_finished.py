"""Finished cells whose readings stay on disk."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
from publications import many, with_sidecar
from runs import build_record

from benchmark.errors import StoreError
from benchmark.reading import Reading, Sample
from benchmark.records.record import Outcome, Record
from benchmark.records.storage.finished import FinishedCell, StoredCell, read_cells
from benchmark.records.storage.sharing import SharedParts
from benchmark.records.store import Store
from benchmark.report.digest import report_digest
from benchmark.results.health import protocol_health
from benchmark.results.lookup import by_model, group_records
from benchmark.results.summary import summarise_records
from leaderboard.published import folder as folders
from leaderboard.published.folder import load_folder, write_records


def odd_record() -> Record:
    """Return a record with values that are missing, infinite and whole, and with denominators."""
    sample = Sample(("a", "b", "c", "d"), ("s", "s", "t", "u"), (0, 0, 1, 1))
    values = np.array([0.1, math.nan, math.inf, 3.0])
    conditions = {"q": 0.05, "imputer": "blur", "rank": 2}
    first = Reading("share", sample, values, conditions, {"b": "it was too dark"})
    second = replace(first, statistic="excess", denominators=np.array([1.0, math.nan, 2.0, 1e-300]))
    outcome = Outcome("scored", None, "pass", [first, second])
    return build_record("odd", outcome=outcome)


def plain(readings: list[Reading]) -> list[str]:
    return [repr(asdict(reading)) for reading in readings]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for name in ("bright", "dark", "random", "oracle"):
        store.put(build_record(name))
    store.put(odd_record())
    store.put(build_record("fails", outcome=Outcome("failed", "OSError: once")), "log")
    return store


def test_cells_whose_readings_stay_on_disk_are_the_records(store: Store) -> None:
    """If it fails, a report of a store tells other numbers than its records hold."""
    cells, records = read_cells(store.path), [*store.records(), *store.failures()]
    assert len(cells) == 6
    for cell, record in zip(cells, records, strict=True):
        assert plain(cell.to_readings()) == plain(record.to_readings())
        for name in ("identity", "identity_sha256", "names", "state", "reason", "verdict"):
            assert getattr(cell, name) == getattr(record, name)
        for name in ("provenance", "resources", "created", "checksum", "has_readings"):
            assert getattr(cell, name) == getattr(record, name)


def test_results_of_both_are_equal(store: Store) -> None:
    """If it fails, ``report`` tells another score, health or report folder than the run did."""
    protocols = {"loading": fakes.Loading}

    def of(cells: list[FinishedCell]) -> list[object]:
        digest = report_digest(cells, (), protocols)
        return [digest, summarise_records(cells, protocols), protocol_health(cells, protocols)]

    assert of(list(read_cells(store.path))) == of([*store.records(), *store.failures()])


def test_readings_of_one_model_are_read_at_a_time(tmp_path: Path) -> None:
    """If it fails, the report of a large store needs as much memory as the store has bytes."""
    store = Store(tmp_path / "store")
    for model in ("first", "second"):
        for name in ("random", "oracle"):
            store.put(build_record(name, model=model))
    read: list[str] = []

    class Watched(StoredCell):
        def to_readings(self) -> list[Reading]:
            read.append(self.names.model)
            return super().to_readings()

    cells = [Watched(*astuple_of(cell)) for cell in read_cells(store.path)]
    first = next(group_records(cells, {"loading": fakes.Loading}))
    assert {record.names.model for record in first.records} == set(read) == {"first"}
    assert [{cell.names.model for cell in own} for own in by_model(cells)] == [
        {model} for model in dict.fromkeys(cell.names.model for cell in cells)
    ]


def astuple_of(cell: StoredCell) -> list[Any]:
    return [getattr(cell, field.name) for field in fields(cell)]


def test_a_file_that_changes_meanwhile_is_refused(store: Store) -> None:
    """If it fails, numbers that nobody checked get into a report."""
    cell = next(cell for cell in read_cells(store.path) if cell.names.explainer == "bright")
    path = store.path / "records" / f"{cell.identity_sha256}.json"
    path.write_text(path.read_text("utf-8").replace("0.1", "0.9"), encoding="utf-8")
    with pytest.raises(StoreError, match="was changed while it was read"):
        cell.to_readings()


def test_progress_is_told_file_by_file(store: Store, tmp_path: Path) -> None:
    """If it fails, reading many records stands still for minutes without a word."""
    told: list[tuple[str, int, int | None]] = []
    read_cells(store.path, lambda *step: told.append(step))
    assert told == [("records read", done, 6) for done in range(1, 7)]
    write_records(tmp_path / "board", [with_sidecar("good"), with_sidecar("poor")])
    told.clear()
    folders.read_folder(tmp_path / "board", advanced=lambda *step: told.append(step))
    assert told == [("records read", 1, None), ("records read", 2, None)]


def test_equal_parts_are_kept_once_and_change_nothing() -> None:
    """If it fails, a board of many records does not fit into memory, or is made of others."""
    parts, records = SharedParts(), many()
    shared = [parts.with_shared_fields(record) for record in records]
    assert shared == records
    assert [record.to_json() for record in shared] == [record.to_json() for record in records]
    assert all(record.provenance is shared[0].provenance for record in shared)
    assert all(record.scores[3][0] is shared[0].scores[3][0] for record in shared)


def test_a_board_of_ones_own_may_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a board stops at the number of files that a stranger may send."""
    monkeypatch.setattr(folders, "MOST_FILES", 3)
    write_records(tmp_path, [with_sidecar(name) for name in ("good", "fair", "poor")])
    assert len(load_folder(tmp_path)) == 3
    faults = folders.read_folder(tmp_path, folders.Budget()).faults
    assert {fault.name for fault in faults} == {"too-many-files"}
