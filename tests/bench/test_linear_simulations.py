"""Full-size simulations of tests given covariates, whose tables stand in docs/statistics.md.

Run by ``make bench``, skipped by ``make test``, which simulates the same at a size that is quick.
"""

from __future__ import annotations

import linear_simulations
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import stats


@pytest.mark.parametrize("noise", linear_simulations.NOISES)
@pytest.mark.parametrize("subjects", [60, 200])
def test_biomarkers(benchmark: BenchmarkFixture, noise: str, subjects: int) -> None:
    """If it fails, maps that say nothing of volume beyond the output pass too often."""
    arguments = (noise, subjects, 1000)
    errors = benchmark.pedantic(linear_simulations.biomarker_errors, arguments, rounds=1)
    benchmark.extra_info.update(errors)
    assert 0.03 <= errors["test"] <= 0.07
    assert errors["lower limit"] <= 0.05
    assert errors["verdict"] <= 0.01
    assert errors["test without group"] > 0.5


@pytest.mark.parametrize("noise", linear_simulations.NOISES)
@pytest.mark.parametrize("effect", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("subjects", [60, 200])
def test_limits_of_partial_correlations(
    benchmark: BenchmarkFixture, noise: str, effect: float, subjects: int
) -> None:
    """If it fails, intervals of partial correlations are narrower than they claim."""
    arguments = (noise, subjects, effect, 500)
    coverage = benchmark.pedantic(linear_simulations.correlation_coverage, arguments, rounds=1)
    benchmark.extra_info.update(coverage)
    assert 0.90 <= coverage["values"][0] <= 0.98
    assert coverage["values"][1] <= 0.06


@pytest.mark.parametrize("subjects", [60, 150])
def test_scanners(benchmark: BenchmarkFixture, subjects: int) -> None:
    """If it fails, what a scanner does counts as a finding."""
    arguments = (subjects, 1000)
    adjusted, ignored = benchmark.pedantic(linear_simulations.scanner_errors, arguments, rounds=1)
    benchmark.extra_info.update({"adjusted": adjusted, "ignored": ignored})
    assert 0.03 <= adjusted <= 0.07
    assert ignored > 0.15


@pytest.mark.parametrize("clusters", ["sites", "visits"])
@pytest.mark.parametrize("spread", [0.0, 0.25, 0.5])
def test_random_intercepts(benchmark: BenchmarkFixture, clusters: str, spread: float) -> None:
    """If it fails, rows of one subject or site count as independent, or a table holds NaN."""
    arguments = (clusters, spread, 200)
    errors = benchmark.pedantic(linear_simulations.mixed_errors, arguments, rounds=1)
    benchmark.extra_info.update(errors)
    assert errors["mixed"] <= 0.09


def test_voxels(benchmark: BenchmarkFixture) -> None:
    """If it fails, maps of differences show voxels that do not differ."""

    def errors() -> list[linear_simulations.VoxelErrors]:
        return [
            linear_simulations.voxel_errors(1000, 299, by_age=by_age, adjusted=adjusted)
            for by_age, adjusted in ((False, True), (True, True), (True, False))
        ]

    by_lot, by_age, unadjusted = benchmark.pedantic(errors, rounds=1)
    benchmark.extra_info["any voxel"] = [by_lot.any_voxel, by_age.any_voxel, unadjusted.any_voxel]
    assert 0.02 <= by_lot.any_voxel <= 0.08
    assert stats.kstest(by_lot.smallest, "uniform").pvalue > 0.01
    assert by_age.any_voxel <= 0.10
    assert unadjusted.any_voxel > 0.30
