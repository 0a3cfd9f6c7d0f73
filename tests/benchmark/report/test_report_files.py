"""What a report is made of: cells of its table, numbers of its page, maps as files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from exhibits import build_explained_model

from benchmark.plugins.examples import SHAPE_3D, build_cohort
from benchmark.report import map_files, webpage
from benchmark.results.table import plain_text


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


def test_volumes_of_a_volume_come_back_where_they_lay(tmp_path: Path) -> None:
    """If it fails, the axes of three-dimensional maps are swapped."""
    explained = build_explained_model(["cam"], build_cohort(SHAPE_3D))
    path, maps = tmp_path / "cam.nii.gz", explained.attributions["cam"]
    map_files.write_maps(path, maps, explained.cohort.geometry.affine, "cam")
    image = nibabel.load(path)
    assert image.shape == (*SHAPE_3D, len(explained.cohort))
    np.testing.assert_array_equal(np.moveaxis(np.asarray(image.dataobj), 3, 0), maps[:, 0])


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
    assert webpage.format_number(value, *beside) == text
