"""Runs cells of a submission again, each in a fresh process, and compares what comes out.

The process gets copies, an environment without secrets, a deadline and a memory limit. That is no
sandbox: the plugin runs with the rights of whoever verifies it. So what the process leaves behind
is read as the bundle is, and whatever it says of itself is not believed.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark.errors import StoreError
from benchmark.records.record import Record
from leaderboard.published.fault import Fault, FaultError, plain
from leaderboard.published.folder import read_bytes
from leaderboard.published.record import PublishedRecord

_ROOT = Path(__file__).resolve().parents[2]
# Where programs and GPUs are found; everything else may hold a secret.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SYSTEMROOT")
_MOST_WRITTEN, _MOST_RECORD, _MOST_ARRAYS = 2**30, 2**26, 2**30
_MOST_SAID = 2**16

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """What a process may use.

    Attributes:
        seconds: Until it is stopped.
        gib: Of address space; without effect on a GPU, whose driver maps all of its memory.
    """

    seconds: float
    gib: float


@dataclass(frozen=True)
class ProcessResult:
    """How a process ended.

    Attributes:
        code: Its exit code, or None where it was stopped at its deadline.
        said: The last line that it wrote to its standard error.
    """

    code: int | None
    said: str


def call(arguments: Sequence[str], home: Path, limits: Limits, gpu: bool = False) -> ProcessResult:
    """Run a module of this package in a process of its own.

    Args:
        arguments: After ``python -m``.
        home: An empty folder, where the process starts and finds its home.
        limits: What it may use.
        gpu: Whether it needs the address space of one.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment = kept | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": str(_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
    }
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            # Not from the working folder, where a file could take the name of a module.
            [sys.executable, "-P", "-m", *arguments],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            _limit(process.pid, limits, gpu)
            code: int | None = process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        end = said.seek(0, os.SEEK_END)
        said.seek(max(0, end - _MOST_SAID))
        lines = said.read(_MOST_SAID).decode("utf-8", "replace").split("\n")
    spoken = [plain(line.strip()) for line in lines if line.strip()]
    return ProcessResult(code, spoken[-1][:300] if spoken else "")


def fault_of(ending: ProcessResult, place: str, limits: Limits) -> Fault | None:
    """Return the fault of a process that was stopped or crashed, or None."""
    if ending.code is None:
        detail = f"it was not done after {limits.seconds:g} s; see --timeout"
        return Fault("rerun-timeout", place, detail)
    if ending.code < 0 or ending.code > 1:
        how = f"exit code {ending.code}"
        if ending.code < 0:
            how = f"signal {-ending.code}, which may mean that {limits.gib:g} GiB were not enough"
        return Fault("rerun-failed", place, f"{how}: {ending.said or 'it said nothing'}")
    return None


def read_result(
    store: Path, submitted: PublishedRecord, ending: ProcessResult, place: str
) -> Record:
    """Return what a run left of a cell.

    Args:
        store: Of the run.
        submitted: What the bundle says of the cell.
        ending: Of the process.
        place: For messages.

    Raises:
        FaultError: ``rerun-failed``, or ``identity-differs`` where another cell was measured.
    """
    name = f"{submitted.identity_sha256}.json"
    if (store / "records" / name).exists():
        return _read(store / "records" / name, place)
    others = [path for path in _listed(store / "records") if path.suffix == ".json"]
    failed = [path for path in _listed(store / "failures") if path.suffix == ".json"]
    if others:
        found = _read(others[0], place)
        detail = f"expected {submitted.identity_sha256[:12]}, but {_difference(found, submitted)}"
        raise FaultError("identity-differs", place, detail)
    if failed:
        reason = _read(failed[0], place).reason or "it gave no reason"
        raise FaultError("rerun-failed", place, plain(reason)[:300])
    raise FaultError("rerun-failed", place, ending.said or "it left no result")


def archived_maps(store: Path, test_fingerprint: str, weights_sha256: str) -> Maps | None:
    """Return the maps of all test images that a run kept, in the order of their keys.

    Args:
        store: Of the run.
        test_fingerprint: Of the test split.
        weights_sha256: Of the model.

    Returns:
        [N, 1, *S], or None where there are none.
    """
    for path in _listed(store / "arrays"):
        arrays = read_arrays(path)
        told = str(arrays.get("__identity__", "")).split("\n")
        if told[1:] == [test_fingerprint, weights_sha256] and "attributions" in arrays:
            return np.asarray(arrays["attributions"], dtype=np.float32)
    return None


def read_arrays(path: Path) -> Mapping[str, npt.NDArray[np.generic]]:
    """Return the arrays of a file that a stranger's code may have written; none if it is odd."""
    try:
        content = io.BytesIO(read_bytes(path, path.name, _MOST_ARRAYS))
        with zipfile.ZipFile(content) as archive:
            if sum(one.file_size for one in archive.infolist()) > _MOST_ARRAYS:
                return {}
        content.seek(0)
        with np.load(content, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except Exception:  # a damaged archive raises anything from BadZipFile to MemoryError
        return {}


def _limit(pid: int, limits: Limits, gpu: bool) -> None:
    if sys.platform != "linux":
        return
    import resource

    bounds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: _MOST_WRITTEN}
    if not gpu:
        bounds[resource.RLIMIT_AS] = int(limits.gib * 2**30)
    # A process that is gone already has no limits to set.
    with contextlib.suppress(ProcessLookupError):
        for kind, most in bounds.items():
            resource.prlimit(pid, kind, (most, most))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and whatever it started in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:100]
    except OSError:
        return []


def _read(path: Path, place: str) -> Record:
    try:
        text = read_bytes(path, place, _MOST_RECORD).decode("utf-8", "replace")
        return Record.from_json(text, "the record of the re-run")
    except StoreError as error:
        raise FaultError("rerun-failed", place, plain(str(error))[:300]) from error


def _difference(found: Record, submitted: PublishedRecord) -> str:
    for name, value in submitted.identity:
        if getattr(found.identity, name) != value:
            return f"its {name.replace('_', ' ')} is another one here"
    return "another cell was measured"
