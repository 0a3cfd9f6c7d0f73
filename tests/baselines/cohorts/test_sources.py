"""`sources`: three structures vary independently, and each labels the images in its own way."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from baselines.cohorts.sources import DATA, DESIGN, Sources
from baselines.cohorts.sources.cohort import draw_sizes, labels_of, make_subject
from baselines.cohorts.sources.maker import EXAMPLE, make_source_cohort, source_faults
from baselines.cohorts.sources.walls import FluidWall
from benchmark.arrays import BoolArray
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.cohort_checks import load_cohort

FINGERPRINT = "ba38263b3412dddd08124a8e7103e7829602e3217b7a0442be2eadb9b28081be"


@pytest.fixture(scope="module")
def committed() -> Cohort:
    return Sources().load()


def test_the_fingerprint_is_the_same_on_every_machine(committed: Cohort) -> None:
    """If it fails, no score of `known_source` can be compared with another machine's."""
    assert committed.fingerprint == FINGERPRINT
    # 12 MB are what all cohorts of suite v2 may take together; phantom2 takes 4.4 of them.
    assert DATA.stat().st_size < 4e6


def test_the_committed_cohort_is_the_one_that_the_code_makes(committed: Cohort) -> None:
    """If it fails, nobody can say how the pixels that everybody is scored on came about."""
    poses = committed.geometry.poses
    assert poses is not None
    sizes = draw_sizes(DESIGN)
    names = ["hippocampus_left_volume", "hippocampus_right_volume", "third_ventricle_displacement"]
    assert list(sizes.columns) == names
    # A volume is a product of floats, so its last decimal may tip; a displacement is drawn.
    np.testing.assert_allclose(committed.covariates[names], sizes, atol=0.11)
    assert committed.covariates[names[2]].tolist() == sizes[names[2]].tolist()
    wrong_voxels = 0
    for row in range(0, len(committed), 60):
        own = {str(name): float(size) for name, size in sizes.iloc[row].items()}
        changed = {
            source: {**own, column: 2 * float(sizes[column].median()) - own[column]}
            for source, column in zip(committed.sources, names, strict=True)
        }
        subject = make_subject(DESIGN, row + 1, own, changed)
        images = {"": committed.images}
        for name, source in committed.sources.items():
            assert source.partners is not None
            images[name] = source.partners
        for name, image in {"": subject.image, **subject.partners}.items():
            assert np.abs(np.rint(images[name][row, 0] * 255) - image).max() <= 1
        np.testing.assert_allclose(poses[row], subject.pose, atol=1e-9)
        for name, region in committed.anatomy.rois.items():
            wrong_voxels += int((region[row, 0] != subject.masks[name]).sum())
    assert wrong_voxels <= 5


def test_splits_and_labels_are_what_they_claim(committed: Cohort) -> None:
    """If it fails, a network learns another task than the one that its map is scored on."""
    assert committed.participants["split"].value_counts().to_dict() == {"train": 320, "test": 100}
    for name, roi in DESIGN.rois.items():
        labels = committed.sources[name].labels
        size = committed.covariates.filter(regex=f"^{roi}_").squeeze()
        assert labels.sum() == len(committed) / 2
        assert size[labels == 1].max() < size[labels == 0].min()
        in_test = committed.participants["split"] == "test"
        assert 40 <= labels[in_test].sum() <= 60
    assert np.array_equal(committed.groups, committed.sources["left"].labels)


def test_sizes_are_independent(committed: Cohort) -> None:
    """If it fails, a network that was trained on one source can follow another."""
    sizes = committed.covariates[draw_sizes(DESIGN).columns].to_numpy()
    assert np.abs(np.corrcoef(sizes.T)[np.triu_indices(3, 1)]).max() < 0.12
    for first, second in combinations(committed.sources.values(), 2):
        assert abs(np.corrcoef(first.labels, second.labels)[0, 1]) < 0.12


def test_no_mask_tells_a_label_and_each_region_holds_its_own_change(committed: Cohort) -> None:
    """If it fails, a map of one source's network is right to mark another source."""
    assert list(source_faults(committed)) == []
    regions = committed.anatomy.rois
    left, right = committed.sources["left"], committed.sources["right"]
    swapped = replace(
        committed,
        sources={"left": replace(left, rois=right.rois), "right": replace(right, rois=left.rois)},
    )
    shares = [fault for fault in source_faults(swapped) if "holds 0% of its change" in fault]
    assert len(shares) == 2
    leaking = {**regions, "hippocampus_left": regions["hippocampus_left"] & _small(committed)}
    leaking_cohort = replace(committed, anatomy=replace(committed.anatomy, rois=leaking))
    assert any(
        "area of the region of 'left' tells 'left'" in f for f in source_faults(leaking_cohort)
    )


def _small(cohort: Cohort) -> BoolArray:
    """Return a mask that takes the upper half from the images of a small left hippocampus."""
    mask = np.ones(cohort.images.shape, dtype=np.bool_)
    mask[cohort.groups == 1, :, :62] = False
    return mask


def test_a_partner_carries_the_size_that_labels_the_other_half(committed: Cohort) -> None:
    """If it fails, partners do not exchange a source: a small one gets no larger."""
    for name, roi in DESIGN.rois.items():
        source = committed.sources[name]
        assert source.partners is not None
        region = committed.anatomy.rois[roi]
        darker = ((source.partners - committed.images) * region).sum((1, 2, 3)) < 0
        # Where a hippocampus is smaller there is more fluid; where a ventricle is, there is less.
        smaller = source.labels == (1 if name == "ventricle" else 0)
        assert (darker == smaller).mean() > 0.9


def test_labels_split_at_the_median() -> None:
    """If it fails, one label is rarer than the other, and accuracy means something else."""
    sizes = draw_sizes(DESIGN)["third_ventricle_displacement"]
    assert labels_of(sizes).mean() == 0.5


def test_labelled_by_a_source_it_is_a_cohort_of_that_source(committed: Cohort) -> None:
    """If it fails, a network is tuned to one source and explained against another's truth."""
    cohort = committed.labelled_by("ventricle")
    assert cohort.anatomy.truth == ("third_ventricle",)
    assert np.array_equal(cohort.groups, committed.sources["ventricle"].labels)
    assert cohort.partners is committed.sources["ventricle"].partners


def test_a_wall_moves_by_what_it_is_told() -> None:
    """If it fails, millimetres in the table are not those of the image."""
    # A stretch of the third ventricle's wall, 2 mm from the mid-line at z = 0.
    x = np.linspace(-10, 10, 401)
    points = np.stack([x, np.full_like(x, -21.0), np.zeros_like(x)], axis=-1)
    wall = DESIGN.walls["ventricle"]
    assert not wall.displacement(points, 0.0).any()
    widths = {}
    for amount in (-1.0, 0.0, 1.0):
        sampled = points + wall.displacement(points, amount)
        inside = wall.region(sampled)
        widths[amount] = np.ptp(x[inside])
    assert widths[1.0] - widths[0.0] == pytest.approx(2, abs=0.4)
    assert widths[0.0] - widths[-1.0] == pytest.approx(2, abs=0.4)
    far = points[np.abs(x) > 9.9]
    assert np.abs(wall.displacement(far, 2.2)).max() < 0.2


def test_a_wall_without_fluid_is_refused() -> None:
    """If it fails, a structure that does not exist varies by nothing, and labels at random."""
    wall = FluidWall("thalamus", (12.0, -21.0, 8.0), (4.0, -28.0, 0.0), (20.0, -12.0, 16.0))
    with pytest.raises(CohortError, match=r"'thalamus' names the point .* is not darker than 0.5"):
        wall.region(np.zeros((1, 3)))


def test_a_cohort_of_other_structures_is_made_and_found(tmp_path: Path) -> None:
    """If it fails, maintainers cannot run submissions on a source that nobody knows."""
    design = replace(EXAMPLE, name="hidden", seed=3, train=60, test=20)
    spec = make_source_cohort(design, tmp_path / "hidden")
    cohort = load_cohort(Catalogue().cohorts.find(spec))
    assert cohort.name == "hidden"
    assert list(cohort.sources) == ["lateral_left", "lateral_right"]
    assert set(cohort.anatomy.rois) == {"lateral_ventricle_left", "lateral_ventricle_right"}
    assert len(cohort.select("test")) == 20
    # Hippocampi vary as well, but label nothing.
    assert "hippocampus_left_volume" in cohort.covariates


def test_sources_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    """If it fails, submissions are run for hours on a cohort that tells nothing."""
    single = replace(EXAMPLE, walls={"left": EXAMPLE.walls["lateral_left"]})
    with pytest.raises(CohortError, match="needs at least two sources, but has left"):
        make_source_cohort(single, tmp_path)
    few = replace(EXAMPLE, train=4, test=2)
    with pytest.raises(CohortError, match=r"correlate at -?0\.\d+; choose another seed"):
        make_source_cohort(few, tmp_path)
    assert list(tmp_path.iterdir()) == []
