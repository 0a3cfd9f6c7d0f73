"""DICOM series and files are read where they lie, as they are meant, or refused in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from dicom_files import SECRET, SERIES, place_frame, write_picture, write_series
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLosslessSV1

from baselines.cohorts.files.formats.reading import read_scan
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.arrays import FloatArray
from benchmark.errors import CohortError

AFFINE = np.array([[0, 0, 3.0, -5], [2, 0, 0, 7], [0, -1.5, 0, 11], [0, 0, 0, 1]])
VOXELS = np.arange(5 * 7 * 6, dtype=np.int16).reshape(5, 7, 6) * 11 - 400


def read(path: Path | str, **choice: Any) -> Scan:
    return read_scan(Source(Path(path), "image of 's1'", **choice))


def refusal(path: Path | str, **choice: Any) -> str:
    """Return the sentence of a refusal, which names subject and file and no patient."""
    with pytest.raises(CohortError) as caught:
        read(path, **choice)
    message = str(caught.value)
    assert message.startswith(f"The image of 's1', {path}")
    assert "\n" not in message
    assert SECRET not in message
    return message


def world(scan: Scan, value: float) -> FloatArray:
    """Return the RAS+ millimetres of the one voxel with this value."""
    (index,) = np.argwhere(scan.voxels == value)
    assert scan.affine is not None
    return np.asarray(scan.affine @ [*index, 1])[:3]


# Where voxels lie


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([2.0, 1.5, 3, 1]),
        np.array([[-2.0, 0, 0, 9], [0, -1.5, 0, 4], [0, 0, 3, -6], [0, 0, 0, 1]]),
        AFFINE,
        np.array([[1.9, 0.2, 0.1, 9], [-0.2, 1.4, 0.3, 4], [-0.1, -0.4, 2.9, -6], [0, 0, 0, 1]]),
    ],
    ids=["ras", "lps", "sagittal", "oblique"],
)
def test_a_series_lies_where_its_headers_say(affine: FloatArray, tmp_path: Path) -> None:
    """If it fails, a region would be looked for on the wrong side or in the wrong slice."""
    # Axes that are exactly perpendicular, as those of a scanner without tilt.
    axes, sizes = np.linalg.qr(affine[:3, :3])[0], np.linalg.norm(affine[:3, :3], axis=0)
    axes *= np.sign((axes * affine[:3, :3]).sum(axis=0))
    affine = affine.copy()
    affine[:3, :3] = axes * sizes
    scan = read(write_series(tmp_path / "series", VOXELS, affine))
    assert scan.affine is not None
    assert nibabel.aff2axcodes(scan.affine) == ("R", "A", "S")
    for index in ((0, 0, 0), (4, 0, 0), (0, 6, 0), (0, 0, 5), (3, 2, 4)):
        expected = (affine @ [*index, 1])[:3]
        np.testing.assert_allclose(world(scan, VOXELS[index]), expected, atol=1e-4)


def test_a_tilted_gantry_keeps_its_shear(tmp_path: Path) -> None:
    """If it fails, each slice of a tilted CT would lie beside its true place."""
    affine = np.array([[-0.5, 0, 0, 9], [0, -0.5, 1.0, 4], [0, 0, 3, -6], [0, 0, 0, 1]])
    scan = read(write_series(tmp_path, VOXELS, affine))
    np.testing.assert_allclose(world(scan, VOXELS[3, 2, 4]), (affine @ [3, 2, 4, 1])[:3], atol=1e-4)


def test_a_real_series_agrees_with_the_formula_of_the_standard() -> None:
    """If it fails, a CT as scanners write it would be misplaced or out of order."""
    folder = Path(str(get_testdata_file("dicomdirtests/98892001/CT5N/2062"))).parent
    scan = read(folder)
    assert scan.voxels.shape == (16, 16, 5)
    assert scan.affine is not None
    row, column = 2, 9
    for path in folder.iterdir():
        data = dcmread(path)
        along_row, along_column = np.reshape(data.ImageOrientationPatient, (2, 3)).astype(float)
        # PS3.3 C.7.6.2.1.1, in LPS.
        point = np.array(data.ImagePositionPatient, dtype=float)
        point += along_row * data.PixelSpacing[1] * column
        point += along_column * data.PixelSpacing[0] * row
        index = np.linalg.solve(scan.affine, [*(point * [-1, -1, 1]), 1])[:3]
        np.testing.assert_allclose(index, index.round(), atol=1e-3)
        value = data.pixel_array[row, column] * data.RescaleSlope + data.RescaleIntercept
        assert scan.voxels[tuple(index.round().astype(int))] == value


def test_a_single_slice_is_a_volume_one_voxel_thick() -> None:
    """If it fails, a slice that says where it lies would lose its left and right."""
    path = Path(str(get_testdata_file("MR_small.dcm")))
    scan, data = read(path), dcmread(path)
    assert scan.voxels.shape == (64, 64, 1)
    assert scan.affine is not None
    place = np.array([*data.ImagePositionPatient, 1]) * [-1, -1, 1, 1]
    index = np.linalg.solve(scan.affine, place).round(3)[:3].astype(int)
    assert scan.voxels[tuple(index)] == data.pixel_array[0, 0]
    assert np.linalg.norm(scan.affine[:3, 2]) == pytest.approx(float(data.SliceThickness))


def test_a_multi_frame_object_is_a_volume(tmp_path: Path) -> None:
    """If it fails, enhanced CT and MR could not be read, or their slices would be swapped."""
    order = [3, 0, 5, 1, 4, 2]

    def describe(data: FileDataset) -> None:
        shared, frames = Dataset(), []
        for number in order:
            flat, frame = Dataset(), Dataset()
            place_frame(flat, AFFINE, number)
            position, orientation, measures = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = flat.ImagePositionPatient
            orientation.ImageOrientationPatient = flat.ImageOrientationPatient
            measures.PixelSpacing = flat.PixelSpacing
            rescale = Dataset()
            rescale.RescaleSlope, rescale.RescaleIntercept = number + 1, 0
            frame.PlanePositionSequence = Sequence([position])
            frame.PixelValueTransformationSequence = Sequence([rescale])
            shared.PlaneOrientationSequence = Sequence([orientation])
            shared.PixelMeasuresSequence = Sequence([measures])
            frames.append(frame)
        data.SharedFunctionalGroupsSequence = Sequence([shared])
        data.PerFrameFunctionalGroupsSequence = Sequence(frames)

    frames = np.stack([VOXELS[:, :, number].T for number in order])
    scan = read(write_picture(tmp_path / "enhanced.dcm", frames, describe))
    series = read(write_series(tmp_path / "series", VOXELS, AFFINE))
    assert scan.affine is not None
    assert series.affine is not None
    np.testing.assert_allclose(scan.affine, series.affine, atol=1e-5)
    # The slices lie along x, so each has its own slope there.
    np.testing.assert_allclose(scan.voxels, series.voxels * np.arange(1, 7)[:, None, None])


def test_one_series_of_several_is_chosen_by_its_number(tmp_path: Path) -> None:
    """If it fails, a folder with a localizer beside the scan could not be used, or be misread."""
    write_series(tmp_path, VOXELS, AFFINE)
    write_picture(tmp_path / "other", VOXELS[:, :, 0], series=f"{SERIES}.7")
    (tmp_path / "DICOMDIR").write_text("an index")
    (tmp_path / "notes.txt").write_text("of the study")
    assert read(tmp_path, array=SERIES).voxels.shape == (6, 5, 7)
    assert read(tmp_path, array=f"{SERIES}.7").voxels.shape == (5, 7)
    assert f"2 series: {SERIES} (MR, 6 files), {SERIES}.7 (MR, 1 files)" in refusal(tmp_path)
    assert "no series 1.2.3; it holds" in refusal(tmp_path, array="1.2.3")


# Values


def test_each_slice_has_its_own_scale(tmp_path: Path) -> None:
    """If it fails, the slices of a PET would have brightnesses that mean nothing."""

    def scale(data: FileDataset, number: int) -> None:
        data.RescaleSlope, data.RescaleIntercept = 0.5 * (number + 1), -10

    scan = read(write_series(tmp_path, VOXELS, np.diag([2.0, 2, 2, 1]), scale))
    expected = VOXELS * 0.5 * np.arange(1, 7) - 10
    np.testing.assert_allclose(scan.voxels, expected)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("modality", ["DX", "CT"])
def test_dark_bones_are_made_bright_unless_values_are_measured(
    modality: str, signed: bool, tmp_path: Path
) -> None:
    """If it fails, some of a cohort's X-rays would be negatives of the others."""
    low = -2048 if signed else 0
    pixels = np.array([[low, low + 100], [low + 4000, low + 4095]], np.int16 if signed else "u2")

    def describe(data: FileDataset) -> None:
        data.Modality, data.PhotometricInterpretation = modality, "MONOCHROME1"
        data.BitsStored, data.HighBit = 12, 11
        data.RescaleSlope, data.RescaleIntercept = 2, 5

    values = read(write_picture(tmp_path / "image", pixels, describe)).voxels
    inverted = 2 * (low + low + 4095 - pixels.astype(int)) + 5
    np.testing.assert_array_equal(values, inverted if modality == "DX" else pixels * 2.0 + 5)


def test_a_table_of_values_is_looked_up(tmp_path: Path) -> None:
    """If it fails, digitised films would keep numbers that mean nothing, or be negatives."""
    pixels = np.arange(20, dtype=np.uint16).reshape(4, 5)

    def describe(data: FileDataset) -> None:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [20, 0, 16], "OD"
        table.add_new("LUTData", "US", [value * 3 for value in range(20)])
        data.ModalityLUTSequence = Sequence([table])
        data.Modality, data.PhotometricInterpretation = "CR", "MONOCHROME1"

    values = read(write_picture(tmp_path / "image", pixels, describe)).voxels
    np.testing.assert_array_equal(values, 65535 - 3 * pixels.astype(int))


def test_bits_that_are_not_stored_do_not_count(tmp_path: Path) -> None:
    """If it fails, an overlay in the upper bits would become the brightest part of the image."""
    pixels = np.array([[1, 2], [3, 0x8004]], np.uint16)

    def describe(data: FileDataset) -> None:
        data.BitsStored, data.HighBit = 12, 11

    values = read(write_picture(tmp_path / "image", pixels, describe)).voxels
    np.testing.assert_array_equal(values, [[1, 2], [3, 4]])

    def describe_signed(data: FileDataset) -> None:
        describe(data)
        data.PixelRepresentation = 1

    # The sign stands in the highest bit that is stored.
    values = read(write_picture(tmp_path / "image", pixels + np.uint16(0xFFC), describe_signed))
    np.testing.assert_array_equal(values.voxels, [[-3, -2], [-1, 0]])


def test_padding_is_no_tissue(tmp_path: Path) -> None:
    """If it fails, what surrounds the circle of a CT would count as its darkest tissue."""
    pixels = np.array([[-2000, -1999], [-1000, 40]], np.int16)

    def describe(data: FileDataset) -> None:
        data.add_new("PixelPaddingValue", "SS", -2000)
        data.add_new("PixelPaddingRangeLimit", "SS", -1990)
        data.RescaleSlope, data.RescaleIntercept = 1, -1024

    values = read(write_picture(tmp_path / "image", pixels, describe)).voxels
    np.testing.assert_array_equal(values, [[np.nan, np.nan], [-2024, -984]])


def test_packed_pixels_are_read() -> None:
    """If it fails, compressed files, which most archives send, would be refused or differ."""
    expected = read(str(get_testdata_file("MR_small.dcm"))).voxels
    for name in ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_bigendian.dcm"):
        assert np.array_equal(read(str(get_testdata_file(name))).voxels, expected)


def test_an_x_ray_says_its_size_and_its_sides(tmp_path: Path) -> None:
    """If it fails, an X-ray's left and right or its scale would be lost or made up."""
    scan = read(str(get_testdata_file("dicomdirtests/77654033/CR1/6154")))
    assert (scan.affine, scan.spacing, scan.axes) == (None, (0.1, 0.1), "IL")

    def describe(data: FileDataset) -> None:
        data.ImagerPixelSpacing = [0.2, 0.3]
        data.PatientOrientation = ["PF", "FA"]

    pixels = np.ones((4, 5), np.uint8)
    scan = read(write_picture(tmp_path / "image", pixels, describe))
    assert (scan.spacing, scan.axes) == ((0.2, 0.3), "IP")


def test_a_frame_of_a_film_is_chosen(tmp_path: Path) -> None:
    """If it fails, a film would be taken for a volume, or its wrong frame be read."""
    film = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    path = write_picture(tmp_path / "film.dcm", film)
    assert np.array_equal(read(path, index=2).voxels, film[2])
    assert "3 frames without a position" in refusal(path)
    assert "holds 3 frames, counted from 0" in refusal(path, index=3)


# Refusals


def _change(keyword: str, value: object, of: int | None = None) -> Callable[[Path], None]:
    """Return what writes a series with an attribute changed, or deleted for None."""

    def write(folder: Path) -> None:
        def change(data: FileDataset, number: int) -> None:
            if of is not None and number != of:
                return
            if value is None:
                delattr(data, keyword)
            else:
                setattr(data, keyword, value)

        write_series(folder, VOXELS, AFFINE, change)

    return write


def _without(*numbers: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_series(folder, VOXELS, AFFINE)
        for number in numbers:
            (folder / f"{900 - number}").unlink()

    return write


def _twice(folder: Path) -> None:
    write_series(folder, VOXELS, AFFINE)
    shutil.copy(folder / "898", folder / "copy")


def _truncated(folder: Path) -> None:
    write_series(folder, VOXELS, AFFINE)
    path = folder / "897"
    path.write_bytes(path.read_bytes()[:-9])


def _of_two_sizes(folder: Path) -> None:
    write_series(folder, VOXELS, AFFINE)

    def place(data: FileDataset) -> None:
        place_frame(data, AFFINE, 6)

    write_picture(folder / "wide", np.ones((7, 9), np.int16), place)


def _text(folder: Path) -> None:
    write_series(folder, VOXELS, AFFINE)
    (folder / "broken.dcm").write_text("no image")


def _raw(tag: str, value: bytes) -> Callable[[Path], None]:
    """Return what writes a series whose attribute holds bytes that are no number."""

    def write(folder: Path) -> None:
        _change(tag, "1.25" if tag == "RescaleSlope" else 3)(folder)
        for path in folder.iterdir():
            path.write_bytes(path.read_bytes().replace(b"1.25", value))

    return write


def _jpeg(folder: Path) -> None:
    def pack(data: FileDataset) -> None:
        data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        data.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
        data["PixelData"].VR = "OB"

    write_picture(folder / "image", VOXELS[:, :, 0], pack)


def _kind(modality: str) -> Callable[[Path], None]:
    return _change("Modality", modality)


def _bomb(folder: Path) -> None:
    """Write 4 MB that unfold to 4 GB."""

    def pack(data: FileDataset) -> None:
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    path = write_picture(folder / "image", VOXELS[:, :, 0], pack)
    with path.open("ab") as stream:
        stream.write(b"\0" * 4_000_000)


def _huge(folder: Path) -> None:
    def claim(data: FileDataset) -> None:
        data.Rows, data.Columns, data.NumberOfFrames = 65535, 65535, 2**31 - 1

    write_picture(folder / "image", VOXELS[:, :, 0], claim)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing slice": (_without(2), "lacks a slice: its 5 slices lie 3 mm apart, but 6 mm between"),
    "many missing slices": (_without(1, 2, 3), "lacks a slice"),
    "two at one place": (_twice, "7 slices at 6 positions"),
    "uneven": (
        _change("ImagePositionPatient", [-3.4, -7, 11], 3),
        "slices that are not equally spaced",
    ),
    "shifted": (_change("ImagePositionPatient", [-4.0, -15, 11], 3), "not equally spaced"),
    "localizer": (
        _change("ImageOrientationPatient", [1, 0, 0, 0, 1, 0], 3),
        "slices of different ImageOrientationPatient",
    ),
    "two spacings": (_change("PixelSpacing", [1, 1], 3), "slices of different PixelSpacing"),
    "two sizes": (_of_two_sizes, "5 Columns in 895, but 9 in wide"),
    "no position": (_change("ImagePositionPatient", None, 3), "no ImagePositionPatient in 897"),
    "no spacing": (_change("PixelSpacing", None), "has no PixelSpacing"),
    "zero spacing": (_change("PixelSpacing", [0, 1]), "sizes between 0.001 and 100 mm"),
    "spacing below zero": (_change("PixelSpacing", [2, -1]), "sizes between 0.001 and 100 mm"),
    "two patients": (_change("PatientID", "other", 3), "files of 2 different PatientID"),
    "two spaces": (_change("FrameOfReferenceUID", "1.2", 3), "2 different FrameOfReferenceUID"),
    "shifted bits": (_change("HighBit", 12), "has 16 bits that end at bit 12"),
    "no directions": (_change("ImageOrientationPatient", [0] * 6), "no pair of perpendicular"),
    "five directions": (
        _change("ImageOrientationPatient", [1, 0, 0, 0, 1]),
        "needs 6 numbers as ImageOrientationPatient, but has something else in 895",
    ),
    "zero slope": (_change("RescaleSlope", 0), "RescaleSlope of 0"),
    "slope in words": (_raw("RescaleSlope", b"1,25"), "needs 1 number as RescaleSlope"),
    "endless slope": (_change("RescaleSlope", "1e400"), "needs 1 number as RescaleSlope"),
    "colour": (_change("PhotometricInterpretation", "RGB"), "holds RGB pixels"),
    "palette": (_change("PhotometricInterpretation", "PALETTE COLOR"), "PALETTE COLOR pixels"),
    "no bits": (_change("BitsStored", None), "no BitsStored"),
    "truncated": (_truncated, "has pixels in 897 that cannot be read: The number of bytes"),
    "no pixels": (_change("PixelData", None), "no pixel data in"),
    "no image": (_change("Rows", None), "holds no pixels but: MR Image Storage"),
    "segmentation": (_kind("SEG"), "is a segmentation object; save it as NIfTI"),
    "dose": (_kind("RTDOSE"), "is a dose"),
    "mosaic": (_change("ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "mosaic of slices"),
    "not installed": (_jpeg, "needs another package: pip install pylibjpeg"),
    "no DICOM": (_text, "holds broken.dcm, which does not begin as DICOM does"),
    "empty folder": (lambda folder: folder.mkdir(), "folder without a DICOM file"),
    "deflate bomb": (_bomb, "may take 3.8 GiB; at most 2 GiB"),
    "huge header": (_huge, "bytes cannot hold them"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    """If it fails, a volume with a fault would be read as if whole, or end in a traceback."""
    write, expected = REFUSED[case]
    write(tmp_path / "series")
    assert expected in refusal(tmp_path / "series")


def test_pieces_of_a_file_end_in_a_sentence(tmp_path: Path) -> None:
    """If it fails, a download that broke off would end in a traceback."""
    whole = Path(str(get_testdata_file("MR_small.dcm"))).read_bytes()
    path = tmp_path / "piece.dcm"
    for length in (*range(132, 1400, 61), 5000):
        path.write_bytes(whole[:length])
        refusal(path)


def test_damaged_bytes_end_in_a_sentence_or_an_image(tmp_path: Path) -> None:
    """If it fails, a damaged file would end in a traceback."""
    whole = np.frombuffer(Path(str(get_testdata_file("MR_small.dcm"))).read_bytes(), np.uint8)
    rng = np.random.Generator(np.random.PCG64(0))
    path = tmp_path / "damaged.dcm"
    for _ in range(150):
        damaged: npt.NDArray[np.uint8] = whole.copy()
        damaged[rng.integers(132, 1500, 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        with suppress(CohortError):
            read(path)
