"""Maps as files: one NIfTI an explainer, its volumes named by rows of a table."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from benchmark.results.explained_model import ExplainedModel
from benchmark.results.table import plain_text

LARGEST_FILE = 50_000_000  # bytes, uncompressed

Rows = npt.NDArray[np.int64]
Maps = npt.NDArray[np.float32]


def rows_to_write(shown: ExplainedModel, chosen: Rows) -> Rows:
    """Return the rows whose maps are written: all, or the chosen where all are too large.

    Args:
        shown: Of N test images.
        chosen: Rows that figures show.
    """
    size = 4 * len(shown.cohort) * int(np.prod(shown.cohort.shape))
    return np.arange(len(shown.cohort)) if size < LARGEST_FILE else chosen


def write_maps(path: Path, maps: Maps, affine: npt.NDArray[np.float64], name: str) -> None:
    """Write signed maps as one four-dimensional NIfTI.

    Args:
        path: Ends in ``.nii.gz``.
        maps: [N, 1, *S]; stored as [*S, N], two-dimensional ones as [H, W, 1, N].
        affine: [4, 4]; takes array indices to RAS+ millimetres.
        name: Of the explainer; stands in the header.
    """
    planar = maps.ndim == 4
    volumes = maps.transpose(2, 3, 1, 0) if planar else maps[:, 0].transpose(1, 2, 3, 0)
    image = nibabel.Nifti1Image(np.asfortranarray(volumes, dtype=np.float32), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = name.encode("ascii", "replace")[:79]
    # Level 1: gradients hardly compress, and level 9 takes ten times as long over it.
    path.write_bytes(gzip.compress(image.to_bytes(), 1, mtime=0))


def write_rows(path: Path, shown: ExplainedModel, rows: Rows, chosen: Rows) -> None:
    """Write a table that says which image each volume belongs to.

    Args:
        path: Ends in ``.tsv``.
        shown: What the maps are of.
        rows: Rows of the test split, in the order of the volumes.
        chosen: Those that figures show.
    """
    cohort, own = shown.cohort, shown.evaluation.own_probability
    drawn = set(chosen.tolist())
    table: list[Sequence[object]] = [
        ("volume", "subject", "image", "group", "own_probability", "in_figure")
    ]
    for volume, row in enumerate(rows.tolist()):
        subject, image = plain_text(cohort.subjects[row]), plain_text(cohort.keys[row])
        group = plain_text(cohort.group_names[cohort.groups[row]])
        in_figure = "yes" if row in drawn else "no"
        table.append((volume, subject, image, group, f"{own[row]:.6f}", in_figure))
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(table)
    path.write_text(text.getvalue(), encoding="utf-8")
