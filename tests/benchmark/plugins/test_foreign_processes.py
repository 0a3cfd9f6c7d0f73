"""Processes that somebody else's code starts and leaves, and what it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.plugins.foreign import asking
from benchmark.plugins.foreign.apart import run_apart
from benchmark.running.workers.output import escape_output

pytestmark = [
    pytest.mark.as_users_run_it,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux"),
]


def left_behind() -> int:
    """Leave a child in a session of its own, and return its number."""
    return subprocess.Popen(["sleep", "98765"], start_new_session=True).pid


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_what_leaves_its_session_ends_with_the_copy() -> None:
    """If it fails, a plugin's processes go on when its file was imported, for days."""
    pid = run_apart(left_behind, "it", 60)
    end = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_running(pid)


def test_what_a_worker_prints_moves_no_cursor() -> None:
    """If it fails, a method clears the user's terminal, or writes into a table on its way out."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.dup2(writer, 2)
        escape_output()
        os.system(r"printf '\033[2Jhello\r10 %%\n'")  # a child's own output
        time.sleep(0.5)  # until it was passed on
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b"\\x1b[2Jhello\n10 %\n"
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "deed",
    [lambda: os._exit(3), lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: time.sleep(9)],
)
def test_a_plugin_that_cannot_answer_ends_no_plan(
    monkeypatch: pytest.MonkeyPatch, deed: Callable[[], int]
) -> None:
    """If it fails, a method that crashes when asked what it supports ends a night's work."""
    monkeypatch.setattr(asking, "DEADLINE", 2.0)
    plugin = type("Mine", (), {"__module__": "medsanity_plugin_0123"})()
    assert asking.ask(plugin, deed, otherwise=1) == 1
    assert asking.ask(plugin, lambda: 2, otherwise=1) == 2
    assert asking.ask(object(), lambda: 3, otherwise=1) == 3
