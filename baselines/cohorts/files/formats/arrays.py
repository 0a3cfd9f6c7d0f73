"""NumPy arrays: ``.npy``, and ``.npz`` with one array or a named one.

A row is the whole array, or ``array[index]`` where the cohort file gives an index. An axis of
length 1 that comes first or last in a row of three axes or more is a channel and dropped; what is
left is an image [H, W] or a volume [D, H, W].
"""

from __future__ import annotations

import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.formats.limits import (
    LARGEST_ARRAY,
    LARGEST_IMAGE,
    check_content,
    check_image_size,
    explain,
    format_shape,
)
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError
from benchmark.records.toml_file import list_some

ARRAY_ENDINGS = (".npy", ".npz")

_Key = tuple[Path, int, int, str]


class _Cache:
    """Arrays that were unpacked last, so that a file with a row for each subject is unpacked once.

    They take ``LARGEST_IMAGE`` bytes together at most.
    """

    def __init__(self) -> None:
        self._arrays: OrderedDict[_Key, npt.NDArray[Any]] = OrderedDict()
        self._dropped: set[_Key] = set()

    def get(self, source: Source, key: _Key) -> npt.NDArray[Any] | None:
        """Return the array of a key, which becomes the last to go, or None."""
        if key in self._dropped:
            raise CohortError(
                f"The {source} belongs to arrays that are all needed and unpack to more than "
                f"{LARGEST_IMAGE / 2**30:.0f} GiB together; save them as .npy, of which only the "
                "rows that are needed are read."
            )
        if key in self._arrays:
            self._arrays.move_to_end(key)
        return self._arrays.get(key)

    def keep(self, key: _Key, array: npt.NDArray[Any]) -> None:
        """Keep an array, and let go of those that were used longest ago."""
        self._arrays[key] = array
        while sum(kept.nbytes for kept in self._arrays.values()) > LARGEST_IMAGE:
            self._dropped.add(self._arrays.popitem(last=False)[0])

    def clear(self) -> None:
        """Let go of all arrays."""
        self._arrays.clear()
        self._dropped.clear()


_cache = _Cache()


def release_arrays() -> None:
    """Free the memory of arrays that are kept in case another row of theirs is read."""
    _cache.clear()


def read_array(source: Source) -> Scan:
    """Return an array, or one row of it, as stored.

    A ``.npy`` is mapped into memory, so that only the row is read; an ``.npz`` is unpacked once.

    Raises:
        CohortError: If it is unreadable, holds no real numbers, or no image at that index.
    """
    try:
        with warnings.catch_warnings():
            # About headers that Python 2 wrote.
            warnings.simplefilter("ignore")
            if source.path.name.lower().endswith(".npz"):
                array = _open_member(source)
            else:
                array = _open_file(source)
    except (CohortError, MemoryError):
        raise
    except OSError as error:
        raise CohortError(f"The {source} cannot be read: {explain(error)}.") from error
    # A damaged archive or header raises anything, down to SyntaxError and zlib.error.
    except Exception as error:
        raise CohortError(f"The {source} cannot be read as an array: {explain(error)}.") from error
    return Scan(source, _take_row(source, array))


def _open_file(source: Source) -> npt.NDArray[Any]:
    if source.array is not None:
        raise CohortError(f"The {source} is a .npy, so it has no array {source.array!r} by name.")
    with source.path.open("rb") as stream:
        shape, _, dtype = _read_header(source, stream)
        size = source.path.stat().st_size - stream.tell()
    check_content(source, shape, dtype.itemsize, size, False)
    return np.lib.format.open_memmap(source.path, mode="r")


def _open_member(source: Source) -> npt.NDArray[Any]:
    """Return the array of an archive, unpacked."""
    status = source.path.stat()
    with zipfile.ZipFile(source.path) as archive:
        members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        name = source.array
        if name is None and len(members) != 1:
            raise CohortError(
                f"The {source} holds {len(members)} arrays ({list_some(members)}); name one as "
                '{ path = "…", array = "…" }.'
            )
        name = next(iter(members)) if name is None else name
        if name not in members:
            raise CohortError(f"The {source} has no array {name!r}; it has {list_some(members)}.")
        key = (source.path, status.st_size, status.st_mtime_ns, name)
        if (kept := _cache.get(source, key)) is not None:
            return kept
        member = members[name]
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CohortError(
                f"The {source} packs {name!r} as np.savez does not; save it again with "
                "np.savez_compressed."
            )
        with archive.open(member) as stream:
            shape, _, dtype = _read_header(source, stream)
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
    _cache.keep(key, array)
    return array


def _read_header(source: Source, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of an array, or refuse a type that holds no real numbers."""
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError as error:
        raise CohortError(
            f"The {source} holds no array of NumPy; save it with np.save or np.savez."
        ) from error
    if version not in ((1, 0), (2, 0)):
        # Only names of fields outside of Latin-1 need version 3.
        raise CohortError(f"The {source} holds records, but an array of numbers was expected.")
    if version == (1, 0):
        shape, order, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, order, dtype = np.lib.format.read_array_header_2_0(stream)
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
    return shape, order, dtype


def _take_row(source: Source, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the image or volume of a row, in memory and in this machine's byte order."""
    row, written = array, format_shape(array.shape)
    if source.index is not None:
        if array.ndim < 3:
            raise CohortError(
                f"The {source} has the shape {written}, but [N, H, W] or [N, D, H, W] was expected "
                "where an index is given."
            )
        if source.index >= len(array):
            raise CohortError(f"The {source} holds {len(array)} images, counted from 0.")
        row = array[source.index]
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
