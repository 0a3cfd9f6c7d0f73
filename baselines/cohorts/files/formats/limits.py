"""How much memory one file may ask for, whatever its header says."""

from __future__ import annotations

import math
from collections.abc import Sequence

from baselines.cohorts.files.formats.scan import Source
from benchmark.errors import CohortError

LARGEST_IMAGE = 2**31
"""Bytes that a single image may take as float32; the largest scans take a quarter of it."""

LARGEST_ARRAY = 2**30
"""Bytes that an array of an ``.npz`` may take, which is unpacked as a whole."""

# Deflate packs at most 1032 bytes into one, whatever they are.
_DEFLATE_LIMIT = 1032


def check_content(
    source: Source, shape: Sequence[int], item: int, size: int, is_deflated: bool
) -> None:
    """Refuse a header that names more values than its file can hold, before any is unpacked.

    Args:
        source: Source that is read.
        shape: Lengths that the header names.
        item: Bytes of a value.
        size: Bytes of the file, or of the part of it that holds the values.
        is_deflated: Whether the values are packed by deflate, as gzip and zip do.

    Raises:
        CohortError: If the shape is empty, or the file cannot hold it.
    """
    written = format_shape(shape)
    if not shape or min(shape) < 1:
        raise CohortError(f"The {source} has the shape {written or 'of nothing'}.")
    if math.prod(shape) * item > size * (_DEFLATE_LIMIT if is_deflated else 1):
        raise CohortError(
            f"The {source} names {written} values in its header, but its {size} bytes cannot hold "
            "them."
        )


def check_image_size(source: Source, shape: Sequence[int]) -> None:
    """Refuse an image that takes too much memory as float32.

    Raises:
        CohortError: If it takes more than ``LARGEST_IMAGE``.
    """
    if (needed := 4 * math.prod(shape)) > LARGEST_IMAGE:
        raise CohortError(
            f"The {source} has {format_shape(shape)} values, {needed / 2**30:.1f} GiB as float32; "
            f"at most {LARGEST_IMAGE / 2**30:.0f} GiB are read for one image."
        )


def check_index(source: Source, count: int, kind: str) -> int:
    """Return the number of the image that is asked for, the first where none is.

    Args:
        source: Source that is read.
        count: Number of images in the file.
        kind: Noun that messages use for them, such as ``pages``.

    Raises:
        CohortError: If there are not so many.
    """
    if (index := source.index or 0) >= count:
        raise CohortError(f"The {source} holds {count} {kind}, counted from 0.")
    return index


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape as messages write it."""
    return "×".join(map(str, shape))


def explain(error: BaseException) -> str:
    """Return why a file cannot be read, as the end of a sentence."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((reason or type(error).__name__).split()).rstrip(".")
