"""What a report is made of: cells of its table, numbers of its page, maps as files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from exhibits import build_explained_model
from nibabel.affines import apply_affine

from benchmark.cohort import Anatomy, Geometry
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_cohort
from benchmark.report import map_files
from benchmark.report.file_names import FileNames
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.table import plain_text
from benchmark.statistics.wording import format_number


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@sum", "\tx", "\rx", "-", "+1+cmd"])
def test_a_formula_becomes_text(text: str) -> None:
    """If it fails, opening the table runs what a method's name says."""
    assert plain_text(text) == f"'{text}"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
@pytest.mark.parametrize("before", ["", '"', "'", "''", '" ', " "])
def test_a_formula_behind_quotes_or_of_wide_signs_becomes_text(sign: str, before: str) -> None:
    """If it fails, a spreadsheet that drops the quotes runs what a submitter wrote."""
    text = f"{before}{sign}cmd|' /C calc'!A0"
    assert plain_text(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["-1.5", "+2", "-1e-05", "", "grad=cam", "gradcam", "Grad-CAM, a = b"]
)
def test_plain_text_and_plain_numbers_stay(text: str) -> None:
    """If it fails, names and negative numbers are mangled."""
    assert plain_text(text) == text


def write_all(folder: Path, explained: ExplainedModel, drawn: Sequence[int] = (0,)) -> list[str]:
    """Write images, regions, tables and maps of ``cam``; return the names of the files."""
    folder.mkdir()
    files = map_files.MapFiles(folder, FileNames().claim, explained, np.array(drawn))
    files.write_images()
    files.write_rows()
    files.write_maps("cam", explained.attributions["cam"])
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def place(explained: ExplainedModel, geometry: Geometry) -> ExplainedModel:
    """Return the same images elsewhere in the world."""
    return replace(explained, cohort=replace(explained.cohort, geometry=geometry))


# A coronal picture: rows run down from the head, columns to the patient's left.
CORONAL = np.array([[0, -2.0, 0, 40], [0, 0, 1.0, -21], [-3.0, 0, 0, 50], [0, 0, 0, 1]])
OBLIQUE = np.eye(4)
OBLIQUE[:3] = [[-1.9, 0.2, 0.1, 30], [0.2, 0.9, -0.3, -20], [0, 0.4, 2.9, 10]]


@pytest.mark.parametrize(("shape", "affine"), [(SHAPE_2D, CORONAL), (SHAPE_3D, OBLIQUE)])
def test_images_regions_and_maps_lie_upon_each_other(
    tmp_path: Path, shape: tuple[int, ...], affine: np.ndarray
) -> None:
    """If it fails, a viewer shows a map beside the image that it explains, or mirrored."""
    explained = build_explained_model(["cam"], build_cohort(shape))
    explained = place(explained, Geometry((1.0,) * len(shape), affine))
    names = write_all(tmp_path / "maps", explained)
    kinds = ("cam.nii.gz", "images.nii.gz", "regions.nii.gz")
    assert names == [*kinds, "regions.tsv", "volumes.tsv"]
    cohort = explained.cohort
    maps, images, regions = (nibabel.load(tmp_path / "maps" / kind) for kind in kinds)
    for image in (maps, images, regions):
        assert image.shape == (*(*shape, 1)[:3], len(cohort))
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        assert nibabel.aff2axcodes(image.affine) == nibabel.aff2axcodes(affine)
    row = 3
    map_, image, labels_of = (
        np.asarray(file.dataobj)[..., row] for file in (maps, images, regions)
    )
    np.testing.assert_array_equal(image.reshape(shape), cohort.images[row, 0])
    np.testing.assert_array_equal(map_.reshape(shape), explained.attributions["cam"][row, 0])
    # The centre of a region in the world, from the file alone and from the cohort's arrays.
    with (tmp_path / "maps" / "regions.tsv").open() as file:
        labels = {line["name"]: int(line["label"]) for line in csv.DictReader(file, delimiter="\t")}
    for name in ("left", "control of left"):
        mask = (cohort.anatomy.rois if name == "left" else cohort.anatomy.control_rois)["left"]
        expected = np.argwhere(mask[row, 0].reshape((*shape, 1)[:3])).mean(0)
        written = np.argwhere(labels_of == labels[name]).mean(0)
        np.testing.assert_allclose(
            apply_affine(regions.affine, written), apply_affine(affine, expected), atol=1e-4
        )


def test_images_that_lie_differently_have_a_folder_each(tmp_path: Path) -> None:
    """If it fails, every map but the first lies in another patient's place."""
    explained = build_explained_model(["cam"], build_cohort(SHAPE_3D))
    cohort = explained.cohort
    affines = np.stack([OBLIQUE] * len(cohort))
    affines[:, 0, 3] += np.arange(len(cohort))
    affines[::2, :, 0] *= -1
    explained = place(explained, Geometry((2.0, 1.0, 3.0), affines[0], affines=affines))
    names = write_all(tmp_path / "maps", explained)
    assert len(names) == 3 * len(cohort) + 2
    with (tmp_path / "maps" / "subjects" / "volumes.tsv").open() as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    assert [line["subject"] for line in table] == list(cohort.subjects)
    for row, line in enumerate(table):
        folder = tmp_path / "maps" / "subjects" / line["folder"]
        image, map_ = nibabel.load(folder / "image.nii.gz"), nibabel.load(folder / "cam.nii.gz")
        np.testing.assert_allclose(image.affine, affines[row], atol=1e-5)
        np.testing.assert_allclose(map_.affine, affines[row], atol=1e-5)
        np.testing.assert_array_equal(np.asarray(image.dataobj), cohort.images[row, 0])
        maps = explained.attributions["cam"][row, 0]
        np.testing.assert_array_equal(np.asarray(map_.dataobj), maps)


def test_files_of_subjects_stay_in_their_folder(tmp_path: Path) -> None:
    """If it fails, a subject's name writes outside of the report, or over another's files."""
    explained = build_explained_model(["cam"], build_cohort(SHAPE_2D))
    cohort = explained.cohort
    people = cohort.participants.copy()
    # Visits of one person have one name, and names of any two people look alike once made safe.
    names = [f"../{'ÄÖ'[group] * (row // 4 + 1)}/x" for row, group in enumerate(cohort.groups)]
    people["subject"] = names
    affines = np.stack([CORONAL] * len(cohort))
    geometry = Geometry((3.0, 2.0), CORONAL, affines=affines)
    cohort = replace(cohort, participants=people, geometry=geometry)
    write_all(tmp_path / "maps", replace(explained, cohort=cohort))
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]
    folders = [path for path in (tmp_path / "maps" / "subjects").iterdir() if path.is_dir()]
    assert len(folders) == len(cohort)
    assert all(path.name.isascii() for path in folders)


def test_files_of_unknown_sides_say_so(tmp_path: Path) -> None:
    """If it fails, a viewer writes L and R on an image that does not know them."""
    explained = build_explained_model(["cam"])
    geometry = Geometry((3.0, 2.0), np.diag([3.0, 2.0, 1.0, 1.0]), oriented=False)
    write_all(tmp_path / "maps", place(explained, geometry))
    header = nibabel.load(tmp_path / "maps" / "images.nii.gz").header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 0
    assert header.get_zooms()[:2] == (3.0, 2.0)


def test_overlapping_regions_are_all_in_the_labels() -> None:
    """If it fails, a region that shares voxels with another is smaller in its file."""
    generator = np.random.Generator(np.random.PCG64(0))
    masks = [generator.random((3, 1, 6, 5)) > 0.5 for _ in range(6)]
    anatomy = Anatomy(
        masks[0], {"a": masks[1], "b": masks[2], "c": masks[3]}, {"a": masks[4], "b": masks[5]}
    )
    labels, table = map_files.label_regions(anatomy)
    assert [label for label, _, _ in table] == list(range(len(table)))
    names = ("a", "b", "c", "control of a", "control of b")
    for name, mask in zip(names, masks[1:], strict=True):
        within = [label for label, words, _ in table if name in words.split(" and ")]
        np.testing.assert_array_equal(np.isin(labels, within), mask)
    inside = [label for label, _, is_inside in table if is_inside == "yes"]
    np.testing.assert_array_equal(np.isin(labels, inside), masks[0])


def test_of_a_large_cohort_only_the_shown_maps_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a report of volumes fills the disk."""
    explained = build_explained_model(["cam"])
    chosen = np.array([2, 5])
    assert len(map_files.rows_to_write(explained, chosen)) == len(explained.cohort)
    monkeypatch.setattr(map_files, "LARGEST_FILE", 1000)
    assert map_files.rows_to_write(explained, chosen).tolist() == [2, 5]


@pytest.mark.parametrize(
    ("value", "beside", "text"),
    [
        (0.12345, (), "0.123"),
        (-0.5, (), "−0.500"),
        (-0.0001, (0.2,), "0.000"),
        (0.0000123, (), "1.23e−05"),
        (12345.0, (), "1.23e+04"),
        (0.0, (), "0.000"),
        (None, (0.5,), "no value"),
        (float("nan"), (), "no value"),
    ],
)
def test_numbers_are_written_with_what_they_stand_beside(
    value: float | None, beside: tuple[float, ...], text: str
) -> None:
    """If it fails, a score reads as another, or as more precise than its interval."""
    assert format_number(value, *beside) == text
