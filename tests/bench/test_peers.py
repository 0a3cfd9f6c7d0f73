"""Our protocols beside the same job composed of other packages; run by ``make bench``.

`peers` says what the composed job is and where it differs, `beside_peers` measures both in turn.
"""

from __future__ import annotations

import sys

import beside_peers
import pytest
import torch
from peers import PeersJob
from pytest_benchmark.fixture import BenchmarkFixture

from baselines.cohorts.phantom import Phantom
from benchmark.trial import Trial

METHODS = ("gradcampp",)


@pytest.fixture(scope="module")
def both() -> tuple[Trial, PeersJob]:
    """Both sides with nothing computed; what one protocol leaves to the next is shared."""
    torch.set_num_threads(1)
    cohort = Phantom().load()
    return beside_peers.build_trial(cohort), PeersJob(beside_peers.build_trial(cohort))


@pytest.mark.parametrize("protocol", beside_peers.PROTOCOLS)
def test_a_protocol_beside_the_composed_job(
    benchmark: BenchmarkFixture, both: tuple[Trial, PeersJob], protocol: str
) -> None:
    """Report how much of the composed job's processor seconds we need."""
    trial, job = both

    def measure() -> tuple[beside_peers.Spent, beside_peers.Spent]:
        ours = beside_peers.measure_ours(trial, protocol, METHODS)
        return ours, beside_peers.measure_theirs(job, protocol, METHODS)

    ours, theirs = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info.update(ours=vars(ours), theirs=vars(theirs))
    benchmark.extra_info["ratios"] = {"ours over the composed job": ours.seconds / theirs.seconds}
    sys.stdout.write(
        f"\n{protocol}: {ours.seconds:.1f} CPU s and {ours.forward} + {ours.backward} passes, "
        f"composed {theirs.seconds:.1f} CPU s and {theirs.forward} + {theirs.backward}: "
        f"{theirs.seconds / ours.seconds:.2f} ×\n"
    )
