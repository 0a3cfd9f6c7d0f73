"""Images lie where their headers say, whichever way they are stored, and come back as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from baselines.cohorts.files.export import write_cohort
from baselines.cohorts.files.reader import read_cohort, read_with_findings
from benchmark.cohort import Cohort, Geometry
from benchmark.errors import CohortError
from benchmark.plugins.examples import build_cohort

SHAPE = (12, 14, 10)
SIZES = (1.5, 2.0, 2.5)
TOML = """\
name = "study"
groups = ["CN", "AD"]
registered = {registered}
image = "{{participant_id}}.nii.gz"
intensity = {{ low = 0, high = 1000 }}
foreground = {{ whole = true }}

[rois]
left = "{{participant_id}}_left.nii.gz"
{more}"""


def _affine(shift: Sequence[float] = (0, 0, 0)) -> npt.NDArray[np.float64]:
    affine = np.diag([*SIZES, 1.0])
    affine[:3, 3] = -np.array(SIZES) * (np.array(SHAPE) - 1) / 2 + np.array(shift)
    return affine


def _region() -> npt.NDArray[np.uint8]:
    """Return a box on the patient's left, front and top, in RAS+ order."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1:4, 9:12, 6:9] = 1
    return mask


def _save(
    path: Path, voxels: npt.NDArray[np.generic], affine: npt.NDArray[np.float64], codes: str = "RAS"
) -> None:
    """Save RAS+ voxels in another storage order."""
    image = nibabel.Nifti1Image(voxels, affine)
    start = nibabel.io_orientation(affine)
    wanted = nibabel.orientations.axcodes2ornt(tuple(codes))
    nibabel.save(image.as_reoriented(nibabel.orientations.ornt_transform(start, wanted)), path)


def _study(
    folder: Path,
    codes: Sequence[str] = ("RAS",),
    shifts: Sequence[Sequence[float]] = ((0, 0, 0),),
    registered: bool = True,
    more: str = "",
) -> Path:
    """Write eight subjects, stored and shifted in turn; return the path of the cohort.toml."""
    folder.mkdir(exist_ok=True)
    rng = np.random.Generator(np.random.PCG64(0))
    rows = ["participant_id\tgroup\tsplit"]
    for number in range(8):
        affine = _affine(shifts[number % len(shifts)])
        own = codes[number % len(codes)]
        voxels = rng.integers(1, 1000, SHAPE).astype(np.int16)
        _save(folder / f"s{number}.nii.gz", voxels, affine, own)
        _save(folder / f"s{number}_left.nii.gz", _region(), affine, own)
        split = "train" if number % 4 < 2 else "test"
        rows.append(f"s{number}\t{'CN' if number < 4 else 'AD'}\t{split}")
    (folder / "participants.tsv").write_text("\n".join(rows), encoding="utf-8")
    text = TOML.format(registered=str(registered).lower(), more=more)
    (folder / "cohort.toml").write_text(text, encoding="utf-8")
    return folder / "cohort.toml"


def _centroids(cohort: Cohort) -> npt.NDArray[np.float64]:
    """Return the centre [N, 3] in mm of each image's region, by the cohort's own geometry."""
    centres = []
    for row, mask in enumerate(cohort.anatomy.rois["left"][:, 0]):
        indices = np.argwhere(mask).mean(0)
        padded = np.zeros(3)
        padded[: len(indices)] = indices
        affine = cohort.geometry.affine_of(row)
        centres.append(affine[:3, :3] @ padded + affine[:3, 3])
    return np.array(centres)


def _centroids_by_nibabel(folder: Path) -> npt.NDArray[np.float64]:
    """Return the same by nibabel alone."""
    centres = []
    for number in range(8):
        image = nibabel.load(folder / f"s{number}_left.nii.gz")
        assert isinstance(image, nibabel.Nifti1Image)
        centre = np.argwhere(np.asarray(image.dataobj)).mean(0)
        centres.append(nibabel.affines.apply_affine(image.affine, centre))
    return np.array(centres)


@pytest.mark.parametrize("shifts", [((0, 0, 0),), ((0, 0, 0), (4, -7, 11.3))])
def test_mixed_orders_of_storage_lie_where_nibabel_says(
    tmp_path: Path, shifts: Sequence[Sequence[float]]
) -> None:
    """If it fails, a study whose files come from several converters has its sides mixed up."""
    toml = _study(tmp_path / "s", ("LAS", "RPI", "LPS", "RAS"), shifts, len(shifts) == 1)
    cohort = read_cohort(toml)
    assert cohort.geometry.spacing == pytest.approx(SIZES[::-1])
    assert (cohort.geometry.affines is not None) == (len(shifts) > 1)
    expected = _centroids_by_nibabel(tmp_path / "s")
    assert np.abs(_centroids(cohort) - expected).max() < 0.5 * min(SIZES)


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_slices_lie_where_nibabel_says(tmp_path: Path, plane: str) -> None:
    """If it fails, a slice shows another place, or the wrong side, of patients stored otherwise."""
    axis = ("sagittal", "coronal", "axial").index(plane)
    expected = _affine()[axis, axis] * (2, 10, 7)[axis] + _affine()[axis, 3]
    more = f'[slice]\nplane = "{plane}"\nmm = {expected}\n'
    toml = _study(tmp_path / "s", ("LAS", "RPI", "LPS"), more=more)
    cohort = read_cohort(toml)
    centres = _centroids(cohort)
    assert np.abs(centres - _centroids_by_nibabel(tmp_path / "s")).max() < 0.5 * min(SIZES)
    assert np.allclose(centres[:, axis], expected)


def test_each_scanner_position_has_its_own_slice(tmp_path: Path) -> None:
    """If it fails, patients who lie higher in the scanner are cut at another place than asked."""
    shifts = ((0, 0, 0), (0, 2.9, 0), (0, -2, 0))
    more = '[slice]\nplane = "coronal"\nmm = 7.0\n'
    cohort = read_cohort(_study(tmp_path / "s", shifts=shifts, registered=False, more=more))
    assert cohort.geometry.affines is not None
    distances = cohort.geometry.affines[:, 1, 3] - 7.0
    assert np.abs(distances).max() <= SIZES[1] / 2


def test_an_image_of_another_grid_is_refused_where_all_are_registered(tmp_path: Path) -> None:
    """If it fails, a voxelwise mean is taken over scans that lie elsewhere."""
    toml = _study(tmp_path / "s", shifts=((0, 0, 0), (1, 0, 0)))
    with pytest.raises(CohortError, match=r"image of 's1'.*registered share one grid"):
        read_cohort(toml)


def test_a_mask_of_another_scan_is_refused(tmp_path: Path) -> None:
    """If it fails, a region is laid over another place of the patient than it was drawn on."""
    toml = _study(tmp_path / "s", shifts=((0, 0, 0), (4, 0, 0)), registered=False)
    _save(tmp_path / "s/s1_left.nii.gz", _region(), _affine())
    with pytest.raises(CohortError, match=r"region 'left' of 's1'.*but its image .*s1.nii.gz on"):
        read_cohort(toml)


@pytest.mark.parametrize(
    ("axes", "more"), [("IL", '[slice]\nplane = "coronal"\nindex = 10\n'), ("LAS", "")]
)
def test_arrays_run_as_the_cohort_file_asks(tmp_path: Path, axes: str, more: str) -> None:
    """If it fails, an encoder trained on radiological pictures is shown their mirror image."""
    toml = _study(tmp_path / "s", ("RPI", "LAS"), more=more)
    text = toml.read_text("utf-8")
    toml.write_text(f'axes = "{axes}"\n{text}', encoding="utf-8")
    cohort = read_cohort(toml)
    codes = "".join(map(str, nibabel.aff2axcodes(cohort.geometry.affine)))
    assert codes.startswith(axes)
    expected = _centroids_by_nibabel(tmp_path / "s")
    assert np.abs(_centroids(cohort) - expected).max() < 0.5 * min(SIZES)


def test_axes_that_do_not_fit_the_slice_are_refused(tmp_path: Path) -> None:
    """If it fails, a slip in the cohort file ends in a traceback."""
    toml = _study(tmp_path / "s", more='[slice]\nplane = "coronal"\nindex = 10\n')
    toml.write_text(f'axes = "IA"\n{toml.read_text("utf-8")}', encoding="utf-8")
    with pytest.raises(CohortError, match=r"a coronal slice, .*axes = 'IA' says; 'IR' would do"):
        read_cohort(toml)


@pytest.mark.parametrize(
    "unit", [("meter", 0.001), ("micron", 1000.0)], ids=["metres", "micrometres"]
)
def test_units_of_the_header_count(tmp_path: Path, unit: tuple[str, float]) -> None:
    """If it fails, a tolerance of 3 mm covers the whole brain, or nothing."""
    toml = _study(tmp_path / "s")
    for path in (tmp_path / "s").glob("*.nii.gz"):
        image = nibabel.load(path)
        assert isinstance(image, nibabel.Nifti1Image)
        affine = np.array(image.affine)
        affine[:3] *= unit[1]
        scaled = nibabel.Nifti1Image(np.asanyarray(image.dataobj), affine)
        scaled.header.set_xyzt_units(unit[0])
        nibabel.save(scaled, path)
    assert read_cohort(toml).geometry.spacing == pytest.approx(SIZES[::-1], rel=1e-5)


def test_a_header_that_names_no_place_needs_axes(tmp_path: Path) -> None:
    """If it fails, left and right of such files are decided by a coin of the library."""
    toml = _study(tmp_path / "s")
    for path in (tmp_path / "s").glob("*.nii.gz"):
        image = nibabel.load(path)
        assert isinstance(image, nibabel.Nifti1Image)
        bare = nibabel.Nifti1Image(np.asanyarray(image.dataobj), None)
        bare.header.set_zooms(SIZES)
        nibabel.save(bare, path)
    cohort = read_cohort(toml)
    assert not cohort.geometry.oriented
    assert cohort.shape == SHAPE
    assert cohort.geometry.spacing == pytest.approx(SIZES)
    back = read_cohort(write_cohort(cohort, tmp_path / "out"))
    assert back.fingerprint == cohort.fingerprint
    assert not back.geometry.oriented
    toml.write_text(f'axes = "RAS"\n{toml.read_text("utf-8")}', encoding="utf-8")
    assert read_cohort(toml).geometry.oriented


def test_own_grids_and_any_order_of_axes_survive_export(tmp_path: Path) -> None:
    """If it fails, an exported cohort has other scores than the one that it was made from."""
    toml = _study(tmp_path / "s", shifts=((0, 0, 0), (4, -7, 11.3)), registered=False)
    scanned = read_cohort(toml)
    assert read_cohort(write_cohort(scanned, tmp_path / "a")).fingerprint == scanned.fingerprint
    cohort = build_cohort(shape=(8, 9), subjects=8)
    affine = np.array([[0, -1.0, 0, 4], [0, 0, 1, 0], [-1.5, 0, 0, 6], [0, 0, 0, 1]])
    turned = replace(cohort, geometry=Geometry((1.5, 1.0), affine, cohort.geometry.registered))
    back = read_cohort(write_cohort(turned, tmp_path / "b"))
    assert np.array_equal(back.images, turned.images)
    assert back.fingerprint == turned.fingerprint


def test_what_is_not_a_number_outside_the_foreground_becomes_dark(tmp_path: Path) -> None:
    """If it fails, maps of statistics packages, NaN outside the brain, cannot be read."""
    toml = _study(tmp_path / "s")
    brain = np.zeros(SHAPE, dtype=np.uint8)
    brain[1:-1, 1:-1, 1:-1] = 1
    _save(tmp_path / "s/brain.nii.gz", brain, _affine())
    text = toml.read_text("utf-8").replace("{ whole = true }", '"brain.nii.gz"')
    toml.write_text(text, encoding="utf-8")
    values = np.full(SHAPE, 500, dtype=np.float32)
    values[5, 5, 5], values[brain == 0] = 2000, np.nan
    _save(tmp_path / "s/s3.nii.gz", values, _affine())
    cohort, findings = read_with_findings(toml)
    assert (cohort.images[3][~cohort.anatomy.foreground[3]] == 0).all()
    assert findings.blank.tolist() == [0, 0, 0, int((brain == 0).sum()), 0, 0, 0, 0]
    assert findings.spans[3].tolist() == [500, 2000]
    assert findings.clipped[3].tolist() == [0, pytest.approx(1 / brain.sum())]
    values[6, 6, 6] = np.inf
    _save(tmp_path / "s/s3.nii.gz", values, _affine())
    with pytest.raises(CohortError, match=r"'s3'.*1 voxels that are NaN, infinite or padding"):
        read_cohort(toml)
