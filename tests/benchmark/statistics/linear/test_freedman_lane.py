"""Permutation tests given covariates: against nilearn and plain loops, and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from nilearn.mass_univariate import permuted_ols
from numpy.testing import assert_allclose
from scipy import stats

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.linear import (
    Design,
    SubjectMeans,
    correlation_test,
    draw_permutations,
    nuisance_design,
    voxelwise_test,
)

GROUPS = np.repeat([0, 1], 20)


def design_of(name: str, covariates: tuple[str, ...] = ("age", "sex")) -> Design:
    generator = stream("test_freedman_lane", name)
    people = {"age": generator.normal(70, 8, 40) + 5 * GROUPS, "sex": generator.choice(2, 40)}
    return nuisance_design(pd.DataFrame(people), covariates=covariates)


@pytest.mark.parametrize("covariates", [(), ("age", "sex")])
def test_voxels_have_the_t_and_the_p_of_nilearn(covariates: tuple[str, ...]) -> None:
    """If it fails, maps of differences differ from those of the field's own software."""
    design = design_of("voxels", covariates)
    values = stream("voxels").normal(size=(40, 60))
    values[:, :3] += 0.8 * GROUPS[:, None]
    test = voxelwise_test(values, GROUPS, design, draw_permutations(40, 1000, "voxels"))
    confounds = design.matrix[:, 1:] if covariates else None
    group = (GROUPS == 0).astype(float)[:, None]
    reference = permuted_ols(
        group, values, confounds, n_perm=1000, random_state=0, output_type="dict"
    )
    assert_allclose(test.t, reference["t"][0], atol=1e-8)
    p = 10 ** -reference["logp_max_t"][0]
    assert (np.abs(test.p_fwe - p) <= 4 * np.sqrt(2 * p * (1 - p) / 1000) + 0.003).all()
    assert_allclose(test.q, stats.false_discovery_control(test.p))


def test_voxels_without_covariates_are_those_of_a_two_sample_t_test() -> None:
    """If it fails, the printed t is not the t that a reader would compute."""
    values = stream("plain t").normal(size=(40, 5))
    values[:, 4] = 0.3  # a voxel outside every brain
    design = nuisance_design(pd.DataFrame(index=range(40)))
    test = voxelwise_test(values, GROUPS, design, draw_permutations(40, 99, "plain"))
    plain = stats.ttest_ind(values[:20, :4], values[20:, :4])
    assert_allclose(test.t[:4], plain.statistic)
    assert_allclose(test.p[:4], plain.pvalue)
    assert (test.t[4], test.p[4], test.p_fwe[4]) == (0, 1, 1)


def test_one_pair_has_the_p_of_nilearn_and_of_a_plain_loop() -> None:
    """If it fails, the p of a biomarker is not that of Freedman and Lane."""
    design, generator = design_of("pair"), stream("pair")
    share = generator.normal(size=40)
    volume = generator.normal(size=40) + 0.3 * share + design.matrix[:, 1]
    orders = draw_permutations(40, 2000, "pair")
    test = correlation_test(share, volume, design, orders, "two-sided")
    left = design.residuals(volume)
    loop = [
        np.corrcoef(design.residuals(share), design.residuals(volume - left + left[order]))[0, 1]
        for order in orders
    ]
    assert_allclose(test.p, (np.sum(np.abs(loop) >= abs(test.statistic)) + 1) / 2001)
    reference = permuted_ols(
        share[:, None],
        volume[:, None],
        design.matrix[:, 1:],
        n_perm=2000,
        random_state=0,
        output_type="dict",
    )
    assert_allclose(
        test.p, 10 ** -reference["logp_max_t"][0, 0], atol=4 * np.sqrt(2 * test.p / 2000)
    )


def test_sides_of_a_subject_are_permuted_together() -> None:
    """If it fails, two sides count as two subjects, and p-values are too small."""
    design, generator = design_of("sides"), stream("sides")
    share, volume = generator.normal(size=(2, 40, 1))
    orders = draw_permutations(40, 500, "sides")
    single = correlation_test(share, volume, design, orders)
    both = correlation_test(np.hstack([share] * 2), np.hstack([volume] * 2), design, orders)
    assert both.p == single.p
    assert_allclose(both.statistic, single.statistic)


def test_visits_change_nothing_where_they_are_averaged() -> None:
    """If it fails, an image that stands twice in a cohort makes its findings significant."""
    generator, orders = stream("visits"), draw_permutations(40, 500, "visits")
    people = pd.DataFrame({"age": generator.normal(70, 8, 40), "sex": generator.choice(2, 40)})
    pairs = generator.normal(size=(40, 2))
    names = [f"s{number:02d}" for number in range(40)]
    once = correlation_test(*pairs.T, nuisance_design(people, GROUPS), orders)
    means = SubjectMeans(names + names)
    table = means.table(pd.concat([people, people], ignore_index=True))
    design = nuisance_design(table, means.of([*GROUPS, *GROUPS]))
    twice = correlation_test(*means.of(np.concatenate([pairs, pairs])).T, design, orders)
    assert twice.p == once.p
    assert_allclose(twice.statistic, once.statistic, rtol=1e-12)


def test_orders_within_groups_keep_each_subject_in_its_group() -> None:
    """If it fails, groups that vary by different amounts make too many p-values small."""
    orders = draw_permutations(40, 200, "within", within=GROUPS)
    assert np.array_equal(GROUPS[orders], np.broadcast_to(GROUPS, orders.shape))
    assert np.array_equal(np.sort(orders, axis=1), np.broadcast_to(np.arange(40), orders.shape))
    assert len(np.unique(orders, axis=0)) == 200


def test_maps_that_do_not_vary_show_nothing() -> None:
    """If it fails, a constant map gets NaN, or a p-value of rounding errors."""
    design, orders = design_of("flat"), draw_permutations(40, 50, "flat")
    test = correlation_test(np.full(40, 0.1), stream("flat").normal(size=40), design, orders)
    assert (test.statistic, test.p) == (0, 1)
    with pytest.raises(InputError, match="permutation"):
        draw_permutations(40, 0)
    with pytest.raises(InputError, match="two groups"):
        voxelwise_test(np.ones((40, 2)), np.zeros(40), design, orders)
