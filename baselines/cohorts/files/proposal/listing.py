"""What lies in a folder: files of known formats, and folders that hold a DICOM series."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.misc import is_dicom

from baselines.cohorts.files.formats.arrays import ARRAY_ENDINGS
from baselines.cohorts.files.formats.dicom_frames import DICOM_ENDINGS
from baselines.cohorts.files.formats.nifti import NIFTI_ENDINGS
from baselines.cohorts.files.formats.pictures import PICTURE_ENDINGS
from benchmark.errors import CohortError

MOST_FILES, MOST_LEVELS = 100_000, 12
DICOM = "dicom"
"""Ending that stands for a folder of a DICOM series."""

# The longest first, so that .nii.gz is not taken for a .gz.
_ENDINGS = sorted(
    (*NIFTI_ENDINGS, *PICTURE_ENDINGS, *ARRAY_ENDINGS, *DICOM_ENDINGS), key=len, reverse=True
)
_PAIRED = {".img": ".hdr", ".img.gz": ".hdr.gz"}  # the header's file is not read for itself
_OWN = ("medsanity-runs", "__MACOSX")  # what earlier runs and archives of macOS left
_STEP = 500  # files from one message of progress to the next
_COMPARED = 4  # files of a folder whose series are compared


@dataclass(frozen=True)
class ImagePath:
    """A file, or the folder of a DICOM series.

    Attributes:
        path: Path below the folder that is looked at.
        ending: Ending of its name with the point, in the name's own spelling; empty for a folder
            and for a file without one.
        kind: Ending in small letters, or ``DICOM``.
    """

    path: PurePosixPath
    ending: str
    kind: str

    @property
    def stem(self) -> str:
        """Name without its ending."""
        return self.path.name.removesuffix(self.ending) if self.ending else self.path.name


@dataclass
class Listing:
    """What lies in a folder.

    Attributes:
        folder: The folder.
        paths: Images, masks and arrays, in the order of their paths.
        remarks: Remarks on what was left out and why, a sentence each.
    """

    folder: Path
    paths: list[ImagePath] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def list_images(folder: Path, report: Callable[[str], None]) -> Listing:
    """Return what a folder holds, however deep; links are followed, but no folder is entered twice.

    Args:
        folder: The folder.
        report: Listener that is called with a line on the progress.

    Raises:
        CohortError: If it is no folder, cannot be read, or holds nothing that is known.
    """
    if not folder.is_dir():
        reason = "is a file" if folder.exists() else "does not exist"
        raise CohortError(f"The folder {folder} {reason}; a folder of images was expected.")
    listing = Listing(folder)
    count = 0
    dicom: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in _walk(listing):
        count += 1
        if count % _STEP == 0:
            report(f"looking at {folder}: {count} files")
        if count > MOST_FILES:
            listing.remarks.append(
                f"Only the first {MOST_FILES:,} files were looked at; name a smaller folder."
            )
            break
        if (image := _recognise(folder, path)) is None:
            continue
        if fault := _fault_of(str(path)):
            listing.remarks.append(f"{str(path)!r} is left out: {fault}.")
            continue
        if image.kind == DICOM:
            dicom.setdefault(path.parent, []).append(path)
        else:
            listing.paths.append(image)
    for parent, files in dicom.items():
        listing.paths.extend(_list_series(folder, parent, files))
    if not listing.paths:
        raise CohortError(
            f"The folder {folder} holds no image among {count} files; known endings: "
            f"{', '.join(sorted(_ENDINGS))}, and DICOM files of any name."
            + "".join(f" {remark}" for remark in listing.remarks[:1])
        )
    listing.paths.sort(key=lambda image: image.path)
    return listing


def _walk(listing: Listing) -> Iterator[PurePosixPath]:
    """Yield the files below a folder in the order of their names."""
    visited: set[tuple[int, int]] = set()
    # A list instead of recursion, so that no tree is too deep.
    waiting = [PurePosixPath()]
    while waiting:
        parent = waiting.pop()
        if len(parent.parts) > MOST_LEVELS:
            listing.remarks.append(f"{parent} lies more than {MOST_LEVELS} levels deep; left out.")
            continue
        try:
            status = (listing.folder / parent).stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(listing.folder / parent) as entries:
                children = sorted((entry.name, _is_folder(entry)) for entry in entries)
        except OSError as error:
            if not parent.parts:
                raise CohortError(
                    f"The folder {listing.folder} cannot be read: {error.strerror}."
                ) from error
            listing.remarks.append(f"The folder {parent} cannot be read: {error.strerror}.")
            continue
        visible = [(name, is_folder) for name, is_folder in children if not name.startswith(".")]
        yield from (parent / name for name, is_folder in visible if not is_folder)
        folders = [name for name, is_folder in visible if is_folder and name not in _OWN]
        waiting.extend(parent / name for name in reversed(folders))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _recognise(folder: Path, path: PurePosixPath) -> ImagePath | None:
    """Return what a file is by its name, or by its first bytes where it has no ending."""
    name = path.name.lower()
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), None)
    if ending is None:
        if not _lacks_ending(path.name):
            return None
        try:
            known = (folder / path).is_file() and is_dicom(folder / path)
        except OSError:
            return None
        return ImagePath(path, "", DICOM) if known and path.name != "DICOMDIR" else None
    if ending in _PAIRED.values():
        return None
    spelling = path.name[len(path.name) - len(ending) :]
    return ImagePath(path, spelling, DICOM if ending in DICOM_ENDINGS else ending)


def _fault_of(path: str) -> str | None:
    """Return why a path cannot stand in a cohort file, or None."""
    if {"{", "}"} & set(path):
        return "a brace in a name stands for a column of the table"
    if not path.isprintable():
        return "its name holds characters that are no text"
    if "\\" in path:
        return "a backslash in a name parts folders on some systems"
    return None


def _lacks_ending(name: str) -> bool:
    """Return whether a name has no ending; the numbers of a UID are none."""
    suffix = PurePosixPath(name).suffix[1:]
    return not suffix or suffix.isdigit()


def _list_series(
    folder: Path, parent: PurePosixPath, files: list[PurePosixPath]
) -> list[ImagePath]:
    """Return a folder of DICOM files as one series, or as images of their own."""
    chosen = dict.fromkeys([files[0], *files[1:_COMPARED], files[-1]])
    headers = [_read_header(folder / path) for path in chosen]
    series = {str(header.get("SeriesInstanceUID", "")) for header in headers}
    is_slices = any("ImagePositionPatient" in header for header in headers)
    is_alone = len(files) == 1 and not parent.parts
    if is_alone or (len(files) > 1 and (len(series) == len(headers) or not is_slices)):
        return [ImagePath(path, path.suffix, DICOM) for path in files]
    return [ImagePath(parent, "", DICOM)]


def _read_header(path: Path) -> Dataset:
    """Return what tells slices of a series from images of their own; empty if it is unreadable."""
    tags = ["SeriesInstanceUID", "ImagePositionPatient"]
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=tags)
    except Exception:  # whatever a damaged header raises; the reader tells of it
        return Dataset()
