"""Every job that writes records, on a disk that fails at each call in turn, and killed at each.

The tests take a sample. This goes through all moments, of runs as well::

    OMP_NUM_THREADS=1 python tests/support/disk_acceptance.py

and ends with 1 where a moment was found after which a folder cannot be read, holds half a record,
or is not completed to the same bytes by the same job; or where a message is not one sentence.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fakes
import numpy as np
import submissions
import torch
from faulty_disk import DEATH, FaultyDisk
from publications import published, sealed, with_sidecar
from runs import CPU, build_record, build_suite

from benchmark.errors import InputError
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.record import Outcome
from benchmark.records.storage.merging import merge
from benchmark.records.store import Store
from benchmark.running.engine import Settings, run
from benchmark.running.plan import Plan, make_plan
from benchmark.running.suite import Selection
from leaderboard.published.folder import read_folder, write_records
from leaderboard.submission.admission.admit import admit
from leaderboard.submission.bundle import open_bundle

FAULTS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "kill -9": DEATH}


@dataclass(frozen=True)
class Job:
    """A job that writes into a folder.

    Attributes:
        name: What it is.
        work: Does it, with the folder as its argument; repeating it completes what is missing.
        check: Raises where the folder cannot be read, and yields what it holds by name.
        started: Fills a new folder before the work begins.
    """

    name: str
    work: Callable[[Path], object]
    check: Callable[[Path], dict[str, str]]
    started: Callable[[Path], object] = lambda folder: None


def store_contents(folder: Path) -> dict[str, str]:
    """Return the content of every record of a store, whole and readable."""
    if not folder.exists():
        return {}
    store = Store(folder)
    list(store.failures())
    return {record.identity_sha256: record.content for record in store.records()}


def published_contents(folder: Path) -> dict[str, str]:
    """Return the checksums of published records, none of which a reader may be refused."""
    if not folder.exists():
        return {}
    contents = read_folder(folder)
    assert not contents.faults, contents.faults
    return {record.path: record.checksum for record in contents.records}


def put_all(folder: Path) -> None:
    """Put finished and failed cells, and arrays, into a store."""
    store = Store(folder)
    store.put(build_record("fails", outcome=Outcome("failed", "OSError: once")), "log")
    for name in ("a", "b"):
        store.put(build_record(name))
    store.put(build_record("fails"))
    store.arrays.save("maps", {"maps": np.arange(6.0)})


def merge_shards(shards: tuple[Path, Path], folder: Path) -> None:
    merge(shards, folder)


def make_shards(folder: Path) -> tuple[Path, Path]:
    """Make two stores that share a cell."""
    left, right = Store(folder / "left"), Store(folder / "right")
    for store, names in ((left, "abc"), (right, "cd")):
        for name in names:
            store.put(build_record(name))
        store.arrays.save(f"maps of {names}", {"maps": np.arange(6.0)})
    right.put(build_record("e", outcome=Outcome("failed", "OSError: once")), "log")
    return left.path, right.path


def admit_bundle(opened: Path, folder: Path) -> None:
    """Do what ``verify --into`` does once a submission has passed."""
    with tempfile.TemporaryDirectory() as workspace:
        bundle, faults = open_bundle(opened, Path(workspace))
        assert bundle is not None, faults
        assert not faults, faults
        admit(bundle, lambda record: "sampled", folder)


def quick_jobs(inputs: Path) -> list[Job]:
    """Return the jobs that make no pass through a network."""
    shards, bundle = make_shards(inputs), submissions.write_valid(inputs / "bundle")
    bare = sealed(published("fair"), readings=None)
    others = [with_sidecar("good"), with_sidecar("poor"), (bare, None)]
    # The scores of one method changed, and one has lost its sidecar, so that files are replaced and
    # removed as well.
    earlier = [with_sidecar("good", values=[0.5] * 40), with_sidecar("fair")]
    return [
        Job("put", put_all, store_contents),
        Job("merge", partial(merge_shards, shards), store_contents),
        Job(
            "publish",
            lambda folder: write_records(folder, others),
            published_contents,
            lambda folder: write_records(folder, earlier),
        ),
        Job("verify --into", partial(admit_bundle, bundle), published_contents),
    ]


def run_job() -> Job:
    """Return a run of three made-up methods and two controls into a store."""
    names = (*map(fakes.spec, ("Bright", "Dark", "Picky")), "random", "oracle")
    plan = make_plan(Catalogue(), build_suite(("Loading", "Second")), Selection(names))
    return Job("run", partial(_run, plan), store_contents)


def _run(plan: Plan, folder: Path) -> None:
    run(plan, Store(folder), Settings(CPU))


def moments_of(job: Job, scratch: Path) -> tuple[int, dict[str, str], set[str]]:
    """Return how often an undisturbed job changes files, and what it leaves."""
    folder = scratch / "undisturbed"
    job.started(folder)
    with FaultyDisk(folder, 0) as disk:
        job.work(folder)
    contents, names = job.check(folder), names_below(folder)
    shutil.rmtree(folder)
    return disk.calls, contents, names


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def faults_of(job: Job, scratch: Path, every: int = 1, code: int = errno.EIO) -> Iterator[str]:
    """Yield a sentence for each moment at which a fault leaves what it should not.

    Args:
        job: The job.
        scratch: Folder to work in.
        every: Takes each n-th moment.
        code: Error or ``DEATH``.
    """
    count, whole, names = moments_of(job, scratch)
    for moment in range(1, count + 1, every):
        folder = scratch / f"{moment}"
        job.started(folder)
        before = job.check(folder)
        try:
            if code == DEATH:
                _die(job, folder, moment)
            else:
                yield from _fail(job, folder, moment, code)
            kept = job.check(folder)
            if not kept.items() <= (before | whole).items() | before.items():
                yield f"{job.name}, moment {moment}: something else was kept"
            job.work(folder)
            if job.check(folder) != whole:
                yield f"{job.name}, moment {moment}: not completed to the same"
            if left := sorted(_visible(names_below(folder)) ^ _visible(names)):
                yield f"{job.name}, moment {moment}: other files: {left}"
        except Exception as error:
            yield f"{job.name}, moment {moment}: {type(error).__name__}: {error}"
        shutil.rmtree(folder, ignore_errors=True)


def _visible(names: set[str]) -> set[str]:
    return {name for name in names if not name.rpartition("/")[2].startswith(".")}


def _fail(job: Job, folder: Path, moment: int, code: int) -> Iterator[str]:
    try:
        with FaultyDisk(folder, moment, code, lasting=code == errno.ENOSPC):
            job.work(folder)
    except InputError as error:
        sentence = str(error)
        if os.strerror(code) not in sentence or "\n" in sentence or not sentence.endswith("."):
            yield f"{job.name}, moment {moment}: no sentence: {sentence!r}"


def _die(job: Job, folder: Path, moment: int) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            with FaultyDisk(folder, moment, DEATH):
                job.work(folder)
        finally:
            os._exit(3)  # it came to its end, or failed by itself
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != -signal.SIGKILL:
        raise AssertionError(f"the process ended with {code} before it was killed")


def main() -> int:
    """Go through all moments of all jobs, and say how many there were."""
    torch.set_num_threads(1)
    faults = 0
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary, "scratch")
        scratch.mkdir()
        for job in (*quick_jobs(Path(temporary, "inputs")), run_job()):
            count, _, _ = moments_of(job, scratch)
            for name, code in FAULTS.items():
                start, found = time.perf_counter(), list(faults_of(job, scratch, code=code))
                seconds, listed = (
                    time.perf_counter() - start,
                    "".join(f"  {each}\n" for each in found),
                )
                line = f"{job.name}: {name} at {count} moments, {len(found)} faults"
                sys.stdout.write(f"{line}, {seconds:.0f} s\n{listed}")
                sys.stdout.flush()
                faults += len(found)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
