"""The actor of a Ray cluster that holds a worker process on its machine.

Messages are passed on as the bytes that they arrive as. What measures is a process of its own, as
``--workers`` starts it: it has one thread, its allocator is tuned before torch is imported, and
where a plugin ends it, the actor is left to tell how.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from benchmark.running.workers.cluster.machine import Machine, Origin
from benchmark.running.workers.spawned import SpawnedProcess

_PATIENCE = 1.0  # seconds after which a process is looked at that has sent nothing


@dataclass(frozen=True)
class Batch:
    """Messages of a worker process since the last batch, each pickled.

    Attributes:
        end: Clause about how the process ended, where it did.
    """

    messages: tuple[bytes, ...]
    end: str | None = None


class WorkerActor:
    """Starts a worker process, gives it tasks, and returns what it reports."""

    def __init__(self) -> None:
        self._process: SpawnedProcess | None = None

    def describe(self, origin: Origin) -> Machine:
        """Return the machine that this actor runs on."""
        return Machine.of_process(origin)

    def start(self, request: bytes) -> None:
        """Start the process.

        Args:
            request: Request and pair of cohort and model to load, pickled.
        """
        # A process that is spawned would run the file of this one again, which is Ray's own.
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._process = SpawnedProcess()
        self._process.send(request)

    def begin(self, task: bytes) -> Batch:
        """Give the process a pickled task, and return its first messages."""
        if self._process is not None:
            self._process.send(task)
        return self.follow()

    def follow(self) -> Batch:
        """Return the messages that have arrived, waiting for at least one or for the end."""
        if self._process is None:
            raise RuntimeError("There is no process to follow; `start` starts it.")
        process, messages = self._process, list[bytes]()
        try:
            while not (messages or process.is_gone):
                wait([process.connection], timeout=_PATIENCE)
                while process.connection.poll():
                    messages.append(process.receive())
        except (EOFError, OSError):
            pass  # it has ended, which the next batch tells unless this one is empty
        if messages:
            return Batch(tuple(messages))
        process.end()
        return Batch((), process.describe_end())

    def holds(self, store: Path, identity: str) -> bool:
        """Return whether a store of this machine holds the record of a finished cell."""
        return (store / "records" / f"{identity}.json").exists()

    def read_log(self, store: Path, identity: str) -> str:
        """Return the log of a failed cell from a store of this machine, or nothing."""
        with suppress(OSError):
            return (store / "failures" / f"{identity}.log").read_text("utf-8")
        return ""

    def stop(self, is_busy: bool) -> None:
        """Let the process leave what it does, and wait for its end."""
        if self._process is not None:
            self._process.stop(is_busy)
            self._process.end()
