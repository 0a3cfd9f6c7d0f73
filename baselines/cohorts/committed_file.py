"""The compressed file that holds a cohort which ships with the package."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from lzma import LZMAError
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.npyio import NpzFile

from benchmark.arrays import BoolArray, FloatArray, ImageArray
from benchmark.errors import CohortError
from benchmark.records.files import write_atomically

FOLDER = Path(__file__).with_name("data")

Bytes = npt.NDArray[np.uint8]

# The zip format knows no date before 1980; a fixed one makes the same cohort the same bytes.
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_COLUMN, _MASK, _PARTNERS = "participants:", "mask:", "partners:"
_POSES, _NORMALS = "poses", "normals"


@dataclass(frozen=True)
class CommittedArrays:
    """What the file of a cohort holds.

    Attributes:
        images: [N, 1, *S] uint8 grey levels, of which 255 stands for 1.0.
        participants: Table of one row an image, as ``Cohort.participants``.
        masks: Masks by name, each [N, 1, *S] bool.
        partners: Counterfactual images by name, each [N, 1, *S] uint8; often none.
        poses: [N, 4, 4] map from array indices of each image to template millimetres, or None.
    """

    images: Bytes
    participants: pd.DataFrame
    masks: Mapping[str, BoolArray]
    partners: Mapping[str, Bytes] = field(default_factory=dict)
    poses: FloatArray | None = None


def intensities_of(levels: Bytes) -> ImageArray:
    """Return grey levels, of which 255 stands for 1.0, as intensities float32."""
    # In one step: of a cohort, a second array in between would be a fifth of its memory.
    return np.divide(levels, np.float32(255), dtype=np.float32)


def read_arrays(path: Path, cohort: str) -> CommittedArrays:
    """Return what :func:`write_arrays` wrote.

    Args:
        path: Path of the ``.npz`` file.
        cohort: Name of the cohort, for the error.

    Raises:
        CohortError: If there is no such file or it cannot be read.
    """
    with _open_archive(path, cohort) as arrays:
        images = arrays["images"]
        columns = {
            name.removeprefix(_COLUMN): arrays[name].tolist()
            for name in arrays.files
            if name.startswith(_COLUMN)
        }
        masks = {
            # Eight columns to a byte, so a last byte may hold fewer than eight.
            name.removeprefix(_MASK): np.unpackbits(
                arrays[name], axis=-1, count=images.shape[-1]
            ).view(np.bool_)
            for name in arrays.files
            if name.startswith(_MASK)
        }
        partners = {
            name.removeprefix(_PARTNERS): images + arrays[name]
            for name in arrays.files
            if name.startswith(_PARTNERS)
        }
        poses = arrays[_POSES] if _POSES in arrays.files else None
    return CommittedArrays(images, pd.DataFrame(columns), masks, partners, poses)


def write_arrays(
    path: Path, content: CommittedArrays, compression: int = zipfile.ZIP_DEFLATED
) -> None:
    """Write a cohort as a compressed npz, all of it or nothing; the same content is the same bytes.

    Images are stored as they are, masks packed to bits along the last axis, and partners as their
    difference to the images modulo 256, which is 0 nearly everywhere.

    Args:
        path: File to write.
        content: Content of the file.
        compression: ``zipfile.ZIP_LZMA`` needs a fifth less room for noisy images than deflation.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "images": content.images,
        **{f"{_MASK}{name}": np.packbits(mask, axis=-1) for name, mask in content.masks.items()},
    }
    for name, images in content.partners.items():
        arrays[f"{_PARTNERS}{name}"] = images - content.images
    if content.poses is not None:
        arrays[_POSES] = content.poses
    for name in content.participants.columns:
        # Object columns would need pickle, which runs code on loading.
        arrays[f"{_COLUMN}{name}"] = np.array(content.participants[name].tolist())
    _write_archive(path, arrays, compression)


def write_normals(path: Path, normals: Bytes, images: Bytes) -> None:
    """Write a cohort's subjects at normal volume, all of it or nothing.

    They are stored in a file beside the cohort's own, as their difference to the images modulo 256.
    """
    _write_archive(path, {_NORMALS: normals - images}, zipfile.ZIP_LZMA)


def read_normals(path: Path, cohort: str, images: Bytes) -> ImageArray:
    """Return what :func:`write_normals` wrote, as intensities [N, 1, *S] float32.

    Args:
        path: Path of the ``.npz`` file.
        cohort: Name of the cohort, for the error.
        images: [N, 1, *S] grey levels of the cohort.

    Raises:
        CohortError: If there is no such file, or it cannot be read, or it is of other images.
    """
    with _open_archive(path, cohort) as arrays:
        normals: Bytes = images + arrays[_NORMALS]
    return intensities_of(normals)


@contextmanager
def _open_archive(path: Path, cohort: str) -> Iterator[NpzFile]:
    """Open the file of a cohort for reading; whatever fails meanwhile blames the file.

    Args:
        path: Path of the ``.npz`` file.
        cohort: Name of the cohort, for the error.

    Raises:
        CohortError: If there is no such file or it cannot be read.
    """
    try:
        # Opened here, since NumPy leaves a file open that turns out to be no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except FileNotFoundError as error:
        raise CohortError(
            f"The data {path} of cohort {cohort!r} is missing; install the package again."
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, LZMAError) as error:
        raise CohortError(
            f"The data {path} of cohort {cohort!r} cannot be read: {error}."
        ) from error


def _write_archive(
    path: Path, arrays: Mapping[str, npt.NDArray[np.generic]], compression: int
) -> None:
    """Write a compressed npz, all of it or nothing; the same content is the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _TIMESTAMP)
            member.compress_type = compression
            plain = io.BytesIO()
            np.lib.format.write_array(plain, array, allow_pickle=False)
            archive.writestr(member, plain.getvalue(), compresslevel=9)
    write_atomically(path, buffer.getvalue())
