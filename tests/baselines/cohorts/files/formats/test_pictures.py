"""Pictures keep every grey value, and nothing of colour, paper or viewers slips in."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageSequence

from baselines.cohorts.files.formats.reading import ScanReader, read_scan
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError

RNG = np.random.Generator(np.random.PCG64(0))
BYTES = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
WORDS = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
WORDS[0, :2] = 0, 65535


def read(path: Path, **choice: Any) -> Scan:
    return read_scan(Source(path, "image of 's1'", **choice))


def write_tiff(path: Path, values: npt.NDArray[Any], order: str, white_is_zero: bool) -> None:
    """Write a grey TIFF of one strip by its specification, which Pillow cannot write for all."""
    values = values.astype(values.dtype.newbyteorder(order))
    sample = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries = [
        (256, 4, values.shape[1]),
        (257, 4, values.shape[0]),
        (258, 3, 8 * values.dtype.itemsize),
        (259, 3, 1),
        (262, 3, 0 if white_is_zero else 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, values.shape[0]),
        (279, 4, values.nbytes),
        (339, 3, sample),
    ]
    raw = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, 8 + values.nbytes)
    raw += values.tobytes() + struct.pack(order + "H", len(entries))
    for tag, kind, value in entries:
        raw += struct.pack(order + "HHI", tag, kind, 1)
        raw += struct.pack(order + ("HH" if kind == 3 else "I"), *([value, 0][: 5 - kind]))
    path.write_bytes(raw + bytes(4))


def write_png(path: Path, rows: list[bytes], width: int, bits: int, colour: int) -> None:
    """Write a PNG by its specification, of kinds that Pillow cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">2I5B", width, len(rows), bits, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "TIFF"])
def test_bytes_are_exact(ending: str, tmp_path: Path) -> None:
    """If it fails, the simplest pictures would be read with other values."""
    path = tmp_path / f"image.{ending}"
    Image.fromarray(BYTES).save(path, dpi=(300, 300))
    scan = read(path)
    assert np.array_equal(scan.voxels, BYTES)
    # Dots per inch are about paper.
    assert (scan.affine, scan.spacing, scan.axes) == (None, None, None)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_exact(ending: str, tmp_path: Path) -> None:
    """If it fails, 16-bit X-rays would be cut to 256 grey values, or clipped to white."""
    path = tmp_path / f"image.{ending}"
    Image.fromarray(WORDS).save(path)
    assert np.array_equal(read(path).voxels, WORDS)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4"])
def test_tiffs_of_every_kind_are_exact(kind: str, order: str, tmp_path: Path) -> None:
    """If it fails, negative or large values of a TIFF would come out as others."""
    dtype = np.dtype(kind)
    values = np.frombuffer(RNG.bytes(54 * dtype.itemsize), dtype).reshape(6, 9)
    if kind == "f4":
        values = RNG.normal(size=(6, 9)).astype(np.float32)
    write_tiff(tmp_path / "image.tif", values, order, white_is_zero=False)
    if (kind, order) == ("u4", ">"):
        # Pillow does not read these; what matters is that they are not read wrongly.
        with pytest.raises(CohortError, match="of a kind that Pillow cannot read"):
            read(tmp_path / "image.tif")
        return
    assert np.array_equal(read(tmp_path / "image.tif").voxels, values)


def test_white_as_zero_is_turned_round(tmp_path: Path) -> None:
    """If it fails, some scanned films would be negatives of the others."""
    for values, top in ((BYTES, 255), (WORDS, 65535)):
        write_tiff(tmp_path / "image.tif", values, "<", white_is_zero=True)
        assert np.array_equal(read(tmp_path / "image.tif").voxels, top - values.astype(int))
    write_tiff(tmp_path / "image.tif", BYTES.astype(np.float32), "<", white_is_zero=True)
    with pytest.raises(CohortError, match="calls white 0"):
        read(tmp_path / "image.tif")


def test_labels_of_few_bits_keep_their_numbers(tmp_path: Path) -> None:
    """If it fails, label 3 of a segmentation in 4 bits would be found as 51."""
    path = tmp_path / "image.png"
    write_png(path, [bytes([0x01, 0x23]), bytes([0x45, 0xF0])], 4, 4, 0)
    assert np.array_equal(read(path).voxels, [[0, 1, 2, 3], [4, 5, 15, 0]])
    write_png(path, [bytes([0b00011011])], 4, 2, 0)
    assert np.array_equal(read(path).voxels, [[0, 1, 2, 3]])
    Image.fromarray(BYTES > 99).save(path)
    assert np.array_equal(read(path).voxels, BYTES > 99)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_the_dress_of_colour_is_grey(mode: str, tmp_path: Path) -> None:
    """If it fails, pictures that a viewer saved in colour would be refused though they are grey."""
    Image.fromarray(BYTES).convert(mode).save(tmp_path / "image.png")
    assert np.array_equal(read(tmp_path / "image.png").voxels, BYTES)


def test_a_jpeg_is_read_as_it_decodes(tmp_path: Path) -> None:
    """If it fails, JPEGs would be refused, or their grey be changed by way of colour."""
    path, colour = tmp_path / "image.jpg", tmp_path / "colour.jpeg"
    Image.fromarray(BYTES).save(path)
    Image.fromarray(BYTES).convert("RGB").save(colour)
    with Image.open(path) as image:
        assert np.array_equal(read(path).voxels, np.asarray(image))
    assert read(colour).voxels.dtype == np.uint8


def test_pages_are_chosen_by_number(tmp_path: Path) -> None:
    """If it fails, every subject of a stack would get its first page."""
    path = tmp_path / "stack.tif"
    first, *rest = (Image.fromarray(WORDS // np.uint16(number)) for number in (1, 2, 3))
    first.save(path, save_all=True, append_images=rest)
    with Image.open(path) as image:
        assert len(list(ImageSequence.Iterator(image))) == 3
    with ScanReader() as reader:
        for index, divisor in ((1, 2), (0, 1), (2, 3), (1, 2)):
            page = reader.read(Source(path, "image of 's1'", index=index))
            assert np.array_equal(page.voxels, WORDS // divisor)
    with pytest.raises(CohortError, match="has 3 pages, but one picture"):
        read(path)
    with pytest.raises(CohortError, match="holds 3 pages, counted from 0"):
        read(path, index=3)


def _coloured(path: Path) -> None:
    colours = np.stack([BYTES] * 3, axis=-1)
    colours[2, 3] = 10, 20, 250
    Image.fromarray(colours).save(path)


def _transparent(path: Path) -> None:
    alpha = np.full_like(BYTES, 255)
    alpha[0, :4] = 254
    Image.merge("LA", [Image.fromarray(BYTES), Image.fromarray(alpha)]).save(path)


def _palette(path: Path) -> None:
    image = Image.fromarray(BYTES % 3, mode=None).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    image.save(path)


def _deep_colour(path: Path) -> None:
    write_png(path, [WORDS[:3, 0].astype(">u2").tobytes()], 1, 16, 2)


def _deep_alpha(path: Path) -> None:
    write_png(path, [WORDS[:2, 0].astype(">u2").tobytes()], 1, 16, 4)


def _turned(path: Path) -> None:
    image = Image.fromarray(BYTES)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


def _bomb(path: Path) -> None:
    write_png(path, [b""] * 20_000, 20_000, 8, 0)


def _page(path: Path) -> None:
    Image.fromarray(BYTES).save(path)
    path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 3])


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "colour": ("x.png", _coloured, "differ in 1 of 54 pixels, by up to 240"),
    "transparency": ("x.png", _transparent, "has 4 transparent pixels"),
    "one grey is transparent": (
        "x.png",
        lambda path: Image.fromarray(BYTES).save(path, transparency=int(BYTES[0, 0])),
        "transparent pixels",
    ),
    "one deep grey is transparent": (
        "x.png",
        lambda path: Image.fromarray(WORDS).save(path, transparency=65535),
        "has 1 transparent pixels",
    ),
    "palette": ("x.png", _palette, "labels as numbers without a palette"),
    "deep colour": ("x.png", _deep_colour, "save it as 16-bit grey"),
    "deep transparency": ("x.png", _deep_alpha, "save it as 16-bit grey"),
    "CMYK": (
        "x.jpg",
        lambda path: Image.new("CMYK", (3, 3)).save(path),
        "picture of the mode CMYK",
    ),
    "turned JPEG": ("x.jpg", _turned, "EXIF orientation 6"),
    "turned TIFF": ("x.tif", _turned, "EXIF orientation 6"),
    "turned PNG": ("x.png", _turned, "EXIF orientation 6"),
    "bomb": ("x.png", _bomb, "more pixels than are read for one picture"),
    "truncated PNG": ("x.png", _page, "cannot be read as a picture"),
    "truncated JPEG": ("x.jpg", _page, "cannot be read as a picture"),
    "truncated TIFF": ("x.tif", _page, "cannot be read as a picture|is no PNG"),
    "text": ("x.png", lambda path: path.write_bytes(b"text"), "is no PNG"),
    "empty": ("x.jpg", lambda path: path.touch(), "is no PNG"),
    "another format": (
        "x.png",
        lambda path: Image.fromarray(BYTES).save(path, format="GIF"),
        "is no PNG",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    """If it fails, a picture would be read as what it is not, or end in a traceback."""
    name, write, expected = REFUSED[case]
    path = tmp_path / name
    write(path)
    with pytest.raises(CohortError, match=expected) as caught:
        read(path)
    assert str(caught.value).startswith(f"The image of 's1', {path}")
    assert "\n" not in str(caught.value)
