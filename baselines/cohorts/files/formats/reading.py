"""Reads any supported file, by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable

from baselines.cohorts.files.formats.nifti import NIFTI_ENDINGS, read_nifti
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.errors import CohortError

Read = Callable[[Source], Scan]

_READERS: dict[str, Read] = dict.fromkeys(NIFTI_ENDINGS, read_nifti)


def read_scan(source: Source) -> Scan:
    """Return what a file holds.

    Raises:
        CohortError: If it is missing, of no known format, unreadable, or no single image of grey
            values.
    """
    if not source.path.exists():
        raise CohortError(f"The {source} is missing.")
    name = source.path.name.lower()
    for ending, read in _READERS.items():
        if name.endswith(ending) and source.path.is_file():
            return read(source)
    known = ", ".join(_READERS)
    raise CohortError(f"The {source} is of no known format; known endings: {known}.")
