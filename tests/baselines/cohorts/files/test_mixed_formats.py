"""Images and masks of different formats, in different orientations, become one true cohort."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from dicom_files import write_picture, write_series
from PIL import Image
from pydicom.dataset import FileDataset

from baselines.cohorts.files.reader import read_cohort
from benchmark.arrays import BoolArray, FloatArray
from benchmark.cohort import Cohort
from benchmark.errors import CohortError

SHAPE = (14, 12, 10)
SIZES = np.array([2.0, 2.5, 3.0])
AFFINE = np.diag([*SIZES, 1.0])
AFFINE[:3, 3] = -13, -16, -20
ORIENTATIONS = {"s1": "LAS", "s2": "RPI", "s3": "LPS", "s4": "RAS"}
PLANES = ("sagittal", "coronal", "axial")


def write_toml(folder: Path, **changes: object) -> Path:
    """Write a ``cohort.toml`` of inline values, and return its path."""
    content: dict[str, object] = {
        "name": "study",
        "groups": ["CN", "AD"],
        "image": "{participant_id}.nii.gz",
        "intensity": {"low": 0, "high": 100},
        "foreground": {"whole": True},
        "rois": {"left": "{participant_id}_left.nii.gz"},
        **changes,
    }

    def form(value: object) -> str:
        if isinstance(value, dict):
            return "{ " + ", ".join(f"{key} = {form(item)}" for key, item in value.items()) + " }"
        return json.dumps(value)

    path = folder / "cohort.toml"
    path.write_text("".join(f"{key} = {form(value)}\n" for key, value in content.items()))
    return path


def write_table(folder: Path, rows: dict[str, str], column: str = "file") -> None:
    lines = [f"participant_id\tgroup\t{column}"]
    lines += [
        f"{name}\t{'CN' if number % 2 else 'AD'}\t{cell}"
        for number, (name, cell) in enumerate(rows.items())
    ]
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")


def anatomy(shift: int) -> tuple[npt.NDArray[np.int16], BoolArray]:
    """Return an image in RAS, and a region in it that no turn and no mirror leaves in place."""
    rng = np.random.Generator(np.random.PCG64(shift))
    region = np.zeros(SHAPE, dtype=np.bool_)
    region[2:4, 3 + shift : 9, 6:9] = True
    region[4, 3 + shift, 6] = True
    image = rng.integers(1, 50, SHAPE).astype(np.int16)
    image[region] = 90
    return image, region


def turned(voxels: npt.NDArray[Any], codes: str, affine: FloatArray) -> nibabel.Nifti1Image:
    """Return a volume in RAS with its voxels in another order, by nibabel alone."""
    start, end = (nibabel.orientations.axcodes2ornt(tuple(text)) for text in ("RAS", codes))
    order = nibabel.orientations.ornt_transform(start, end)
    return nibabel.Nifti1Image(voxels, affine).as_reoriented(order)


def centroid(mask: npt.NDArray[np.generic], affine: FloatArray) -> FloatArray:
    """Return the mean of a mask's voxels in RAS+ millimetres."""
    indices = np.argwhere(mask).astype(float)
    padded = np.zeros((len(indices), 4))
    padded[:, : indices.shape[1]], padded[:, 3] = indices, 1
    return np.asarray((padded @ affine.T).mean(axis=0)[:3])


def centroids(cohort: Cohort, row: int) -> tuple[FloatArray, FloatArray]:
    """Return the centroid of a row's region, and that of what is bright in its image."""
    affine = cohort.geometry.affine_of(row)
    region = centroid(cohort.anatomy.rois["left"][row, 0], affine)
    return region, centroid(cohort.images[row, 0] > 0.8, affine)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Four subjects in four orientations, each elsewhere in its scanner, and one as DICOM."""
    files = {}
    for number, (name, codes) in enumerate(ORIENTATIONS.items()):
        affine = AFFINE.copy()
        affine[:3, 3] += [0.4 * number, -0.5 * number, 0.6 * number]
        image, region = anatomy(number)
        files[name] = f"{name}.nii.gz"
        nibabel.save(turned(image, codes, affine), tmp_path / files[name])
        mask = turned(region.astype(np.uint8), codes, affine)
        nibabel.save(mask, tmp_path / f"{name}_left.nii.gz")
    image, region = anatomy(4)
    series = turned(image, "LIP", AFFINE)  # coronal slices, as a radiologist sees them
    write_series(tmp_path / "s5", np.asarray(series.dataobj), series.affine)
    files["s5"] = "s5"
    # Its mask comes from another tool, in another order of voxels of the same grid.
    mask = turned(region.astype(np.uint8), "PIR", AFFINE)
    nibabel.save(mask, tmp_path / "s5_left.nii.gz")
    write_table(tmp_path, files)
    return write_toml(tmp_path, image="{file}")


def test_regions_lie_where_nibabel_says_in_every_orientation(study: Path) -> None:
    """If it fails, a region would be looked for beside the anatomy, or on the other side."""
    cohort = read_cohort(study)
    assert cohort.shape == SHAPE[::-1]
    for row, name in enumerate(cohort.subjects):
        mask = nibabel.load(study.parent / f"{name}_left.nii.gz")
        assert isinstance(mask, nibabel.Nifti1Image)
        expected = centroid(np.asarray(mask.dataobj), mask.affine)
        assert expected[0] < -5  # on the left
        region, bright = centroids(cohort, row)
        assert np.abs((region - expected) / SIZES).max() < 0.5
        np.testing.assert_allclose(region, expected, atol=1e-3)
        np.testing.assert_allclose(bright, expected, atol=1e-3)


@pytest.mark.parametrize("plane", PLANES)
def test_slices_lie_where_plain_maths_says_in_every_plane(plane: str, study: Path) -> None:
    """If it fails, the slice of some subjects would be another, or mirrored."""
    axis = PLANES.index(plane)
    millimetres = {"sagittal": -7.4, "coronal": 0.9, "axial": 0.9}[plane]
    study.write_text(study.read_text() + f'slice = {{ plane = "{plane}", mm = {millimetres} }}\n')
    cohort = read_cohort(study)
    for row, name in enumerate(cohort.subjects):
        mask = nibabel.load(study.parent / f"{name}_left.nii.gz")
        assert isinstance(mask, nibabel.Nifti1Image)
        indices = np.argwhere(np.asarray(mask.dataobj))
        points = nibabel.affines.apply_affine(mask.affine, indices)
        # All voxels whose centre is the nearest to the plane.
        points = points[np.abs(points[:, axis] - millimetres) < SIZES[axis] / 2]
        region, bright = centroids(cohort, row)
        assert np.abs((region - points.mean(axis=0)) / SIZES).max() < 0.5
        np.testing.assert_allclose(region, points.mean(axis=0), atol=1e-3)
        np.testing.assert_allclose(bright, region, atol=1e-3)


def test_a_mask_on_another_grid_than_its_series_is_refused(study: Path) -> None:
    """If it fails, a mask of another scan would be laid over a DICOM series as it comes."""
    _, region = anatomy(4)
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    mask = turned(region.astype(np.uint8), "RAS", shifted)
    nibabel.save(mask, study.parent / "s5_left.nii.gz")
    with pytest.raises(CohortError, match=r"region 'left' of 's5', .* lies on the grid .* but its"):
        read_cohort(study)


def test_a_series_may_be_a_mask(study: Path) -> None:
    """If it fails, masks that were saved as DICOM series could not be used."""
    _, region = anatomy(4)
    mask = turned(region.astype(np.uint8), "LIP", AFFINE)
    expected = read_cohort(study).anatomy.rois["left"]
    write_series(study.parent / "s5_left", np.asarray(mask.dataobj), mask.affine)
    files = {name: f"{name}_left.nii.gz" for name in ORIENTATIONS} | {"s5": "s5_left"}
    images = {name: f"{name}.nii.gz" for name in ORIENTATIONS} | {"s5": "s5"}
    write_table(
        study.parent, {name: f"{images[name]}\t{files[name]}" for name in files}, "file\tmask"
    )
    toml = write_toml(study.parent, image="{file}", rois={"left": "{mask}"})
    np.testing.assert_array_equal(read_cohort(toml).anatomy.rois["left"], expected)


def test_arrays_lie_over_a_nifti_by_their_axes(study: Path) -> None:
    """If it fails, masks made with NumPy would be mirrored, or could not be used."""
    expected = read_cohort(study).anatomy.rois["left"]
    regions = np.stack([anatomy(number)[1] for number in range(5)])
    # [N, z, y, x], with x towards the left.
    np.savez(study.parent / "masks.npz", left=regions.transpose(0, 3, 2, 1)[..., ::-1])
    files = {name: f"{name}.nii.gz" for name in ORIENTATIONS} | {"s5": "s5"}
    rows = {name: f"{path}\t{number}" for number, (name, path) in enumerate(files.items())}
    write_table(study.parent, rows, "file\tnumber")
    left = {"path": "masks.npz", "array": "left", "index": "{number}", "axes": "SAL"}
    toml = write_toml(study.parent, image="{file}", rois={"left": left})
    np.testing.assert_array_equal(read_cohort(toml).anatomy.rois["left"], expected)
    del left["axes"]
    toml = write_toml(study.parent, image="{file}", rois={"left": left})
    with pytest.raises(CohortError, match="does not say how it lies, but its image"):
        read_cohort(toml)


def test_pictures_mask_x_rays_in_dicom(tmp_path: Path) -> None:
    """If it fails, the masks of a reader study could not be laid over its X-rays."""
    rng = np.random.Generator(np.random.PCG64(0))
    pixels = rng.integers(0, 4096, (4, 9, 7), dtype=np.uint16)

    def describe(data: FileDataset) -> None:
        data.Modality, data.BitsStored, data.HighBit = "DX", 12, 11
        data.PixelSpacing = [0.4, 0.3]
        data.PatientOrientation = ["L", "F"]

    mask = np.zeros((9, 7), np.uint8)
    mask[2:5, 1:3] = 255
    Image.fromarray(mask).save(tmp_path / "lung.png")
    for number in range(4):
        write_picture(tmp_path / f"s{number}", pixels[number], describe)
    write_table(tmp_path, {f"s{number}": "x" for number in range(4)})
    window = {"low": 0, "high": 4095}
    rois = {"right": "lung.png"}
    toml = write_toml(tmp_path, image="{participant_id}", rois=rois, intensity=window)
    cohort = read_cohort(toml)
    np.testing.assert_array_equal(cohort.images[:, 0], pixels / np.float32(4095))
    np.testing.assert_array_equal(cohort.anatomy.rois["right"][2, 0], mask > 0)
    assert cohort.geometry.spacing == pytest.approx((0.4, 0.3))
    assert nibabel.aff2axcodes(cohort.geometry.affine)[:2] == ("I", "L")
    # Left in the picture is the patient's right.
    assert centroid(mask, cohort.geometry.affine)[0] > 0
    # A mask that runs otherwise says so.
    Image.fromarray(mask[:, ::-1].T).save(tmp_path / "lung.png")
    rois = {"right": {"path": "lung.png", "axes": "RI"}}
    toml = write_toml(tmp_path, image="{participant_id}", rois=rois, intensity=window)
    np.testing.assert_array_equal(read_cohort(toml).anatomy.rois["right"][2, 0], mask > 0)
    toml = write_toml(tmp_path, image="{participant_id}", intensity=window, axes="IR")
    with pytest.raises(CohortError, match="run 'IL' by its header, but the cohort file says 'IR'"):
        read_cohort(toml)
    rois = {"right": "lung.png"}
    toml = write_toml(tmp_path, image="{participant_id}", rois=rois, intensity=window)
    Image.fromarray(mask[:, :-1]).save(tmp_path / "lung.png")
    with pytest.raises(CohortError, match=r"lung\.png, has the shape 9×6, but its image .* 9×7"):
        read_cohort(toml)


def test_pictures_mask_slices_that_lie_in_the_world(tmp_path: Path) -> None:
    """If it fails, a mask drawn on a slice as a viewer shows it would be mirrored."""
    pixels = np.arange(4 * 9 * 7, dtype=np.uint16).reshape(4, 9, 7)
    axial = np.diag([-2.0, -2, 5, 1])  # rows to the left, columns to the back
    for number in range(4):
        write_series(tmp_path / f"s{number}", pixels[number].T[..., None], axial)
    Image.fromarray(np.where(pixels[0] % 7 < 2, 255, 0).astype(np.uint8)).save(tmp_path / "x.png")
    write_table(tmp_path, {f"s{number}": "x" for number in range(4)})
    rois = {"right": {"path": "x.png", "axes": "PL"}}
    window = {"low": 0, "high": 252}
    toml = write_toml(tmp_path, image="{participant_id}", rois=rois, intensity=window)
    cohort = read_cohort(toml)
    mask = cohort.anatomy.rois["right"][1, 0]
    values = np.rint(cohort.images[1, 0][mask] * 252).astype(int)
    assert set(values) == set(pixels[1][:, :2].ravel().tolist())
    # Columns 0 and 1 lie at 0 and -2 mm, on the other side of the later ones.
    np.testing.assert_allclose(centroid(mask, cohort.geometry.affine_of(1)), [-1, -8, 0])


def test_axes_of_a_mask_need_those_of_its_image(tmp_path: Path) -> None:
    """If it fails, the axes of a mask would be passed over in silence."""
    for name in ("s1", "s2", "mask"):
        np.save(tmp_path / f"{name}.npy", np.eye(6))
    write_table(tmp_path, {"s1": "x", "s2": "x"})
    rois = {"left": {"path": "mask.npy", "axes": "IR"}}
    toml = write_toml(tmp_path, image="{participant_id}.npy", rois=rois, spacing=[1.0, 1.0])
    with pytest.raises(CohortError, match=r"has the axes 'IR', but those of its image .* not"):
        read_cohort(toml)


def test_a_lossy_mask_needs_a_threshold(tmp_path: Path) -> None:
    """If it fails, the grey fringe of a JPEG would belong to a region, without a word."""
    rng = np.random.Generator(np.random.PCG64(0))
    pixels = rng.integers(0, 65536, (2, 24, 24), dtype=np.uint16)
    mask = np.zeros((24, 24), np.uint8)
    mask[5:14, 3:12] = 255
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"s{number}.png")
    Image.fromarray(mask).save(tmp_path / "mask.jpg")
    write_table(tmp_path, {"s0": "x", "s1": "x"})
    common = {
        "image": "{participant_id}.png",
        "spacing": [1.0, 1.0],
        "intensity": {"low": 0, "high": 65535},
    }
    toml = write_toml(tmp_path, **common, rois={"left": "mask.jpg"})
    with pytest.raises(CohortError, match=r"but a mask holds 0 and one other value; .* threshold"):
        read_cohort(toml)
    toml = write_toml(tmp_path, **common, rois={"left": {"path": "mask.jpg", "threshold": 128}})
    cohort = read_cohort(toml)
    np.testing.assert_array_equal(cohort.anatomy.rois["left"][1, 0], mask > 0)
    np.testing.assert_array_equal(cohort.images[:, 0], pixels / np.float32(65535))
    assert not cohort.geometry.oriented


@pytest.mark.parametrize("volumes", [False, True])
def test_two_groups_in_two_arrays(volumes: bool, tmp_path: Path) -> None:
    """If it fails, the arrays that many studies keep could not be brought as they are."""
    rng = np.random.Generator(np.random.PCG64(0))
    shape = (3, 5, 6, 7) if volumes else (3, 6, 7)
    groups = rng.random((2, *shape)).astype(np.float32)
    for number in range(2):
        np.save(tmp_path / f"group{number + 1}_masked_64_4.npy", groups[number])
    mask = np.zeros(shape[1:], np.bool_)
    mask[..., 2:4, 3:5] = True
    np.save(tmp_path / "mask.npy", mask)
    rows = {f"s{group}{row}": f"{group + 1}\t{row}" for row in range(3) for group in range(2)}
    write_table(tmp_path, rows, "array\trow")
    toml = write_toml(
        tmp_path,
        image={"path": "group{array}_masked_64_4.npy", "index": "{row}"},
        spacing=[4.0] * (len(shape) - 1),
        rois={"middle": "mask.npy"},
        intensity={"low": 0, "high": 1},
    )
    cohort = read_cohort(toml)
    for row, name in enumerate(cohort.subjects):
        np.testing.assert_array_equal(cohort.images[row, 0], groups[int(name[1]), int(name[2])])
    np.testing.assert_array_equal(cohort.anatomy.rois["middle"][4, 0], mask)


def test_many_pictures_are_read_in_seconds(tmp_path: Path) -> None:
    """If it fails, a study of some hundred X-rays would take minutes to open."""
    rng = np.random.Generator(np.random.PCG64(0))
    whole, left = np.full((128, 128), 255, np.uint8), np.zeros((128, 128), np.uint8)
    left[30:60, 10:40] = 255
    masks, count = {"foreground": whole, "left": left, "right": left[:, ::-1]}, 60
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    for number in range(count):
        image = rng.integers(0, 256, (128, 128), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f"s{number}.png", compress_level=1)
        for name in masks:
            shutil.copy(tmp_path / f"{name}.png", tmp_path / f"s{number}_{name}.png")
    write_table(tmp_path, {f"s{number}": "x" for number in range(count)})
    toml = write_toml(
        tmp_path,
        image="{participant_id}.png",
        spacing=[1.0, 1.0],
        foreground="{participant_id}_foreground.png",
        rois={"left": "{participant_id}_left.png"},
        control_rois={"left": "{participant_id}_right.png"},
    )
    start = time.process_time()
    assert len(read_cohort(toml)) == count
    assert time.process_time() - start < 1.5  # measured: 0.2


def test_what_no_file_can_be_ends_in_a_sentence(tmp_path: Path) -> None:
    """If it fails, a slip in the cohort file would end in a traceback, or read the last image."""
    np.save(tmp_path / "s.npy", np.eye(6) * np.arange(1, 4)[:, None, None])
    (tmp_path / "loop0.npy").symlink_to(tmp_path / "loop0.npy")
    write_table(tmp_path, {"s1": "0", "s2": "1"}, "number")
    for changes, expected in (
        ({"image": "loop{number}.npy"}, "'s1', .*loop0.npy, cannot be read: Too many levels"),
        ({"image": "s\0{number}.npy"}, "image of 's1', .* cannot be read: embedded null"),
        ({"image": {"path": "s.npy", "index": -1}}, "index counts from 0, but is -1"),
        ({"image": {"path": "s.npy", "index": "{number}"}, "spacing": [1e300, 1]}, "spacing"),
    ):
        toml = write_toml(tmp_path, **{"spacing": [1.0, 1.0], "rois": {}, **changes})
        with pytest.raises(CohortError, match=expected):
            read_cohort(toml)
