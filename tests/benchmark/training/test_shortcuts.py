"""The shortcut watch: probes that cannot know the disease, and images that are there twice."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
import torch
from paths import ROOT

from benchmark.cohort import Anatomy, Cohort, Geometry, split_by_subject
from benchmark.errors import CohortError
from benchmark.maps.thumbnails import border_mask, box_lengths, scanned_area, thumbnails
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import SHAPE_3D, build_cohort
from benchmark.training.findings import ShortcutProbe
from benchmark.training.shortcuts import ShortcutFindings, refuse_equal_images, watch_shortcuts

REAL = ROOT / "tests" / "data" / "realdata"


@lru_cache(maxsize=1)
def phantom() -> Cohort:
    """Return the first 400 of the 600 subjects, which is quicker."""
    return Catalogue().cohorts.find("phantom").create().load().take(np.arange(400))


@lru_cache(maxsize=1)
def clean_findings() -> ShortcutFindings:
    return watch_shortcuts(phantom())


def _real(images: np.ndarray, groups: np.ndarray, foreground: np.ndarray) -> Cohort:
    subjects = [f"sub-{row:03d}" for row in range(len(images))]
    table = {"subject": subjects, "group": groups, "split": split_by_subject(subjects, groups)}
    dimensions = images.ndim - 2
    return Cohort(
        "real",
        images.astype(np.float32) / 255,
        pd.DataFrame(table),
        Anatomy(foreground),
        Geometry((1.0,) * dimensions, np.eye(4)),
    )


def _with_table(cohort: Cohort, **columns: object) -> Cohort:
    return replace(cohort, participants=cohort.participants.assign(**columns))


def _probes(findings: ShortcutFindings) -> dict[str, ShortcutProbe]:
    return {probe.name: probe for probe in findings.probes}


def test_the_clean_phantom_warns_of_its_covariates_alone() -> None:
    """If it fails, the watch cries wolf, or is blind to the age that differs by design."""
    probes = _probes(clean_findings())
    suspicious = [name for name, probe in probes.items() if probe.suspicious]
    assert suspicious == ["covariates"]
    assert {"outside the foreground", "silhouette", "border", "scanner alone"} <= set(probes)
    assert len(clean_findings().warnings) == 1
    assert clean_findings().warnings[0].startswith("possible leakage or shortcut: ")
    assert "age, scanner, sex, tiv" in clean_findings().warnings[0]


def test_a_dimmed_corner_is_caught_outside_the_foreground() -> None:
    """If it fails, a mark that a device leaves in the corner of the cases goes unnoticed."""
    cohort = phantom()
    images = np.array(cohort.images)
    images[cohort.groups == 1, :, :3, :3] = 0.12
    probes = _probes(watch_shortcuts(replace(cohort, images=images)))
    assert probes["outside the foreground"].auroc.estimate >= 0.85
    assert probes["outside the foreground"].suspicious
    assert probes["border"].suspicious
    assert not probes["silhouette"].suspicious


def test_the_whole_image_is_context_and_never_a_warning() -> None:
    """If it fails, a disease that can be seen is reported as a leak."""
    whole = _probes(clean_findings())["whole image"]
    assert whole.auroc.low > 0.6
    assert whole.context
    assert not whole.suspicious


def test_the_border_gives_the_chest_radiographs_away() -> None:
    """If it fails, a classifier that reads collimation and tubes passes as one of lungs."""
    with np.load(REAL / "cxr_small.npz") as arrays:
        images, groups = arrays["images"][:, None], (arrays["group"] == "pneumonia").astype(int)
    findings = watch_shortcuts(_real(images, groups, np.ones(images.shape, dtype=np.bool_)))
    probes = _probes(findings)
    assert probes["border"].auroc.estimate > 0.8
    assert probes["border"].suspicious
    # There is no mask: what needs one is left out with the reason, and makes no rows of NaN.
    assert "silhouette" not in probes
    assert "outside the foreground" not in probes
    reason = "'outside the foreground' is left out: the foreground covers every pixel"
    assert any(reason in sentence for sentence in findings.left_out)


def test_the_size_of_the_crop_gives_the_hippocampi_away() -> None:
    """If it fails, crops made around a lesion tell a network how large it is."""
    with np.load(REAL / "hippocampus_small.npz") as arrays:
        images, groups = arrays["images"][:, None], arrays["is_small"].astype(int)
        valid = np.unpackbits(arrays["valid"], count=images.size).reshape(images.shape) > 0
    probes = _probes(watch_shortcuts(_real(images, groups, valid)))
    assert probes["size of the crop"].auroc.estimate > 0.75
    assert probes["size of the crop"].suspicious
    assert probes["silhouette"].suspicious


def test_a_scanner_of_one_group_is_caught_however_it_is_written() -> None:
    """If it fails, cases from another hospital are told apart by the hospital."""
    cohort = build_cohort(subjects=96)
    generator = np.random.default_rng(0)
    site = np.where(generator.random(96) < 0.9, cohort.groups, 1 - cohort.groups)
    # In the middle of the numbers, so that only a column for each site can tell.
    numbers = np.where(site == 1, 2, generator.choice([1, 3], 96))
    named = _with_table(cohort, Scanner=np.where(site == 1, "B", "A"), age=50.0)
    numbered = _with_table(cohort, site_id=numbers)
    assert _probes(watch_shortcuts(named))["Scanner alone"].suspicious
    assert _probes(watch_shortcuts(numbered))["site_id alone"].suspicious


def test_volumes_of_regions_and_of_their_parts_are_no_shortcut() -> None:
    """If it fails, whoever brings volumes, as they are told to, is warned of a leak."""
    cohort = build_cohort(subjects=96)
    name = next(iter(cohort.anatomy.rois))
    whole = cohort.anatomy.rois[name]
    parted = replace(cohort, anatomy=replace(
        cohort.anatomy, subfields={"CA1": whole}, parents={"CA1": name}
    ))  # fmt: skip
    volumes = dict.fromkeys((f"{name}_volume", "CA1_volume"), 3000.0 - 500 * cohort.groups)
    found = watch_shortcuts(_with_table(parted, age=np.arange(96), **volumes))
    (probe,) = (one for one in found.probes if one.name == "covariates")
    assert "volume" not in probe.sees


def test_covariates_may_be_missing_or_as_good_as_a_name() -> None:
    """If it fails, an empty cell stops a validation, or an accession number poses as a leak."""
    cohort = build_cohort(subjects=96)
    # Known for the cases alone: what is missing tells the groups apart.
    score = np.where(cohort.groups == 1, 1.0, np.nan)
    findings = watch_shortcuts(
        _with_table(
            cohort,
            accession=[f"acc{row}" for row in range(96)],
            score=score,
            nothing=np.nan,
            sex=[None, "F"] * 48,
        )
    )
    assert _probes(findings)["covariates"].suspicious
    assert any("'accession' is left out" in sentence for sentence in findings.left_out)


def test_any_column_that_a_table_can_hold_is_read() -> None:
    """If it fails, a date or a yes/no column stops a validation with a traceback."""
    cohort = build_cohort(subjects=48)
    table = cohort.participants.assign(
        treated=pd.array([True, None] * 24, dtype="boolean"),
        smoker=[True, False] * 24,
        stage=pd.Categorical(["I", "II", None] * 16),
        score=pd.array([1, 2, None] * 16, dtype="Int64"),
        scanned=pd.to_datetime(["2020-01-01", None] * 24),
        mixed=[1, "one", None] * 16,
        weight=[np.inf, 70.0, 80.0] * 16,
    )
    table = table.rename(columns={"mixed": 7})
    probes = _probes(watch_shortcuts(replace(cohort, participants=table)))
    assert "scanned, score, sex, smoker, stage, treated, weight" in probes["covariates"].sees
    # Both follow the groups, which alternate too.
    assert probes["covariates"].suspicious


def test_a_cohort_without_covariates_says_so() -> None:
    """If it fails, nobody learns that no confounder was looked for."""
    cohort = build_cohort(subjects=48)
    bare = replace(cohort, participants=cohort.participants[["subject", "group", "split"]])
    findings = watch_shortcuts(bare)
    assert "covariates" not in _probes(findings)
    assert any("'covariates' is left out" in sentence for sentence in findings.left_out)


def test_the_order_of_rows_does_not_show() -> None:
    """If it fails, the same cohort has two validations."""
    cohort = build_cohort(subjects=48)
    order = np.random.default_rng(0).permutation(48)
    assert watch_shortcuts(cohort.take(order)) == watch_shortcuts(cohort)


def test_volumes_are_watched_too() -> None:
    """If it fails, three-dimensional cohorts go unwatched."""
    probes = _probes(watch_shortcuts(build_cohort(SHAPE_3D, subjects=48)))
    assert "whole image" in probes
    assert all(probe.auroc.estimate is not None for probe in probes.values())


def test_a_group_of_one_subject_is_refused_in_words() -> None:
    """If it fails, scikit-learn's traceback is all that a user sees."""
    cohort = build_cohort(subjects=24)
    rows = np.append(np.flatnonzero(cohort.groups == 0), np.flatnonzero(cohort.groups)[0])
    with pytest.raises(CohortError, match="two subjects of each group"):
        watch_shortcuts(cohort.take(rows))


@pytest.mark.parametrize("shape", [(24, 24), SHAPE_3D])
@pytest.mark.parametrize("noise", [0.0, 0.002])
def test_an_image_of_two_subjects_is_refused(shape: tuple[int, ...], noise: float) -> None:
    """If it fails, a copy in the test split is learned by heart and scored as a success."""
    cohort = build_cohort(shape, subjects=24)
    refuse_equal_images(cohort)
    images = np.array(cohort.images)
    change = np.random.default_rng(0).normal(scale=noise, size=images[0].shape)
    images[7] = np.clip(images[4] + change, 0, 1)
    how = "nearly equal" if noise else r"equal \(SHA-256\)"
    first, second = cohort.subjects[4], cohort.subjects[7]
    with pytest.raises(CohortError, match=f"{first}.*{second}.*are {how}"):
        refuse_equal_images(replace(cohort, images=images))


def test_visits_of_one_subject_may_be_alike() -> None:
    """If it fails, a second scan of a stable patient stops a validation."""
    cohort = build_cohort(subjects=24, visits=2)
    images = np.array(cohort.images)
    rows = [row for row, name in enumerate(cohort.subjects) if name == cohort.subjects[0]]
    images[rows[1]] = np.clip(images[rows[0]] * 0.999, 0, 1)
    refuse_equal_images(replace(cohort, images=images))


def test_a_subject_in_two_splits_is_refused() -> None:
    """If it fails, a second visit in the test split leaks what the first one taught."""
    cohort = build_cohort(subjects=24, visits=2)
    splits = cohort.participants["split"].tolist()
    splits[0] = "train" if splits[0] == "test" else "test"
    with pytest.raises(CohortError, match="in more than one split"):
        _with_table(cohort, split=splits)


def test_images_of_equal_brightness_are_not_copies() -> None:
    """If it fails, flat thumbnails, whose correlation does not exist, count as equal."""
    cohort = build_cohort((32, 32), subjects=24)
    # Single pixels alternate, by an amount of each subject; the mean of a cell is always the same.
    board = (np.indices(cohort.shape).sum(0) % 2 * 2 - 1).astype(np.float32)
    amounts = np.linspace(0.1, 0.4, 24, dtype=np.float32)[:, None, None, None]
    refuse_equal_images(replace(cohort, images=0.5 + amounts * board[None, None]))


def test_registered_images_of_one_template_are_not_copies() -> None:
    """If it fails, a cohort in a common space is refused for its common anatomy."""
    cohort = build_cohort(subjects=24)
    generator = np.random.default_rng(0)
    template = np.where(cohort.anatomy.foreground, 0.7, 0.1) - 0.5 * cohort.anatomy.rois["left"]
    noise = generator.normal(scale=0.005, size=cohort.images.shape)
    images = (template + 0.1 * cohort.groups[:, None, None, None] + noise).astype(np.float32)
    refuse_equal_images(replace(cohort, images=images))
    for copy in (3, 4):  # of the same group and of the other
        copied = np.array(images)
        copied[copy] = copied[5] + 0.0005
        with pytest.raises(CohortError, match="nearly equal"):
            refuse_equal_images(replace(cohort, images=copied))


def test_sizes_are_those_of_the_masks() -> None:
    """If it fails, the size of a crop is not what is measured."""
    mask = torch.zeros(2, 1, 10, 12, dtype=torch.bool)
    mask[0, 0, 2:5, 3:4] = mask[0, 0, 7, 11] = True
    np.testing.assert_array_equal(box_lengths(mask), [[6, 9], [0, 0]])
    assert int(border_mask((32, 48)).sum()) == 32 * 48 - 28 * 42
    image = np.ones((6, 6), dtype=np.float32)
    image[:2] = image[3, 3] = 0  # padding above, and a dark spot inside
    np.testing.assert_array_equal(scanned_area(image), np.arange(6)[:, None] >= [2] * 6)
    small = thumbnails(torch.arange(16.0).view(1, 1, 4, 4), 2)
    np.testing.assert_array_equal(small, [[2.5, 4.5, 10.5, 12.5]])
