"""Tells a run that is to stop from a plugin that raises what Ctrl-C raises."""

from __future__ import annotations

from multiprocessing import parent_process


class StopRequest(KeyboardInterrupt):
    """A worker process was asked to leave what it does, by whoever started it."""


def is_stop(error: BaseException) -> bool:
    """Return whether an error asks this process to stop, rather than comes from a plugin.

    A worker never hears of Ctrl-C; there, nothing but ``StopRequest`` is a request.
    """
    if parent_process() is None:
        return isinstance(error, KeyboardInterrupt)
    return isinstance(error, StopRequest)
