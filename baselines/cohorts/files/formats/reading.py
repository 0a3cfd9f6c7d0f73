"""Reads any supported file, by the ending of its name."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydicom.misc import is_dicom

from baselines.cohorts.files.formats.arrays import ARRAY_ENDINGS, read_array, release_arrays
from baselines.cohorts.files.formats.dicom import read_dicom
from baselines.cohorts.files.formats.dicom_frames import DICOM_ENDINGS
from baselines.cohorts.files.formats.limits import explain
from baselines.cohorts.files.formats.nifti import NIFTI_ENDINGS, read_nifti
from baselines.cohorts.files.formats.pictures import PICTURE_ENDINGS, read_picture, release_pictures
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError

Read = Callable[[Source], Scan]

READERS: dict[str, Read] = {
    **dict.fromkeys(NIFTI_ENDINGS, read_nifti),
    **dict.fromkeys(DICOM_ENDINGS, read_dicom),
    **dict.fromkeys(PICTURE_ENDINGS, read_picture),
    **dict.fromkeys(ARRAY_ENDINGS, read_array),
}
"""The reader of each ending; a folder, and a file that begins as DICOM does, is read as DICOM."""


def read_scan(source: Source) -> Scan:
    """Return what a file, or the folder of a DICOM series, holds.

    Raises:
        CohortError: If it is missing, of no known format, unreadable, or no single image of grey
            values.
    """
    read = _find_reader(source)
    if source.array is not None and read not in (read_array, read_dicom):
        raise CohortError(
            f"The {source} has no array {source.array!r}; only an .npz has arrays by name, and a "
            "folder of DICOM series by their SeriesInstanceUID."
        )
    try:
        return read(source)
    except MemoryError as error:
        raise CohortError(f"The {source} needs more memory than there is.") from error


@contextmanager
def opened_files() -> Iterator[None]:
    """Keep files that hold several images open for the next one, and close them at the end."""
    try:
        yield
    finally:
        release_arrays()
        release_pictures()


def _find_reader(source: Source) -> Read:
    """Return the reader of a file's format."""
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
    for ending, read in READERS.items():
        if name.endswith(ending):
            return read
    try:
        # Scanners and archives write files without an ending.
        if is_dicom(source.path):
            return read_dicom
    except OSError as error:
        raise CohortError(f"The {source} cannot be read: {explain(error)}.") from error
    raise CohortError(
        f"The {source} is of no known format; known endings: {', '.join(READERS)}, and the folder "
        "of a DICOM series."
    )
