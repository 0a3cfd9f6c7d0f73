"""Runs on a Ray cluster: the same records, and what a node that dies costs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fakes
import pytest

pytest.importorskip("ray", reason="Ray is an extra: pip install 'medsanity[ray]'")

from ray_nodes import METHODS, PROTOCOLS, Gatekeeper, Nodes, cluster, measure, without_machine
from runs import CPU, build_plan, build_suite, score

from benchmark.errors import DeviceError, InputError
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.store import Store
from benchmark.running.engine import Settings, run
from benchmark.running.plan import make_plan
from benchmark.running.suite import Cell, Selection
from benchmark.running.workers.cluster import executor
from benchmark.running.workers.cluster.executor import RayExecutor
from benchmark.running.workers.cluster.machine import Code


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster of two nodes."""
    gates = tmp_path_factory.mktemp("cluster") / "gates"
    gates.mkdir()
    with cluster(2, gates) as running:
        yield running


class Interrupting(Gatekeeper):
    """Presses Ctrl-C in the first cell, which is never let go."""

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Press Ctrl-C."""
        raise KeyboardInterrupt


def test_a_cluster_gives_the_records_of_one_process_though_a_node_dies(
    tmp_path: Path, nodes: Nodes
) -> None:
    """If it fails, a dead node costs a night's work, or scores depend on who measured them.

    It begins with Ctrl-C in the middle of a cell.
    """
    with pytest.raises(KeyboardInterrupt, match=r"0 of 6 cells .* the other 6"):
        measure(nodes, tmp_path / "two", Interrupting(nodes))
    assert nodes.workers() == []
    assert list(tmp_path.rglob("*.tmp")) == []

    course = Gatekeeper(nodes, kill_at=("begun", 3))
    finished = measure(nodes, tmp_path / "two", course)
    nodes.add()
    alone = score(METHODS, tmp_path / "one", build_suite(PROTOCOLS))
    assert course.seen == {"begun": 7, "done": 6}, "the cell that was lost is begun once more"
    assert [*map(without_machine, finished.records)] == [*map(without_machine, alone.records)]
    assert finished.passes == alone.passes
    assert {record.provenance.threads for record in finished.records} == {1}
    assert set(finished.explained[0].attributions) == {"dark", "bright"}
    assert list(tmp_path.rglob("*.tmp")) == []


def test_machines_without_the_runs_files_send_their_records_back(
    tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a cluster without a common file system loses scores, or cannot find a plugin.

    One cell fails with a traceback, and one ends its process.
    """
    own = tmp_path / "own.py"
    own.write_text(fakes.FILE.read_text())

    @contextmanager
    def unmarked(store: Path) -> Iterator[str]:
        own.unlink()  # what is sent has been read
        yield "no such file"

    monkeypatch.setattr(executor, "_marked", unmarked)
    selection = Selection(tuple(f"{own}:{name}" for name in METHODS))
    suite = build_suite(("Loading", "Fatal"))
    plan, store = make_plan(Catalogue(), suite, selection), Store(tmp_path / "store")
    finished = run(plan, store, Settings(CPU), Gatekeeper(nodes), RayExecutor(nodes.address, 16))

    states = {f"{each.names.explainer} {each.names.protocol}": each for each in finished.records}
    own_hash = states["dark loading"].identity.explainer.source_sha256
    assert own_hash == hashlib.sha256(fakes.FILE.read_bytes()).hexdigest()
    lost = states["bright fatal"].reason
    assert lost == "The process that measured it ended with the code 7."
    kept = {record.identity_sha256 for record in store.records()}
    assert kept == {each.identity_sha256 for each in finished.records if each.state != "failed"}
    failed = states["raising loading"]
    log = (tmp_path / "store" / "failures" / f"{failed.identity_sha256}.log").read_text()
    assert "Traceback" in log
    assert "out of ideas" in log
    here, there = (
        {path.name for path in folder.glob(f"{arrays}/*.npz")}
        for folder, arrays in (
            (tmp_path, "store/arrays"),
            (nodes.gates.parent, "node*/medsanity-*/kept/arrays"),
        )
    )
    assert there - here, "maps stay where they were made"


def test_a_cluster_that_cannot_measure_says_so(
    tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a run on a cluster mixes two versions of a protocol, or waits for ever."""
    plan, store = build_plan(METHODS), Store(tmp_path)
    with pytest.raises(DeviceError, match="name cuda instead of 'cuda:1'"):
        RayExecutor(nodes.address, None, "cuda:1")
    with pytest.raises(DeviceError, match="has no GPU"):
        run(plan, store, Settings(CPU), None, RayExecutor(nodes.address, None, "cuda"))
    monkeypatch.setattr(Code, "of_process", lambda: Code("0.0.1", ""))
    with pytest.raises(InputError, match=r"has medsanity .*, where 0\.0\.1 is installed here"):
        run(plan, store, Settings(CPU), None, RayExecutor(nodes.address, None))
    assert list(tmp_path.rglob("*.tmp")) == []
