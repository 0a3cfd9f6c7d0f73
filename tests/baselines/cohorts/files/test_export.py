"""An exported cohort reads back as it was, or is refused in one clear sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from baselines.cohorts import nifti
from baselines.cohorts.files.export import write_cohort
from baselines.cohorts.files.reader import read_cohort
from baselines.cohorts.phantom import Phantom
from baselines.cohorts.study import PhantomStudy
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.plugins.examples import build_cohort


def _load(path: Path) -> nibabel.Nifti1Image:
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    return image


def test_the_phantom_survives_export_bit_by_bit(tmp_path: Path) -> None:
    """If it fails, an exported cohort is another one, whose scores do not compare."""
    cohort = Phantom().load().take(np.arange(0, 600, 60))
    back = read_cohort(write_cohort(cohort, tmp_path / "new" / "phantom"))
    assert back.fingerprint == cohort.fingerprint
    assert np.array_equal(back.images, cohort.images)
    assert back.covariates.equals(cohort.covariates)
    assert back.name == cohort.name
    # Bytes, not floats: what a scanner writes, and a quarter of the room.
    image = _load(tmp_path / "new/phantom/sub-0001/anat/sub-0001_T1w.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")


def test_an_exported_slice_lies_at_its_millimetre(tmp_path: Path) -> None:
    """If it fails, a slice that is asked for by its millimetre is another slice."""
    cohort = Phantom().load().take(np.arange(4))
    path = write_cohort(cohort, tmp_path / "phantom")
    text = path.read_text(encoding="utf-8")
    assert "index = 0" in text
    path.write_text(text.replace("index = 0", "mm = -21.0"), encoding="utf-8")
    assert read_cohort(path).fingerprint == cohort.fingerprint


def test_the_documented_names_read_and_write(tmp_path: Path) -> None:
    """If it fails, scripts that read a cohort as it was documented end in an ImportError."""
    cohort = build_cohort(subjects=6)
    source = nifti.NiftiSource(nifti.write_cohort(cohort, tmp_path / "out"))
    assert source.load().fingerprint == cohort.fingerprint


@pytest.mark.parametrize("shape", [(16, 18), (8, 9, 10)])
def test_images_without_sides_survive_export(shape: tuple[int, ...], tmp_path: Path) -> None:
    """If it fails, scores of a cohort and of its own export cannot be compared."""
    cohort = build_cohort(shape, subjects=6)
    geometry = replace(cohort.geometry, affine=np.diag([-1.0, -1, 1, 1]), oriented=False)
    cohort = replace(cohort, geometry=geometry)
    back = read_cohort(write_cohort(cohort, tmp_path / "out"))
    assert back.fingerprint == cohort.fingerprint
    assert not back.geometry.oriented


def test_repeated_images_and_floats_survive_export(tmp_path: Path) -> None:
    """If it fails, visits are lost in an export, or images without grey levels are rounded."""
    affine = np.array([[0, 0, 2.0, -9], [0, 2, 0, -21], [2, 0, 0, -12], [0, 0, 0, 1]])
    cohort = build_cohort(shape=(8, 9, 10), subjects=6, visits=2)
    geometry = replace(cohort.geometry, spacing=(2.0, 2.0, 2.0), affine=affine)
    cohort = replace(cohort, geometry=geometry)
    path = write_cohort(cohort, tmp_path / "out")
    assert (path.parent / "sub-s000/ses-02/anat/sub-s000_ses-02_T1w.nii.gz").is_file()
    assert read_cohort(path).fingerprint == cohort.fingerprint


def test_subfields_visits_and_signs_survive_export(tmp_path: Path) -> None:
    """If it fails, a study's export is scored as one without subfields, or under another name."""
    cohort = PhantomStudy().load().take(np.arange(4))
    anatomy = replace(cohort.anatomy, volume_signs={"hippocampus_left": -1})
    # Files have no place for partners; normals are no part of the fingerprint.
    cohort = replace(cohort, anatomy=anatomy, partners=None)
    back = read_cohort(write_cohort(cohort, tmp_path / "out"))
    assert back.fingerprint == cohort.fingerprint
    assert back.anatomy.parents == cohort.anatomy.parents
    assert back.anatomy.volume_signs == {"hippocampus_left": -1}
    assert list(back.anatomy.rois) == list(cohort.anatomy.rois)
    assert back.subjects == cohort.subjects
    unsigned = replace(cohort, anatomy=replace(anatomy, volume_signs={"hippocampus_left": 1}))
    assert unsigned.fingerprint != cohort.fingerprint
    plain = replace(cohort, anatomy=replace(anatomy, volume_signs={}))
    assert unsigned.fingerprint == plain.fingerprint


def test_covariates_of_every_kind_survive_export(tmp_path: Path) -> None:
    """If it fails, a code becomes a number, or a number loses digits."""
    cohort = Phantom().load().take(np.arange(4))
    people = cohort.participants.assign(
        code=["007", "01", "x", "y"],
        count=[1, 2, 3, -4],
        third=[1 / 3, np.nan, 1e-9, 2.0],
        smoker=[True, False, True, True],
    )
    cohort = replace(cohort, participants=people)
    back = read_cohort(write_cohort(cohort, tmp_path / "out"))
    assert back.fingerprint == cohort.fingerprint
    assert back.covariates["third"].tolist()[0] == 1 / 3


def test_export_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    """If it fails, an export mixes with files that somebody keeps there."""
    cohort = Phantom().load().take(np.arange(2))
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(CohortError, match="exists and is not empty"):
        write_cohort(cohort, tmp_path)
    with pytest.raises(CohortError, match="exists and is not empty"):
        write_cohort(cohort, tmp_path / "note.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    (tmp_path / "empty").mkdir()
    assert write_cohort(cohort, tmp_path / "empty").is_file()


UNWRITABLE: dict[str, tuple[dict[str, Any], str]] = {
    "text like a number": ({"site": ["1", "2"]}, "site of cohort 'phantom' would read back"),
    "tab": ({"note": ["a\tb", "c"]}, "'note' holds .* a tab or line break"),
    "reserved": ({"session": [1, 2]}, "covariate 'session' .* rename it"),
    "path": ({"subject": ["../a", "b"]}, "Subject '../a' .* cannot name a file"),
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_what_a_table_cannot_hold_is_refused_and_nothing_stays(case: str, tmp_path: Path) -> None:
    """If it fails, an export reads back as another cohort, and nobody is told."""
    columns, message = UNWRITABLE[case]
    cohort: Cohort = Phantom().load().take(np.arange(2))
    cohort = replace(cohort, participants=cohort.participants.assign(**columns))
    with pytest.raises(CohortError, match=message):
        write_cohort(cohort, tmp_path / "out")
    assert not list(tmp_path.iterdir())
