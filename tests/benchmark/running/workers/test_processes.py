"""Runs in worker processes: the same records, and what Ctrl-C and a process that dies cost."""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path

import fakes
import pytest
import torch
from runs import CPU, build_plan, build_suite, score

from benchmark.errors import InputError
from benchmark.plugins.foreign import apart
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.running.engine import Finished, Settings, run
from benchmark.running.progress import Silence
from benchmark.running.suite import Cell
from benchmark.running.workers import spawned
from benchmark.running.workers.processes import WorkerProcesses, count_for

PROTOCOLS = ("Loading", "Fatal", "Second")
NAMES = ["Dark", "Bright", "Raising"]


class Course(Silence):
    """Progress that is written down, and that Ctrl-C may interrupt."""

    def __init__(self, interrupted_by: str = "") -> None:
        self.done: list[str] = []
        self.passes = 0
        self._interrupted_by = interrupted_by

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Press Ctrl-C in a cell of that protocol."""
        if cell.protocol == self._interrupted_by:
            raise KeyboardInterrupt

    def advanced(self, cell: Cell, passes: int) -> None:
        """Add up passes."""
        self.passes += passes

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Note the cell."""
        self.done.append(f"{cell.explainer} {cell.protocol}")


def measure(store: Path, course: Course, count: int) -> Finished:
    """Run fake explainers in other processes."""
    plan = build_plan(NAMES, build_suite(PROTOCOLS))
    return run(plan, Store(store), Settings(CPU), course, WorkerProcesses(count))


def without_machine(record: Record) -> str:
    """Return all of a record but what tells of the machine, the hour and the cost."""
    content = record.model_dump(mode="json")
    for key in ("provenance", "resources", "created", "checksum"):
        del content[key]
    return json.dumps(content)


def test_processes_give_the_records_of_one_whatever_happens_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, scores depend on who measured them, or a night's work hangs or is lost.

    Ctrl-C comes in the middle of a cell that takes a minute. In the run after it, the process that
    measures ``bright`` by ``fatal`` ends without a word, as where memory runs out.
    """
    monkeypatch.setenv(fakes.SLOWNESS, "60")
    with pytest.raises(KeyboardInterrupt, match=r"0 of 9 cells .* the other 9"):
        measure(tmp_path / "two", Course("loading"), count=1)
    assert multiprocessing.active_children() == []
    assert list(tmp_path.rglob("*.tmp")) == []

    monkeypatch.delenv(fakes.SLOWNESS)
    course = Course()
    finished = measure(tmp_path / "two", course, count=2)
    assert multiprocessing.active_children() == []
    named = [f"{record.names.explainer} {record.names.protocol}" for record in finished.records]
    assert sorted(course.done) == sorted(named)
    assert finished.measured == 9

    alone = score(NAMES, tmp_path / "one", build_suite(("Loading", "Second")))
    (lost,) = (
        record
        for record in finished.records
        if record.names.protocol == "fatal"
        if record.names.explainer == "bright"
    )
    assert (lost.state, lost.reason) == (
        "failed",
        "The process that measured it ended with the code 7.",
    )
    others = [record for record in finished.records if record.names.protocol != "fatal"]
    assert list(map(without_machine, others)) == list(map(without_machine, alone.records))
    assert finished.passes == alone.passes
    assert {record.provenance.threads for record in others} == {1}

    again = measure_rest(tmp_path / "two")
    assert (again.measured, again.passes.forward) == (0, 0), "the store must hold what was measured"
    assert set(again.explained[0].attributions) == {"dark", "bright"}


def measure_rest(store: Path) -> Finished:
    """Run what did not fail once more; no process is needed for it."""
    plan = build_plan(["Dark", "Bright"], build_suite(("Loading", "Second")))
    return run(plan, Store(store), Settings(CPU), None, WorkerProcesses(2))


def test_processes_that_never_begin_end_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a run whose processes cannot be started starts them for ever."""
    monkeypatch.setattr(spawned, "serve", sys.exit)
    with pytest.raises(InputError, match=r"3 .* the last with the code 1; `--workers 1`"):
        measure(tmp_path / "store", Course(), count=2)
    assert multiprocessing.active_children() == []


def test_so_many_processes_as_cores_memory_and_methods_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a machine of many cores and little memory kills what it runs."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(apart, "_MEMINFO", tmp_path / "meminfo")
    assert [count_for(methods, CPU) for methods in (1, 2, 32)] == [1, 2, 8]
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    7340032 kB\n")
    assert count_for(32, CPU) == 3
    assert count_for(32, torch.device("cuda:0")) == 1
