"""Full-size simulations of intervals and ranks, whose table stands in docs/statistics.md.

Run by ``make bench``, skipped by ``make test``, which simulates the same at a size that is quick.
"""

from __future__ import annotations

import pytest
import simulations
from pytest_benchmark.fixture import BenchmarkFixture

RESAMPLES = 2000

pytestmark = [
    pytest.mark.parametrize("noise", simulations.NOISES),
    pytest.mark.parametrize("subjects", [20, 64, 136]),
]


def test_intervals_of_means(benchmark: BenchmarkFixture, noise: str, subjects: int) -> None:
    """If it fails, the table of coverage in the documentation is no longer true."""
    arguments = (noise, subjects, 6000, RESAMPLES)
    covered = benchmark.pedantic(simulations.coverage_of_mean, arguments, rounds=1)
    benchmark.extra_info["coverage"] = covered
    assert (0.91 if noise == "lognormal" else 0.93) <= covered <= 0.97


def test_comparisons(benchmark: BenchmarkFixture, noise: str, subjects: int) -> None:
    """If it fails, boards split equal methods, or print rank sets that miss true ranks."""

    def errors() -> dict[str, tuple[float, float]]:
        return {
            name: simulations.ranking_errors(noise, subjects, totals, 3000, RESAMPLES)
            for name, totals in simulations.TOTALS.items()
        }

    rates = benchmark.pedantic(errors, rounds=1)
    benchmark.extra_info["false splits, joint coverage"] = rates
    for false_splits, covered in rates.values():
        assert false_splits <= 0.06
        assert covered >= 0.94
