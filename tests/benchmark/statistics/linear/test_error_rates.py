"""How often tests given covariates are wrong, at a size that is quick; see docs/statistics.md."""

from __future__ import annotations

import linear_simulations


def test_maps_that_follow_the_output_are_no_biomarkers() -> None:
    """If it fails, a map without a place in it passes as a marker of a structure's volume."""
    errors = linear_simulations.biomarker_errors("normal", 100, data_sets=60, permutations=199)
    assert errors["test"] <= 0.15
    assert errors["verdict"] <= 0.05
    # The test of the test: groups differ in both, which is found unless the group is given.
    assert errors["test without group"] > 0.5


def test_scanners_with_offsets_are_no_findings() -> None:
    """If it fails, what a scanner does to map and volume counts as the map's knowledge."""
    adjusted, ignored = linear_simulations.scanner_errors(100, data_sets=60, permutations=199)
    assert adjusted <= 0.15
    assert ignored > 0.2


def test_voxels_that_follow_age_do_not_differ_between_groups_of_other_ages() -> None:
    """If it fails, ageing is printed as disease, or chance as a difference."""
    size = {"data_sets": 40, "permutations": 99}
    assert linear_simulations.voxel_errors(**size).any_voxel <= 0.18
    assert linear_simulations.voxel_errors(**size, by_age=True).any_voxel <= 0.18
    unadjusted = linear_simulations.voxel_errors(**size, by_age=True, adjusted=False)
    assert unadjusted.any_voxel > 0.2


def test_limits_of_a_partial_correlation_hold_it() -> None:
    """If it fails, verdicts rest on limits that are too narrow."""
    coverage = linear_simulations.correlation_coverage("normal", 60, 0.5, data_sets=40)
    for covered, above in coverage.values():
        assert covered >= 0.85
        assert above <= 0.1
