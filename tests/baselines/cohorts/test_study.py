"""`phantom_study` has visits, scanners and subfields of known loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from baselines.cohorts.generator import ELLIPSOID_VOLUME, SECTORS, SIDES
from baselines.cohorts.study import DESIGN, PhantomStudy, cohort, design
from baselines.cohorts.study.cohort import SUBFIELDS, render_visit
from baselines.cohorts.study.design import LOSSES, SCANNERS, StudyDesign, draw_participants
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.plugins.catalogue import Catalogue

FINGERPRINT = "1d35bf89ef7abc09e8cd56d9cfff138676ab7b9cb12bf6cb037ee712188952a7"


@pytest.fixture(scope="module")
def committed() -> Cohort:
    return PhantomStudy().load()


@pytest.fixture(scope="module")
def test_split(committed: Cohort) -> Cohort:
    return committed.select("test")


def means(images: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of each image inside its mask."""
    return np.asarray((images * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)))


def test_the_fingerprint_is_the_same_on_every_machine(committed: Cohort) -> None:
    """If it fails, no score on the study can be compared with another machine's."""
    assert committed.fingerprint == FINGERPRINT


def test_the_committed_study_is_the_one_that_the_code_makes(committed: Cohort) -> None:
    """If it fails, nobody can say how its images, partners and normals came about."""
    assert committed.partners is not None
    assert committed.normals is not None
    _, participants = draw_participants(DESIGN)
    for row in (0, 101, 298):
        visit = render_visit(DESIGN, participants[row // 2], row % 2 + 1)
        stored = (committed.images, committed.partners, committed.normals)
        for images, image in zip(stored, visit.images.values(), strict=True):
            # Another processor may round a voxel of a rim to the other side of it.
            assert (np.abs(np.rint(images[row, 0] * 255) - image) > 1).sum() <= 1
        anatomy = committed.anatomy
        masks = {"foreground": anatomy.foreground, **anatomy.rois, **anatomy.subfields}
        assert sum((mask[row, 0] != visit.masks[name]).sum() for name, mask in masks.items()) <= 2
        for name, sizes in visit.person.sectors.items():
            for sector, size in zip(SECTORS, sizes, strict=True):
                volume = committed.covariates[f"{name}_{sector}_volume"].iloc[row]
                assert volume == pytest.approx(size * ELLIPSOID_VOLUME / 4, abs=0.11)


def test_each_subject_has_two_visits_in_one_split_on_one_scanner(committed: Cohort) -> None:
    """If it fails, the study is no test of repeated visits, or a subject leaks into training."""
    people = committed.participants
    subjects = people.groupby("subject")
    assert len(subjects) == 150
    assert (subjects["years"].apply(list).map(tuple) == (0, 2)).all()
    assert (subjects[["split", "scanner", "sex", "tiv", "group"]].nunique() == 1).all(axis=None)
    assert subjects["age"].agg(np.ptp).to_numpy() == pytest.approx(2.0)
    of_subjects = people[people["years"] == 0].groupby(["split", "group"]).size().to_dict()
    assert of_subjects == {("train", 0): 25, ("train", 1): 25, ("test", 0): 50, ("test", 1): 50}


def test_volumes_fall_as_fast_as_the_study_says(committed: Cohort) -> None:
    """If it fails, the decline that a longitudinal model should find is another."""
    people = committed.participants
    first, second = (people[people["years"] == years].reset_index(drop=True) for years in (0, 2))
    for name in SIDES:
        kept = second[f"{name}_volume"] / first[f"{name}_volume"]
        lost = (1 - kept).groupby(first["group"]).mean() / 2
        assert lost[0] == pytest.approx(0.015, abs=0.001)
        assert lost[1] == pytest.approx(0.04, abs=0.002)
        spared = second[f"{name}_medial_lower_volume"] / first[f"{name}_medial_lower_volume"]
        assert spared.to_numpy() == pytest.approx(0.97, abs=0.002)
        parts = sum(people[f"{name}_{sector}_volume"] for sector in SECTORS)
        np.testing.assert_allclose(parts, people[f"{name}_volume"], atol=0.4)


def test_group_b_lacks_what_each_sector_is_said_to_lose(committed: Cohort) -> None:
    """If it fails, the order that subfields are ranked by is not the truth."""
    first = committed.participants[committed.participants["years"] == 0]
    for name in SIDES:
        for sector, loss in zip(SECTORS, LOSSES, strict=True):
            volumes = first[f"{name}_{sector}_volume"] * 4 / ELLIPSOID_VOLUME
            lacking = volumes.groupby(first["group"]).mean().diff().iloc[-1]
            # Group B is also 3.5 years older, and 150 subjects vary.
            assert lacking == pytest.approx(-loss, abs=0.07)


def test_sectors_are_quarters_of_their_region(committed: Cohort) -> None:
    """If it fails, a subfield's mean is taken over tissue of another."""
    anatomy = committed.anatomy
    assert anatomy.parents == SUBFIELDS
    for name in SIDES:
        parts = np.stack([anatomy.subfields[f"{name}_{sector}"] for sector in SECTORS])
        assert np.array_equal(parts.sum(0), anatomy.rois[name].astype(int))
        shares = parts.sum((1, 2, 3, 4)) / parts.sum()
        np.testing.assert_allclose(shares, 0.25, atol=0.01)
        columns = np.arange(96)[None, None, None, :]
        lateral, medial = parts[:2].any(0), parts[2:].any(0)
        across = (lateral * columns).sum() / lateral.sum() - (medial * columns).sum() / medial.sum()
        assert np.sign(across) == SIDES[name]


def test_change_falls_from_sector_to_sector_to_zero(test_split: Cohort) -> None:
    """If it fails, the oracle of subfields has no order and no zero to show."""
    change, deviation = test_split.change, test_split.deviation
    assert change is not None
    assert deviation is not None
    wanted = (0.139, 0.067, 0.029, 0.002)
    for name in SIDES:
        masks = [test_split.anatomy.subfields[f"{name}_{sector}"] for sector in SECTORS]
        measured = [float(means(change, mask).mean()) for mask in masks]
        assert measured == pytest.approx(wanted, abs=0.004)
        gaps = []
        for mask in masks:
            own = pd.Series(means(deviation, mask)).groupby(test_split.groups).mean()
            gaps.append(own[0] - own[1])
        assert spearmanr(gaps, LOSSES).statistic == 1
        assert abs(gaps[-1]) < 0.01


def test_normals_differ_from_images_by_volume_alone(test_split: Cohort) -> None:
    """If it fails, a visit's noise counts as deviation from normal."""
    deviation, regions = test_split.deviation, test_split.regions
    assert deviation is not None
    assert regions is not None
    # Atrophy reaches no farther than 16 rows from the hippocampi; the rest is the same to the bit.
    rows = np.flatnonzero(regions.any((0, 1, 3)))
    assert not deviation[:, :, : rows[0] - 16].any()


def test_scanners_differ_and_are_even_within_groups(committed: Cohort) -> None:
    """If it fails, the scanner is a shortcut, or there is no scanner effect to adjust for."""
    people = committed.participants
    counts = people.groupby(["split", "group", "scanner"]).size().unstack()
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 2
    rest = committed.anatomy.foreground & ~committed.regions
    brightness = pd.Series(means(committed.images, rest)).groupby(people["scanner"]).mean()
    assert list(brightness.index) == list(SCANNERS)
    assert np.ptp(brightness.to_numpy()) > 0.03


@pytest.mark.parametrize(("wanted", "tolerance"), [(0.0, 0.03), (0.4, 0.05)])
def test_a_design_correlates_scanner_and_group(wanted: float, tolerance: float) -> None:
    """If it fails, no test can show what a confounded scanner does."""
    people, participants = draw_participants(StudyDesign(3, scanner_correlation=wanted))
    late = [one.person.scanner in ("scanner3", "scanner4") for one in participants]
    measured = np.corrcoef(people["group"], late)[0, 1]
    assert measured == pytest.approx(wanted, abs=tolerance)
    with pytest.raises(CohortError, match=r"must lie in \[0, 1\], but got 1.5"):
        StudyDesign(3, scanner_correlation=1.5)


def test_the_network_of_phantom_tells_the_groups_apart(test_split: Cohort) -> None:
    """If it fails, the study cannot be scored with the network that it names."""
    assert PhantomStudy.model is not None
    classifier = Catalogue().models.find(PhantomStudy.model).create().load(test_split.shape)
    with torch.no_grad():
        logits = classifier(torch.from_numpy(test_split.images))[0].diff(dim=1)[:, 0].numpy()
    of_subjects = pd.Series(logits).groupby(np.array(test_split.subjects)).mean()
    groups = pd.Series(test_split.groups).groupby(np.array(test_split.subjects)).first()
    assert roc_auc_score(groups, of_subjects) > 0.9


def test_writing_twice_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a study that was made anew looks changed where nothing did."""
    monkeypatch.setattr(design, "_COUNTS", {"train": 2, "test": 2})
    paths = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for path in paths:
        cohort.write_study(path, DESIGN)
    assert paths[0].read_bytes() == paths[1].read_bytes()
