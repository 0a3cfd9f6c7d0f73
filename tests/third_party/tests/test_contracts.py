"""The package's own tests: medsanity's contracts, in three lines."""

import pytest
from medsanity_example.discs import Discs
from medsanity_example.method import BlurredGradient
from medsanity_example.network import Network
from medsanity_example.overlap import Overlap

from benchmark.contract import checks_of

CHECKS = [one for plugin in (BlurredGradient, Network, Discs, Overlap) for one in checks_of(plugin)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: f"{one.plugin}: {one}")
def test_contract(check) -> None:  # noqa: ANN001
    check()
