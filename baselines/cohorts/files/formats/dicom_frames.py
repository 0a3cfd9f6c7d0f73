"""Frames of DICOM files: which belong together, what they say of themselves, and their values.

Nothing of the patient goes into a message: neither names nor texts of the header, only numbers,
identifiers of series and the names that the standard gives to kinds of objects.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileDataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.misc import is_dicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEGLSTransferSyntaxes

from baselines.cohorts.files.formats.limits import LARGEST_IMAGE, check_content, explain
from baselines.cohorts.files.formats.scan import Source
from benchmark.arrays import FloatArray
from benchmark.errors import CohortError

DICOM_ENDINGS = (".dcm", ".dicom", ".ima")

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Their values are measurements; MONOCHROME1 then only says how a viewer shows them.
_MEASURED = ("CT", "MR", "NM", "PT")
# What the files of one volume share.
_ORIGIN = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_UNREAD = {
    "SEG": "a segmentation object; save it as NIfTI on the grid of its image first, for example "
    "with dcmqi's segimage2itkimage",
    "RTDOSE": "a dose, which is no image of the patient",
}


@dataclass(frozen=True)
class Frame:
    """One plane of pixels.

    Attributes:
        path: File that holds it.
        number: Number of the frame in the file, from 0.
        header: Header of the file; for a multi-frame object, functional groups included.
    """

    path: Path
    number: int
    header: Dataset

    def where(self, source: Source) -> str:
        """Return the name of the file inside a folder, as messages add it."""
        return "" if self.path == source.path else f" in {self.path.name}"

    def numbers(self, keyword: str, count: int, source: Source) -> FloatArray | None:
        """Return the numbers of an attribute, or None if it is absent or empty.

        Raises:
            CohortError: If they are not so many finite numbers.
        """
        try:
            values = self.header.get(keyword)
            if values is None or (isinstance(values, str) and not values):
                return None
            numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
        except Exception:  # a damaged value raises anything when it is first asked for
            numbers = np.empty(0)
        if numbers.shape != (count,) or not np.isfinite(numbers).all():
            raise CohortError(
                f"The {source} needs {count} number{'s' if count > 1 else ''} as {keyword}, but "
                f"has something else{self.where(source)}."
            )
        return numbers

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the texts of an attribute; none if it is absent or damaged."""
        try:
            return tuple(map(str, np.atleast_1d(self.header.get(keyword) or [])))
        except Exception:  # as above
            return ()


def list_frames(source: Source) -> list[Frame]:
    """Return the frames of a file, or of the one series in a folder.

    In a folder, every file counts that begins as DICOM does, whatever its name; a DICOMDIR and
    objects without pixels are passed over, as are subfolders. ``source.array`` chooses among
    several series by its SeriesInstanceUID.

    Raises:
        CohortError: If there is no image, more than one series, or one that is damaged.
    """
    paths = _list_files(source)
    try:
        return _list_frames(source, paths)
    except (CohortError, MemoryError):
        raise
    # Values are parsed when they are first asked for, and damaged ones raise anything; what they
    # say may quote the header, so it is not repeated.
    except Exception as error:
        raise CohortError(f"The {source} has a damaged header ({type(error).__name__}).") from error


def _list_frames(source: Source, paths: list[Path]) -> list[Frame]:
    headers = [(path, _read(source, path, with_pixels=False)) for path in paths]
    images = [(path, header) for path, header in headers if header.get("Rows")]
    if not images:
        kinds = sorted({_kind(header) for _, header in headers})
        raise CohortError(f"The {source} holds no pixels but: {', '.join(kinds)}.")
    series = _choose_series(source, images)
    _check_origin(source, series)
    for path, header in series:
        _check_kind(source, path, header)
    return [frame for path, header in series for frame in _split(source, path, header)]


def read_values(source: Source, frames: Sequence[Frame]) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the values [H, W] of each frame, in the same order, as their header rescales them.

    Pixels that the header calls padding are NaN. MONOCHROME1, where low is bright, is inverted
    within the range that its bits can hold, so that every image of a cohort is inverted alike;
    values that are measurements (CT, MR, NM, PT) stay as they are.

    Raises:
        CohortError: If pixels are missing, truncated, or packed in a way that needs a package.
    """
    for path, group in groupby(frames, key=lambda frame: frame.path):
        members = list(group)
        dataset = _read(source, path, with_pixels=True)
        where = members[0].where(source)
        if not any(keyword in dataset for keyword in _PIXELS):
            raise CohortError(f"The {source} has no pixel data{where}.")
        hint = _check_packing(source, dataset)
        pixels = iter_pixels(dataset, indices=[frame.number for frame in members])
        for frame in members:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    # What is too large for float32 becomes infinite.
                    values = _rescale(source, frame, next(pixels)).astype(np.float32)
            except (CohortError, MemoryError):
                raise
            # Decoders raise whatever their libraries do, down to AttributeError and struct.error.
            except Exception as error:
                raise CohortError(
                    f"The {source} has pixels{where} that cannot be read: {explain(error)}{hint}."
                ) from error
            yield values


def _list_files(source: Source) -> list[Path]:
    is_folder = source.path.is_dir()
    try:
        paths = sorted(
            path
            for path in (source.path.iterdir() if is_folder else [source.path])
            if path.is_file() and not path.name.startswith(".") and path.name.upper() != "DICOMDIR"
        )
        images = [path for path in paths if is_dicom(path)]
    except OSError as error:
        raise CohortError(f"The {source} cannot be read: {explain(error)}.") from error
    damaged = [
        path for path in paths if path not in images and path.suffix.lower() in DICOM_ENDINGS
    ]
    if damaged:
        subject = f"holds {damaged[0].name}, which" if is_folder else "is a file that"
        raise CohortError(
            f"The {source} {subject} does not begin as DICOM does; if it is of the old kind "
            "without a preamble, convert it, for example with dcmtk's dcmconv."
        )
    if not images:
        raise CohortError(
            f"The {source} is a folder without a DICOM file; a series lies directly in its folder."
        )
    return images


def _read(source: Source, path: Path, with_pixels: bool) -> FileDataset:
    try:
        size = path.stat().st_size
        with warnings.catch_warnings():
            # About values that break the standard's rules; those that matter are checked below.
            warnings.simplefilter("ignore")
            syntax = read_file_meta_info(path).get("TransferSyntaxUID")
            if syntax == DeflatedExplicitVRLittleEndian:
                size *= 1032  # which is what deflate can unfold it to
            if size > LARGEST_IMAGE:
                raise CohortError(
                    f"The {source} holds {path.name}, which may take {size / 2**30:.1f} GiB; at "
                    f"most {LARGEST_IMAGE / 2**30:.0f} GiB are read for one image."
                )
            return dcmread(path, stop_before_pixels=not with_pixels)
    except (CohortError, MemoryError):
        raise
    except OSError as error:
        raise CohortError(f"The {source} cannot be read: {explain(error)}.") from error
    except Exception as error:  # as above
        name = "" if path == source.path else f" in {path.name}"
        raise CohortError(
            f"The {source} has a damaged header{name} ({type(error).__name__})."
        ) from error


def _choose_series(
    source: Source, images: list[tuple[Path, FileDataset]]
) -> list[tuple[Path, FileDataset]]:
    """Return the images of the one series that is wanted."""
    series: dict[str, list[tuple[Path, FileDataset]]] = {}
    for path, header in images:
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    known = ", ".join(
        f"{uid or 'without a name'} ({_modality(members[0][1])}, {len(members)} files)"
        for uid, members in series.items()
    )
    if source.array is not None:
        if source.array not in series:
            raise CohortError(f"The {source} has no series {source.array}; it holds {known}.")
        return series[source.array]
    if len(series) > 1:
        raise CohortError(
            f"The {source} holds {len(series)} series: {known}; name one as "
            '{ path = "…", array = "…" }, or give each a folder.'
        )
    return images


def _check_origin(source: Source, series: list[tuple[Path, FileDataset]]) -> None:
    """Refuse files of several patients or scans that share an identifier of their series, or none.

    Slices that end where those of another patient begin would pass for one volume.
    """
    for keyword in _ORIGIN:
        if len(values := {str(header.get(keyword, "")) for _, header in series}) > 1:
            raise CohortError(
                f"The {source} holds files of {len(values)} different {keyword}, which belong to "
                "no one volume; give each a folder."
            )


def _check_kind(source: Source, path: Path, header: FileDataset) -> None:
    """Refuse objects whose pixels are no grey image."""
    name = "" if path == source.path else f" in {path.name}"
    modality, colours = _modality(header), str(header.get("PhotometricInterpretation", ""))
    if modality in _UNREAD:
        raise CohortError(f"The {source} is {_UNREAD[modality]}.")
    if "MOSAIC" in map(str, np.atleast_1d(header.get("ImageType") or [])):
        raise CohortError(
            f"The {source} is a mosaic of slices in one picture; convert it to NIfTI first, for "
            "example with dcm2niix."
        )
    if colours not in ("MONOCHROME1", "MONOCHROME2") or header.get("SamplesPerPixel", 1) != 1:
        raise CohortError(
            f"The {source} holds {colours or 'unnamed'} pixels{name}, but grey values "
            "(MONOCHROME1 or MONOCHROME2) were expected; convert it first."
        )
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        if not isinstance(header.get(keyword), int):
            raise CohortError(f"The {source} has no {keyword}{name}.")
    high = header.get("HighBit", header.BitsStored - 1)
    if high != header.BitsStored - 1:
        raise CohortError(
            f"The {source} has {header.BitsStored} bits that end at bit {high}{name}; values that "
            f"end at bit {header.BitsStored - 1} were expected."
        )


def _split(source: Source, path: Path, header: FileDataset) -> list[Frame]:
    """Return the frames of one file."""
    try:
        count = int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        count = 0
    # No transfer syntax packs pixels better than deflate packs zeros.
    shape = (count, header.Rows, header.Columns)
    check_content(source, shape, max(1, header.BitsAllocated // 8), path.stat().st_size, True)
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if groups is None:
        return [Frame(path, number, header) for number in range(count)]
    if len(groups) != count:
        raise CohortError(f"The {source} has {count} frames, but describes {len(groups)}.")
    frames = []
    for number, group in enumerate(groups):
        flat = Dataset()
        flat.update({element.tag: element for element in header if element.keyword not in _GROUPS})
        for element in (*shared[0], *group):
            if element.VR == "SQ" and element.value:
                flat.update(element.value[0])
        frames.append(Frame(path, number, flat))
    return frames


def _check_packing(source: Source, dataset: FileDataset) -> str:
    """Refuse pixels that no installed package can unpack, and return a hint at packages that may.

    The hint ends a sentence about packed pixels of a kind that is known but cannot be read.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not isinstance(syntax, UID) or not syntax.is_transfer_syntax:
        raise CohortError(f"The {source} does not say in a known way how its pixels are packed.")
    if not syntax.is_compressed:
        return ""
    packages = (
        "pyjpegls"
        if syntax in JPEGLSTransferSyntaxes
        else "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
    )
    try:
        is_readable = get_decoder(syntax).is_available
    except NotImplementedError:
        is_readable = False
    if not is_readable:
        raise CohortError(
            f"The {source} is packed as {syntax.name}, which needs another package: pip install "
            f"{packages}."
        )
    return f"; other packages may read it: pip install {packages}"


def _rescale(source: Source, frame: Frame, stored: npt.NDArray[Any]) -> FloatArray:
    """Return the values [H, W] that stored ones stand for."""
    header = frame.header
    if (slope := frame.numbers("RescaleSlope", 1, source)) is not None:
        if not slope[0]:
            raise CohortError(f"The {source} has a RescaleSlope of 0{frame.where(source)}.")
        if "RescaleIntercept" not in header:
            header.RescaleIntercept = 0
        frame.numbers("RescaleIntercept", 1, source)
    values: FloatArray = np.array(apply_modality_lut(stored, header), dtype=np.float64)
    if header.PhotometricInterpretation == "MONOCHROME1" and _modality(header) not in _MEASURED:
        bits = header.BitsStored
        ends = np.array([0, 2**bits - 1]) - (2 ** (bits - 1) if header.PixelRepresentation else 0)
        if table := header.get("ModalityLUTSequence"):
            ends = np.array([0, 2 ** table[0].LUTDescriptor[2] - 1])
        else:
            ends = apply_modality_lut(ends, header)
        values = ends.sum() - values
    padding = frame.numbers("PixelPaddingValue", 1, source)
    if padding is not None and stored.dtype.kind in "iu":
        limit = frame.numbers("PixelPaddingRangeLimit", 1, source)
        edges = sorted((padding[0], padding[0] if limit is None else limit[0]))
        values[(stored >= edges[0]) & (stored <= edges[1])] = np.nan
    return values


def _modality(header: Dataset) -> str:
    return str(header.get("Modality") or "unnamed modality")


def _kind(header: Dataset) -> str:
    kind = header.get("SOPClassUID")
    return str(getattr(kind, "name", "") or "an object of no known kind")
