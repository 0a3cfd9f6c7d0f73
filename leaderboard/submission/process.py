"""Runs a command on a submission in a fresh process, and reads what the process leaves.

The process gets copies, an environment without secrets, a deadline and a memory limit. That is no
sandbox: the plugin runs with the rights of whoever verifies it. So the files that the process
leaves are read with as little trust as the bundle itself.
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
# Variables that say where programs and GPUs are; every other one may hold a secret.
_KEPT: tuple[str, ...] = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT")
_KEPT += ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
_MOST_WRITTEN, _MOST_RECORD, _MOST_ARRAYS = 2**30, 2**26, 2**30
_MOST_ERROR_TEXT = 2**16

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Limits:
    """Limits of a process.

    Attributes:
        seconds: Time after which it is stopped.
        gib: Address space; without effect on a GPU, whose driver maps all of its memory.
    """

    seconds: float
    gib: float


@dataclass(frozen=True)
class ProcessResult:
    """Result of a process.

    Attributes:
        code: Exit code, or None where the process was stopped at its deadline.
        last_line: Last line that it wrote to its standard error.
    """

    code: int | None
    last_line: str


def call(arguments: Sequence[str], home: Path, limits: Limits, gpu: bool = False) -> ProcessResult:
    """Run a module of this package in a process of its own, whose home is an empty folder.

    On a ``gpu`` the address space is not limited.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(_ROOT)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            # -P, since a file of the working folder could take the name of a module.
            [sys.executable, "-P", "-m", *arguments],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            _limit(process.pid, limits, gpu)
            code: int | None = process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        size = stderr.seek(0, os.SEEK_END)
        stderr.seek(max(0, size - _MOST_ERROR_TEXT))
        lines = stderr.read(_MOST_ERROR_TEXT).decode("utf-8", "replace").split("\n")
    messages = [plain(line.strip()) for line in lines if line.strip()]
    return ProcessResult(code, messages[-1][:300] if messages else "")


def fault_of(result: ProcessResult, location: str, limits: Limits) -> Fault | None:
    """Return the fault of a process that was stopped or crashed, or None."""
    if result.code is None:
        detail = f"it was not done after {limits.seconds:g} s; see --timeout"
        return Fault("rerun-timeout", location, detail)
    if result.code in (0, 1):
        return None
    reason = f"exit code {result.code}"
    if result.code < 0:
        reason = f"signal {-result.code}, which may mean that {limits.gib:g} GiB were not enough"
    return Fault("rerun-failed", location, f"{reason}: {result.last_line or 'it said nothing'}")


def read_result(
    store: Path, submitted: PublishedRecord, result: ProcessResult, location: str
) -> Record:
    """Return the record of a submitted cell that a run left in its store.

    Raises:
        FaultError: ``rerun-failed``, or ``identity-differs`` where another cell was measured.
    """
    own = store / "records" / f"{submitted.identity_sha256}.json"
    if own.exists():
        return _read(own, location)
    if other_records := _paths(store / "records", ".json"):
        record = _read(other_records[0], location)
        detail = f"expected {submitted.identity_sha256[:12]}, but {_difference(record, submitted)}"
        raise FaultError("identity-differs", location, detail)
    if failures := _paths(store / "failures", ".json"):
        reason = _read(failures[0], location).reason or "it gave no reason"
        raise FaultError("rerun-failed", location, plain(reason)[:300])
    raise FaultError("rerun-failed", location, result.last_line or "it left no result")


def archived_maps(store: Path, test_fingerprint: str, network_sha256: str) -> Maps | None:
    """Return the maps [N, 1, *S] of all test images that a run kept, by key, or None."""
    for path in _paths(store / "arrays"):
        arrays = read_arrays(path)
        identity = str(arrays.get("__identity__", "")).split("\n")
        if identity[1:] == [test_fingerprint, network_sha256] and "attributions" in arrays:
            return np.asarray(arrays["attributions"], dtype=np.float32)
    return None


def read_arrays(path: Path) -> Mapping[str, npt.NDArray[np.generic]]:
    """Return the arrays of a file that a stranger's code may have written; none if damaged."""
    try:
        content = io.BytesIO(read_bytes(path, path.name, _MOST_ARRAYS))
        with zipfile.ZipFile(content) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST_ARRAYS:
                return {}
        content.seek(0)
        with np.load(content, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception:  # a damaged archive raises anything from BadZipFile to MemoryError
        return {}


def _limit(pid: int, limits: Limits, gpu: bool) -> None:
    if sys.platform != "linux":
        return
    import resource  # Windows has none

    bounds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: _MOST_WRITTEN}
    if not gpu:
        bounds[resource.RLIMIT_AS] = int(limits.gib * 2**30)
    # A process that has ended already has no limits to set.
    with contextlib.suppress(ProcessLookupError):
        for kind, limit in bounds.items():
            resource.prlimit(pid, kind, (limit, limit))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and all processes of its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _paths(folder: Path, suffix: str = "") -> list[Path]:
    try:
        return [path for path in sorted(folder.iterdir())[:100] if path.name.endswith(suffix)]
    except OSError:
        return []


def _read(path: Path, location: str) -> Record:
    try:
        text = read_bytes(path, location, _MOST_RECORD).decode("utf-8", "replace")
        return Record.from_json(text, "the record of the re-run")
    except StoreError as error:
        raise FaultError("rerun-failed", location, plain(str(error))[:300]) from error


def _difference(measured: Record, submitted: PublishedRecord) -> str:
    for name, value in submitted.identity:
        if getattr(measured.identity, name) != value:
            return f"its {name.replace('_', ' ')} is another one here"
    return "another cell was measured"
