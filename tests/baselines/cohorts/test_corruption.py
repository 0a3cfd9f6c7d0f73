"""Clean against corrupted images: what was done is known to the voxel, and nothing else differs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from trials import RECIPE, build_trial

from baselines.cohorts.corruption import (
    Corruption,
    Sites,
    at_mean_top,
    at_own_tops,
    at_points,
    at_random,
    corrupt,
    in_regions,
    only_group,
    with_maps,
)
from baselines.cohorts.corruption.corrupted import Corrupted, draw_corrupted
from baselines.cohorts.corruption.files import write_corrupted
from baselines.cohorts.corruption.sites import ball, point_of
from baselines.cohorts.nifti import read_cohort
from baselines.cohorts.phantom import Phantom
from baselines.explainers.controls import Oracle, Random
from benchmark.arrays import FloatArray, ImageArray
from benchmark.cohort import Cohort, Geometry, Source
from benchmark.errors import CohortError, InputError
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_classifier, build_cohort
from benchmark.reading import find, summarise
from benchmark.training import fine_tune
from protocols.roi_pointing import RoiPointing, RoiPointingConfig

MIDDLE = {2: (18.0, 18.0, 0.0), 3: (9.0, 10.5, 12.0)}
KINDS = (
    Corruption("blur", 2.0),
    Corruption("attenuate", 0.3),
    Corruption("zero"),
    Corruption("attenuate", 0.5, soft_edge=3.0),
)


@pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
def cohort(request: pytest.FixtureRequest) -> Cohort:
    return build_cohort(SHAPE_2D if request.param == 2 else SHAPE_3D, subjects=48)


def sites_of(cohort: Cohort) -> Sites:
    return at_points(cohort, [MIDDLE[len(cohort.shape)]], 4.0)


def importance_of(cohort: Cohort) -> ImageArray:
    """Return maps whose highest values lie in the first region, and somewhere else in each."""
    generator = np.random.Generator(np.random.PCG64(3))
    noise = generator.random(cohort.images.shape, dtype=np.float32)
    order = np.argsort(np.array(cohort.keys))
    by_key = np.empty_like(noise)
    by_key[order] = noise
    return by_key + 2 * cohort.anatomy.rois["left"].astype(np.float32)


@pytest.mark.parametrize("corruption", KINDS, ids=lambda kind: kind.name)
def test_only_the_truth_of_corrupted_subjects_has_changed(
    cohort: Cohort, corruption: Corruption
) -> None:
    """If it fails, a network can tell the groups by something that no truth knows of."""
    made = corrupt(cohort, sites_of(cohort), corruption).cohort
    truth, is_corrupted = made.truth, made.groups == 1
    assert truth is not None
    changed = made.images != cohort.images
    assert not changed[~is_corrupted].any()
    assert not (changed & ~truth).any()
    assert changed[is_corrupted].any(axis=tuple(range(1, changed.ndim))).all()
    assert truth.any(axis=tuple(range(1, changed.ndim))).all(), "clean images have a region, too"
    assert not (truth & ~cohort.anatomy.foreground).any()
    assert list(made.anatomy.rois) == ["corrupted"]


def test_partners_and_sources_of_the_clean_images_are_dropped(cohort: Cohort) -> None:
    """If it fails, the corrupted cohort's truth is what hippocampi and not the damage changed."""
    known = replace(
        cohort,
        partners=cohort.images[::-1].copy(),
        sources={"left": Source(cohort.groups, ("left",))},
    )
    corrupted = corrupt(known, sites_of(known), KINDS[1]).cohort
    assert corrupted.partners is None
    assert not corrupted.sources


def test_zeroing_and_attenuation_do_what_they_say(cohort: Cohort) -> None:
    """If it fails, the strength in a record is not what was done."""
    sites = sites_of(cohort)
    zeroed = corrupt(cohort, sites, Corruption("zero")).cohort
    row = int(np.flatnonzero(zeroed.groups)[0])
    assert not zeroed.images[row][sites.masks[row]].any()
    darker = corrupt(cohort, sites, Corruption("attenuate", 0.3)).cohort
    expected = 0.7 * cohort.images[row][sites.masks[row]]
    np.testing.assert_allclose(darker.images[row][sites.masks[row]], expected, rtol=1e-6)


def test_blur_is_measured_in_millimetres_along_each_axis() -> None:
    """If it fails, thick slices are blurred further than thin ones under one strength."""
    image, spacing, sigma = np.zeros((61, 81), dtype=np.float32), (2.0, 1.0), 3.0
    image[30, 40] = 1
    blurred = Corruption("blur", sigma).apply(image, np.ones(image.shape, dtype=bool), spacing)
    assert blurred.sum() == pytest.approx(1, abs=1e-4)
    for axis, size in enumerate(spacing):
        profile = blurred.sum(axis=1 - axis).astype(float)
        position = size * (np.arange(len(profile)) - profile.argmax())
        assert math.sqrt((profile * position**2).sum()) == pytest.approx(sigma, rel=0.01)


def test_a_soft_edge_leaves_the_rim_almost_as_it_was() -> None:
    """If it fails, who asks for a smooth edge gets a hard one, which is a signal of its own."""
    image, mask = np.ones((40, 40), dtype=np.float32), np.zeros((40, 40), dtype=bool)
    mask[10:30, 10:30] = True
    soft = Corruption("zero", soft_edge=6.0).apply(image, mask, (1.0, 1.0))
    assert 0.9 < soft[10, 20] < 1
    assert np.all(np.diff(soft[10:16, 20]) < 0)
    assert not soft[16:24, 16:24].any()
    assert (soft[mask] < 1).all(), "the truth holds voxels that did not change"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_old_group_says_nothing_about_the_new_one(seed: int) -> None:
    """If it fails, a network that knows the disease gets corrupted images right without looking."""
    cohort = build_cohort(subjects=48, visits=2)
    people = corrupt(cohort, sites_of(cohort), KINDS[1], seed).cohort.participants
    shares = people.groupby(["split", "original_group"])["group"].mean()
    assert (shares == 0.5).all()
    assert (people.groupby("subject")["group"].nunique() == 1).all()
    assert set(people["original_group"]) == {"A", "B"}


def test_halves_of_odd_groups_are_rounded_in_turn() -> None:
    """If it fails, odd groups lean to one side, and the classes of a cohort are not balanced."""
    cohort = build_cohort(subjects=48)
    odd = cohort.take(np.flatnonzero(np.array(cohort.subjects) > "s001"))
    counts = pd.Series(draw_corrupted(odd, 0)).groupby(odd.participants["split"]).sum()
    totals = odd.participants["split"].value_counts()
    assert (abs(2 * counts - totals) <= 1).all()


def test_another_seed_draws_other_subjects() -> None:
    """If it fails, the seed has no effect."""
    cohort = build_cohort(subjects=48)
    assert (draw_corrupted(cohort, 0) != draw_corrupted(cohort, 1)).any()


@pytest.mark.parametrize("places", ["points", "region", "random", "own tops", "mean top"])
def test_the_order_of_rows_changes_nothing(cohort: Cohort, places: str) -> None:
    """If it fails, a table that was sorted otherwise gives another corrupted cohort."""

    def made(source: Cohort) -> str:
        maps = importance_of(source)
        sites = {
            "points": lambda: sites_of(source),
            "region": lambda: in_regions(source, ["left"]),
            "random": lambda: at_random(source, 1, 3.0, 0),
            "own tops": lambda: at_own_tops(source, maps, 0.04, 0),
            "mean top": lambda: at_mean_top(source, source, maps, 0.04, 0),
        }[places]()
        return corrupt(source, sites, KINDS[0]).cohort.fingerprint

    order = np.random.Generator(np.random.PCG64(1)).permutation(len(cohort))
    assert made(cohort.take(order)) == made(cohort)


def test_balls_are_round_in_the_world() -> None:
    """If it fails, thick slices, turned or sheared axes shift or stretch what is corrupted."""
    affine = np.array([[0.2, 0, 3.0, -20], [1.5, 0.1, 0, 4], [0, -2.0, 0.3, 9], [0, 0, 0, 1.0]])
    shape, point, radius = (9, 12, 10), (-6.0, 10.0, -3.0), 4.7
    voxels = np.moveaxis(np.indices(shape), 0, -1)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    expected = np.linalg.norm(world - point, axis=-1) <= radius
    assert expected.sum() > 20
    np.testing.assert_array_equal(ball(shape, affine, point, radius), expected)


def test_images_that_lie_differently_are_corrupted_at_one_point_of_the_world(
    tmp_path: Path,
) -> None:
    """If it fails, scans on grids of their own are corrupted in different anatomy."""
    cohort = build_cohort(SHAPE_3D, subjects=24)
    affines: FloatArray = np.repeat(np.diag([1.5, 1.5, 1.5, 1.0])[None], 24, axis=0)
    affines[::2, 0, 3] = 3.0
    geometry = Geometry((1.5,) * 3, affines[0], registered=False, affines=affines)
    own = replace(cohort, geometry=geometry)
    masks = at_points(own, [MIDDLE[3]], 3.0).masks[:, 0]
    for row in (0, 1):
        centroid = np.argwhere(masks[row]).mean(0)
        np.testing.assert_allclose(point_of(affines[row], centroid), MIDDLE[3], atol=0.75)
    made = corrupt(own, at_random(own, 1, 3.0, 0), KINDS[1])
    (path,) = write_corrupted([made], tmp_path / "out", own)
    assert read_cohort(path).fingerprint == made.cohort.fingerprint
    points = json.loads(path.with_name("corruption.json").read_text())["sites"]["points_by_image"]
    assert sorted(points) == sorted(own.keys)


def test_balls_are_cut_to_the_foreground(cohort: Cohort) -> None:
    """If it fails, air beside the organ is called the truth, where no map is ranked."""
    rim = np.argwhere(cohort.anatomy.foreground[0, 0])[0]
    point = point_of(cohort.geometry.affine, rim)
    masks = at_points(cohort, [point], 4.0).masks
    whole = ball(cohort.shape, cohort.geometry.affine, point, 4.0)
    assert (whole & ~cohort.anatomy.foreground[0, 0]).any()
    np.testing.assert_array_equal(masks[:, 0], whole & cohort.anatomy.foreground[:, 0])


def test_random_sites_are_whole_apart_and_shared_only_where_voxels_correspond() -> None:
    """If it fails, random sites are cut, touch, or mean another place in each subject."""
    cohort = build_cohort(subjects=48)
    shared = at_random(cohort, 2, 3.0, 0)
    assert len(set(shared.points)) == 1
    a = shared.points[0][0]
    for seed in range(30):
        near, far = at_random(cohort, 2, 3.0, seed).points[0]
        assert math.dist(near, far) > 6.0
    assert (shared.masks == shared.masks[0]).all()
    assert shared.masks[0].sum() == ball(cohort.shape, cohort.geometry.affine, a, 3.0).sum() * 2
    loose = replace(cohort, geometry=replace(cohort.geometry, registered=False))
    assert len(set(at_random(loose, 2, 3.0, 0).points)) > 24
    assert at_random(cohort, 2, 3.0, 1).points != shared.points


@pytest.mark.parametrize("share", [0.04, 0.07, 0.5])
def test_the_top_of_a_map_has_the_size_that_was_asked_for(cohort: Cohort, share: float) -> None:
    """If it fails, "the 4 % most important pixels" are more or fewer."""
    maps = importance_of(cohort)
    own = at_own_tops(cohort, maps, share, 0).masks
    axes = tuple(range(1, own.ndim))
    sizes = cohort.anatomy.foreground.sum(axis=axes)
    np.testing.assert_array_equal(own.sum(axis=axes), np.ceil(np.round(share * sizes, 6)))
    for row in range(3):
        inside = cohort.anatomy.foreground[row]
        assert maps[row][own[row]].min() >= maps[row][inside & ~own[row]].max()
    mean = at_mean_top(cohort, cohort, maps, share, 0).masks
    assert (mean == mean[0]).all()
    assert mean[0].sum() == math.ceil(round(share * cohort.anatomy.foreground.all(0).sum(), 6))


def test_the_mean_map_counts_every_subject_and_both_groups_the_same() -> None:
    """If it fails, one loud map decides where everybody is corrupted."""
    cohort = build_cohort(subjects=48)
    maps = np.where(cohort.anatomy.rois["left"], np.float32(1), np.float32(0.01))
    maps[0] = 1e4 * np.where(cohort.anatomy.rois["right"][0], np.float32(1), np.float32(0.01))
    mean = at_mean_top(cohort, cohort, maps, 0.02, 0).masks[0]
    assert not (mean & cohort.anatomy.rois["right"][0]).any()


def test_subjects_with_maps_are_divided_anew() -> None:
    """If it fails, a cohort of test subjects has nothing to train on."""
    cohort = build_cohort(subjects=60)
    rows = np.flatnonzero(cohort.participants["split"] == "test")
    mapped = with_maps(cohort, rows, 0)
    assert set(mapped.subjects) == set(cohort.select("test").subjects)
    assert dict(mapped.participants["split"].value_counts()) == {
        "train": 18,
        "validation": 6,
        "test": 6,
    }


def test_control_regions_are_as_large_and_elsewhere(cohort: Cohort) -> None:
    """If it fails, `roi_pointing` compares a region with one that is no fair rival."""
    for sites in (sites_of(cohort), at_own_tops(cohort, importance_of(cohort), 0.04, 0)):
        anatomy = corrupt(cohort, sites, KINDS[1]).cohort.anatomy
        control, axes = anatomy.control_rois["corrupted"], tuple(range(1, cohort.images.ndim))
        np.testing.assert_array_equal(control.sum(axis=axes), sites.masks.sum(axis=axes))
        assert not (control & sites.masks).any()
        assert not (control & ~anatomy.foreground).any()


def test_no_control_region_is_better_than_a_smaller_one() -> None:
    """If it fails, a region of most of the organ is compared with a scrap of what is left."""
    cohort = build_cohort(subjects=48)
    sites = at_own_tops(cohort, importance_of(cohort), 0.6, 0)
    assert not corrupt(cohort, sites, KINDS[1]).cohort.anatomy.control_rois


def test_what_was_written_reads_back_and_is_the_same_twice(tmp_path: Path) -> None:
    """If it fails, what is scored is not what the record says, or nobody can make it again."""
    phantom = Phantom().load()
    cohort = phantom.take(
        np.concatenate(
            [
                np.flatnonzero(
                    (phantom.participants["split"] == split) & (phantom.groups == group)
                )[:4]
                for split in ("train", "test")
                for group in (0, 1)
            ]
        )
    )

    def made() -> Corrupted:
        return corrupt(cohort, at_points(cohort, [(36, -21, 30)], 6.0), Corruption("blur", 2.0))

    for name in ("first", "second"):
        (path,) = write_corrupted([made()], tmp_path / name, cohort)
    files = sorted(file for file in (tmp_path / "first").rglob("*") if file.is_file())
    for file in files:
        twin = tmp_path / "second" / file.relative_to(tmp_path / "first")
        assert file.read_bytes() == twin.read_bytes(), file
    record = json.loads(path.with_name("corruption.json").read_text())
    read = read_cohort(path)
    assert record["result"]["fingerprint"] == read.fingerprint == made().cohort.fingerprint
    assert record["source"]["fingerprint"] == cohort.fingerprint
    assert record["sites"]["points"] == [{"mm": [36, -21, 30], "voxel": [28, 72]}]
    is_corrupted = read.groups == 1
    assert record["result"]["corrupted_subjects"] == sorted(np.array(read.subjects)[is_corrupted])
    share = (np.abs(read.images - cohort.images).sum(axis=(1, 2, 3)))[is_corrupted] / np.where(
        cohort.anatomy.foreground, cohort.images, 0
    ).sum(axis=(1, 2, 3))[is_corrupted]
    changed = record["result"]["share_of_intensity_changed"]
    assert changed["mean"] == pytest.approx(share.mean(), rel=1e-4)


def test_several_strengths_get_a_folder_each_or_nothing_is_left(tmp_path: Path) -> None:
    """If it fails, an error half-way leaves a folder that looks like a cohort."""
    cohort = build_cohort(subjects=24)
    sites = sites_of(cohort)
    good = [corrupt(cohort, sites, Corruption("blur", sigma)) for sigma in (1.0, 2.0)]
    written = write_corrupted(good, tmp_path / "both", cohort)
    assert [path.parent.name for path in written] == ["blur-1", "blur-2"]

    def fails_later() -> object:
        yield good[0]
        yield corrupt(cohort, sites, Corruption("blur", 1e-9))

    with pytest.raises(InputError, match="as it was"):
        write_corrupted(fails_later(), tmp_path / "broken", cohort)  # type: ignore[arg-type]
    with pytest.raises(CohortError, match="not empty"):
        write_corrupted(good, tmp_path / "both", cohort)
    assert [path.name for path in tmp_path.iterdir()] == ["both"]


def test_group_names_that_look_like_numbers_survive_the_table(tmp_path: Path) -> None:
    """If it fails, a cohort with the groups 0 and 1 cannot be corrupted."""
    cohort = replace(build_cohort(subjects=24), group_names=("0", "NA"))
    (path,) = write_corrupted(
        [corrupt(cohort, sites_of(cohort), KINDS[1])], tmp_path / "out", cohort
    )
    assert set(read_cohort(path).participants["original_group"]) == {"group 0", "group NA"}


def test_one_group_alone_can_be_the_base() -> None:
    """If it fails, a study of healthy subjects needs patients to make its control."""
    cohort = only_group(build_cohort(subjects=48), "A")
    people = corrupt(cohort, sites_of(cohort), KINDS[1]).cohort.participants
    assert set(people["original_group"]) == {"A"}
    assert people["group"].mean() == 0.5


def test_a_network_learns_more_of_a_stronger_corruption_and_its_place_is_found() -> None:
    """If it fails, the positive control controls nothing."""
    cohort = build_cohort(subjects=48)
    sites = at_points(cohort, [MIDDLE[2]], 5.0)
    aurocs, protocol = [], RoiPointing(RoiPointingConfig(confidence=0.5, subjects=16, repeats=2))
    for strength in (0.02, 0.6):
        made = corrupt(cohort, sites, Corruption("attenuate", strength)).cohort
        network = fine_tune(build_classifier(), made, RECIPE)
        trial = build_trial(Oracle(), made, network)
        logits = trial.evaluation.logits
        aurocs.append(roc_auc_score(trial.test.groups, logits[:, 1] - logits[:, 0]))
    assert aurocs[0] < 0.8 < 0.95 < aurocs[1]
    scores = []
    for explainer in (Oracle(), Random()):
        reading = find(protocol.readings(build_trial(explainer, made, network)), "ap")
        assert reading is not None
        scores.append(summarise(reading).estimate)
    assert scores[0] == 1.0 > 2 * scores[1]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda cohort: at_points(cohort, [(500, 0, 0)], 4), "outside the image"),
        (lambda cohort: at_points(cohort, [(18, 18, 30)], 4), "beside the slice"),
        (lambda cohort: at_points(cohort, [(0, 0, 0)], 4), "outside the foreground"),
        (lambda cohort: at_points(cohort, [MIDDLE[2]], 1), "at least a voxel"),
        (lambda cohort: at_points(cohort, [MIDDLE[2]], math.nan), "at least a voxel"),
        (lambda cohort: at_random(cohort, 0, 3, 0), "at least one"),
        (lambda cohort: at_random(cohort, 1, 80, 0), "no ball of 80 mm fits"),
        (lambda cohort: at_random(cohort, 99, 4, 0), "of 99 balls"),
        (lambda cohort: in_regions(cohort, ["nose"]), "no region 'nose'.*left, right"),
        (lambda cohort: only_group(cohort, "C"), "no group 'C'.*A, B"),
        (lambda cohort: at_own_tops(cohort, cohort.images, 1.0, 0), r"in \(0, 1\)"),
        (lambda cohort: at_own_tops(cohort, cohort.images, math.nan, 0), r"in \(0, 1\)"),
        (lambda cohort: at_own_tops(cohort, 0 * cohort.images, 0.1, 0), "marks 0 of"),
        (lambda cohort: Corruption("melt"), "blur, attenuate, zero"),
        (lambda cohort: Corruption("blur"), "needs a strength"),
        (lambda cohort: Corruption("blur", 0), "above 0"),
        (lambda cohort: Corruption("attenuate", 1.5), r"in \(0, 1\]"),
        (lambda cohort: Corruption("zero", 1), "has no strength"),
        (lambda cohort: Corruption("zero", soft_edge=-1), "soft edge"),
        (lambda cohort: corrupt(cohort, sites_of(cohort), Corruption("blur", 1e9)), "wider than"),
        (lambda cohort: corrupt(cohort.take(np.arange(20)), sites_of(cohort), KINDS[0]), "masks"),
        (
            lambda cohort: corrupt(
                cohort.take(np.arange(12)), sites_of(cohort.take(np.arange(12))), KINDS[0]
            ),
            "single subject of group 'A' in its validation split",
        ),
        (
            lambda cohort: corrupt(
                corrupt(cohort, sites_of(cohort), KINDS[0]).cohort, sites_of(cohort), KINDS[0]
            ),
            "corrupted already",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, sentence: str) -> None:
    """If it fails, a slip of the finger ends in a traceback or in a wrong cohort."""
    with pytest.raises(InputError, match=sentence):
        make(build_cohort(subjects=24))  # type: ignore[operator]


def test_a_mean_map_needs_voxels_that_correspond() -> None:
    """If it fails, maps of different anatomy are averaged."""
    cohort = build_cohort(subjects=24)
    loose = replace(cohort, geometry=replace(cohort.geometry, registered=False))
    with pytest.raises(InputError, match="needs a registered cohort"):
        at_mean_top(loose, loose, importance_of(loose), 0.04, 0)
