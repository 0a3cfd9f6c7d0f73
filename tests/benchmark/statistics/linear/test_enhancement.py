"""Threshold-free cluster enhancement: what nilearn computes, on the voxels that vary."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from nibabel import Nifti1Image
from nilearn.maskers import NiftiMasker
from nilearn.mass_univariate import permuted_ols
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.linear import (
    Design,
    draw_permutations,
    enhanced_test,
    nuisance_design,
    voxelwise_test,
)

GROUPS = np.arange(24) % 2
SHAPE = (7, 8, 9)
INSIDE = np.zeros(SHAPE, dtype=np.bool_)
INSIDE[1:6, 1:7, 2:8] = True
INSIDE[1, 1, 2] = INSIDE[5, 6, 7] = False
BLOB = np.zeros(SHAPE, dtype=np.bool_)
BLOB[2:5, 2:5, 3:6] = True
BLOB = BLOB[INSIDE]


def maps_of(*name: str | int, shift: float = 0.0) -> np.ndarray:
    """Return smooth noise [n, V], larger in the blob for group 0."""
    noise = stream("test_enhancement", *name).normal(size=(len(GROUPS), *SHAPE))
    smooth = np.stack([gaussian_filter(one, 0.8) for one in noise])[:, INSIDE]
    smooth[np.ix_(GROUPS == 0, BLOB)] += shift * smooth.std()
    return smooth


def design_of(covariates: tuple[str, ...] = ()) -> Design:
    generator = stream("test_enhancement", "design")
    people = {"age": generator.normal(70, 8, 24) + 5 * GROUPS, "sex": generator.choice(2, 24)}
    return nuisance_design(pd.DataFrame(people), covariates=covariates)


@pytest.mark.parametrize("covariates", [(), ("age", "sex")], ids=["plain", "adjusted"])
def test_p_is_that_of_nilearn_on_the_whole_grid(covariates: tuple[str, ...]) -> None:
    """If it fails, a table says TFCE and holds what the field's own software does not give."""
    values, design = maps_of("nilearn", shift=2.5), design_of(covariates)
    reference = permuted_ols(
        (GROUPS == 0).astype(float),
        values,
        design.matrix[:, 1:] if covariates else None,
        n_perm=39,
        random_state=11,
        masker=NiftiMasker(Nifti1Image(INSIDE.astype(np.uint8), np.eye(4))).fit(),
        tfce=True,
        output_type="dict",
    )
    p = enhanced_test(values, GROUPS, design, INSIDE, 39, 11)
    assert_allclose(p, 10 ** -reference["logp_max_tfce"][0])
    assert 0 < (p <= 0.05).sum() < len(p), "no voxel differs from another"
    own = voxelwise_test(values, GROUPS, design, draw_permutations(24, 39, "own"))
    assert_allclose(own.t, reference["t"][0], atol=1e-8)


def test_a_planted_difference_is_found_and_no_voxel_far_from_it() -> None:
    """If it fails, groups that differ in a structure seem alike, or differ everywhere."""
    values = maps_of("planted", shift=2.5)
    p = enhanced_test(values, GROUPS, design_of(), INSIDE, 99, 3)
    assert (p[BLOB] <= 0.05).mean() > 0.9
    assert (p[~BLOB] <= 0.05).mean() < 0.2
    assert_array_equal(p, enhanced_test(values, GROUPS, design_of(), INSIDE, 99, 3))
    # The sign of the difference is nothing to a two-sided test.
    assert_array_equal(p, enhanced_test(-values, GROUPS, design_of(), INSIDE, 99, 3))


def test_a_weak_difference_of_many_voxels_is_found_sooner_than_by_the_largest_t() -> None:
    """If it fails, minutes are spent on a test that is no better than the one without it."""
    values = maps_of("weak", shift=1.5)
    p = enhanced_test(values, GROUPS, design_of(), INSIDE, 99, 3)
    by_largest_t = voxelwise_test(values, GROUPS, design_of(), draw_permutations(24, 99, "t"))
    found, found_by_t = ((one[BLOB] <= 0.05).sum() for one in (p, by_largest_t.p_fwe))
    assert found > found_by_t + 3


def test_groups_that_do_not_differ_are_told_apart_once_in_twenty_times() -> None:
    """If it fails, shuffled groups differ somewhere in every other study."""
    runs, design = 40, design_of(("age",))
    found = 0
    for run in range(runs):
        values = maps_of("shuffled", run)
        groups = stream("test_enhancement", "groups", run).permutation(GROUPS)
        found += bool((enhanced_test(values, groups, design, INSIDE, 19, run) <= 0.05).any())
    # Of 40 runs at a level of 0.05, seven or more are seen once in two hundred times.
    assert 0 < found < 7


def test_voxels_that_do_not_vary_are_in_no_cluster() -> None:
    """If it fails, zeros around a map join its clusters, or the terminal is full of warnings."""
    values = maps_of("flat", shift=2.5)
    flat = np.zeros_like(BLOB)
    flat[::5] = True
    values[:, flat] = 0.25
    values[:, 1] = GROUPS  # what the groups explain to the last bit has no t
    p = enhanced_test(values, GROUPS, design_of(), INSIDE, 39, 5)
    assert (p[flat] == 1).all()
    assert p[1] == 1
    assert p.min() <= 0.05
    still = np.full_like(values, 0.25)
    assert (enhanced_test(still, GROUPS, design_of(), INSIDE, 39, 5) == 1).all()


def test_slices_and_other_voxels_are_refused() -> None:
    """If it fails, values are laid on voxels that they are not of."""
    with pytest.raises(InputError, match="a volume with 178 voxels inside but got 9 of shape"):
        enhanced_test(maps_of("x"), GROUPS, design_of(), np.ones((3, 3), bool), 19, 0)
