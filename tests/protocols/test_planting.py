"""Planted signals: smooth, inside the foreground, one place per subject, known to the pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from baselines.cohorts.phantom import Phantom
from benchmark.cohort import Cohort
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_cohort
from protocols.positive_control.planting import (
    Strength,
    allowed_sites,
    alter,
    draw_sites,
    edge_artefact,
    planted_cohort,
    radius_of,
    truths,
    windows,
)

STRONG = Strength(name="strong", sigma=2, attenuation=0.1)
SUITE = "v1#0"


def sites_in(cohort: Cohort) -> npt.NDArray[np.int64]:
    return draw_sites(allowed_sites(cohort.anatomy.foreground), cohort.keys, SUITE)


@pytest.fixture(scope="module", params=[SHAPE_2D, SHAPE_3D], ids=["2-D", "3-D"])
def cohort(request: pytest.FixtureRequest) -> Cohort:
    return build_cohort(request.param, subjects=12)


def test_the_window_lies_in_the_foreground(cohort: Cohort) -> None:
    """If it fails, the truth covers pixels that no map is ranked on."""
    foreground = cohort.anatomy.foreground
    sites = draw_sites(allowed_sites(foreground), cohort.keys, SUITE)
    window = windows(sites, cohort.shape)
    # Where the organ is narrower than the window, its deepest pixel is the best there is.
    assert ((window > 0.5) & ~foreground).mean() < 0.01
    assert len({tuple(site) for site in sites.tolist()}) > 1
    np.testing.assert_array_equal(truths(sites, cohort.shape), window > 0.5)


def test_sites_on_the_phantom_leave_the_whole_window_inside() -> None:
    """If it fails, the signal of suite v1 touches the rim of the brain."""
    test = Phantom().load().select("test")
    sites = sites_in(test)
    assert not ((windows(sites, test.shape) > 0) & ~test.anatomy.foreground).any()


def test_the_window_is_smooth_to_first_order() -> None:
    """If it fails, the rim has an edge, and an edge detector finds the signal."""
    shape = (401, 401)
    window = windows(np.array([[200, 200]]), shape)[0, 0]
    profile = window[200, 200:].astype(float)
    radius = radius_of(shape)
    assert window[200, 200] == 1
    assert profile[int(np.ceil(radius)) :].max() == 0
    steps = np.abs(np.diff(profile))
    # The slope of a raised cosine vanishes at core and rim, and its steps change little by little.
    assert steps[int(radius) - 1] < 0.1 * steps.max()
    assert steps[int(radius / 3)] < 0.1 * steps.max()
    assert np.abs(np.diff(steps)).max() < 0.15 * steps.max()


def test_nothing_outside_the_window_is_touched(cohort: Cohort) -> None:
    """If it fails, the truth does not hold the whole signal."""
    window = windows(sites_in(cohort), cohort.shape)
    altered = alter(cohort.images, window, STRONG)
    np.testing.assert_array_equal(altered[window == 0], cohort.images[window == 0])
    assert np.abs(altered - cohort.images)[window > 0.5].mean() > 0.01
    assert altered.min() >= 0
    assert altered.max() <= 1


def test_strength_nothing_changes_nothing(cohort: Cohort) -> None:
    """If it fails, strength 0 is no negative control."""
    window = windows(sites_in(cohort), cohort.shape)
    nothing = Strength(name="nothing", sigma=0, attenuation=0)
    np.testing.assert_allclose(alter(cohort.images, window, nothing), cohort.images, atol=1e-7)


def test_a_site_belongs_to_its_subject_alone(cohort: Cohort) -> None:
    """If it fails, a subject's signal moves with the others, or with the strength."""
    foreground = cohort.anatomy.foreground
    sites = draw_sites(allowed_sites(foreground), cohort.keys, SUITE)
    order = np.random.default_rng(0).permutation(len(cohort))
    shuffled = draw_sites(
        allowed_sites(foreground[order]), [cohort.keys[row] for row in order], SUITE
    )
    np.testing.assert_array_equal(shuffled, sites[order])
    truths = [
        planted_cohort(cohort, strength, sites_in(cohort)).anatomy.rois["site"]
        for strength in (STRONG, Strength(name="mild", sigma=0.9, attenuation=0))
    ]
    np.testing.assert_array_equal(truths[0], truths[1])
    assert (draw_sites(allowed_sites(foreground), cohort.keys, SUITE, "decoy 0") != sites).any()


def test_pairs_share_subject_split_and_truth(cohort: Cohort) -> None:
    """If it fails, a clean image is compared with someone else's planted one."""
    planted, count = planted_cohort(cohort, STRONG, sites_in(cohort)), len(cohort)
    assert planted.groups.tolist() == [0] * count + [1] * count
    assert planted.subjects[:count] == cohort.keys
    assert all(
        there == f"{here}+strong"
        for here, there in zip(cohort.keys, planted.subjects[count:], strict=True)
    )
    splits = planted.participants["split"].tolist()
    assert splits[:count] == splits[count:] == cohort.participants["split"].tolist()
    truth = planted.anatomy.rois["site"]
    np.testing.assert_array_equal(truth[:count], truth[count:])


def test_zeroing_leaves_ten_times_the_edge_of_the_smooth_signal() -> None:
    """If it fails, the smooth signal is found by its edge as well."""
    test = Phantom().load().select("test").take(np.arange(40))
    index = {}
    for strength in (
        Strength(name="mild", sigma=0.9, attenuation=0),
        Strength(name="medium", sigma=2, attenuation=0.05),
        Strength(name="strong", sigma=3, attenuation=0.08),
        None,
    ):
        planted = planted_cohort(test, strength, sites_in(test))
        clean, altered = planted.images[: len(test)], planted.images[len(test) :]
        truth = planted.anatomy.rois["site"][: len(test)]
        values = edge_artefact(clean, altered, truth, test.anatomy.foreground)
        index["zero" if strength is None else strength.name] = values.mean()
    assert index["mild"] < index["medium"] < index["strong"]
    assert index["zero"] >= 10 * index["strong"]


def test_the_artefact_index_of_a_known_edge() -> None:
    """If it fails, the index is not rim gradient over usual gradient."""
    ramp = np.tile(np.arange(20, dtype=np.float32) * 0.01, (20, 1))[None, None]
    truth = np.zeros_like(ramp, dtype=bool)
    truth[..., 5:15, 5:15] = True
    stepped = ramp + 0.4 * truth
    foreground = np.ones_like(truth)
    # On a straight rim central differences see half the step on both sides of it: 0.2 over 0.01.
    (index,) = edge_artefact(ramp, stepped.astype(np.float32), truth, foreground)
    assert index == pytest.approx(20, rel=0.1)
