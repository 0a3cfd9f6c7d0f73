"""A worker as whoever judges it sees it: started, asked, answered in time or ended."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass

import torch

from leaderboard.published.fault import plain
from leaderboard.submission.isolation import sandbox, wire
from leaderboard.submission.isolation.confinement import Bounds
from leaderboard.submission.isolation.system_calls import build_filter
from leaderboard.submission.isolation.wire import GarbageError, Header

_CHUNK, _MOST_STDERR = 2**20, 2**16
# From the start of the interpreter to the first answer; torch is imported in between.
_SECONDS_TO_START = 300.0


@dataclass(frozen=True)
class Allowance:
    """What a worker may use.

    Attributes:
        call_seconds: Time for each request.
        total_seconds: Time for all requests together.
        gib: Address space.
    """

    call_seconds: float
    total_seconds: float
    gib: float


class WorkerError(Exception):
    """A worker is of no more use; its fault has a name, and the worker was ended.

    Attributes:
        name: Name of the fault, such as ``rerun-timeout``.
        detail: Detail of what happened, in words.
    """

    def __init__(self, name: str, detail: str) -> None:
        self.name, self.detail = name, detail
        super().__init__(f"{name}: {detail}")


class Connection:
    """A worker in a process of its own.

    Args:
        allowance: Allowance of memory, time and processors.
        walled: Whether it runs behind bubblewrap's walls. Without them it is a process with the
            rights of its user.

    Raises:
        WorkerError: ``isolation-failed`` if it cannot be started.
    """

    def __init__(self, allowance: Allowance, walled: bool = True) -> None:
        self._allowance = allowance
        self._spent = 0.0
        self._fault: WorkerError | None = None
        self._errors: deque[bytes] = deque(maxlen=16)
        self._process = self._start(walled)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        threading.Thread(target=self._drain, daemon=True).start()
        cores = os.cpu_count() or 1
        bounds = Bounds(
            allowance.gib, int(allowance.total_seconds * cores + _SECONDS_TO_START), walled
        )
        deterministic = torch.are_deterministic_algorithms_enabled()
        try:
            self._exchange((bounds, deterministic), 0, time.monotonic() + _SECONDS_TO_START)
        except WorkerError as error:
            detail = f"the worker did not start: {error.detail}"
            self._fault = WorkerError("isolation-failed", detail)
            raise self._fault from None

    @property
    def fault(self) -> WorkerError | None:
        """Fault that the worker was ended by, or None."""
        return self._fault

    def ask(self, name: str, expected: int = 0, /, **arguments: object) -> tuple[Header, bytes]:
        """Return header and payload of the answer to a request.

        Args:
            name: Name of the request, a method of ``worker.Worker``.
            expected: Length of the payload, which comes whole or not at all.
            arguments: Arguments of the request; they are pickled.

        Raises:
            WorkerError: If the worker ended, took too long or wrote what is no answer. It is ended
                then, and every later request raises the same.
        """
        if self._fault is not None:
            raise self._fault
        allowance, start = self._allowance, time.monotonic()
        left = min(allowance.call_seconds, allowance.total_seconds - self._spent)
        try:
            return self._exchange((name, arguments), expected, start + left)
        finally:
            self._spent += time.monotonic() - start

    def end(self, name: str, detail: str) -> None:
        """End the worker by a fault."""
        self.close()
        self._fault = WorkerError(name, detail)

    def close(self) -> None:
        """End the worker, and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _start(self, walled: bool) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as stack:
            descriptors: tuple[int, ...] = ()
            program = build_filter() if walled else None
            if program is not None:
                file = stack.enter_context(tempfile.TemporaryFile())
                file.write(program)
                file.seek(0)
                descriptors = (file.fileno(),)
            filter_descriptor = descriptors[0] if descriptors else None
            try:
                return subprocess.Popen(
                    sandbox.command(filter_descriptor) if walled else sandbox.python(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=descriptors,
                    env=sandbox.environment(),
                    start_new_session=True,
                    bufsize=0,
                )
            except OSError as error:
                detail = f"the worker cannot be started: {error.strerror}"
                raise WorkerError("isolation-failed", detail) from error

    def _drain(self) -> None:
        """Keep the last of what the worker writes to its standard error."""
        pipe = self._process.stderr
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError), pipe:
            while content := os.read(pipe.fileno(), _MOST_STDERR // 16):
                self._errors.append(content)

    def _exchange(self, request: object, expected: int, deadline: float) -> tuple[Header, bytes]:
        try:
            content = pickle.dumps(request, protocol=5)
            self._write(wire.REQUEST.pack(len(content)), deadline)
            self._write(content, deadline)
            prefix = bytes(self._read(wire.REPLY.size, deadline))
            header_size = wire.unpack_lengths(prefix, expected)
            header = wire.unpack_header(bytes(self._read(header_size, deadline)))
            return header, bytes(self._read(wire.payload_of(prefix), deadline))
        except GarbageError as error:
            self.end("worker-garbage", f"the worker answered with {error}")
        except TimeoutError:
            allowance = self._allowance
            self.end(
                "rerun-timeout",
                f"it was not done after {allowance.call_seconds:g} s for one request, or "
                f"{allowance.total_seconds:g} s for all; see --timeout",
            )
        except (EOFError, BrokenPipeError, ConnectionError):
            self.end("rerun-failed", self._last_words())
        except BaseException:
            self.close()
            raise
        assert self._fault is not None
        raise self._fault

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        code = self._process.poll()
        reason = "the worker closed its answers" if code is None else f"exit code {code}"
        # Bubblewrap adds 128 to the number of the signal that ended its child.
        number = -code if code is not None and code < 0 else (code or 0) - 128
        if number in {*signal.Signals}:
            gib = self._allowance.gib
            reason = f"{signal.Signals(number).name}, which may mean that {gib:g} GiB or its time "
            reason += "were not enough"
        lines = b"".join(self._errors).decode("utf-8", "replace").splitlines()
        messages = [plain(line.strip()) for line in lines if line.strip()]
        return f"the worker ended ({reason}): {messages[-1][:300] if messages else 'no last word'}"

    def _write(self, content: bytes, deadline: float) -> None:
        view = memoryview(content)
        while view:
            _wait(self._to, select.POLLOUT, deadline)
            view = view[os.write(self._to, view[:_CHUNK]) :]

    def _read(self, size: int, deadline: float) -> bytearray:
        content = bytearray()
        while len(content) < size:
            _wait(self._from, select.POLLIN, deadline)
            part = os.read(self._from, min(_CHUNK, size - len(content)))
            if not part:
                raise EOFError
            content += part
        return content


def _wait(descriptor: int, event: int, deadline: float) -> None:
    """Wait until a pipe can be used.

    Raises:
        TimeoutError: If that is not before the deadline.
    """
    poll = select.poll()
    poll.register(descriptor, event)
    # In steps, since poll refuses waits of more than 24 days.
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(1000 * min(left, 3600)):
            return
    raise TimeoutError
