"""Every hostile bundle of the tests, each in a process of its own whose time and memory are taken.

::

    OMP_NUM_THREADS=1 python tests/support/bundle_acceptance.py

A bundle is made in one process and read in another, which starts with what the verifier has
imported. The script ends with 1 where a bundle is not refused under the name that it must get,
ends by a traceback, or takes more than ten processor seconds or a gigabyte.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import blow_ups
import self_descriptions
from submissions import build_standard, copy, faults_of, write_valid

from leaderboard.published.fault import plain
from leaderboard.submission.checks import Standard

# What is imported takes 550 MiB, and all of it may take a gibibyte.
MOST_SECONDS, MOST_ADDED = 10, 450
Case = tuple[str, str, Callable[[Path], object]]


@dataclass(frozen=True)
class Outcome:
    """What became of a bundle.

    Attributes:
        name: What was done to it.
        expected: Fault that it must get.
        faults: Names of the faults that it got.
        error: Traceback that ended it, if any.
        seconds: Processor seconds of its reader.
        mebibytes: Largest memory of its reader, with all that was imported.
        added: Of these, what was not there before.
    """

    name: str
    expected: str
    faults: tuple[str, ...]
    error: str
    seconds: float
    mebibytes: int
    added: int

    @property
    def is_right(self) -> bool:
        """Whether it was refused by name, in time and in memory."""
        cheap = self.seconds <= MOST_SECONDS and self.added <= MOST_ADDED
        return cheap and not self.error and self.expected in self.faults


def in_process(work: Callable[[], object]) -> str:
    """Return what a function returns, as JSON, from a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                json.dump(work(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def judge(case: Case, valid: Path, standard: Standard) -> Outcome:
    """Spoil a copy of a bundle and have it read."""
    name, expected, spoil = case
    with tempfile.TemporaryDirectory() as parent:
        bundle, workspace = copy(valid, Path(parent, "bundle")), Path(parent, "copy")
        workspace.mkdir()
        made = in_process(lambda: str(spoil(bundle)))
        told = in_process(lambda: read(bundle, workspace, standard)) if made else ""
    if not told:
        return Outcome(name, expected, (), "its process died", 0, 0, 0)
    faults, error, *costs = json.loads(told)
    return Outcome(name, expected, tuple(faults), error, *costs)


def read(bundle: Path, workspace: Path, standard: Standard) -> tuple[object, ...]:
    """Return the names of a bundle's faults, a traceback, seconds and mebibytes."""
    before, start, faults, error = peak(), time.process_time(), [], ""
    try:
        faults = sorted({fault.name for fault in faults_of(bundle, workspace, standard)})
    except BaseException:  # whatever it is, it must not be
        error = traceback.format_exc()
    return faults, error, time.process_time() - start, peak(), peak() - before


def peak() -> int:
    """Return the largest memory of this process so far in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Go through all bundles, print the dearest, and return 1 where one is wrong."""
    sys.path.append(str(Path(__file__).parents[1] / "system"))
    import test_malformed  # its cases are more than half of all, and lie in another folder

    cases: list[Case] = [*test_malformed.CASES, *self_descriptions.cases(), *blow_ups.cases()]
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as parent:
        valid, standard = write_valid(Path(parent, "valid")), build_standard()
        outcomes = [judge(case, valid, standard) for case in cases]
    for title, cost in (("seconds", lambda o: o.seconds), ("MiB added", lambda o: o.added)):
        say(f"\nby {title}:    seconds   MiB (added)   fault   bundle")
        for outcome in sorted(outcomes, key=cost, reverse=True)[:10]:
            costs = f"{outcome.seconds:8.2f} {outcome.mebibytes:8} ({outcome.added})"
            say(f"{costs:>30}   {outcome.expected}   {plain(outcome.name)}")
    wrong = [outcome for outcome in outcomes if not outcome.is_right]
    for outcome in wrong:
        say(f"\nWRONG: {plain(outcome.name)}: {outcome}\n{outcome.error}")
    names = {outcome.expected for outcome in outcomes}
    minutes = (time.monotonic() - start) / 60
    say(f"\n{len(outcomes)} bundles, {len(names)} faults, {len(wrong)} wrong, {minutes:.1f} min")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
