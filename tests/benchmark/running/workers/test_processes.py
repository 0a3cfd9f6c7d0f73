"""Runs in worker processes: the same records, and what a process that dies costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fakes
import pytest
import torch
from paths import ROOT, SUPPORT
from runs import CPU, build_plan, build_suite, score, write_suite

from benchmark.errors import InputError
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.running.engine import Finished, Settings, run
from benchmark.running.progress import Silence
from benchmark.running.suite import Cell
from benchmark.running.workers import processes
from benchmark.running.workers.processes import WorkerProcesses, count_for

BOTH = ("Loading", "Second")
NAMES = ["Dark", "Exiting", "Bright", "Raising"]


class Course(Silence):
    """What a run tells, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.passes: dict[Cell, int] = {}

    def preparing(self, cell: Cell, what: str) -> None:
        """Note what is prepared."""
        self.told.append(("preparing", what))

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Note the start."""
        self.told.append(("started", f"{cell.explainer} {cell.protocol}"))

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Note the end."""
        self.told.append(("done", f"{cell.explainer} {cell.protocol}"))


def measure(store: Path, names: list[str], progress: Silence, fresh: bool = False) -> Finished:
    """Run fake explainers in two processes."""
    plan = build_plan(names, build_suite(BOTH))
    settings = Settings(CPU, fresh=fresh)
    return run(plan, Store(store), settings, progress, WorkerProcesses(2))


def without_machine(record: Record) -> str:
    """Return all of a record but what tells of the machine, the hour and the cost."""
    content = record.model_dump(mode="json")
    for key in ("provenance", "resources", "created", "checksum"):
        del content[key]
    return json.dumps(content)


def test_processes_give_the_records_of_one_and_a_death_costs_one_cell(tmp_path: Path) -> None:
    """If it fails, scores depend on who measured them, or one plugin takes a night's work along.

    ``Exiting`` ends its process without a word, as the system does where memory runs out.
    """
    course = Course()
    finished = measure(tmp_path / "two", NAMES, course)
    others = [record for record in finished.records if record.names.explainer != "exiting"]
    alone = score([name for name in NAMES if name != "Exiting"], tmp_path / "one", build_suite(BOTH))
    assert list(map(without_machine, others)) == list(map(without_machine, alone.records))
    assert finished.measured == 8
    lost = [record for record in finished.records if record.names.explainer == "exiting"]
    assert [(record.state, record.reason) for record in lost] == [
        ("failed", "The process that measured it ended with the code 7.")
    ] * 2
    assert (finished.passes.forward, finished.passes.backward) == (
        alone.passes.forward,
        alone.passes.backward,
    )
    assert sorted(what for kind, what in course.told if kind == "done") == sorted(
        f"{cell.names.explainer} {cell.names.protocol}" for cell in finished.records
    )
    # Prepared by one method, so that the others find it made.
    begun = [what.split()[0] for kind, what in course.told if kind == "started"]
    assert set(begun[:2]) == {begun[0]}

    # Only what failed is tried again, and what was measured is found without a process.
    again = measure(tmp_path / "two", ["Dark", "Bright"], course)
    assert (again.measured, again.passes.forward) == (0, 0)
    assert set(again.explained[0].attributions) == {"dark", "bright"}
    before = {path: path.read_bytes() for path in (tmp_path / "two/records").iterdir()}
    fresh = measure(tmp_path / "two", ["Dark", "Bright"], course, fresh=True)
    assert fresh.measured == 4
    assert fresh.passes.forward == sum(
        record.resources.forward for record in alone.records if record.state == "scored"
    )
    assert {path: path.read_bytes() for path in (tmp_path / "two/records").iterdir()} == before
