"""What carries out tasks elsewhere: worker processes of this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from benchmark.running.workers.loading import Request
from benchmark.running.workers.messages import Message
from benchmark.running.workers.task import Agenda

WORKER_BYTES = 2 * 2**30
"""Memory of a worker; with a network of a few million parameters it takes 1 to 1.9 GB on slices."""

FRUITLESS = 3
"""Workers that may end one after another without having begun a cell."""


class Executor(Protocol):
    """Measures the tasks of an agenda in other processes, each by a ``Worker``."""

    def carry_out(self, request: Request, agenda: Agenda) -> Generator[Message, None, None]:
        """Yield what workers report until the agenda is done.

        Every cell of the agenda is either ``CellDone`` or, where its process ended, ``CellLost``;
        what was left of the task of such a process is given back to the agenda. When the generator
        is closed, as by Ctrl-C, it ends its processes within seconds.

        Args:
            request: Request that each worker gets.
            agenda: Tasks to carry out.
        """
        ...
