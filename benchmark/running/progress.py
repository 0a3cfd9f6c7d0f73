"""The listener that a run reports its progress to."""

from __future__ import annotations

from typing import Protocol

from benchmark.records.record import Record
from benchmark.running.suite import Cell


class Progress(Protocol):
    """Listener to the course of a run; several cells may be measured at a time."""

    def remarked(self, remark: str) -> None:
        """Note what was found in a model while it was loaded."""
        return

    def started(self, cells: int) -> None:
        """Note how many cells there are."""
        return

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Note that a cell is being measured, and how many passes it may take; 0 is not known."""
        return

    def preparing(self, cell: Cell, what: str) -> None:
        """Note what is made for a cell and takes long, such as ``training the twin``."""
        return

    def advanced(self, cell: Cell, passes: int) -> None:
        """Note passes of a cell as they happen."""
        return

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Note that a cell is committed; ``measured`` is False where the store had it."""
        return


class Silence(Progress):
    """Listener that ignores everything."""
