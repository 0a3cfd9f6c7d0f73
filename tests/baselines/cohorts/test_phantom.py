"""The phantom is what it says: committed pixels, known truth, confounders that stay confounders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from sklearn.metrics import roc_auc_score

from baselines.cohorts import phantom, phantom3d
from baselines.cohorts.generator import (
    ELLIPSOID_VOLUME,
    SIDES,
    covariates,
    draw_groups,
    draw_person,
    make_cohort,
    render,
    subject_stream,
)
from baselines.cohorts.phantom import COUNTS, SEED, Phantom, read_phantom
from baselines.cohorts.phantom3d import Phantom3D
from baselines.cohorts.template import View, coronal_view, crop_view
from benchmark.cohort import Cohort
from benchmark.errors import CohortError


@pytest.fixture(scope="module")
def committed() -> Cohort:
    return Phantom().load()


@pytest.fixture(scope="module")
def volumes() -> Cohort:
    return Phantom3D(subjects=10).load()


def test_the_committed_cohort_is_the_one_that_the_code_makes(committed: Cohort) -> None:
    # Platforms differ in the last bit of a cosine, which may tip one rounding or one border voxel.
    people = draw_groups(COUNTS, SEED)
    persons = []
    wrong_voxels = 0
    for row, group in enumerate(people["group"]):
        rng = subject_stream(row + 1, SEED)
        persons.append(draw_person(rng, int(group)))
        if row % 6:
            continue
        image, masks = render(persons[-1], coronal_view(), rng)
        stored = np.rint(committed.images[row, 0] * 255)
        assert np.abs(stored - image).max() <= 1
        anatomy = committed.anatomy
        stored_masks = {"foreground": anatomy.foreground, **anatomy.rois}
        stored_masks |= {f"control:{name}": mask for name, mask in anatomy.control_rois.items()}
        assert masks.keys() == stored_masks.keys()
        for name, mask in masks.items():
            wrong_voxels += int((mask != stored_masks[name][row, 0]).sum())
    assert wrong_voxels <= 20
    own = committed.participants[["subject", "group", "split"]]
    assert_frame_equal(own, people, check_dtype=False)
    # The asymmetry of a volume is a product of floats, so its last decimal may tip as well.
    assert_frame_equal(committed.covariates, covariates(persons), check_dtype=False, atol=0.11)


def test_writing_twice_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantom, "COUNTS", {"train": 4, "test": 2})
    paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in paths:
        phantom.write_phantom(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths
    assert read_phantom(paths[0]).fingerprint == phantom.generate_phantom().fingerprint


def test_splits_and_groups_are_those_of_the_suite(committed: Cohort) -> None:
    assert committed.images.shape == (600, 1, 96, 96)
    assert len(set(committed.subjects)) == 600
    assert committed.subjects[0] == "sub-0001"
    sizes = committed.participants.groupby(["split", "group"]).size().to_dict()
    halves = {split: count // 2 for split, count in COUNTS.items()}
    assert sizes == {(split, group): halves[split] for split in halves for group in (0, 1)}


@pytest.mark.parametrize("split", [None, "test"])
def test_volume_tells_the_groups_apart_and_confounders_hardly_do(
    split: str | None, committed: Cohort
) -> None:
    cohort = committed if split is None else committed.select(split)
    people = cohort.covariates
    volume = people["hippocampus_left_volume"] + people["hippocampus_right_volume"]
    assert roc_auc_score(cohort.groups, -volume) == pytest.approx(0.955, abs=0.02)
    assert roc_auc_score(cohort.groups, people["age"]) == pytest.approx(0.62, abs=0.05)
    assert roc_auc_score(cohort.groups, people["tiv"]) == pytest.approx(0.5, abs=0.05)
    assert roc_auc_score(cohort.groups, people["sex"] == "M") == pytest.approx(0.5, abs=0.05)
    scanner = people["scanner"] == "scanner2"
    assert roc_auc_score(cohort.groups, scanner) == pytest.approx(0.5, abs=0.05)


def test_covariates_have_the_units_they_claim(committed: Cohort) -> None:
    people = committed.covariates
    assert people["age"].between(40, 90).all()
    assert people["tiv"].between(1100, 1850).all()
    assert set(people["sex"]) == {"F", "M"}
    assert set(people["scanner"]) == {"scanner1", "scanner2"}
    for name in SIDES:
        relative = people[f"{name}_volume"] / ELLIPSOID_VOLUME
        assert relative[committed.groups == 0].mean() == pytest.approx(1.0, abs=0.03)
        assert relative[committed.groups == 1].mean() == pytest.approx(0.70, abs=0.03)


@pytest.mark.parametrize("which", ["committed", "volumes"])
def test_regions_lie_where_they_should(which: str, request: pytest.FixtureRequest) -> None:
    cohort: Cohort = request.getfixturevalue(which)
    anatomy, truth = cohort.anatomy, cohort.truth
    assert truth is not None
    assert cohort.geometry.registered
    axes = tuple(range(1, cohort.images.ndim))
    for name, side in SIDES.items():
        region, control = anatomy.rois[name], anatomy.control_rois[name]
        assert not (region & ~anatomy.foreground).any()
        assert not (control & ~anatomy.foreground).any()
        assert not (control & truth).any()
        assert np.array_equal(region.sum(axes), control.sum(axes))
        centre = _centre(region.mean((0, 1)), cohort)
        assert centre == pytest.approx((27 * side, -21, -14.5), abs=2)
        assert np.sign(_centre(control.mean((0, 1)), cohort)[0]) == side
    assert not any((binary_fill_holes(mask[0]) != mask[0]).any() for mask in anatomy.foreground)


def _centre(
    weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]], cohort: Cohort
) -> list[float]:
    """Return the centre of mass in mm, by way of the affine."""
    index = np.zeros(3)
    for axis, grid in enumerate(np.indices(cohort.shape)):
        index[axis] = (grid * weights).sum() / weights.sum()
    return list(cohort.geometry.affine[:3, :3] @ index + cohort.geometry.affine[:3, 3])


def test_a_hippocampus_has_the_volume_of_its_ellipsoid(volumes: Cohort) -> None:
    # The region is the full ellipsoid, whatever is left of the tissue in it; 10 subjects' own
    # deformations spread it by a tenth or so.
    for name in SIDES:
        voxels = volumes.anatomy.rois[name].sum((1, 2, 3, 4)).mean()
        assert voxels * 1.5**3 == pytest.approx(ELLIPSOID_VOLUME, rel=0.15)


@pytest.mark.parametrize(
    ("view", "reach"), [(coronal_view(), 10), (crop_view(), 18)], ids=["slice", "box"]
)
def test_atrophy_changes_nothing_away_from_the_hippocampi(view: View, reach: float) -> None:
    rng = subject_stream(1, SEED)
    person = draw_person(rng, 0)
    state = rng.bit_generator.state
    images, truth = [], np.zeros(view.shape, dtype=np.bool_)
    for volume in (1.0, 0.6):
        rng.bit_generator.state = state
        image, masks = render(replace(person, volumes=dict.fromkeys(SIDES, volume)), view, rng)
        images.append(image.astype(np.int64))
        truth = masks["hippocampus_left"] | masks["hippocampus_right"]
    change = np.abs(images[0] - images[1])
    distance = distance_transform_edt(~truth, sampling=view.spacing)
    assert change[distance > reach].max() <= 1
    assert change[distance <= 6].sum() > 0.93 * change.sum()
    assert change[truth].mean() > 10


def test_a_smaller_hippocampus_leaves_fluid_on_its_lateral_side(committed: Cohort) -> None:
    truth = committed.truth
    assert truth is not None
    darkest = np.array(
        [np.percentile(i[m], 10) for i, m in zip(committed.images, truth, strict=True)]
    )
    assert darkest[committed.groups == 1].mean() < darkest[committed.groups == 0].mean() - 0.03


def test_a_subject_does_not_depend_on_the_others(volumes: Cohort) -> None:
    fewer = make_cohort("phantom3d", crop_view(), {"train": 6}, phantom3d.SEED)
    assert np.array_equal(fewer.images[:2], volumes.images[:2])


def test_volumes_are_the_box_they_claim(volumes: Cohort) -> None:
    assert volumes.shape == (48, 48, 96)
    assert volumes.geometry.spacing == (1.5, 1.5, 1.5)
    middle = volumes.geometry.affine @ [23.5, 23.5, 47.5, 1]
    assert middle[:3].tolist() == [0.0, -21.0, -14.0]
    # One voxel on along the first array axis is up, along the last to the right.
    assert (volumes.geometry.affine @ [1, 0, 0, 0])[:3].tolist() == [0.0, 0.0, 1.5]
    assert (volumes.geometry.affine @ [0, 0, 1, 0])[:3].tolist() == [1.5, 0.0, 0.0]
    assert volumes.participants["split"].value_counts().to_dict() == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }


def test_rows_of_a_slice_run_down_and_columns_to_the_right(committed: Cohort) -> None:
    assert committed.geometry.spacing == (1.5, 1.5)
    corner = committed.geometry.affine @ [0, 0, 0, 1]
    assert corner[:3].tolist() == [-71.25, -21.0, 71.25]
    assert (committed.geometry.affine @ [95, 95, 0, 1])[:3].tolist() == [71.25, -21.0, -71.25]


@pytest.mark.parametrize("subjects", [4, 11])
def test_a_number_of_subjects_that_cannot_be_halved_is_refused(subjects: int) -> None:
    with pytest.raises(
        CohortError, match=f"even number of at least 10 subjects, but got {subjects}"
    ):
        Phantom3D(subjects)
    with pytest.raises(CohortError, match="test was given 3 subjects"):
        draw_groups({"train": 4, "test": 3}, seed=0)


def test_damaged_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="is missing"):
        read_phantom(tmp_path / "none.npz")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(phantom.DATA.read_bytes()[:100_000])
    with pytest.raises(CohortError, match="cannot be read"):
        read_phantom(broken)
