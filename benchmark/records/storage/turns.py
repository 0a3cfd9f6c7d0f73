"""Turns: of the processes that share a folder, one at a time makes what a name stands for.

Who waits would make the same, so a turn saves work and nothing else depends on it: on a file system
that knows no locks, and where the one whose turn it is shows no life, such as a process that was
suspended, both make it. The system ends the turn of a process that dies.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none, and there nobody waits
    fcntl = None  # type: ignore[assignment]

_PAUSE = 0.02  # seconds between two looks
_SILENCE = 1.0  # seconds of waiting before it is told
_PULSE = 30.0  # seconds between two signs of life of the one whose turn it is
_PATIENCE = 600.0  # seconds without a sign of life after which who waits makes it too


@contextmanager
def taken_turn(path: Path, announce: Callable[[str], None] | None = None) -> Iterator[None]:
    """Wait until nobody else has the turn, and have it inside.

    Args:
        path: File that lies there during the turn; its folder may be missing.
        announce: Function that is told what is waited for, where that takes long.
    """
    handle = None if fcntl is None else _lock(path, announce)
    if handle is None:
        yield
        return
    over = threading.Event()
    life = threading.Thread(target=_show_life, args=(handle, over), daemon=True)
    life.start()
    try:
        yield
    finally:
        over.set()
        life.join()  # before the file is closed, whose number the next one gets
        with suppress(OSError):
            path.unlink()
        _let_go(handle)


def _show_life(handle: int, over: threading.Event) -> None:
    """Write the time to a file now and then, which a process that is suspended does not."""
    while not over.wait(_PULSE):
        with suppress(OSError):
            os.utime(handle)


def _lock(path: Path, announce: Callable[[str], None] | None) -> int | None:
    """Return a locked file, or None where there are no locks or nobody shows life.

    Whose turn it was has removed the file before others get its lock. They find what was made, and
    it does no harm that somebody who comes later locks another file of that name.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    except OSError:  # a folder that is missing, or cannot be written to
        return None
    began = alive_at = time.monotonic()
    sign, is_told, is_locked = 0, announce is None, False
    try:
        while not (is_locked := _try(handle)):
            now = time.monotonic()
            if (newest := os.fstat(handle).st_mtime_ns) != sign:  # of whatever clock wrote it
                sign, alive_at = newest, now
            if now - alive_at > _PATIENCE:
                break
            if announce is not None and not is_told and now - began > _SILENCE:
                announce("waiting for another process that makes the same")
                is_told = True
            time.sleep(_PAUSE)
    except OSError:  # a file system without locks
        return None
    finally:
        if not is_locked:
            _let_go(handle)
    return handle if is_locked else None


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _let_go(handle: int) -> None:
    """Unlock a file before it is closed: a process that was forked meanwhile has it open too."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)
