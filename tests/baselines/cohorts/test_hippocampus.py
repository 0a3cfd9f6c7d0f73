"""The hippocampi of real patients: what is committed, and that nothing but anatomy tells of it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from paths import ROOT
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from baselines.cohorts.committed_file import read_arrays
from baselines.cohorts.hippocampus import DATA, Hippocampus, write_hippocampus
from baselines.cohorts.hippocampus3d import Hippocampus3D
from baselines.cohorts.nifti import read_cohort, write_cohort
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.training.shortcuts import watch_shortcuts

FINGERPRINTS = {
    "hippocampus": "7ec7eeb7274712c336cb3ddd84b1576d8264df29e7249fe71b7055e8eddaf972",
    "hippocampus3d": "6cbfa2e4d628b5db86988672884d2c8aaa4a9a9362414fb4f153e828acf6ef42",
}
SOURCES: tuple[Callable[[], CohortSource], ...] = (Hippocampus, Hippocampus3D)


@pytest.fixture(scope="module", params=SOURCES, ids=list(FINGERPRINTS))
def cohort(request: pytest.FixtureRequest) -> Cohort:
    """Each of both cohorts."""
    loaded: Cohort = request.param().load()
    return loaded


def test_the_committed_cohorts_stay_as_they_are(cohort: Cohort) -> None:
    """If it fails, scores of one name were measured on other images."""
    assert cohort.fingerprint == FINGERPRINTS[cohort.name]
    assert DATA.stat().st_size < 5_000_000


def test_the_foreground_cannot_tell_the_groups_apart(cohort: Cohort) -> None:
    """If it fails, a network may read the size of the crop instead of the hippocampus."""
    foreground = cohort.anatomy.foreground.reshape(len(cohort), -1).astype(np.float64)
    features = np.column_stack([foreground, foreground.sum(1)])
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    margins = cross_val_predict(
        LogisticRegression(),
        features - features.mean(0),
        cohort.groups,
        groups=cohort.subjects,
        cv=folds,
    )
    assert roc_auc_score(cohort.groups, margins) == pytest.approx(0.5, abs=0.02)
    probes = {probe.name: probe for probe in watch_shortcuts(cohort).probes}
    assert not {"silhouette", "outside the foreground"} & set(probes)
    assert not probes["size of the crop"].suspicious
    # The percentiles at which intensities were cut depend on the crop, but do not show.
    brightness = cohort.images.reshape(len(cohort), -1).mean(1)
    assert roc_auc_score(cohort.groups, brightness) == pytest.approx(0.5, abs=0.05)


def test_volume_tells_the_groups_apart_and_regions_lie_where_they_should(cohort: Cohort) -> None:
    """If it fails, masks belong to other images, or anterior and posterior are exchanged."""
    anatomy, people = cohort.anatomy, cohort.covariates
    assert not anatomy.truth
    assert not anatomy.control_rois
    anterior, posterior = anatomy.rois["anterior"], anatomy.rois["posterior"]
    assert not (anterior & posterior).any()
    assert not ((anterior | posterior) & ~anatomy.foreground).any()
    volumes = people["anterior_volume"] + people["posterior_volume"]
    assert volumes[cohort.groups == 0].min() > volumes[cohort.groups == 1].max()
    heights = []
    for row in range(len(cohort)):
        centres = [
            nibabel.affines.apply_affine(cohort.geometry.affine, _index(mask[row, 0]).mean(0))
            for mask in (anterior, posterior)
        ]
        assert centres[0][1] > centres[1][1] + 10
        heights.append(centres[1][2] - centres[0][2])
    assert np.mean(heights) > 3  # the tail lies higher than the head
    if len(cohort.shape) == 3:
        for name, mask in anatomy.rois.items():
            voxels = mask.sum(axis=(1, 2, 3, 4))
            shares = voxels / people[f"{name}_volume"].to_numpy()
            assert shares.max() <= 1
            assert shares.mean() > 0.97


def _index(mask: np.ndarray) -> np.ndarray:
    """Return the indices of a mask's pixels as of a volume, [K, 3]."""
    indices = np.argwhere(mask)
    return np.pad(indices, ((0, 0), (0, 3 - indices.shape[1])))


def test_both_crops_of_a_person_stay_together(cohort: Cohort) -> None:
    """If it fails, a network is tested on the other hippocampus of a person it learned from."""
    people, crops = cohort.participants, read_arrays(DATA, cohort.name).participants["crop"]
    numbers = [(int(crop.rpartition("_")[2]) + 1) // 2 for crop in crops]
    assert [int(subject.removeprefix("sub-")) for subject in cohort.subjects] == numbers
    assert people.groupby("subject")["split"].nunique().max() == 1
    assert people.groupby("subject")["group"].nunique().max() == 1
    sizes = people.groupby(["split", "group"])["subject"].nunique().to_dict()
    assert sizes[("test", 0)] == sizes[("test", 1)] == 12


def test_axes_run_as_the_affines_say() -> None:
    """If it fails, left and right, or up and down, are exchanged in exports and figures."""
    volumes, slices = Hippocampus3D().load(), Hippocampus().load()
    assert nibabel.aff2axcodes(volumes.geometry.affine) == ("S", "A", "R")
    assert nibabel.aff2axcodes(slices.geometry.affine) == ("I", "A", "R")
    # The slice x = 0 of the volumes, with the same millimetres.
    for array, of_slices in (
        (volumes.images, slices.images),
        *((mask, slices.anatomy.rois[name]) for name, mask in volumes.anatomy.rois.items()),
    ):
        plane = round(np.linalg.solve(volumes.geometry.affine, [0, 0, 0, 1])[2])
        assert np.array_equal(array[:, :, ::-1, :, plane], of_slices)
    corner = nibabel.affines.apply_affine(slices.geometry.affine, [25, 0, 0])
    assert (
        corner.tolist()
        == nibabel.affines.apply_affine(volumes.geometry.affine, [0, 0, plane]).tolist()
    )


def test_an_export_reads_back_as_the_same_cohort(tmp_path: Path) -> None:
    """If it fails, nobody can look at the images in a viewer of their own."""
    few = Hippocampus().load().take(np.arange(8))
    assert read_cohort(write_cohort(few, tmp_path / "out")).fingerprint == few.fingerprint


def test_the_committed_file_follows_from_its_source(tmp_path: Path) -> None:
    """If it fails, the code does not do what the notice says was changed."""
    rng = np.random.default_rng(0)
    images = rng.integers(1, 255, (24, 32, 48, 40), dtype=np.uint8)
    labels = rng.integers(0, 3, images.shape, dtype=np.uint8)
    valid = np.ones(images.shape, dtype=np.bool_)
    valid[0, :, :, :10] = False  # of a scan that begins inside the box
    source, names = tmp_path / "source.npz", [f"hippocampus_{2 * row + 1:03d}" for row in range(24)]
    volumes = np.column_stack([np.arange(24), np.arange(24)])
    packed = np.packbits(valid)
    np.savez(source, images=images, labels=labels, valid=packed, ids=names, volumes_mm3=volumes)
    paths = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for path in paths:
        write_hippocampus(source, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    written = read_arrays(paths[0], "hippocampus")
    people = written.participants
    # 23 whole crops make thirds of 7; the smallest, which is not whole, is in none.
    assert people["crop"].tolist() == [*names[1:8], *names[17:]]
    assert people["group"].tolist() == [1] * 7 + [0] * 7
    assert np.array_equal(written.images[0, 0], images[1, 5:32, 3:43, 9:35].transpose(2, 1, 0))
    is_posterior = labels[1, 5:32, 3:43, 9:35].transpose(2, 1, 0) == 2
    assert np.array_equal(written.masks["posterior"][0, 0], is_posterior)


def test_the_licence_goes_wherever_the_images_go() -> None:
    """If it fails, the package hands on patients' images without their licence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    data = "cohorts/data/NOTICE.md"
    patterns = project["tool"]["setuptools"]["package-data"]["baselines"]
    assert ROOT / "baselines" / data in {
        path for pattern in patterns for path in (ROOT / "baselines").glob(pattern)
    }
    notices = {path for glob in project["project"]["license-files"] for path in ROOT.glob(glob)}
    assert ROOT / "baselines" / data in notices
    assert "CC-BY-SA-4.0" in project["project"]["license"]
    notice = (ROOT / "baselines" / data).read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    for text in (notice, readme):
        assert "Medical Segmentation Decathlon" in text
        assert "https://creativecommons.org/licenses/by-sa/4.0/" in text
