"""A worker without a process of its own, for tests of what is asked of it and told of it.

To start a process that imports torch takes longer than most of these tests. What holds a worker in
is tested with real ones, in ``tests/leaderboard/submission/isolation``.
"""

from __future__ import annotations

import pickle

from leaderboard.submission.isolation import wire
from leaderboard.submission.isolation.connection import Allowance, WorkerError
from leaderboard.submission.isolation.wire import Header
from leaderboard.submission.isolation.worker import Worker


class DirectConnection:
    """Stands in the place of a ``Connection``."""

    def __init__(self, allowance: Allowance, walled: bool = True) -> None:
        self._worker = Worker()
        self.fault: WorkerError | None = None

    def ask(self, name: str, expected: int = 0, /, **arguments: object) -> tuple[Header, bytes]:
        """Answer a request as a worker would."""
        if self.fault is not None:
            raise self.fault
        name, arguments = pickle.loads(pickle.dumps((name, arguments)))
        try:
            answer = getattr(self._worker, name)(**arguments)
        except BaseException as error:
            return self._worker.describe(error), b""
        header, payload = answer if isinstance(answer, tuple) else (answer, b"")
        start = wire.pack_reply(header, payload)
        return wire.unpack_header(start[wire.REPLY.size :]), bytes(payload)

    def end(self, name: str, detail: str) -> None:
        """Note the fault."""
        self.fault = WorkerError(name, detail)

    def close(self) -> None:
        """Do nothing: there is no process."""
