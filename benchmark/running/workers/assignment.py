"""The task that a worker has in hand, and what becomes of its cells when the worker is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmark.running.suite import Cell
from benchmark.running.workers.messages import (
    CellDone,
    CellLost,
    CellStarted,
    Message,
    Refused,
    TaskDone,
)
from benchmark.running.workers.task import Agenda, Task


def describe_deadline(deadline: float) -> str:
    """Return the reason why a cell fails that took longer than it may, in seconds."""
    return f"It took longer than {deadline:g} s, the deadline of a cell (`--deadline`)."


class Assignment:
    """What a worker is to do, and how far it says that it is.

    Args:
        pair: Cohort and model that the worker loads first.

    Attributes:
        pair: Cohort and model that it has loaded.
        task: Task in hand.
        has_begun: Whether it has begun any cell.
    """

    def __init__(self, pair: tuple[str, str]) -> None:
        self.pair = pair
        self.task: Task | None = None
        self.has_begun = False
        self._left: list[Cell] = []
        self._since = time.monotonic()  # when the task began, or its last cell ended
        self._at: tuple[Cell, float] | None = None  # the cell that it is at, and since when

    @property
    def cell(self) -> Cell | None:
        """Cell that the worker is at, if any."""
        return None if self._at is None else self._at[0]

    @property
    def seconds(self) -> float:
        """Seconds for which it is at that cell, or has been loading what its task needs."""
        since = self._since if self._at is None else self._at[1]
        return 0.0 if self.task is None else time.monotonic() - since

    @property
    def next_cell(self) -> Cell | None:
        """Cell that the worker is at, or that it has not come to; None without a task."""
        return self.cell or next(iter(self._left), None)

    def begin(self, task: Task) -> None:
        """Note that the worker was given a task."""
        self.task, self.pair, self._left = task, task.pair, list(task.cells)
        self._since = time.monotonic()

    def note(self, message: Message, agenda: Agenda) -> None:
        """Note what the worker reports, and tell the agenda where it ends the task."""
        match message:
            case CellStarted(cell):
                self.has_begun, self._at = True, (cell, time.monotonic())
            case CellDone(cell):
                self._left.remove(cell)
                self._at, self._since = None, time.monotonic()
            case TaskDone() | Refused() if self.task is not None:
                agenda.finish(self.task)
                self.task = None

    def give_up(self, agenda: Agenda, reason: str) -> Iterator[Message]:
        """Give up the next cell for a reason, and give the others back to the agenda."""
        if (cell := self.next_cell) is not None:
            since = time.monotonic() if self._at is None else self._at[1]
            self._left.remove(cell)
            yield CellLost(cell, reason, time.monotonic() - since)
        self.give_back(agenda)

    def give_back(self, agenda: Agenda) -> None:
        """Give all cells that are not done back to the agenda, for another worker."""
        if self.task is not None:
            agenda.finish(self.task, self._left)
            self.task, self._left, self._at = None, [], None
