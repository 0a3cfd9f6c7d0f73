"""Worker processes on this machine, each of one thread."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from typing import cast

import torch

from benchmark.plugins.entry import Entry
from benchmark.plugins.foreign.apart import free_memory
from benchmark.running.plan import Plan
from benchmark.running.workers.assignment import Assignment, describe_deadline
from benchmark.running.workers.executor import FRUITLESS, WORKER_BYTES
from benchmark.running.workers.loading import Request, Settings
from benchmark.running.workers.messages import Message, Refused
from benchmark.running.workers.spawned import GRACE, SpawnedProcess
from benchmark.running.workers.task import Agenda, Task

_PATIENCE = 1.0  # seconds after which processes are looked at that have sent nothing


def count_for(methods: int, device: torch.device) -> int:
    """Return how many processes measure some methods by default.

    One for each method, as far as cores and memory go. A GPU is busy with one process, and a single
    method is measured here with all cores.
    """
    if methods < 2 or device.type != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)  # macOS and Windows have none
    cores = (os.cpu_count() or 1) if affinity is None else len(affinity(0))
    free = free_memory()
    return max(1, min(methods, cores, cores if free is None else free // WORKER_BYTES))


def executor_for(
    plan: Plan, methods: int, settings: Settings, workers: int | None = None
) -> WorkerProcesses | None:
    """Return what measures a plan in other processes, or None where this one does.

    Args:
        plan: Plan of a run.
        methods: Number of its explainers.
        settings: Device, batch size and other settings of the computation.
        workers: Number of processes that the user asked for, if any.
    """
    count = count_for(methods, settings.device) if workers is None else workers
    if count == 1 and not holds_foreign_code(plan):
        return None
    return WorkerProcesses(count, is_alone=count == 1)


def holds_foreign_code(plan: Plan) -> bool:
    """Return whether a plan measures a plugin of a file, which may end the process or hang."""
    shelves = plan.explainers, plan.panel, plan.protocols
    return any(
        entry.source_sha256 is not None
        for shelf in shelves
        for entry in cast("Mapping[str, Entry[object]]", shelf).values()
    )


class WorkerProcesses:
    """An ``Executor`` of so many processes.

    A process that ends in the middle of a cell, as by the system where memory runs out, costs that
    cell alone: another process takes its place.

    Args:
        count: Number of processes side by side, at least one.
        is_alone: Whether the only one has as many threads as this process.
    """

    def __init__(self, count: int, is_alone: bool = False) -> None:
        self._count, self._is_alone = count, is_alone

    def carry_out(self, request: Request, agenda: Agenda) -> Generator[Message, None, None]:
        """Yield what the processes report; otherwise as ``Executor.carry_out``."""
        processes: list[_Process] = []
        fruitless = 0  # processes in a row that ended before they had begun a cell
        try:
            while not agenda.is_done:
                count = max(1, self._count - fruitless)
                _hand_out(request, agenda, processes, count, self._is_alone)
                for process in _wait(processes, request.settings.deadline):
                    yield from process.follow(agenda, request.settings.deadline)
                    has_begun = process.assignment.has_begun
                    fruitless = 0 if has_begun else fruitless + process.has_ended
                if fruitless >= FRUITLESS:
                    yield Refused(
                        f"{fruitless} worker processes ended before they had begun a cell, the "
                        f"last {process.spawned.describe_end()}; `--workers 1` measures built-in "
                        "methods without them."
                    )
                processes = [process for process in processes if not process.has_ended]
        finally:
            _stop(processes)


class _Process:
    """A process and what it has in hand.

    Attributes:
        assignment: Task in hand.
        spawned: The process itself.
        has_ended: Whether it is gone.
    """

    def __init__(self, request: Request, pair: tuple[str, str], is_alone: bool) -> None:
        self.assignment = Assignment(pair)
        self.has_ended = False
        self.spawned = SpawnedProcess(is_alone)
        self.spawned.send(pickle.dumps((request, pair)))

    def begin(self, task: Task) -> None:
        """Give the process a task."""
        self.assignment.begin(task)
        self.spawned.send(pickle.dumps(task))

    def follow(self, agenda: Agenda, deadline: float) -> Iterator[Message]:
        """Yield the next message, and tell the agenda where it ends the task."""
        if self.assignment.seconds > deadline:
            self.spawned.connection.close()
            self.spawned.end(0.0)
            self.has_ended = True
            yield from self.assignment.give_up(agenda, describe_deadline(deadline))
            return
        try:
            message: Message = pickle.loads(self.spawned.receive())
        except EOFError:
            yield from self._bury(agenda)
            return
        self.assignment.note(message, agenda)
        yield message

    def _bury(self, agenda: Agenda) -> Iterator[Message]:
        """Give up the cell in hand, and give back to the agenda what was to come after it."""
        self.spawned.connection.close()
        self.spawned.end()
        self.has_ended = True
        if self.assignment.cell is None:
            self.assignment.give_back(agenda)
            return
        reason = f"The process that measured it ended {self.spawned.describe_end()}."
        yield from self.assignment.give_up(agenda, reason)


def _hand_out(
    request: Request, agenda: Agenda, processes: list[_Process], count: int, is_alone: bool
) -> None:
    """Give every idle process a task, and start processes as long as there are tasks for them.

    A process that must wait for a model's preparation loads the model meanwhile.
    """
    for process in processes:
        own = process.assignment
        if own.task is None and (task := agenda.take(own.pair)) is not None:
            process.begin(task)
    while len(processes) < count and (pair := agenda.next_pair(len(processes))):
        processes.append(_Process(request, pair, is_alone))
        if (task := agenda.take(pair)) is not None:
            processes[-1].begin(task)


def _wait(processes: Sequence[_Process], deadline: float) -> list[_Process]:
    """Return the processes that have sent something, have ended or take too long.

    It waits a while for one.
    """
    ready = wait([process.spawned.connection for process in processes], timeout=_PATIENCE)
    return [
        process
        for process in processes
        if process.spawned.connection in ready
        or process.spawned.is_gone
        or process.assignment.seconds > deadline
    ]


def _stop(processes: Sequence[_Process]) -> None:
    """End processes through their ``finally`` clauses, and by force those that take too long."""
    try:
        for process in processes:
            process.spawned.stop(is_busy=process.assignment.task is not None)
        deadline = time.monotonic() + GRACE
        for process in processes:
            process.spawned.end(max(0.0, deadline - time.monotonic()))
    except KeyboardInterrupt:  # pressed again
        for process in processes:
            process.spawned.end(0.0)
        raise
