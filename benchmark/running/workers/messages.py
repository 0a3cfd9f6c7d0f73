"""What a worker reports: small messages that can be sent from one process to another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmark.records.record import Record
from benchmark.running.progress import Progress
from benchmark.running.suite import Cell

_SECONDS_BETWEEN = 0.2  # so that ten thousand small batches are not ten thousand messages


@dataclass(frozen=True)
class CellStarted:
    """A cell is being measured."""

    cell: Cell


@dataclass(frozen=True)
class Preparing:
    """Something is made that a cell needs and that takes long, such as the training of a twin."""

    cell: Cell
    what: str


@dataclass(frozen=True)
class Advanced:
    """Image passes that a cell has taken since the last message of this kind."""

    cell: Cell
    passes: int


@dataclass(frozen=True)
class CellDone:
    """A cell whose record is committed to the worker's store.

    Attributes:
        measured: Whether it had to be measured.
        forward: Forward passes that this took now; a record that agreed with an older one holds
            those of that.
        backward: Backward passes.
    """

    cell: Cell
    record: Record
    measured: bool
    forward: int
    backward: int


@dataclass(frozen=True)
class CellLost:
    """A cell whose process ended before it was done.

    Attributes:
        reason: Sentence that says how the process ended.
        seconds: Seconds for which it was measured.
    """

    cell: Cell
    reason: str
    seconds: float


@dataclass(frozen=True)
class TaskDone:
    """All cells of the task in hand are done."""


@dataclass(frozen=True)
class Refused:
    """A sentence that ends the run, such as that the store cannot be written."""

    sentence: str


Message = CellStarted | Preparing | Advanced | CellDone | CellLost | TaskDone | Refused
Send = Callable[[Message], None]


class Messenger(Progress):
    """Listener that sends what it hears, and adds up passes between messages."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._passes, self._sent = 0, 0.0

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Send that a cell is being measured; how long it may take is for the receiver to say."""
        self._passes, self._sent = 0, time.monotonic()
        self._send(CellStarted(cell))

    def preparing(self, cell: Cell, what: str) -> None:
        """Send what is being prepared."""
        self._send(Preparing(cell, what))

    def advanced(self, cell: Cell, passes: int) -> None:
        """Count passes, and send their sum now and then."""
        self._passes += passes
        if (now := time.monotonic()) - self._sent >= _SECONDS_BETWEEN:
            self._send(Advanced(cell, self._passes))
            self._passes, self._sent = 0, now
