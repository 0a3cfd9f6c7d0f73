"""A folder of NIfTI files is read as it lies in space, or refused in one clear sentence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from baselines.cohorts.files.reader import read_cohort
from benchmark.errors import CohortError

SHAPE = (10, 12, 8)
AFFINE = np.array([[2.0, 0, 0, -9], [0, 2, 0, -21], [0, 0, 3, -12], [0, 0, 0, 1]])
TOML = """\
name = "study"
groups = ["CN", "AD"]
registered = true
image = "images/{participant_id}.nii.gz"
intensity = { low = 0, high = 200 }

[foreground]
path = "brain.nii.gz"

[rois]
left = "masks/{participant_id}_left.nii.gz"

[control_rois]
left = "masks/control.nii.gz"
"""
_LEFT = 'left = "masks/{participant_id}_left.nii.gz"'
SLICE = '\n[slice]\nplane = "coronal"\nmm = -3.4\n'
TSV = """\
participant_id\tgroup\tage\tsex\tsite\tscore\tsmoker
s1\tCN\t70\tF\t007\t1.5\ttrue
s2\tAD\t71\tM\t012\tn/a\tfalse
s3\tCN\t72\tF\t007\t-2e-3\ttrue
s4\tAD\t73\tM\t012\t4\ttrue
"""


def _part(keys: str, file: str = "{participant_id}_left.nii.gz") -> str:
    """Return the line of the region and one of a part of it."""
    return f'{_LEFT}\nCA1 = {{ path = "masks/{file}", {keys} }}'


def _save(
    path: Path, voxels: npt.NDArray[np.generic], affine: npt.NDArray[np.float64] = AFFINE
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def _voxels(number: int) -> npt.NDArray[np.int16]:
    rng = np.random.Generator(np.random.PCG64(number))
    return rng.integers(1, 200, SHAPE).astype(np.int16)


def _region(number: int) -> npt.NDArray[np.uint8]:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1:4, 2 + number : 10, 2:5] = 1
    return mask


def _control() -> npt.NDArray[np.uint8]:
    """Return a mask that meets every slice of the tests, and no region."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1:4, 2:10, 5:8] = mask[6:9, 2:10, 2:5] = 1
    return mask


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Four subjects in 3-D; the path of their ``cohort.toml``."""
    folder = tmp_path / "study"
    for number in range(1, 5):
        _save(folder / f"images/s{number}.nii.gz", _voxels(number))
        _save(folder / f"masks/s{number}_left.nii.gz", _region(number))
    _save(folder / "brain.nii.gz", np.ones(SHAPE, dtype=np.uint8))
    _save(folder / "masks/control.nii.gz", _control())
    (folder / "participants.tsv").write_text(TSV, encoding="utf-8")
    (folder / "cohort.toml").write_text(TOML, encoding="utf-8")
    return folder / "cohort.toml"


def _load(path: Path) -> nibabel.Nifti1Image:
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    return image


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# What is read lies where the files say


def test_volumes_come_out_as_z_y_x(study: Path) -> None:
    cohort = read_cohort(study)
    assert cohort.shape == (8, 12, 10)
    assert cohort.geometry.spacing == (3.0, 2.0, 2.0)
    assert cohort.images[0, 0, 6, 5, 4] == np.float32(_voxels(1)[4, 5, 6]) / np.float32(200)
    assert np.array_equal(cohort.anatomy.rois["left"][2, 0], _region(3).T > 0)
    assert np.array_equal(cohort.anatomy.control_rois["left"][2, 0], _control().T > 0)
    assert (cohort.geometry.affine @ [6, 5, 4, 1]).tolist() == (AFFINE @ [4, 5, 6, 1]).tolist()


SLICES: dict[str, tuple[str, Callable[[npt.NDArray[np.int16]], npt.NDArray[np.int16]]]] = {
    # y = -21 + 2 · 9 = -3 mm is the nearest to -3.4.
    "coronal mm": ('plane = "coronal"\nmm = -3.4', lambda v: v[:, 9, ::-1].T),
    "coronal": ('plane = "coronal"\nindex = 9', lambda v: v[:, 9, ::-1].T),
    "axial": ('plane = "axial"\nindex = 3', lambda v: v[:, ::-1, 3].T),
    "sagittal": ('plane = "sagittal"\nindex = 2', lambda v: v[2, :, ::-1].T),
}


@pytest.mark.parametrize("plane", SLICES)
def test_slices_run_as_documented(plane: str, study: Path) -> None:
    setting, cut = SLICES[plane]
    _edit(study, "[foreground]", f"[slice]\n{setting}\n\n[foreground]")
    cohort = read_cohort(study)
    expected = cut(_voxels(2)).astype(np.float32) / np.float32(200)
    assert np.array_equal(cohort.images[1, 0], expected)
    # The affine leads each pixel back to the voxel that it came from.
    row, column = 1, 2
    voxel = np.linalg.inv(AFFINE) @ cohort.geometry.affine @ [row, column, 0, 1]
    i, j, k = np.rint(voxel[:3]).astype(int)
    assert cohort.images[1, 0, row, column] == np.float32(_voxels(2)[i, j, k] / 200)
    assert cohort.geometry.spacing == {"cor": (3, 2), "axi": (2, 2), "sag": (3, 2)}[plane[:3]]


@pytest.mark.parametrize("codes", ["LAS", "RPI", "SAR", "PIL"])
def test_orientation_of_the_files_does_not_matter(codes: str, study: Path) -> None:
    expected = read_cohort(study).fingerprint
    for path in (*study.parent.glob("images/s[12].nii.gz"), study.parent / "brain.nii.gz"):
        image = _load(path)
        turn = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes)
        )
        nibabel.save(image.as_reoriented(turn), path)
    assert nibabel.aff2axcodes(_load(study.parent / "images/s1.nii.gz").affine) == (tuple(codes))
    assert read_cohort(study).fingerprint == expected


def test_a_series_of_one_volume_is_a_volume(study: Path) -> None:
    expected = read_cohort(study).fingerprint
    _save(study.parent / "images/s1.nii.gz", _voxels(1)[..., None])
    assert read_cohort(study).fingerprint == expected


def test_intensities_are_windowed_and_clipped(study: Path) -> None:
    _edit(study, "low = 0, high = 200", "low = 50, high = 100")
    image = read_cohort(study).images[0, 0]
    expected = np.clip((_voxels(1).T - 50) / 50, 0, 1)
    assert np.allclose(image, expected, atol=1e-7)


def test_percentiles_are_those_of_the_foreground(study: Path) -> None:
    brain = np.zeros(SHAPE, dtype=np.uint8)
    brain[:5] = 1
    _save(study.parent / "brain.nii.gz", brain)
    _edit(study, "low = 0, high = 200", "percentiles = [10, 90]")
    low, high = np.percentile(_voxels(1)[:5], [10, 90])
    expected = np.clip((_voxels(1).T - low) / (high - low), 0, 1)
    assert np.allclose(read_cohort(study).images[0, 0], expected, atol=1e-6)


def test_columns_become_covariates_of_their_kind(study: Path) -> None:
    cohort = read_cohort(study)
    people = cohort.covariates
    assert list(people.columns) == ["age", "sex", "site", "score", "smoker"]
    assert people["age"].tolist() == [70, 71, 72, 73]
    assert people["site"].tolist() == ["007", "012", "007", "012"]
    assert people["score"].isna().tolist() == [False, True, False, False]
    assert people["score"].tolist()[2] == -0.002
    assert people["smoker"].tolist() == [True, False, True, True]
    assert cohort.groups.tolist() == [0, 1, 0, 1]
    assert cohort.group_names == ("CN", "AD")


def test_visits_share_a_subject_and_its_split(study: Path) -> None:
    lines = ["participant_id\tvisit\tgroup"]
    for number in range(1, 21):
        for visit in ("a", "b"):
            path = study.parent / f"images/p{number}_{visit}.nii.gz"
            _save(path, _voxels(number + 100 * (visit == "b")))
            lines.append(f"p{number}\t{visit}\t{('CN', 'AD')[number % 2]}")
    (study.parent / "participants.tsv").write_text("\n".join(lines), encoding="utf-8")
    _edit(study, "images/{participant_id}", "images/{participant_id}_{visit}")
    _edit(study, "masks/{participant_id}_left", "masks/s1_left")
    cohort = read_cohort(study)
    assert len(cohort) == 40
    assert list(cohort.covariates.columns) == []
    counts = cohort.participants.groupby("split")["subject"].nunique().to_dict()
    assert counts == {"train": 12, "validation": 4, "test": 4}


def test_masks_may_lie_elsewhere(study: Path, tmp_path: Path) -> None:
    expected = read_cohort(study).fingerprint
    (study.parent / "brain.nii.gz").rename(tmp_path / "brain.nii.gz")
    _edit(study, 'path = "brain.nii.gz"', 'path = "../brain.nii.gz"')
    assert read_cohort(study).fingerprint == expected
    _edit(study, "../brain.nii.gz", str(tmp_path / "brain.nii.gz"))
    assert read_cohort(study).fingerprint == expected


# What is refused


def _toml(old: str, new: str) -> Callable[[Path], None]:
    return lambda toml: _edit(toml, old, new)


def _tsv(old: str, new: str) -> Callable[[Path], None]:
    return lambda toml: _edit(toml.with_name("participants.tsv"), old, new)


def _file(
    name: str, voxels: npt.NDArray[np.generic], affine: npt.NDArray[np.float64] = AFFINE
) -> Callable[[Path], None]:
    return lambda toml: _save(toml.parent / name, voxels, affine)


def _bytes(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(toml: Path) -> None:
        path = toml.parent / name
        path.write_bytes(change(path.read_bytes()))

    return apply


def _turned(angle: float) -> npt.NDArray[np.float64]:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return np.asarray(turn @ AFFINE)


def _oblique(toml: Path) -> None:
    for path in sorted(toml.parent.rglob("*.nii.gz")):
        _save(path, np.asarray(_load(path).dataobj), _turned(0.2))
    _edit(toml, "[foreground]", f"{SLICE}\n[foreground]")


def _flatten(toml: Path) -> None:
    _edit(toml, "low = 0, high = 200", "percentiles = [1, 99]")
    _save(toml.parent / "images/s2.nii.gz", np.full(SHAPE, 7, dtype=np.int16))


HOLED = _voxels(2).astype(np.float32)
HOLED[3, 3, 3] = np.nan
SHIFTED = AFFINE + np.array([[0, 0, 0, 0.5], *[[0.0] * 4] * 3])

REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no toml": (lambda toml: toml.unlink(), "cohort.toml cannot be read: No such file"),
    "no tsv": (
        lambda toml: toml.with_name("participants.tsv").unlink(),
        "participants.tsv cannot be read: No such file",
    ),
    "no image": (
        lambda toml: (toml.parent / "images/s3.nii.gz").unlink(),
        "image of 's3', .*s3.nii.gz, is missing",
    ),
    "no mask": (
        _toml('path = "brain.nii.gz"', 'path = "/nowhere/brain.nii.gz"'),
        "foreground of 's1', /nowhere/brain.nii.gz, is missing",
    ),
    "broken toml": (_toml('name = "study"', "name = study"), "cohort.toml is no TOML: .*line 1"),
    "unknown key": (
        _toml("registered", "registred"),
        r"unknown key 'registred'\. Did you mean 'registered'\? Known: name,",
    ),
    "unknown key in a table": (
        _toml('path = "brain.nii.gz"', 'path = "brain.nii.gz"\nfile = "x"'),
        "unknown key 'foreground.file'. Known: path",
    ),
    "missing key": (_toml('name = "study"\n', ""), "lacks the key 'name'; it has groups"),
    "no window": (_toml("low = 0, high = 200", "low = 9, high = 9"), "'intensity': give low < "),
    "two windows": (
        _toml("low = 0, high = 200", "low = 0, percentiles = [1, 99]"),
        "'intensity': give either low and high, or percentiles",
    ),
    "falling percentiles": (
        _toml("low = 0, high = 200", "percentiles = [99, 1]"),
        "percentiles must rise",
    ),
    "unknown plane": (_toml("[rois]", '[slice]\nplane = "oblique"\nmm = 0\n[rois]'), "slice.plane"),
    "no place": (_toml("[rois]", '[slice]\nplane = "axial"\n[rois]'), "give either mm or index"),
    "missing column": (
        _tsv("participant_id\tgroup", "participant_id\tdiagnosis"),
        "lacks the column.s. group; it has participant_id, diagnosis, age",
    ),
    "blanks": (_tsv("\t", " "), "lacks the column.s. participant_id, group; it has participant"),
    "ragged row": (_tsv("s4\tAD\t73", "s4\tAD"), "6 cells in line 5 but 7 columns"),
    "reserved column": (_tsv("smoker", "subject"), "column 'subject', which is reserved"),
    "no rows": (
        lambda toml: _write(toml.with_name("participants.tsv"), "participant_id\tgroup\n"),
        "lists no participants",
    ),
    "unknown group": (_tsv("s2\tAD", "s2\tMCI"), "'s2' into the group 'MCI'; known: CN, AD"),
    "two splits": (
        _tsv(TSV, "participant_id\tsession\tgroup\tsplit\ns1\t1\tCN\ttrain\ns1\t2\tCN\ttest\n"),
        "subject 's1' in more than one split",
    ),
    "twice the same": (
        _tsv("s2\tAD", "s1\tAD"),
        "lists 's1' twice, in lines 2 and 3; .* session or visit",
    ),
    "truncated": (
        _bytes("images/s2.nii.gz", lambda content: content[: len(content) // 2]),
        "image of 's2', .*, cannot be read as NIfTI",
    ),
    "damaged": (
        _bytes("images/s2.nii.gz", lambda content: content[:300] + b"\xff" * 40 + content[340:]),
        "image of 's2', .*, cannot be read as NIfTI",
    ),
    "not nifti": (
        _bytes("images/s2.nii.gz", lambda _: gzip.compress(b"hello" * 200)),
        "image of 's2', .*, cannot be read as NIfTI",
    ),
    "not gzip": (
        _bytes("masks/control.nii.gz", lambda _: b"hello" * 200),
        "control of 'left' of 's1', .*, cannot be read as NIfTI",
    ),
    "series": (
        _file("images/s2.nii.gz", np.stack([_voxels(2)] * 2, axis=-1)),
        r"image of 's2', .*, has shape \[10, 12, 8, 2\], but one volume",
    ),
    "smaller mask": (
        _file("masks/s2_left.nii.gz", _region(2)[1:]),
        r"region 'left' of 's2', .* grid 9×12×8 .*, but .*s2.nii.gz on 10×12×8 .*resample_to_img",
    ),
    "shifted mask": (
        _file("masks/s2_left.nii.gz", _region(2), SHIFTED),
        r"region 'left' of 's2', .* \[2 0 0 -8.5; .*, but .*s2.nii.gz on .* \[2 0 0 -9;",
    ),
    "shifted image": (
        _file("images/s3.nii.gz", _voxels(3), SHIFTED),
        r"image of 's3', .* \[2 0 0 -8.5; .*, but .*s1.nii.gz, on",
    ),
    "all zero": (
        _file("images/s2.nii.gz", np.zeros(SHAPE, dtype=np.int16)),
        "image of 's2', .*, is zero everywhere",
    ),
    "nan": (_file("images/s2.nii.gz", HOLED), "image of 's2', .*, has 1 voxels that are NaN"),
    "no contrast": (_flatten, "percentiles of .*s2.nii.gz, in its foreground are both 7"),
    "one value": (
        _file("images/s2.nii.gz", np.full(SHAPE, 7, dtype=np.int16)),
        "image of 's2', .*, holds the value 7 throughout its foreground",
    ),
    "other units": (
        _file("images/s2.nii.gz", _voxels(2) + 1000),
        "image of 's2', .*, has values of .* all of them above the window of 0 to 200; is it in",
    ),
    "endless window": (
        _toml("high = 200", "high = 1e39"),
        "a wrong 'intensity': low and high must",
    ),
    "empty region": (
        _file("masks/s4_left.nii.gz", np.zeros(SHAPE, dtype=np.uint8)),
        "region 'left' of 's4', .*s4_left.nii.gz, is empty.$",
    ),
    "region beside the slice": (
        lambda toml: _edit(
            toml, "[foreground]", '[slice]\nplane = "coronal"\nindex = 3\n[foreground]'
        ),
        "region 'left' of 's2', .*s2_left.nii.gz, is empty in coronal slice 3",
    ),
    "slice outside": (
        lambda toml: _edit(toml, "[foreground]", '[slice]\nplane = "axial"\nmm = 40\n[foreground]'),
        "axial slice at 40.0 mm lies outside .*, which has slices 0 to 7, from -12 to 9 mm",
    ),
    "index outside": (
        lambda toml: _edit(
            toml, "[foreground]", '[slice]\nplane = "axial"\nindex = -1\n[foreground]'
        ),
        "wrong 'slice.index': Input should be greater",
    ),
    "oblique": (_oblique, "lies obliquely, so no coronal slice .* give the slice's index"),
    "unknown column": (
        _toml("images/{participant_id}", "images/{subject}"),
        "image of 's1', 'images/{subject}.nii.gz', names the column 'subject', but",
    ),
    "unknown truth": (
        _toml('name = "study"', 'name = "study"\ntruth = ["right"]'),
        "names 'right' as truth",
    ),
    "parent unknown": (
        _toml(_LEFT, _part('parent = "hippocampus"')),
        "region 'CA1' has the parent 'hippocampus', but the regions that are no part of another "
        "are left",
    ),
    "part of itself": (
        _toml(_LEFT, _part('parent = "CA1"')),
        "region 'CA1' has the parent 'CA1', but the regions that are no part of another are left",
    ),
    "part elsewhere": (
        _toml(_LEFT, _part('parent = "left"', "control.nii.gz")),
        "100% of the subfield 'CA1' lies outside its parent 'left' in 's1' .*control.nii.gz.* and "
        "in 3 more images, .*; a subfield is a part of its parent",
    ),
    "sign of 0": (
        _toml(_LEFT, _part("volume_sign = 0")),
        "wrong 'rois.CA1.*volume_sign': Input should be 1 or -1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case: str, study: Path) -> None:
    spoil, message = REFUSED[case]
    spoil(study)
    with pytest.raises(CohortError, match=message) as refusal:
        read_cohort(study)
    assert "\n" not in str(refusal.value)
