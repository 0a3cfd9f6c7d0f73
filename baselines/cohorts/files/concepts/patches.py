"""A small patch with a place, pasted into whole images so that it becomes a concept in pairs.

Alone on black, a patch would show what a network makes of black.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from baselines.cohorts.files.cohort_toml import CohortFile
from baselines.cohorts.files.formats.reading import ScanReader
from baselines.cohorts.files.formats.scan import Source
from baselines.cohorts.files.layout import find_layout
from benchmark.arrays import ImageArray
from benchmark.cohort import Cohort
from benchmark.concept import ConceptImages
from benchmark.errors import CohortError

FEWEST = 30
"""Images of the reference group that a patch is pasted into, at least."""

_CORE = 1 / 3  # of the way from the middle of a patch to its edge, within which it is whole


def paste_patch(
    name: str, path: Path, middle: Sequence[int], recipe: CohortFile, cohort: Cohort
) -> tuple[ConceptImages, ConceptImages]:
    """Return images of the reference group with a patch at a place, and the same without it.

    They are the first images of the group's subjects outside the test split. The rim of the patch
    is a raised cosine, so that no edge of a square is the concept.

    Args:
        name: Name of the concept.
        path: File of the patch.
        middle: Index of the middle of the patch in the arrays of the cohort.
        recipe: File of the cohort.
        cohort: The cohort without concepts.

    Raises:
        CohortError: If the patch cannot be read or leaves the images, or there are too few of them.
    """
    people = cohort.participants
    eligible = (people["split"] != "test").to_numpy() & ~people["subject"].duplicated().to_numpy()
    rows = np.flatnonzero(eligible & (cohort.groups == 0))
    if len(rows) < FEWEST:
        raise CohortError(
            f"The patch of the concept {name!r} is pasted into images of group "
            f"{cohort.group_names[0]} outside the test split, of which {FEWEST} are needed, but "
            f"there are {len(rows)}."
        )
    patch = _read(name, path, recipe)
    if len(patch.shape) != len(cohort.shape) or len(middle) != len(cohort.shape):
        raise CohortError(
            f"The patch of the concept {name!r} has the shape {list(patch.shape)} and the place "
            f"{list(middle)}, but the images of the cohort are {list(cohort.shape)}."
        )
    starts = [centre - length // 2 for centre, length in zip(middle, patch.shape, strict=True)]
    ends = [start + length for start, length in zip(starts, patch.shape, strict=True)]
    if min(starts) < 0 or any(end > side for end, side in zip(ends, cohort.shape, strict=True)):
        raise CohortError(
            f"The patch of the concept {name!r} would cover {starts} to {ends}, beyond the images "
            f"of the cohort, which are {list(cohort.shape)}."
        )
    box = [slice(*limits) for limits in zip(starts, ends, strict=True)]
    inside: tuple[slice | int, ...] = (slice(None), 0, *box)
    absent = cohort.images[rows]
    present, weight = absent.copy(), _raised_cosine(patch.shape)
    present[inside] += weight * (patch - absent[inside])
    subjects = tuple(cohort.subjects[row] for row in rows)
    return ConceptImages(present, subjects), ConceptImages(absent, subjects)


def _read(name: str, path: Path, recipe: CohortFile) -> ImageArray:
    """Return the patch in the cohort's window of intensities; a picture stays as it is stored."""
    if recipe.intensity.percentiles is not None:
        raise CohortError(
            f"The patch of the concept {name!r} has no foreground, of which intensity = "
            "percentiles could be taken; give intensity = { low = …, high = … }."
        )
    with ScanReader() as scans:
        scan = scans.read(Source(path, f"patch of the concept {name!r}"))
    as_stored = {"slice": None, "spacing": (1.0,) * scan.voxels.ndim, "axes": None}
    placed = {"slice": None}
    own = recipe.model_copy(update=as_stored if scan.affine is None else placed)
    layout = find_layout(scan, own)
    values: ImageArray = np.asarray(layout.arrange(scan.voxels), dtype=np.float32)
    if strays := int((~np.isfinite(values)).sum()):
        raise CohortError(f"The {scan.source} has {strays} voxels that are NaN or infinite.")
    # Not by a window of its own: a patch may be of one grey, or as dark as the images get.
    low, high = (np.float32(bound or 0) for bound in (recipe.intensity.low, recipe.intensity.high))
    scaled: ImageArray = ((values - low) / (high - low)).clip(0, 1)
    return scaled


def _raised_cosine(shape: Sequence[int]) -> ImageArray:
    """Return weights [*S], 1 in the core of an ellipsoid that fills the shape, 0 at its rim."""
    squares = np.zeros(shape)
    for axis, length in enumerate(shape):
        offset = (np.arange(length) - (length - 1) / 2) / (length / 2)
        squares += (offset**2).reshape([-1 if axis == other else 1 for other in range(len(shape))])
    along = np.clip((np.sqrt(squares) - _CORE) / (1 - _CORE), 0, 1)
    weight: ImageArray = (0.5 * (1 + np.cos(np.pi * along))).astype(np.float32)
    return weight
