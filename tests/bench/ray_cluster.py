"""Measures the same run by one worker of a Ray cluster on this machine, by two, and by many.

Each run is a command of its own with an empty store, in turn; seconds are those on the clock, so
the machine must be quiet::

    python tests/bench/ray_cluster.py --rounds 3
    python tests/bench/ray_cluster.py --workers 1 --workers 2 --workers 16 --rounds 1

Seconds hold the start of Ray and of the command, which more workers do not make faster. All runs
must leave the same records.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark.records.store import Store

METHODS = (
    "cam",
    "gradcam",
    "gradcampp",
    "layercam",
    "saliency",
    "input_x_gradient",
    "guided_backprop",
    "smoothgrad",
)


def measure(workers: int, options: list[str]) -> tuple[float, dict[str, str]]:
    """Return the seconds of a run, and the content of its records by identity."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        command = [sys.executable, "-m", "benchmark", "run", "--report", "none", *options]
        command += ["--engine", "ray", "--workers", str(workers), "--store", str(store)]
        for method in METHODS:
            command += ["--explainer", method]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return seconds, {each.identity_sha256: each.content for each in Store(store).records()}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, action="append", help="[default: 1 and 2]")
    arguments, options = parser.parse_known_args()
    counts = arguments.workers or [1, 2]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    expected: dict[str, str] | None = None
    for number in range(arguments.rounds):
        for count in counts:
            spent, records = measure(count, options)
            seconds[count].append(spent)
            expected = expected or records
            if records != expected:
                sys.exit(f"{count} workers left other records than {counts[0]}.")
            sys.stdout.write(
                f"round {number + 1}, {count} workers: {spent:.1f} s, {len(records)} records\n"
            )
            sys.stdout.flush()
    first = statistics.median(seconds[counts[0]])
    for count, spans in seconds.items():
        median = statistics.median(spans)
        sys.stdout.write(
            f"{count} workers: {median:.1f} s [{min(spans):.1f}, {max(spans):.1f}], "
            f"{first / median:.2f} × as fast as {counts[0]}\n"
        )


if __name__ == "__main__":
    main()
