"""Of the processes that share an archive, one makes what several need."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from benchmark.records.arrays import ArrayFolder
from benchmark.records.storage import turns
from benchmark.records.storage.turns import taken_turn
from benchmark.records.store import Store
from benchmark.trial.keeping import kept_or

fcntl = pytest.importorskip("fcntl", reason="the system has no locks")
_SOON = 10.0  # seconds in which all that is waited for must have happened


def archive_of(path: Path) -> ArrayFolder:
    store = Store(path)
    store.prepare()
    return store.arrays


def make_side_by_side(archive: ArrayFolder, count: int = 4) -> int:
    """Return how often several threads make one thing that all of them need at once."""
    made: list[int] = []
    start = threading.Barrier(count)
    kept: list[float] = []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        time.sleep(0.2)
        return {"value": np.array(3.0)}

    def need() -> None:
        start.wait()
        kept.append(float(kept_or(archive, "needed by all", make)["value"]))

    threads = [threading.Thread(target=need) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_SOON)
    assert kept == [3.0] * count
    return len(made)


def test_what_several_need_at_once_is_made_once(tmp_path: Path) -> None:
    """If it fails, workers that begin together each make what the model's first method needs."""
    assert make_side_by_side(archive_of(tmp_path)) == 1
    assert [path.suffix for path in (tmp_path / "arrays").iterdir()] == [".npz"]


def test_other_things_are_made_meanwhile(tmp_path: Path) -> None:
    """If it fails, workers wait for each other though they make different things."""
    archive = archive_of(tmp_path)
    with archive.turn("one"), archive.turn("another"):
        assert len(list((tmp_path / "arrays").iterdir())) == 2


def test_who_fails_leaves_the_turn_to_the_next(tmp_path: Path) -> None:
    """If it fails, a method that raises stops all others, or leaves a file behind."""
    archive = archive_of(tmp_path)

    def fail() -> dict[str, np.ndarray]:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 # its own
        kept_or(archive, "x", fail)
    assert not list((tmp_path / "arrays").iterdir())
    assert kept_or(archive, "x", lambda: {"value": np.array(1)})["value"] == 1


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_everybody_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """If it fails, nothing can be measured on a network drive that knows no locks."""

    def refuse(handle: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(turns.fcntl, "flock", refuse)
    assert make_side_by_side(archive_of(tmp_path)) == 4


def test_nobody_waits_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """If it fails, what is not kept cannot be made."""
    with taken_turn(tmp_path / "missing" / "turn"):
        pass
    assert not list(tmp_path.iterdir())


def test_who_waits_is_told_and_makes_it_where_nobody_shows_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a run that was suspended stops every other one of its store for ever."""
    monkeypatch.setattr(turns, "_SILENCE", 0.05)
    monkeypatch.setattr(turns, "_PATIENCE", 0.3)
    told: list[str] = []
    path = tmp_path / "turn"
    with taken_turn(path), taken_turn(path, told.append):
        assert path.exists()
    assert told == ["waiting for another process that makes the same"]


def test_who_takes_long_and_lives_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, what takes longest, such as training a large copy, is made by every worker."""
    monkeypatch.setattr(turns, "_PULSE", 0.05)
    monkeypatch.setattr(turns, "_PATIENCE", 0.5)
    path, ends = tmp_path / "turn", []
    is_begun = threading.Event()

    def take_long() -> None:
        with taken_turn(path):
            is_begun.set()
            time.sleep(1.5)
            ends.append("long")

    thread = threading.Thread(target=take_long)
    thread.start()
    assert is_begun.wait(_SOON)
    with taken_turn(path):
        ends.append("waited")
    thread.join(_SOON)
    assert ends == ["long", "waited"]


def _hold(path: Path, said: Connection) -> None:
    with taken_turn(path):
        said.send("mine")
        time.sleep(60)


def test_the_turn_of_a_process_that_is_killed_ends(tmp_path: Path) -> None:
    """If it fails, a node that dies takes the others along."""
    path, context = tmp_path / "turn", multiprocessing.get_context("spawn")
    heard, said = context.Pipe(duplex=False)
    process = context.Process(target=_hold, args=(path, said))
    process.start()
    assert heard.recv() == "mine"
    told: list[str] = []
    process.kill()
    process.join()
    began = time.monotonic()
    with taken_turn(path, told.append):
        assert time.monotonic() - began < _SOON
    assert not told
    assert not path.exists()


def test_a_process_that_was_forked_meanwhile_does_not_prolong_the_turn(tmp_path: Path) -> None:
    """If it fails, a plugin that leaves a process behind stops every other one."""
    path = tmp_path / "turn"
    with taken_turn(path):
        # No more than sleeps: what has threads must not run much in a copy of itself.
        copy = os.fork()
        if not copy:
            time.sleep(60)
            os._exit(0)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
    finally:
        os.kill(copy, 9)
        os.waitpid(copy, 0)
