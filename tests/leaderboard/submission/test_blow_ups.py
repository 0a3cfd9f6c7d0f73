"""Small bundles that unfold, each read in a process of its own whose time and memory are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from blow_ups import cases
from bundle_acceptance import Case, judge
from submissions import build_standard, write_valid

from leaderboard.submission.checks import Standard

# Packing the gibibytes of the first takes most of the time; bundle_acceptance.py takes all.
SAMPLE = list(cases())[4::3]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Standard]:
    """The bundle that every case spoils a copy of, and what the verifier knows."""
    return write_valid(tmp_path_factory.mktemp("valid") / "bundle"), build_standard()


@pytest.mark.parametrize("case", SAMPLE, ids=[case[0] for case in SAMPLE])
def test_what_unfolds_is_refused_before_it_does(case: Case, given: tuple[Path, Standard]) -> None:
    """If it fails, one small file of a stranger fills the memory of whoever verifies it."""
    outcome = judge(case, *given)
    assert outcome.is_right, outcome
