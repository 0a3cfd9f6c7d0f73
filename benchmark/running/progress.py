"""What a run reports while it goes on."""

from __future__ import annotations

from typing import Protocol

from benchmark.records.record import Record
from benchmark.running.suite import Cell


class Progress(Protocol):
    """Who is told how a run gets on."""

    def started(self, cells: int) -> None:
        """Hear how many cells there are."""
        ...

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Hear that a cell is being measured, and how many passes it may take; 0 is not known."""
        ...

    def advanced(self, passes: int) -> None:
        """Hear of passes as they happen."""
        ...

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Hear that a cell is committed; ``measured`` is False where the store had it."""
        ...


class Silence:
    """Progress that nobody hears."""

    def started(self, cells: int) -> None:
        """Say nothing."""

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Say nothing."""

    def advanced(self, passes: int) -> None:
        """Say nothing."""

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Say nothing."""
