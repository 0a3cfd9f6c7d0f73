"""NIfTI headers that are absurd, damaged or made to exhaust memory end in one sentence."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from baselines.cohorts.files.formats.reading import read_scan
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError

VOXELS = np.arange(1, 61, dtype=np.float32).reshape(3, 4, 5)
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 1.5, 0, -4], [0, 0, 3, -6], [0, 0, 0, 1]])
# Where fields of the header of 348 bytes begin.
DIM, DATATYPE, BITPIX, PIXDIM, OFFSET, SLOPE = 40, 70, 72, 76, 108, 112
UNITS, QFORM, SFORM, SROW = 123, 252, 254, 280


def read(path: Path) -> Scan:
    return read_scan(Source(path, "image of 's1'"))


def content() -> bytes:
    return bytes(nibabel.Nifti1Image(VOXELS, AFFINE).to_bytes())


def patched(offset: int, form: str, *values: float) -> bytes:
    """Return a file whose header holds other values from a byte on."""
    raw = bytearray(content())
    struct.pack_into("<" + form, raw, offset, *values)
    return bytes(raw)


def zeros(dims: tuple[int, ...], blocks: int, kind: tuple[int, int] = (2, 8)) -> bytes:
    """Return a gzip of a header with these lengths, and blocks of 16 MB of zeros behind it."""
    raw = bytearray(patched(DIM, f"{len(dims) + 1}h", len(dims), *dims)[:352])
    struct.pack_into("<2h", raw, DATATYPE, *kind)
    return gzip.compress(bytes(raw)) + gzip.compress(bytes(2**24), 9) * blocks


REFUSED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "huge": ("x.nii", lambda: patched(DIM, "4h", 3, *[32767] * 3), "32767×32767×32767 values"),
    "huge, packed": ("x.nii.gz", lambda: zeros((32767,) * 3, 9), "bytes cannot hold them"),
    "negative": ("x.nii", lambda: patched(DIM, "4h", 3, -3, 4, 5), "the shape -3×4×5"),
    "eight axes": ("x.nii", lambda: patched(DIM, "h", 8), "cannot be read as NIfTI"),
    "no axis": ("x.nii", lambda: patched(DIM, "h", 0), "has the shape 0"),
    "too many volumes": ("x.nii", lambda: patched(DIM, "5h", 4, 3, 4, 5, 9000), "cannot hold them"),
    "bomb": (
        "x.nii.gz",
        lambda: zeros((1000, 1000, 1000), 60),
        "1000×1000×1000 values, 3.7 GiB as float32; at most 2 GiB",
    ),
    "zero affine": ("x.nii", lambda: patched(SROW, "12f", *[0] * 12), "voxels of 0 × 0 × 0 mm"),
    "NaN affine": ("x.nii", lambda: patched(SROW, "4f", *[np.nan] * 4), "voxels of nan × nan"),
    "NaN shift": ("x.nii", lambda: patched(SROW + 12, "f", np.nan), "no finite numbers"),
    "flat affine": (
        "x.nii",
        lambda: patched(SROW, "12f", 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0),
        "axes nearly coincide",
    ),
    "huge voxels": ("x.nii", lambda: patched(SROW, "f", 900), "voxels of 900 × 1.5 × 3 mm"),
    "shift of infinity": ("x.nii", lambda: patched(SLOPE, "2f", 1, np.inf), "cannot be read"),
    "unknown unit": (
        "x.nii",
        lambda: patched(UNITS, "B", 5),
        "a unit of length of the code 5; known: meter",
    ),
    "unknown type": ("x.nii", lambda: patched(DATATYPE, "h", 77), "cannot be read as NIfTI"),
    "offset beyond the file": ("x.nii", lambda: patched(OFFSET, "f", 1e6), "cannot be read"),
    "offset of NaN": ("x.nii", lambda: patched(OFFSET, "f", np.nan), "cannot be read as NIfTI"),
    "truncated": ("x.nii", lambda: content()[:-9], "bytes cannot hold them|cannot be read"),
    "truncated gzip": ("x.nii.gz", lambda: gzip.compress(content())[:-30], "cannot be read"),
    "header alone": ("x.nii", lambda: content()[:200], "cannot be read as NIfTI"),
    "not packed": ("x.nii.gz", content, "cannot be read as NIfTI"),
    "packed": ("x.nii", lambda: gzip.compress(content()), "cannot be read as NIfTI"),
    "packed twice": (
        "x.nii.gz",
        lambda: gzip.compress(gzip.compress(content())),
        "cannot be read as NIfTI",
    ),
    "empty": ("x.nii", lambda: b"", "cannot be read as NIfTI: Empty file"),
    "header without its image": ("x.hdr", lambda: content()[:348], "cannot be read as NIfTI"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If it fails, one bad file would end a run in a traceback, or be read wrongly in silence."""
    name, make, expected = REFUSED[case]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(CohortError, match=expected) as caught:
        read(path)
    assert str(caught.value).startswith(f"The image of 's1', {path}")
    assert "\n" not in str(caught.value)
    assert caplog.text == ""


LIMITED = """
import resource, sys
from pathlib import Path
from baselines.cohorts.files.formats.reading import read_scan
from baselines.cohorts.files.formats.scan import Source
from benchmark.errors import CohortError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def read(path):
    try:
        read_scan(Source(Path(path), "image of 's1'"))
        return "read"
    except CohortError as error:
        return str(error)

before = peak()
sys.stdout.write(f"{read(sys.argv[1])}\\n{peak() - before}\\n")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
sys.stdout.write(read(sys.argv[1]))
"""


def test_a_small_file_takes_no_more_memory_than_its_image(tmp_path: Path) -> None:
    """If it fails, one small file would take the machine down, and other people's work with it."""
    # 0.2 MB that unfold to 160 MB of float64, hence 80 MB of float32.
    path = tmp_path / "x.nii.gz"
    path.write_bytes(zeros((400, 400, 125), 10, (64, 64)))
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr == ""
    whole, grown, limited = process.stdout.splitlines()
    assert whole == "read"
    assert int(grown) < 80 + 120  # MB
    assert limited == f"The image of 's1', {path}, needs more memory than there is."


def test_what_is_no_file_does_not_hang(tmp_path: Path) -> None:
    """If it fails, a named pipe in a folder would stop the program for ever."""
    pipe, folder = tmp_path / "pipe.nii.gz", tmp_path / "folder.nii.gz"
    os.mkfifo(pipe)
    folder.mkdir()
    loop = tmp_path / "loop.nii"
    loop.symlink_to(loop)
    link = tmp_path / "link.nii"
    link.symlink_to(tmp_path / "annex" / "key")
    for path, expected in (
        (pipe, "is neither a file nor a folder"),
        (Path("/dev/zero"), "is neither a file nor a folder"),
        (folder, "is a folder without a DICOM file"),
        (tmp_path / "gone.nii", "is missing"),
        (pipe / "gone.nii", "is missing"),
        (link, "is missing: it is a link to nothing"),
        (loop, "cannot be read: Too many levels"),
        (tmp_path / ("long" * 99), "cannot be read: File name too long"),
        (tmp_path / "zero\0byte.nii", "cannot be read: embedded null"),
    ):
        with pytest.raises(CohortError, match=expected):
            read(path)


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a folder of another user would end in a traceback."""
    path = tmp_path / "x.nii"
    path.write_bytes(content())

    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    # The tests may run as root, to whom nothing is denied.
    monkeypatch.setattr(Path, "stat", deny)
    with pytest.raises(CohortError, match=r"x\.nii, cannot be read: Permission denied"):
        read(path)


@pytest.mark.parametrize(
    "raw",
    [
        content() + b"behind the end",
        patched(SLOPE, "2f", np.nan, 5),
        patched(SLOPE, "2f", 0, 5),
        patched(SLOPE, "2f", np.inf, 5),
        patched(UNITS, "B", 0),
        bytes(nibabel.Nifti2Image(VOXELS, AFFINE).to_bytes()),
        bytes(
            nibabel.Nifti1Image(
                VOXELS, AFFINE, nibabel.Nifti1Image(VOXELS, AFFINE).header.as_byteswapped()
            ).to_bytes()
        ),
    ],
    ids=[
        "trailing bytes",
        "slope NaN",
        "slope 0",
        "slope of infinity",
        "unit unknown",
        "NIfTI-2",
        "byte order",
    ],
)
def test_harmless_oddities_are_read(raw: bytes, tmp_path: Path) -> None:
    """If it fails, files that every viewer opens would be refused, or their values changed."""
    path = tmp_path / "x.nii"
    path.write_bytes(raw)
    scan = read(path)
    assert scan.affine is not None
    np.testing.assert_array_equal(scan.voxels, VOXELS[::-1])
    np.testing.assert_allclose(scan.affine @ [2, 0, 0, 1], AFFINE @ [0, 0, 0, 1])


def test_labels_of_large_atlases_stay_apart(tmp_path: Path) -> None:
    """If it fails, neighbouring regions of the Allen atlas would run into each other."""
    labels = np.full(VOXELS.shape, 614454277, dtype=np.int32)
    labels[1] += 1
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([2, 1.5, 3, 1])), tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "x.nii.gz").voxels, labels)


def test_an_array_by_name_is_for_files_with_arrays(tmp_path: Path) -> None:
    """If it fails, a name in the cohort file would be passed over in silence."""
    path = tmp_path / "x.nii"
    path.write_bytes(content())
    with pytest.raises(CohortError, match=r"has no array 'left'; only an \.npz"):
        read_scan(Source(path, "image of 's1'", array="left"))


@pytest.mark.parametrize("name", ["X.NII", "X.NII.GZ"])
def test_endings_may_be_in_capitals(name: str, tmp_path: Path) -> None:
    """If it fails, files from Windows would be of no known format."""
    raw = content()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.lower().endswith("gz") else raw)
    np.testing.assert_array_equal(read(tmp_path / name).voxels, VOXELS[::-1])


def test_a_pair_of_files_is_read(tmp_path: Path) -> None:
    """If it fails, studies in the older form of two files could not be read."""
    nibabel.save(nibabel.Nifti1Pair(VOXELS, AFFINE), tmp_path / "x.img")
    for name in ("x.img", "x.hdr"):
        np.testing.assert_array_equal(read(tmp_path / name).voxels, VOXELS[::-1])


@pytest.mark.parametrize("kind", ["no codes", "Analyze"])
def test_what_does_not_say_its_left_is_given_none(kind: str, tmp_path: Path) -> None:
    """If it fails, left and right would be guessed."""
    path = tmp_path / "x.img"
    if kind == "Analyze":
        nibabel.save(nibabel.AnalyzeImage(VOXELS, np.diag([2, 1.5, 3, 1])), path)
    else:
        path = tmp_path / "x.nii"
        raw = bytearray(content())
        struct.pack_into("<2h", raw, QFORM, 0, 0)
        path.write_bytes(raw)
    scan = read(path)
    assert (scan.affine, scan.axes) == (None, None)
    assert scan.spacing == pytest.approx((2, 1.5, 3))
    np.testing.assert_array_equal(scan.voxels, VOXELS)


def test_affines_that_mirror_each_other_are_refused(tmp_path: Path) -> None:
    """If it fails, a header whose sform and qform disagree about left is read by one of them."""
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.set_sform(AFFINE, 2)
    image.set_qform(np.diag([-1.0, 1, 1, 1]) @ AFFINE, 1)
    nibabel.save(image, tmp_path / "x.nii.gz")
    with pytest.raises(CohortError, match=r"left and right: its sform .* LAS, but its qform RAS"):
        read(tmp_path / "x.nii.gz")
    # That of a template may be turned and stretched.
    turned = np.array([[0, -1.1, 0, 0], [1.2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) @ AFFINE
    image.set_qform(turned, 1)
    nibabel.save(image, tmp_path / "y.nii.gz")
    assert np.allclose(read(tmp_path / "y.nii.gz").voxels, VOXELS[::-1])


def test_a_flipped_bit_is_no_voxel(tmp_path: Path) -> None:
    """If it fails, a file that was damaged on its way is read with other values, and no word."""
    noise = np.random.default_rng(0).random((24, 24, 24)).astype(np.float32)
    packed = bytearray(gzip.compress(nibabel.Nifti1Image(noise, AFFINE).to_bytes()))
    packed[20_000] ^= 1
    (tmp_path / "x.nii.gz").write_bytes(packed)
    with pytest.raises(CohortError, match=r"image of 's1', .*x.nii.gz, .*CRC check failed"):
        read(tmp_path / "x.nii.gz")
