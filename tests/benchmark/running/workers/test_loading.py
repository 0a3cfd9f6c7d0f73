"""What a process of a run finds in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.records.store import Store
from benchmark.running.workers.loading import FreshArrays


def test_a_fresh_run_finds_what_its_processes_made_and_nothing_older(tmp_path: Path) -> None:
    """If it fails, `--fresh` measures what it was to check, or each process trains every twin."""
    store, arrays = Store(tmp_path), {"map": np.arange(3)}
    store.arrays.save("old", arrays)
    began = store.now()
    own, other = (FreshArrays(Store(tmp_path).arrays, began) for _ in range(2))
    assert own.load("old") is None
    own.save("old", arrays)
    assert own.load("old") is not None
    while other.load("new") is None:  # file systems date files by ticks of some milliseconds
        own.save("new", arrays)
    assert other.load("never") is None
