"""Commands whose store or folder can no longer be written to."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import fakes
import pytest
from faulty_disk import FaultyDisk
from publications import many, sealed
from runs import build_record, write_suite
from typer.testing import CliRunner, Result

import leaderboard.commands.board as boards
from benchmark.commands.app import app
from benchmark.records.store import Store
from leaderboard.published.folder import write_records

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="handles are looked up")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def run(folder: Path, out: Path) -> Result:
    suite = ("--suite", write_suite(folder), "--explainer", fakes.spec("Bright"), "--workers", 1)
    return call("run", *suite, "--store", out, "--report", "none", "--device", "cpu")


def merge(folder: Path, out: Path) -> Result:
    store = Store(folder / "part")
    store.put(build_record("a"))
    return call("merge", store.path, "--into", out)


def report(folder: Path, out: Path) -> Result:
    store = Store(folder / "finished")
    store.put(build_record("a"))
    protocol = ("--protocol", fakes.spec("Loading"))
    return call("report", "--records", store.path, "--out", out, *protocol)


def board(folder: Path, out: Path) -> Result:
    bare = [(sealed(record, readings=None), None) for record in many()]
    write_records(folder / "records", bare)
    return CliRunner().invoke(boards.app, ["--records", f"{folder / 'records'}", "--out", f"{out}"])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("command", [run, merge, report, board])
def test_a_full_and_a_read_only_disk_are_told_in_a_sentence(
    command: Callable[[Path, Path], Result], code: int, tmp_path: Path
) -> None:
    """If it fails, a traceback or a success is told where nothing could be kept."""
    out = tmp_path / "out"
    with FaultyDisk(out, 1, code, lasting=True):
        told = command(tmp_path, out)
    assert told.exit_code == 2, told.output
    assert os.strerror(code) in told.stderr
    assert told.stderr.strip().count("\n") == 0
