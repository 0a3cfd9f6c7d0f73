"""The store where many processes write at once, and where runs die at any moment.

Both happen in a process of their own that imports everything once, has one thread, and forks: this
file is also the script of that process, which notes what it saw for the tests to judge. A kill
takes the process only; that a power cut spares what was synced is for the disk to keep.
"""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest import mock

import fakes
import pytest
import torch
from paths import ROOT, SUPPORT
from runs import CPU, RESOURCES, build_record, build_suite

from benchmark.errors import StoreError
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import FAILED
from benchmark.records.record import Record
from benchmark.records.store import Store, contradiction
from benchmark.running.engine import Settings, run
from benchmark.running.plan import Plan, make_plan
from benchmark.running.progress import Silence
from benchmark.running.suite import Cell, Selection
from leaderboard.board.board import Board
from leaderboard.board.build import build_board
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.record import PublishedRecord, publish
from leaderboard.submission.from_plugins import method_of, scale_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

WRITERS, OWN, SHARED, CONTESTED = 16, 1000, 50, 50
KILLS, UNDISTURBED = 100, 2
FAKES = ("Bright", "Dark", "Powered", "Picky", "Flat")
CONTROLS = ("random", "oracle")
FACTS = "facts.json"
MEMORY, ROOM = Path("/dev/shm"), 2**28


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: 16,000 times two syncs are a disk's minute.

    Every sync is still called, and names appear and vanish by the same rules.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def test_many_writers_lose_and_tear_nothing(quick_folder: Path) -> None:
    """If it fails, a suite that is run on many nodes into one store is silently incomplete.

    Sixteen processes make one store and each put a thousand records of its own, and others that all
    of them put: some with equal content, which is no fault, some with their own under one identity,
    which is one for all but the first.
    """
    facts = fork_from_a_fresh_process("writers", quick_folder)
    ledgers = [json.loads((quick_folder / f"{one}.json").read_text()) for one in range(WRITERS)]
    store = Store(quick_folder / "store")
    kept = {one.identity_sha256: one for one in store.records()}
    digests = {one.stem: digest(one.read_bytes()) for one in records_of(store)}

    written = {name: told for ledger in ledgers for name, told in ledger["own"].items()}
    assert len(written) == WRITERS * OWN
    assert {name: digests.get(name) for name in written} == written, "lost, or not as written"

    shared = {name for ledger in ledgers for name in ledger["shared"]}
    assert len(shared) == SHARED
    for name in shared:
        assert digests[name] in [ledger["shared"][name] for ledger in ledgers]

    contested = {name for ledger in ledgers for name in ledger["contested"]}
    assert len(contested) == CONTESTED
    for name in contested:
        put = [ledger["contested"][name] for ledger in ledgers]
        firsts = [text for text, fault in put if fault is None]
        assert firsts == [kept[name].to_json()], "one result took the place of another"
        path = store.path / "records" / f"{name}.json"
        for text, fault in put:
            if text not in firsts:
                assert fault == contradiction(kept[name], Record.from_json(text), path)

    assert kept.keys() == digests.keys() == written.keys() | shared | contested
    assert list(store.path.rglob("*.tmp")) == []
    assert list((store.path / "failures").iterdir()) == []
    assert facts["faults"] == [], "a reader beside the writers met a file that was not whole"
    assert {name: digests[name] for name in facts["seen"]} == facts["seen"], "replaced later"
    # Otherwise the writers took turns, and nothing above was tried.
    assert len(facts["seen"]) > WRITERS * OWN / 50
    assert len({kept[name].names.cohort for name in shared}) > 1


def test_runs_killed_at_any_moment_lose_no_committed_cell(tmp_path: Path) -> None:
    """If it fails, a night's work on a cluster is lost or altered when the queue ends the job.

    Kills come at moments drawn evenly over the length of a whole run, each from the state that the
    last one left; where all cells are there, a run is left to finish, and a new store begun. Boards
    are compared with resources and time of day fixed, since those tell of the run and not of the
    method; provenance, every score and every other reading are compared to the last byte.
    """
    facts = fork_from_a_fresh_process("kills", tmp_path)
    kills, cells = facts["kills"], facts["cells"]
    assert len(kills) == KILLS
    for number, kill in enumerate(kills):
        assert kill["fault"] is None, f"after kill {number} the store cannot be read"
        assert kill["lost"] == [], f"kill {number} lost or altered what lay in the store"
        assert kill["untrue"] == [], f"kill {number} lost what the run had called done"
        assert kill["repeated"] == [], f"before kill {number} the run measured again what it had"

    board = Board.model_validate_json(facts["board"])
    assert len(board.records) == cells
    assert sum(row.status == "ranked" for row in board.models[0].rows) > 2
    assert facts["undisturbed"] == [facts["board"]] * UNDISTURBED
    resumed = facts["resumed"]
    assert len(resumed) > 1
    for number, one in enumerate(resumed):
        assert one["board"] == facts["board"], f"store {number}, after {one['kills']} kills"
    assert sum(one["kills"] for one in resumed) == KILLS

    # Otherwise the kills came before or after the work, and nothing above was tried.
    within = Counter(kill["kept"] for kill in kills if kill["kept"] < cells)
    assert within.total() >= KILLS / 2
    assert len(within) >= cells / 2, f"kills met these numbers of finished cells: {within}"
    assert any(kill["half_written"] for kill in kills)
    assert max(one["kills"] for one in resumed) > 2


def fork_from_a_fresh_process(task: str, folder: Path) -> Any:
    """Run one of the tasks below, and return what it noted."""
    root = ROOT
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), str(SUPPORT)]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, __file__, task, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / FACTS).read_text())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def records_of(store: Store) -> list[Path]:
    return sorted((store.path / "records").glob("*.json"))


def contents_of(store: Store) -> dict[str, bytes]:
    return {one.stem: one.read_bytes() for one in records_of(store)}


def fork(work: Callable[[], None]) -> int:
    """Return the id of a process that does this and nothing else."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit, which would go on in the caller of the parent.
        sys.stderr.flush()
        os._exit(code)


def writers(folder: Path) -> dict[str, Any]:
    """Let all writers loose at once, and read a part of what they write as it appears."""
    together = multiprocessing.get_context("fork").Barrier(WRITERS, timeout=120)

    def work(writer: int) -> None:
        ledger = write(Store(folder / "store"), writer, together)
        (folder / f"{writer}.json").write_text(json.dumps(ledger))

    living = {fork(lambda writer=one: work(writer)) for one in range(WRITERS)}  # type: ignore[misc]
    store, seen, faults = Store(folder / "store"), {}, []
    while living:
        for path in records_of(store):
            if path.name[0] == "0" and path.stem not in seen:
                try:
                    record = store.get(path.stem)
                    seen[path.stem] = digest(record.to_json().encode() if record else b"")
                except StoreError as error:
                    faults.append(str(error))
        for pid in list(living):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                living.remove(pid)
                assert status == 0, f"a writer ended with {status}"
        time.sleep(0.02)
    return {"seen": seen, "faults": faults}


def write(store: Store, writer: int, together: Barrier) -> dict[str, Any]:
    """Put every record of one writer, and return what was put under which identity."""
    own: dict[str, str] = {}
    shared: dict[str, str] = {}
    contested: dict[str, tuple[str, str | None]] = {}
    for number in range(OWN):
        if number % (OWN // CONTESTED) == 0:
            record = build(f"contested{number}", writer)
            fault = None
            try:
                put_together(store, record, together)
            except StoreError as error:
                fault = str(error)
            contested[record.identity_sha256] = record.to_json(), fault
        if number % (OWN // SHARED) == 0:
            record = build(f"shared{number}", 0)
            # Equal content in other bytes, so that the file tells who came first.
            record = record.renamed(record.names.model_copy(update={"cohort": f"of{writer}"}))
            put_together(store, record, together)
            shared[record.identity_sha256] = digest(record.to_json().encode())
        record = build(f"own{writer}-{number}", number)
        store.put(record)
        own[record.identity_sha256] = digest(record.to_json().encode())
    return {"own": own, "shared": shared, "contested": contested}


def put_together(store: Store, record: Record, together: Barrier) -> None:
    """Put a record when all writers have one under its identity.

    They take as long to sync as on a slow disk, so that all are halfway at once: in memory, a
    writer is done before the next gets the processor, and finds the file there.
    """
    sync = os.fsync

    def sync_slowly(handle: int) -> None:
        sync(handle)
        time.sleep(0.005)

    together.wait()
    with mock.patch.object(os, "fsync", sync_slowly):
        store.put(record)


def build(explainer: str, value: float) -> Record:
    return build_record(explainer, (value, value / 3), ("share",))


class Telling(Silence):
    """Progress into a pipe, where it outlives who wrote it."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Tell of a cell that is committed."""
        if record.state != FAILED:
            os.write(self._pipe, f"{record.identity_sha256} {measured:d}\n".encode())


def kills(folder: Path) -> dict[str, Any]:
    """Kill runs until there were enough, and let the last one finish."""
    selection = Selection((*map(fakes.spec, FAKES), *CONTROLS))
    plan = make_plan(Catalogue(), build_suite(("Loading", "Second")), selection)
    # In this process, so that what is imported and cached on first use is there for its children.
    whole = Store(folder / "whole")
    run(plan, whole, Settings(CPU))
    gc.freeze()
    cells = len(records_of(whole))
    undisturbed, lengths = [], []
    for number in range(UNDISTURBED):
        store, start = Store(folder / f"undisturbed{number}"), time.perf_counter()
        assert shoot(plan, store, None)[0] == 0
        lengths.append(time.perf_counter() - start)
        undisturbed.append(board_of(plan, store))
    draw, length = random.Random(0), statistics.median(lengths)

    noted: list[dict[str, Any]] = []
    resumed: list[dict[str, Any]] = []
    store, survived, begun = Store(folder / "store0"), 0, 0
    while survived or len(noted) < KILLS:
        complete = len(records_of(store)) == cells
        delay = None if complete or len(noted) == KILLS else draw.uniform(0, length)
        code, kill = shoot(plan, store, delay)
        if code == -signal.SIGKILL:
            noted.append(kill)
            survived += 1
            continue
        assert code == 0, f"a run ended with {code}"
        if survived:
            resumed.append({"kills": survived, "board": board_of(plan, store)})
        begun += 1
        assert begun < 20 * KILLS, "runs end before they can be killed"
        store, survived = Store(folder / f"store{begun}"), 0
    return {
        "kills": noted,
        "cells": cells,
        "board": board_of(plan, whole),
        "undisturbed": undisturbed,
        "resumed": resumed,
        "length": length,
    }


def shoot(plan: Plan, store: Store, delay: float | None) -> tuple[int, dict[str, Any]]:
    """Start a run and kill it after a while, unless it ends before.

    Returns:
        How it ended, and what the store was like afterwards.
    """
    had, temporary = contents_of(store), len(list(store.path.rglob("*.tmp")))
    before = dict(had)
    ear, mouth = os.pipe()
    pid = fork(lambda: run_and_tell(plan, store.path, mouth))
    os.close(mouth)
    if delay is not None:
        time.sleep(delay)
        before |= contents_of(store)
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(ear) as file:
        told = dict(line.split() for line in file.read().splitlines())
    after, fault = contents_of(store), None
    try:
        opened = Store(store.path)
        read = {one.identity_sha256 for one in opened.records()}
        list(opened.failures())
    except StoreError as error:
        read, fault = set(), str(error)
    return code, {
        "kept": len(after),
        "lost": [name for name, content in before.items() if after.get(name) != content],
        "untrue": sorted(told.keys() - read),
        "repeated": [name for name, measured in told.items() if name in had and measured == "1"],
        "fault": fault,
        "half_written": len(list(store.path.rglob("*.tmp"))) - temporary,
    }


def run_and_tell(plan: Plan, store: Path, pipe: int) -> None:
    run(plan, Store(store), Settings(CPU), Telling(pipe))


def board_of(plan: Plan, store: Store) -> str:
    """Return the text of the board of a store, with resources and time of day fixed."""
    return build_board(published(plan, one) for one in store.records()).to_json()


def published(plan: Plan, record: Record) -> PublishedRecord:
    names, pseudonyms = record.names, Pseudonyms("test")
    method = method_of(plan.explainers[names.explainer].plugin)
    scale = scale_of(plan.protocols[names.protocol].plugin)
    made, _ = publish(record, method, scale, pseudonyms, "the tests")
    fields = {name: getattr(made, name) for name in PublishedRecord.model_fields}
    del fields["checksum"]
    return PublishedRecord.seal(
        **fields | {"resources": RESOURCES, "created": "2000-01-01T00:00:00Z"}
    )


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    gc.freeze()  # else each child copies every page that its collector looks at
    task, folder = arguments[0], Path(arguments[1])
    facts = {"writers": writers, "kills": kills}[task](folder)
    (folder / FACTS).write_text(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1:])
