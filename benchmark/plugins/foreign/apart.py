"""Runs somebody else's code in a copy of this process, so that what ends it ends the copy alone.

A plugin's file may leave by ``os._exit``, crash, or never come back when it is imported. The copy
is a fork: it shares all that is loaded and costs milliseconds. Where systems do not fork safely,
the code runs here.
"""

from __future__ import annotations

import os
import pickle
import secrets
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import TypeVar, cast

from benchmark.errors import PluginError

T = TypeVar("T")
_MEMINFO = Path("/proc/meminfo")
_LEAST_MEMORY = 4 * 2**30
_LONGEST_WAIT = 0.05
_PROC = Path("/proc")
MARK = "MEDSANITY_WORKER"
"""Variable by which all that a worker or a copy starts is found when it is ended."""
_ROUNDS = 20


def can_run_apart() -> bool:
    """Return whether a copy of this process can be made; a worker is one already."""
    return sys.platform == "linux" and parent_process() is None


def run_apart(function: Callable[[], T], what: str, deadline: float) -> T:
    """Return what a function returns in a copy of this process.

    The copy has one thread, prints nothing, and may take no more memory than is free.

    Args:
        function: Function to call; its result is pickled, and an exception of it is lost.
        what: Beginning of the sentence for a copy that ends, such as ``"mine.py"``.
        deadline: Seconds that it may take.

    Raises:
        PluginError: If the copy ends by itself, or takes too long.
    """
    if not can_run_apart():
        return function()
    reader, writer = os.pipe()
    mark = secrets.token_hex(8)
    with warnings.catch_warnings():  # Python 3.12 warns of threads, which the copy does not use
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        os.close(reader)
        os.environ[MARK] = mark
        _answer(function, writer)
    os.close(writer)
    try:
        content, code = _listen(reader, process, time.monotonic() + deadline)
    finally:
        os.close(reader)
        end_group(process)
        end_marked(f"{MARK}={mark}")
    if code is None:
        raise PluginError(f"{what} takes longer than {deadline:g} s.")
    if not content:
        raise PluginError(f"{what} ends the process {describe_code(code)}.")
    return cast("T", pickle.loads(content))


def limit_memory() -> None:
    """Let this process allocate no more than is free now, so that it gets a MemoryError instead.

    Otherwise the system ends whatever process it likes.
    """
    if sys.platform != "linux":
        return
    import resource  # here: Windows does not have it

    free = free_memory()
    if free is None:
        return
    most = max(free, _LEAST_MEMORY)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))


def free_memory() -> int | None:
    """Return the bytes of memory that can be used without swapping, or None where unknown."""
    try:
        lines = _MEMINFO.read_text("ascii").splitlines()
    except OSError:  # not Linux
        return None
    amounts = {name: amount.split() for name, _, amount in (line.partition(":") for line in lines)}
    return int(amounts["MemAvailable"][0]) * 1024 if "MemAvailable" in amounts else None


def end_group(leader: int) -> None:
    """End whatever is left of the processes that another one, a leader of its group, started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def end_marked(mark: str) -> None:
    """End every process in whose environment a mark stands, wherever it was left.

    What a worker starts inherits its environment, also where it leaves its group and session and
    outlives whoever started it. Only Linux shows the environment of processes.

    Args:
        mark: Variable and value that one worker alone was started with, ``NAME=value``.
    """
    wanted = mark.encode()
    for _ in range(_ROUNDS):  # one may be starting another
        marked = [pid for pid in _processes() if wanted in _environment_of(pid)]
        for pid in marked:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not marked:
            return
        time.sleep(_LONGEST_WAIT)


def _processes() -> list[int]:
    """Return the other processes of this machine."""
    with suppress(OSError):
        names = (path.name for path in _PROC.iterdir())
        return [int(name) for name in names if name.isdecimal() and int(name) != os.getpid()]
    return []


def _environment_of(pid: int) -> list[bytes]:
    """Return the variables that a process was started with; none of a zombie or a stranger's."""
    with suppress(OSError):
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    return []


def describe_code(code: int) -> str:
    """Return a clause about the exit code of a process, which is negative for a signal."""
    if code < 0:
        names = {known.value: known.name for known in signal.Signals}
        cause = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
        return f"by {names.get(-code, f'signal {-code}')}{cause}"
    return f"with the code {code}"


def _answer(function: Callable[[], object], writer: int) -> None:
    """Call the function, write its result, and end this process, which is the copy."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        limit_memory()
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(1)  # those of the original are not in the copy
        content = pickle.dumps(function())
        with os.fdopen(writer, "wb") as file:
            file.write(content)
    finally:
        os._exit(1)


def _listen(reader: int, process: int, deadline: float) -> tuple[bytes, int | None]:
    """Return what a copy wrote and its exit code, which is None where it took too long."""
    os.set_blocking(reader, False)
    parts: list[bytes] = []
    pause, code = 0.001, None
    while True:
        if code is None and (ended := os.waitpid(process, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
        with suppress(BlockingIOError):
            while part := os.read(reader, 2**16):
                parts.append(part)
        if code is not None:
            return b"".join(parts), code
        if time.monotonic() > deadline:
            end_group(process)
            with suppress(ProcessLookupError):  # it may not lead its group yet
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return b"", None
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_WAIT)
