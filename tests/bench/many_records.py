"""What ``report`` and ``board`` hold in memory of many records, and what reading them takes.

Records are made up: 64 subjects, 20 statistics, 28 kB, 32 methods on each model. Each measurement
is a process of its own::

    OMP_NUM_THREADS=1 python tests/bench/many_records.py 1000 10000

Of ``report`` are measured reading, results and conclusions, which is what it prints; not the page,
which is written anew only where a record has changed. Of ``board``: reading and ranking, not the
pages. Peaks are what memory rose by over the imports.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import fakes
from publications import SCALE, method_of
from runs import build_record

from benchmark.records.record import Record
from benchmark.records.storage.finished import read_cells
from benchmark.records.store import Store
from benchmark.results.health import protocol_health
from benchmark.results.lookup import by_model
from benchmark.results.paired import aligned_pairs
from benchmark.results.summary import summarise_records
from leaderboard.board.build import build_board
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.record import publish
from leaderboard.published.stored import StoredRecords

SUBJECTS, STATISTICS, METHODS = 64, 20, 32
JOBS = ("report", "board")


def main() -> None:
    """Make records, measure each job in a process of its own, and write a line for each."""
    if sys.argv[1] in JOBS:
        _measure(sys.argv[1], Path(sys.argv[2]))
        return
    for count in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            _make(count, Path(folder))
            for job in JOBS:
                command = [sys.executable, __file__, job, str(Path(folder, job))]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                sys.stdout.write(f"{job}, {count:,} records: {done.stdout}")
                sys.stdout.flush()


def _make(count: int, folder: Path) -> None:
    store = Store(folder / "report")
    store.prepare()
    pseudonyms = Pseudonyms("measured")
    for number in range(count):
        record = _record(number)
        name = f"records/{record.identity_sha256}.json"
        (store.path / name).write_text(record.to_json(), encoding="utf-8")
        explainer = record.names.explainer
        published, _ = publish(record, method_of(explainer), SCALE, pseudonyms, "nobody")
        # Sidecars are read and forgotten one by one, and fill the disk.
        bare = published.resealed({"readings": None})
        path = folder / "board" / bare.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(bare.to_json(), encoding="utf-8")


def _record(number: int) -> Record:
    values = np.random.default_rng(number).normal(0.5, 0.2, SUBJECTS)
    method = number % METHODS
    explainer = {0: "random", 1: "oracle"}.get(method, f"method{method:02}")
    names = ("share", "excess", *(f"other{index:02}" for index in range(STATISTICS - 2)))
    return build_record(explainer, values.tolist(), names, model=f"model{number // METHODS:05}")


def _measure(job: str, folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    if job == "board":
        build_board(StoredRecords(folder))
    else:
        _report(folder)
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak = (after.ru_maxrss - before.ru_maxrss) / 1024
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    sys.stdout.write(f"{peak:.0f} MB, {seconds:.0f} CPU s\n")


def _report(folder: Path) -> None:
    cells, protocols = read_cells(folder), {"loading": fakes.Loading}
    for own in by_model(cells):
        summarise_records(own, protocols, details=False)
    aligned_pairs(cells, protocols)
    protocol_health(cells, protocols)


if __name__ == "__main__":
    main()
