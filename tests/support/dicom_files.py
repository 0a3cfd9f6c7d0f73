"""DICOM files with a geometry that is known, written for tests."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

SERIES = "1.2.826.0.1.3680043.8.498.1"
SECRET = "Doe^Jane"
"""Name of the patient in every file, which no message may repeat."""

Change = Callable[[FileDataset], None]


def write_picture(
    path: Path, pixels: npt.NDArray[Any], change: Change | None = None, series: str = SERIES
) -> Path:
    """Write pixels [H, W] or [frames, H, W] without a position, and return the path.

    Args:
        path: Path of the file.
        pixels: Integers, stored as they are.
        change: Changes the file's attributes before it is written.
        series: Its SeriesInstanceUID.
    """
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"{series}.{zlib.crc32(path.name.encode())}"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID = series
    data.PatientName = SECRET
    data.Modality = "MR"
    data.Rows, data.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    data["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    if change is not None:
        change(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    voxels: npt.NDArray[Any],
    affine: npt.NDArray[np.float64],
    change: Callable[[FileDataset, int], None] | None = None,
    names: Sequence[str] | None = None,
) -> Path:
    """Write a volume as one file for each slice, and return the folder.

    Args:
        folder: Folder of the series.
        voxels: [columns, rows, slices] integers.
        affine: [4, 4] map from their indices to RAS+ millimetres.
        change: Changes the attributes of the slice with that number before it is written.
        names: Names of the files; by default they run against the order of the slices.
    """
    for number in range(voxels.shape[2]):

        def describe(data: FileDataset, number: int = number) -> None:
            place_frame(data, affine, number)
            if change is not None:
                change(data, number)

        name = names[number] if names else f"{900 - number}"
        write_picture(folder / name, voxels[:, :, number].T, describe)
    return folder


def place_frame(data: Dataset, affine: npt.NDArray[np.float64], number: int) -> None:
    """Give a slice its position, orientation and spacing, by an affine from indices to RAS+."""
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = np.linalg.norm(to_lps[:3, :3], axis=0)
    data.ImageOrientationPatient = [
        *(to_lps[:3, 0] / sizes[0]).round(8).tolist(),
        *(to_lps[:3, 1] / sizes[1]).round(8).tolist(),
    ]
    data.ImagePositionPatient = (to_lps @ [0, 0, number, 1])[:3].round(6).tolist()
    data.PixelSpacing = [float(sizes[1].round(8)), float(sizes[0].round(8))]
    data.SliceThickness = float(sizes[2].round(8))
