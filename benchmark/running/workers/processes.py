"""Worker processes on this machine, each of one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from pathlib import Path

import torch

from benchmark.running.suite import Cell
from benchmark.running.workers.child import serve
from benchmark.running.workers.loading import Request
from benchmark.running.workers.messages import (
    CellDone,
    CellLost,
    CellStarted,
    Message,
    Refused,
    TaskDone,
)
from benchmark.running.workers.task import Agenda, Task
from benchmark.running.workers.threads import one_thread

# A worker with a network of a few million parameters takes between 1 and 1.9 GB on slices.
_MEMORY = 2 * 2**30
_MEMINFO = Path("/proc/meminfo")
_GRACE = 5.0  # seconds in which a process that is asked to stop leaves what it does
_PATIENCE = 1.0  # seconds after which processes are looked at that have sent nothing
_FRUITLESS = 3


def count_for(methods: int, device: torch.device) -> int:
    """Return how many processes measure some methods by default.

    One for each method, as far as cores and memory go. A GPU is busy with one process, and a single
    method is measured here with all cores.
    """
    if methods < 2 or device.type != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)  # macOS and Windows have none
    cores = (os.cpu_count() or 1) if affinity is None else len(affinity(0))
    free = _free_memory()
    return max(1, min(methods, cores, cores if free is None else free // _MEMORY))


def _free_memory() -> int | None:
    """Return the bytes of memory that can be used without swapping, or None where unknown."""
    try:
        lines = _MEMINFO.read_text("ascii").splitlines()
    except OSError:  # not Linux
        return None
    amounts = {name: amount.split() for name, _, amount in (line.partition(":") for line in lines)}
    return int(amounts["MemAvailable"][0]) * 1024 if "MemAvailable" in amounts else None


class WorkerProcesses:
    """An ``Executor`` of so many processes.

    A process that ends in the middle of a cell, as by the system where memory runs out, costs that
    cell alone: another process takes its place.

    Args:
        count: Number of processes side by side, at least one.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def carry_out(self, request: Request, agenda: Agenda) -> Generator[Message, None, None]:
        """Yield what the processes report; otherwise as ``Executor.carry_out``."""
        processes: list[_Process] = []
        fruitless = 0  # processes in a row that ended before they had begun a cell
        try:
            while not agenda.is_done:
                _hand_out(request, agenda, processes, max(1, self._count - fruitless))
                for process in _wait(processes):
                    yield from process.follow(agenda)
                    fruitless = 0 if process.has_begun else fruitless + process.has_ended
                if fruitless >= _FRUITLESS:
                    yield Refused(
                        f"{fruitless} worker processes ended before they had begun a cell, the "
                        f"last {process.describe_end()}; `--workers 1` works without them."
                    )
                processes = [process for process in processes if not process.has_ended]
        finally:
            _stop(processes)


class _Process:
    """A process, the task that it has in hand, and the cells of it that are not done.

    Attributes:
        pair: Cohort and model that it has loaded.
        task: Task in hand.
        has_begun: Whether it has begun any cell.
        has_ended: Whether it is gone.
        connection: Connection to it.
    """

    def __init__(self, request: Request, pair: tuple[str, str]) -> None:
        self.pair = pair
        self.task: Task | None = None
        self.has_begun = self.has_ended = False
        self._left: list[Cell] = []
        self._at: tuple[Cell, float] | None = None  # the cell that it is at, and since when
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), name="medsanity worker")
        with one_thread(), _no_interrupt():
            self._process.start()
        theirs.close()  # so that the connection ends when the process does
        self._send((request, pair))

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended, though what it has started may hold its connection."""
        return not self._process.is_alive() and not self.connection.poll()

    def begin(self, task: Task) -> None:
        """Give the process a task."""
        self.task, self.pair, self._left = task, task.pair, list(task.cells)
        self._send(task)

    def follow(self, agenda: Agenda) -> Iterator[Message]:
        """Yield the next message, and tell the agenda where it ends the task."""
        try:
            if self.is_gone:
                raise EOFError
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            yield from self._bury(agenda)
            return
        match message:
            case CellStarted(cell):
                self.has_begun, self._at = True, (cell, time.monotonic())
            case CellDone(cell):
                self._left.remove(cell)
                self._at = None
            case TaskDone() | Refused() if self.task is not None:
                agenda.finish(self.task)
                self.task = None
        yield message

    def describe_end(self) -> str:
        """Return a clause about how the process ended by itself."""
        code = self._process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            cause = ", as the system does where memory runs out" if name == "SIGKILL" else ""
            return f"by {name}{cause}"
        return f"with the code {code}"

    def stop(self) -> None:
        """Ask the process to leave what it does; one that has nothing in hand is ended."""
        self.connection.close()
        if self.task is None:
            self._process.kill()
        else:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Wait for the process to end, and end it by force where it does not."""
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _bury(self, agenda: Agenda) -> Iterator[Message]:
        """Give up the cell in hand, and give back to the agenda what was to come after it."""
        self.connection.close()
        self.end(_GRACE)
        self.has_ended = True
        if self.task is None:
            return
        if self._at is not None:
            cell, since = self._at
            self._left.remove(cell)
            reason = f"The process that measured it ended {self.describe_end()}."
            yield CellLost(cell, reason, time.monotonic() - since)
        agenda.finish(self.task, self._left)

    def _send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except OSError:
            return  # it has ended, as reading from it will show


def _hand_out(request: Request, agenda: Agenda, processes: list[_Process], count: int) -> None:
    """Give every idle process a task, and start processes as long as there are tasks for them.

    A process that must wait for a model's preparation loads the model meanwhile.
    """
    for process in processes:
        if process.task is None and (task := agenda.take(process.pair)) is not None:
            process.begin(task)
    while len(processes) < count and (pair := agenda.next_pair(len(processes))):
        processes.append(_Process(request, pair))
        if (task := agenda.take(pair)) is not None:
            processes[-1].begin(task)


def _wait(processes: Sequence[_Process]) -> list[_Process]:
    """Return the processes that have sent something or have ended, waiting a while for one."""
    ready = wait([process.connection for process in processes], timeout=_PATIENCE)
    return [process for process in processes if process.connection in ready or process.is_gone]


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Let processes that are started inside never hear of Ctrl-C, which reaches the whole group.

    For this process it is put off until the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which would otherwise be started inside, and lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(processes: Sequence[_Process]) -> None:
    """End processes through their ``finally`` clauses, and by force those that take too long."""
    try:
        for process in processes:
            process.stop()
        deadline = time.monotonic() + _GRACE
        for process in processes:
            process.end(max(0.0, deadline - time.monotonic()))
    except KeyboardInterrupt:  # pressed again
        for process in processes:
            process.end(0.0)
        raise
