"""A process on this machine that measures tasks, as seen by whoever started it."""

from __future__ import annotations

import multiprocessing
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker

from benchmark.plugins.foreign.apart import MARK, describe_code, end_group, end_marked
from benchmark.running.workers.child import serve
from benchmark.running.workers.threads import marked, one_thread

GRACE = 5.0  # seconds in which a process that is asked to stop leaves what it does


class SpawnedProcess:
    """A process that measures what it is sent, as ``child.serve`` says.

    Args:
        is_alone: Whether no other runs beside it, so that it may have as many threads as this one.

    Attributes:
        connection: Connection to it.
    """

    def __init__(self, is_alone: bool = False) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.connection, theirs = context.Pipe()
        self._mark = secrets.token_hex(8)
        self._process = context.Process(target=serve, args=(theirs,), name="medsanity worker")
        with nullcontext() if is_alone else one_thread(), _no_interrupt(), marked(self._mark):
            self._process.start()
        theirs.close()  # so that the connection ends when the process does

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended, though what it has started may hold its connection."""
        return not self._process.is_alive() and not self.connection.poll()

    def send(self, pickled: bytes) -> None:
        """Send a message; where the process has ended, reading from it will show."""
        try:
            self.connection.send_bytes(pickled)
        except OSError:
            return

    def receive(self) -> bytes:
        """Return the next message.

        Raises:
            EOFError: If the process has ended.
        """
        try:
            if self.is_gone:
                raise EOFError
            return self.connection.recv_bytes()
        except OSError:
            raise EOFError from None

    def describe_end(self) -> str:
        """Return a clause about how the process ended by itself."""
        code = self._process.exitcode
        return "without a code" if code is None else describe_code(code)

    def stop(self, is_busy: bool) -> None:
        """Ask the process to leave what it does; one that has nothing in hand is ended."""
        self.connection.close()
        if is_busy:
            self._process.terminate()
        else:
            self._process.kill()

    def end(self, seconds: float = GRACE) -> None:
        """Wait for the process to end, and end it by force where it does not.

        Nothing that it has started stays behind; on Linux, not even what has left its group.
        """
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        if self._process.pid is not None:
            end_group(self._process.pid)
        end_marked(f"{MARK}={self._mark}")


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
