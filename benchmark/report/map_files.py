"""Files of maps: a NIfTI for each explainer, and a table that names its volumes."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

from benchmark.arrays import FloatArray, ImageArray, Rows
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.table import plain_text

LARGEST_FILE = 50_000_000  # bytes, uncompressed


def rows_to_write(explained: ExplainedModel, drawn: Rows) -> Rows:
    """Return the rows whose maps are written: all, or the drawn where all are too large."""
    size = 4 * len(explained.cohort) * int(np.prod(explained.cohort.shape))
    return np.arange(len(explained.cohort)) if size < LARGEST_FILE else drawn


def write_maps(path: Path, maps: ImageArray, affine: FloatArray, name: str) -> None:
    """Write signed maps as one four-dimensional NIfTI.

    Args:
        path: Path that ends in ``.nii.gz``.
        maps: Maps [N, 1, *S]; stored as [*S, N], two-dimensional ones as [H, W, 1, N].
        affine: Matrix [4, 4] that takes array indices to RAS+ millimetres.
        name: Name of the explainer, for the header.
    """
    is_planar = maps.ndim == 4
    volumes = maps.transpose(2, 3, 1, 0) if is_planar else maps[:, 0].transpose(1, 2, 3, 0)
    image = nibabel.Nifti1Image(np.asfortranarray(volumes, dtype=np.float32), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = name.encode("ascii", "replace")[:79]
    # Level 1: gradients hardly compress, and level 9 takes ten times as long over it.
    path.write_bytes(gzip.compress(image.to_bytes(), 1, mtime=0))


def write_rows(path: Path, explained: ExplainedModel, rows: Rows, drawn: Rows) -> None:
    """Write a table that says which image each volume belongs to.

    Args:
        path: Path that ends in ``.tsv``.
        explained: Outputs of the model.
        rows: Rows of the test split, in the order of the volumes.
        drawn: Rows that figures show.
    """
    cohort, probabilities = explained.cohort, explained.evaluation.own_probability
    table: list[Sequence[object]] = [
        ("volume", "subject", "image", "group", "own_probability", "in_figure")
    ]
    for volume, row in enumerate(rows.tolist()):
        names = cohort.subjects[row], cohort.keys[row], cohort.group_names[cohort.groups[row]]
        in_figure = "yes" if row in drawn else "no"
        texts = *map(plain_text, names), f"{probabilities[row]:.6f}", in_figure
        table.append((volume, *texts))
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(table)
    path.write_text(text.getvalue(), encoding="utf-8")
