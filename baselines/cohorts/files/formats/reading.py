"""Reads any supported file, by the ending of its name."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping

from pydicom.misc import is_dicom

from baselines.cohorts.files.formats.arrays import ARRAY_ENDINGS, ArrayReader
from baselines.cohorts.files.formats.dicom import read_dicom
from baselines.cohorts.files.formats.dicom_frames import DICOM_ENDINGS
from baselines.cohorts.files.formats.limits import explain
from baselines.cohorts.files.formats.nifti import NIFTI_ENDINGS, read_nifti
from baselines.cohorts.files.formats.pictures import PICTURE_ENDINGS, PictureReader
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError

Read = Callable[[Source], Scan]


class ScanReader:
    """Reads files of any format, and keeps those that hold several images open for the next one.

    As a context, it closes them at the end.
    """

    def __init__(self) -> None:
        self._arrays, self._pictures = ArrayReader(), PictureReader()
        self._readers: dict[str, Read] = {
            **dict.fromkeys(NIFTI_ENDINGS, read_nifti),
            **dict.fromkeys(DICOM_ENDINGS, read_dicom),
            **dict.fromkeys(PICTURE_ENDINGS, self._pictures.read),
            **dict.fromkeys(ARRAY_ENDINGS, self._arrays.read),
        }

    def __enter__(self) -> ScanReader:
        """Return the reader."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close all files that stayed open."""
        self._pictures.close()

    def read(self, source: Source) -> Scan:
        """Return what a file, or the folder of a DICOM series, holds.

        Raises:
            CohortError: If it is missing, of no known format, unreadable, or no single image of
                grey values.
        """
        read = _find_reader(source, self._readers)
        if source.array is not None and read not in (self._arrays.read, read_dicom):
            raise CohortError(
                f"The {source} has no array {source.array!r}; only an .npz has arrays by name, and "
                "a folder of DICOM series by their SeriesInstanceUID."
            )
        try:
            return read(source)
        except MemoryError as error:
            raise CohortError(f"The {source} needs more memory than there is.") from error


def read_scan(source: Source) -> Scan:
    """Return what one file holds, as :meth:`ScanReader.read` does."""
    with ScanReader() as reader:
        return reader.read(source)


def _find_reader(source: Source, readers: Mapping[str, Read]) -> Read:
    """Return the reader of a file's format.

    A folder, and a file that begins as DICOM does, is read as DICOM.
    """
    try:
        mode = source.path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        # As in a DataLad data set whose content was not fetched.
        hint = ": it is a link to nothing" if source.path.is_symlink() else ""
        raise CohortError(f"The {source} is missing{hint}.") from error
    # ValueError: a path with a zero byte.
    except (OSError, ValueError) as error:
        raise CohortError(f"The {source} cannot be read: {explain(error)}.") from error
    if stat.S_ISDIR(mode):
        return read_dicom
    if not stat.S_ISREG(mode):
        raise CohortError(f"The {source} is neither a file nor a folder.")
    name = source.path.name.lower()
    for ending, read in readers.items():
        if name.endswith(ending):
            return read
    try:
        # Scanners and archives write files without an ending.
        if is_dicom(source.path):
            return read_dicom
    except OSError as error:
        raise CohortError(f"The {source} cannot be read: {explain(error)}.") from error
    raise CohortError(
        f"The {source} is of no known format; known endings: {', '.join(readers)}, and the folder "
        "of a DICOM series."
    )
