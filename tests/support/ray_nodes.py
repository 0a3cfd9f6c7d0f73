"""A cluster of Ray nodes on this machine, each in processes that can be killed together.

Run as a script, it kills a node at each of five moments of a run, asks for sixteen workers on two
cores, and says whether the records are those of one process::

    PYTHONPATH=.:tests/support python tests/support/ray_nodes.py
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fakes
import ray
from ray.cluster_utils import Cluster
from runs import CPU, build_plan, build_suite, score

from benchmark.plugins.catalogue import Catalogue
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.running.engine import Finished, Settings, run
from benchmark.running.plan import make_plan
from benchmark.running.progress import Silence
from benchmark.running.suite import Cell, Selection
from benchmark.running.workers.cluster.executor import RayExecutor

MANY = ("Dark", "Bright", "Powered", "Compared", "Flat", "Sloped", "Picky", "Raising")
METHODS, PROTOCOLS = ("Dark", "Bright", "Raising"), ("Loading", "Second")
# What has happened, and how often, when a node is killed. Methods go on side by side.
MOMENTS = {
    "in the first cell": ("begun", 1),
    "in the first cell of a task": ("begun", 3),
    "between two cells": ("done", 3),
    "in a later cell": ("begun", 5),
    "just before the end": ("begun", 6),
}


class Nodes:
    """A head of a cluster, to which a run connects, and nodes of one core each.

    Args:
        gates: Folder by which cells say on which node they are, and are let go.
    """

    def __init__(self, gates: Path) -> None:
        self.gates = gates
        head = {"num_cpus": 0, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes: dict[str, Any] = {}

    @property
    def address(self) -> str:
        """Where a run connects."""
        return str(self._cluster.address)

    def add(self, cores: int = 1) -> None:
        """Add a node."""
        name = f"node{len(self._nodes)}"
        folder = self.gates.with_name(name)  # for what it keeps to itself
        folder.mkdir()
        variables = {fakes.NODE: name, fakes.GATES: str(self.gates), "TMPDIR": str(folder)}
        self._nodes[name] = self._cluster.add_node(num_cpus=cores, env_vars=variables)

    def kill(self, name: str) -> None:
        """Kill all processes of a node at once, without a word to anybody."""
        self._cluster.remove_node(self._nodes[name], allow_graceful=False)

    def workers(self) -> list[Any]:
        """Return the worker processes of all nodes."""
        import psutil  # which Ray brings along, and makes known when it is imported itself

        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                named = process.environ().get(fakes.GATES) == str(self.gates)
                if named and any("spawn_main" in word for word in process.cmdline()):
                    found.append(process)
        return found

    def close(self) -> None:
        """End the cluster."""
        self._cluster.shutdown()


class Gatekeeper(Silence):
    """Lets each cell go that is begun, and kills the node of one at a moment.

    Args:
        nodes: Nodes of the cluster.
        kill_at: What is to have happened, and how often, when a node is killed.
    """

    def __init__(self, nodes: Nodes, kill_at: tuple[str, int] = ("never", 0)) -> None:
        self._nodes, self._kill_at = nodes, kill_at
        self.seen = {"begun": 0, "done": 0}
        for gate in nodes.gates.iterdir():
            gate.unlink()

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Let a cell go, or kill its node instead."""
        if not self._happened("begun", cell):
            (self._nodes.gates / f"{cell.explainer}-{cell.protocol}.open").touch()

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Kill the node of a cell that is done, or do nothing."""
        self._happened("done", cell)

    def _happened(self, what: str, cell: Cell) -> bool:
        self.seen[what] += 1
        if (what, self.seen[what]) != self._kill_at:
            return False
        names: list[Path] = []
        while not names:  # it has just been begun
            names = list(self._nodes.gates.glob(f"{cell.explainer}-{cell.protocol}.node*"))
        self._nodes.kill(names[0].suffix.removeprefix("."))
        return True


@contextmanager
def cluster(nodes: int, gates: Path) -> Iterator[Nodes]:
    """Yield a cluster, and end it."""
    running = Nodes(gates)
    try:
        for _ in range(nodes):
            running.add()
        yield running
    finally:
        running.close()


def measure(
    nodes: Nodes,
    store: Path,
    course: Silence,
    protocols: Sequence[str] = PROTOCOLS,
    workers: int | None = None,
) -> Finished:
    """Run fake explainers on a cluster."""
    plan = build_plan(METHODS, build_suite(protocols))
    executor = RayExecutor(nodes.address, workers)
    return run(plan, Store(store), Settings(CPU), course, executor)


def without_machine(record: Record) -> str:
    """Return all of a record but what tells of the machine, the hour and the cost."""
    content = record.model_dump(mode="json")
    for key in ("provenance", "resources", "created", "checksum"):
        del content[key]
    return json.dumps(content)


def _are_same(finished: Finished, alone: Finished) -> str:
    first, second = ([*map(without_machine, each.records)] for each in (finished, alone))
    return "equal" if first == second else "DIFFER"


def _kill_at_each_moment(nodes: Nodes, folder: Path) -> None:
    alone = score(METHODS, folder / "alone", build_suite(PROTOCOLS))
    for moment, kill_at in {"never": ("never", 0), **MOMENTS}.items():
        began, course = time.monotonic(), Gatekeeper(nodes, kill_at)
        finished = measure(nodes, folder / f"store {moment}", course)
        logging.info(
            f"node killed {moment}: records {_are_same(finished, alone)}, "
            f"{course.seen['begun']} cells begun, {course.seen['done']} done, "
            f"{finished.passes.forward} forward passes ({alone.passes.forward} alone), "
            f"{time.monotonic() - began:.1f} s"
        )
        if moment != "never":
            nodes.add()


def _ask_many_workers(nodes: Nodes, folder: Path, count: int = 16) -> None:
    """Measure as many tasks as workers, on two cores."""
    cohorts = tuple(map(fakes.spec, ("TinyCohort", "OtherCohort")))
    selection = Selection(tuple(map(fakes.spec, MANY)), cohorts)
    plan = make_plan(Catalogue(), build_suite(PROTOCOLS), selection)
    alone = run(plan, Store(folder / "one"), Settings(CPU))
    executor = RayExecutor(nodes.address, count)
    most, course = 0, Gatekeeper(nodes)

    class Counting(Gatekeeper):
        def cell_started(self, cell: Cell, passes: int) -> None:
            nonlocal most
            most = max(most, len(nodes.workers()))
            course.cell_started(cell, passes)

    finished = run(plan, Store(folder / "many"), Settings(CPU), Counting(nodes), executor)
    logging.info(
        f"{count} workers, of which {most} at a time: records {_are_same(finished, alone)}, "
        f"{finished.passes.forward} forward passes ({alone.passes.forward} alone)"
    )


def _main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gates").mkdir()
        with cluster(2, folder / "gates") as nodes:
            _kill_at_each_moment(nodes, folder)
            _ask_many_workers(nodes, folder)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    ray.logger.setLevel(logging.CRITICAL)
    _main()
