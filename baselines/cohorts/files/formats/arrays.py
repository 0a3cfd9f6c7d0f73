"""NumPy arrays: ``.npy``, and ``.npz`` with one array or a named one.

A row is the whole array, or ``array[index]`` where the cohort file gives an index. An axis of
length 1 that comes first or last in a row of three axes or more is a channel and dropped; what is
left is an image [H, W] or a volume [D, H, W].
"""

from __future__ import annotations

import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.formats.limits import (
    LARGEST_ARRAY,
    LARGEST_IMAGE,
    check_content,
    check_image_size,
    check_index,
    explain,
    format_shape,
)
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError
from benchmark.records.toml_file import list_some

ARRAY_ENDINGS = (".npy", ".npz")

Header = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of an array."""

_Key = tuple[Path, str]


class ArrayReader:
    """Reads arrays, of which a ``.npz`` stays unpacked in case another row of it is read.

    Arrays that are kept take ``LARGEST_IMAGE`` bytes together at most.
    """

    def __init__(self) -> None:
        self._arrays: OrderedDict[_Key, npt.NDArray[Any]] = OrderedDict()
        self._dropped: set[_Key] = set()

    def read(self, source: Source) -> Scan:
        """Return an array, or one row of it, as stored.

        A ``.npy`` is mapped into memory, so that only the row is read.

        Raises:
            CohortError: If it is unreadable, holds no real numbers, or no image at that index.
        """
        try:
            with warnings.catch_warnings():
                # About headers that Python 2 wrote.
                warnings.simplefilter("ignore")
                if source.path.name.lower().endswith(".npz"):
                    array = self._open_member(source)
                else:
                    array = _open_file(source)
        except (CohortError, MemoryError):
            raise
        except OSError as error:
            raise CohortError(f"The {source} cannot be read: {explain(error)}.") from error
        # A damaged archive or header raises anything, down to SyntaxError and zlib.error.
        except Exception as error:
            raise CohortError(
                f"The {source} cannot be read as an array: {explain(error)}."
            ) from error
        return Scan(source, _take_row(source, array))

    def _open_member(self, source: Source) -> npt.NDArray[Any]:
        """Return the array of an archive, unpacked."""
        with zipfile.ZipFile(source.path) as archive:
            member, name = _find_member(source, archive)
            key = (source.path, name)
            if key in self._dropped:
                raise CohortError(
                    f"The {source} belongs to arrays that are all needed and unpack to more than "
                    f"{LARGEST_IMAGE / 2**30:.0f} GiB together; save them as .npy, of which only "
                    "the rows that are needed are read."
                )
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
            array = _unpack(source, archive, member)
        self._arrays[key] = array
        while sum(kept.nbytes for kept in self._arrays.values()) > LARGEST_IMAGE:
            self._dropped.add(self._arrays.popitem(last=False)[0])
        return array


def list_headers(path: Path) -> Iterator[tuple[str | None, Header]]:
    """Yield name and header of each array of a file; a ``.npy`` has no name.

    Raises:
        ValueError: If a header is damaged, or of a version that no array of numbers needs.
        OSError: If the file cannot be read.
        zipfile.BadZipFile: If an ``.npz`` is none.
    """
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            yield None, _read_header(stream)
        return
    with zipfile.ZipFile(path) as archive:
        for name, member in _list_members(archive).items():
            with archive.open(member) as stream:
                yield name, _read_header(stream)


def _open_file(source: Source) -> npt.NDArray[Any]:
    if source.array is not None:
        raise CohortError(f"The {source} is a .npy, so it has no array {source.array!r} by name.")
    with source.path.open("rb") as stream:
        shape, dtype = _check_header(source, stream)
        size = source.path.stat().st_size - stream.tell()
    check_content(source, shape, dtype.itemsize, size, False)
    return np.lib.format.open_memmap(source.path, mode="r")


def _list_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {
        member.filename.removesuffix(".npy"): member
        for member in archive.infolist()
        if member.filename.endswith(".npy")
    }


def _find_member(source: Source, archive: zipfile.ZipFile) -> tuple[zipfile.ZipInfo, str]:
    """Return the part of an archive that holds the array asked for, and its name."""
    members, name = _list_members(archive), source.array
    if name is None and len(members) != 1:
        raise CohortError(
            f"The {source} holds {len(members)} arrays ({list_some(members)}); name one as "
            '{ path = "…", array = "…" }.'
        )
    name = next(iter(members)) if name is None else name
    if name not in members:
        raise CohortError(f"The {source} has no array {name!r}; it has {list_some(members)}.")
    return members[name], name


def _unpack(source: Source, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Return an array of an archive, after making sure that it fits into memory."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CohortError(
            f"The {source} packs {member.filename!r} as np.savez does not; save it again with "
            "np.savez_compressed."
        )
    with archive.open(member) as stream:
        shape, dtype = _check_header(source, stream)
    is_deflated = member.compress_type == zipfile.ZIP_DEFLATED
    check_content(source, shape, dtype.itemsize, member.compress_size, is_deflated)
    check_content(source, shape, dtype.itemsize, member.file_size, False)
    if member.file_size > LARGEST_ARRAY:
        raise CohortError(
            f"The {source} unpacks to {member.file_size / 2**30:.1f} GiB; at most "
            f"{LARGEST_ARRAY / 2**30:.0f} GiB are unpacked, so save the array as .npy, of "
            "which only the rows that are needed are read."
        )
    with archive.open(member) as stream:
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _read_header(stream: IO[bytes]) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError as error:
        raise ValueError("it is no array of NumPy; save it with np.save or np.savez") from error
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:  # only names of fields outside of Latin-1 need version 3
        raise ValueError("it holds records, but an array of numbers was expected")
    return tuple(int(length) for length in shape), dtype


def _check_header(source: Source, stream: IO[bytes]) -> Header:
    """Return shape and type of an array, or refuse a type that holds no real numbers."""
    shape, dtype = _read_header(stream)
    if dtype.hasobject:
        raise CohortError(
            f"The {source} holds Python objects, which are never unpacked since they can run code; "
            "save an array of numbers."
        )
    if dtype.kind not in "biuf":
        kind = {"c": "complex numbers", "V": "records", "U": "text", "S": "text"}.get(dtype.kind)
        raise CohortError(
            f"The {source} holds {kind or dtype}, but an array of real numbers was expected."
        )
    return shape, dtype


def _take_row(source: Source, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the image or volume of a row, in memory and in this machine's byte order."""
    row, written = array, format_shape(array.shape)
    if source.index is not None:
        if array.ndim < 3:
            raise CohortError(
                f"The {source} has the shape {written}, but [N, H, W] or [N, D, H, W] was expected "
                "where an index is given."
            )
        row = array[check_index(source, len(array), "images")]
    if row.ndim > 2 and 1 in (row.shape[0], row.shape[-1]):
        row = row[0] if row.shape[0] == 1 else row[..., 0]
    if row.ndim not in (2, 3):
        hint = '; say which image as { path = "…", index = 0 }' if source.index is None else ""
        raise CohortError(
            f"The {source} has the shape {written}, but an image [H, W] or a volume [D, H, W] was "
            f"expected{hint}."
        )
    check_image_size(source, row.shape)
    dtype = row.dtype.newbyteorder("=")
    if dtype.kind != "f":
        return np.array(row, dtype=dtype)
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite
        return np.array(row, dtype=np.float32)
