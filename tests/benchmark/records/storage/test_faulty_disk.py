"""Jobs that write records, on disks that fail at any call, and killed at any call.

A sample of the moments; ``tests/support/disk_acceptance.py`` goes through all of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from disk_acceptance import FAULTS, faults_of, quick_jobs

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="handles are looked up")


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_records_stay_whole_and_are_completed(tmp_path: Path, fault: str) -> None:
    """If it fails, a full disk, a broken one or a kill costs results, or leaves half of one."""
    if not hasattr(os, "fork"):
        pytest.skip("processes are forked")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for job in quick_jobs(tmp_path / "inputs"):
        assert list(faults_of(job, scratch, every=11, code=FAULTS[fault])) == []


def test_a_reader_of_published_records_is_never_refused(tmp_path: Path) -> None:
    """If it fails, a board cannot be built from a folder in which ``publish`` was killed."""
    if not hasattr(os, "fork"):
        pytest.skip("processes are forked")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    publish = next(job for job in quick_jobs(tmp_path / "inputs") if job.name == "publish")
    assert list(faults_of(publish, scratch, code=FAULTS["kill -9"])) == []
