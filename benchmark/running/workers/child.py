"""The entry of a worker process. It imports nothing of weight before the allocator is tuned."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING

from benchmark.plugins.foreign.apart import MARK, end_group, end_marked, limit_memory
from benchmark.running.allocator import tune_allocator
from benchmark.running.workers.output import escape_output
from benchmark.stopping import StopRequest

if TYPE_CHECKING:
    from benchmark.running.workers.loading import Request

_GRACE = 5.0  # seconds in which what is done is left through its ``finally`` clauses


def serve(connection: Connection) -> None:
    """Measure the tasks that arrive, and send back what happens, until the connection ends.

    The first thing to arrive is the ``Request``, as bytes that are unpickled once the process is
    set up. A pair of cohort and model to load may come while no task is there.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # so that all that a plugin starts can be ended with this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; one of it acts
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_follow_parent, daemon=True).start()
    escape_output()
    tune_allocator()
    try:
        _work(connection)
    except (EOFError, ConnectionResetError, KeyboardInterrupt):
        # Whoever asked is gone, or has asked to stop; nothing half-written stays behind.
        if (parent := parent_process()) is not None and not parent.is_alive():
            _end_all()


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave whatever is done through its ``finally`` clauses, as Ctrl-C would."""
    raise StopRequest


def _follow_parent() -> None:
    """Stop this process when the command is gone that started it, as where a queue ends a job.

    A plugin that goes on all the same is left no longer than the command would leave it.
    """
    if (parent := parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        _end_all()
        os._exit(1)


def _end_all() -> None:
    """End whatever this process has started, and then, with its group, this process."""
    if (mark := os.environ.get(MARK)) is not None:
        end_marked(f"{MARK}={mark}")
    end_group(os.getpid())


def _work(connection: Connection) -> None:
    # Here, since it imports torch, whose allocations the tuned allocator serves.
    from benchmark.errors import InputError
    from benchmark.running.workers.worker import Worker

    request: Request
    request, pair = connection.recv()
    if request.settings.device.type == "cpu":  # CUDA reserves more than there is
        limit_memory()
    worker = Worker(request)
    with suppress(InputError):  # which the first task will meet, and report
        worker.load(pair)
    send = partial(_send, connection, os.getpid())
    while True:
        worker.measure(connection.recv(), send)


def _send(connection: Connection, worker: int, message: object) -> None:
    """Send a message, and leave whatever is done where nobody hears it any more.

    An error would pass for one of the cell at hand, and be kept as its result.

    Args:
        connection: Connection to whoever asked.
        worker: Number of the worker's process. A plugin may have forked it, and left the copy to
            go on with what it was copied in.
        message: Message.
    """
    if os.getpid() != worker:
        os._exit(1)
    try:
        connection.send(message)
    except OSError:
        raise StopRequest from None
