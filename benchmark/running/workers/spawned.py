"""A process on this machine that measures tasks, as seen by whoever started it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from benchmark.running.workers.child import serve
from benchmark.running.workers.threads import one_thread

GRACE = 5.0  # seconds in which a process that is asked to stop leaves what it does


class SpawnedProcess:
    """A process of one thread that measures what it is sent, as ``child.serve`` says.

    Attributes:
        connection: Connection to it.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), name="medsanity worker")
        with one_thread(), _no_interrupt():
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
        if code is not None and code < 0:
            names = {known.value: known.name for known in signal.Signals}
            cause = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
            return f"by {names.get(-code, f'signal {-code}')}{cause}"
        return f"with the code {code}"

    def stop(self, is_busy: bool) -> None:
        """Ask the process to leave what it does; one that has nothing in hand is ended."""
        self.connection.close()
        if is_busy:
            self._process.terminate()
        else:
            self._process.kill()

    def end(self, seconds: float = GRACE) -> None:
        """Wait for the process to end, and end it by force where it does not."""
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


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
