"""Arrays are read row by row, and nothing in them runs code or exhausts memory."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from baselines.cohorts.files.formats import arrays
from baselines.cohorts.files.formats.reading import ScanReader, read_scan
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError

IMAGES = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
VOLUMES = np.arange(4 * 3 * 5 * 6, dtype=np.float32).reshape(4, 3, 5, 6)


def read(path: Path, **choice: Any) -> Scan:
    return read_scan(Source(path, "image of 's1'", **choice))


def save(path: Path, values: npt.NDArray[Any]) -> Path:
    if path.suffix == ".npz":
        np.savez_compressed(path, images=values)
    else:
        np.save(path, values)
    return path


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("values", [IMAGES, VOLUMES], ids=["images", "volumes"])
def test_an_index_chooses_an_image(values: npt.NDArray[Any], ending: str, tmp_path: Path) -> None:
    """If it fails, subjects would get each other's images."""
    path = save(tmp_path / f"group1_masked_64_4.{ending}", values)
    for index in (0, 3):
        scan = read(path, index=index)
        assert np.array_equal(scan.voxels, values[index])
        assert (scan.affine, scan.spacing, scan.axes) == (None, None, None)


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_a_file_may_hold_one_image(ending: str, tmp_path: Path) -> None:
    """If it fails, a file for each subject would be cut into rows."""
    for number, values in enumerate((IMAGES[0], VOLUMES[0])):
        path = save(tmp_path / f"{number}.{ending}", values)
        assert np.array_equal(read(path).voxels, values)


def test_a_channel_of_one_is_dropped(tmp_path: Path) -> None:
    """If it fails, arrays as networks take them would be refused or read as one slice thick."""
    for number, (values, expected) in enumerate(
        (
            (IMAGES[:, None], IMAGES),
            (IMAGES[..., None], IMAGES),
            (VOLUMES[:, None], VOLUMES),
            (VOLUMES[..., None], VOLUMES),
        )
    ):
        path = save(tmp_path / f"{number}.npy", values)
        assert np.array_equal(read(path, index=2).voxels, expected[2])
    assert np.array_equal(read(save(tmp_path / "x.npy", IMAGES[:1])).voxels, IMAGES[0])


@pytest.mark.parametrize("kind", ["?", "u1", ">i2", "<i8", "f2", ">f4", "f8"])
def test_types_keep_their_values(kind: str, tmp_path: Path) -> None:
    """If it fails, arrays of another machine, or in Fortran's order, would be noise."""
    values = np.asfortranarray((IMAGES % 120).astype(kind))
    for ending in ("npy", "npz"):
        scan = read(save(tmp_path / f"x.{ending}", values), index=1)
        assert np.array_equal(scan.voxels, values[1])
        assert scan.voxels.dtype.isnative


def test_an_array_is_chosen_by_name(tmp_path: Path) -> None:
    """If it fails, masks beside images in one file could not be read."""
    np.savez(tmp_path / "x.npz", images=IMAGES, masks=IMAGES > 60)
    assert np.array_equal(read(tmp_path / "x.npz", array="masks", index=2).voxels, IMAGES[2] > 60)


def test_an_archive_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a cohort of N images would take N times as long to read as its file."""
    unpacked = []
    original = np.lib.format.read_array

    def count(stream: Any, **settings: Any) -> npt.NDArray[Any]:
        unpacked.append(stream)
        return original(stream, **settings)

    monkeypatch.setattr(np.lib.format, "read_array", count)
    path = save(tmp_path / "x.npz", IMAGES)
    with ScanReader() as reader:
        for index in range(4):
            reader.read(Source(path, "image of 's1'", index=index))
    assert len(unpacked) == 1


def test_archives_that_do_not_fit_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, reading would fill the memory, or unpack each file again for every row."""
    monkeypatch.setattr(arrays, "LARGEST_IMAGE", IMAGES.nbytes + 9)
    first, second = save(tmp_path / "1.npz", IMAGES), save(tmp_path / "2.npz", IMAGES)
    with ScanReader() as reader:
        for path, index in ((first, 0), (second, 0), (second, 1)):
            reader.read(Source(path, "image of 's1'", index=index))
        with pytest.raises(CohortError, match="save them as"):
            reader.read(Source(first, "image of 's1'", index=1))


class _Attack:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (os.mkdir, ("attacked",))


def _npy(values: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def _header(shape: object, kind: str = "'<f4'") -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


def _zip(content: bytes, name: str = "images.npy", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _two() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, images=IMAGES, masks=IMAGES)
    return stream.getvalue()


OBJECTS = np.array([[_Attack()]], dtype=object)
REFUSED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "objects": ("x.npy", lambda: _npy(OBJECTS), "Python objects, which are never unpacked"),
    "packed objects": ("x.npz", lambda: _zip(_npy(OBJECTS)), "Python objects"),
    "complex": ("x.npy", lambda: _npy(IMAGES * 1j), "holds complex numbers"),
    "records": ("x.npy", lambda: _npy(np.zeros(3, [("a", "f4")])), "holds records"),
    "records in Greek": (
        "x.npy",
        lambda: _header((3,), "[('α', '<f4')]").replace(b"Y\x01", b"Y\x03", 1),
        "holds records",
    ),
    "text": ("x.npy", lambda: _npy(np.array([["a"]])), "holds text"),
    "dates": ("x.npy", lambda: _npy(np.zeros((2, 2), "M8[s]")), "holds datetime64"),
    "one number": ("x.npy", lambda: _npy(np.float32(3) * np.ones(())), "of nothing"),
    "a row": ("x.npy", lambda: _npy(np.ones(9)), r"the shape 9, but an image \[H, W\]"),
    "many images": (
        "x.npy",
        lambda: _npy(np.ones((2, 3, 4, 5))),
        r"2×3×4×5, but an image .* say which image",
    ),
    "nothing": ("x.npy", lambda: _npy(np.ones((0, 3))), "has the shape 0×3"),
    "huge": ("x.npy", lambda: _header((10**6, 10**6)), "1000000×1000000 values in its header"),
    "beyond counting": ("x.npy", lambda: _header((10**30, 2)), "cannot hold them"),
    "negative": ("x.npy", lambda: _header((-3, 4)), "has the shape -3×4"),
    "huge, packed": ("x.npz", lambda: _zip(_header((10**6, 10**6))), "cannot hold them"),
    "a little more": ("x.npz", lambda: _zip(_header((100, 100))), "cannot hold them"),
    "nested header": ("x.npy", lambda: _header("(" * 9000), "cannot be read as an array"),
    "code in the header": (
        "x.npy",
        lambda: _header("__import__('os').mkdir('attacked')"),
        "cannot be read as an array",
    ),
    "truncated": ("x.npy", lambda: _npy(IMAGES)[:-9], "cannot hold them"),
    "truncated archive": ("x.npz", lambda: _zip(_npy(IMAGES))[:-40], "cannot be read as an array"),
    "pickle": ("x.npy", lambda: b"\x80\x04cos\nmkdir\n.", "no array of NumPy"),
    "empty": ("x.npy", lambda: b"", "no array of NumPy"),
    "archive as array": ("x.npy", lambda: _zip(_npy(IMAGES)), "no array of NumPy"),
    "array as archive": ("x.npz", lambda: _npy(IMAGES), "File is not a zip file"),
    "no array inside": ("x.npz", lambda: _zip(b"text", "notes.txt"), "holds 0 arrays"),
    "two arrays": ("x.npz", _two, r"holds 2 arrays \('?images'?, '?masks'?\); name one"),
    "other packing": (
        "x.npz",
        lambda: _zip(_npy(IMAGES), method=zipfile.ZIP_BZIP2),
        "np.savez_compressed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a file could run code, fill the memory, or end in a traceback."""
    monkeypatch.chdir(tmp_path)
    name, make, expected = REFUSED[case]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(CohortError, match=expected) as caught:
        read(path)
    assert str(caught.value).startswith(f"The image of 's1', {path}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "attacked").exists()


def test_a_small_archive_is_not_unpacked_into_a_large_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, one small file would fill the memory."""
    monkeypatch.setattr(arrays, "LARGEST_ARRAY", 2**23)
    path = save(tmp_path / "x.npz", np.zeros((9, 1024, 1024), np.uint8))
    assert path.stat().st_size < 2**14
    with pytest.raises(CohortError, match=r"unpacks to 0\.0 GiB; .* save the array as \.npy"):
        read(path, index=0)


def test_an_index_or_a_name_that_is_not_there(tmp_path: Path) -> None:
    """If it fails, a row too many in the table would end in a traceback."""
    path = save(tmp_path / "x.npy", IMAGES)
    with pytest.raises(CohortError, match="holds 4 images, counted from 0"):
        read(path, index=4)
    with pytest.raises(CohortError, match=r"the shape 5×6, but \[N, H, W\]"):
        read(save(tmp_path / "flat.npy", IMAGES[0]), index=0)
    with pytest.raises(CohortError, match="has no array 'masks' by name"):
        read(path, array="masks")
    with pytest.raises(CohortError, match="has no array 'masks'; it has"):
        read(save(tmp_path / "x.npz", IMAGES), array="masks", index=0)
