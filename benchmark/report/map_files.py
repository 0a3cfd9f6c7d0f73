"""Files of maps: NIfTI for each explainer, the images and regions beside them, and their tables.

Images that share one affine go into one four-dimensional file of each kind. Such a file cannot hold
images that lie differently in the world, so these get a folder each, with the same kinds inside.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from benchmark.arrays import BoolArray, ImageArray, Rows
from benchmark.cohort import Anatomy, Geometry
from benchmark.report.file_names import FileNames
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.table import plain_text

LARGEST_FILE = 50_000_000  # bytes, uncompressed
LabelArray = npt.NDArray[np.int32]


def rows_to_write(explained: ExplainedModel, drawn: Rows) -> Rows:
    """Return the rows whose maps are written: all, or the drawn where all are too large."""
    size = 4 * len(explained.cohort) * int(np.prod(explained.cohort.shape))
    return np.arange(len(explained.cohort)) if size < LARGEST_FILE else drawn


class MapFiles:
    """Writes the maps of one model on one cohort, beside the images that they belong to.

    Args:
        folder: Folder of maps.
        file_name: Function that makes a file name without an ending, none of them twice.
        explained: Outputs of the model.
        drawn: Rows of the test split that figures show.

    Attributes:
        rows: Rows that are written, in the order of the volumes.
    """

    def __init__(
        self, folder: Path, file_name: Callable[[str], str], explained: ExplainedModel, drawn: Rows
    ) -> None:
        self._folder, self._file_name = folder, file_name
        self._explained, self._drawn = explained, drawn
        self.rows = rows_to_write(explained, drawn)
        self._subset = explained.cohort.take(self.rows)
        self._own_folders: tuple[str, ...] = ()
        if self._subset.geometry.affines is not None:
            self._folder = folder / file_name("subjects")
            names = FileNames()
            self._own_folders = tuple(
                names.claim(key if key.startswith("sub-") else f"sub-{key}")
                for key in self._subset.keys
            )
            self._file_name = FileNames().claim

    def write_images(self) -> None:
        """Write the images, and their foreground and regions as labels with a table of names."""
        name = self._file_name("image" if self._own_folders else "images")
        self._write(name, self._subset.images, "images", "none")
        labels, table = label_regions(self._subset.anatomy)
        stored = labels.astype(np.uint8) if labels.max() < 256 else labels
        name = self._file_name("regions")
        self._write(name, stored, "foreground and regions", "label")
        self._folder.mkdir(exist_ok=True)
        _write_table(self._folder / f"{name}.tsv", ("label", "name", "in_foreground"), table)

    def write_maps(self, name: str, maps: ImageArray) -> None:
        """Write an explainer's signed maps [N, 1, *S] of all test images, those of ``rows``."""
        self._write(self._file_name(name), maps[self.rows], name, "none")

    def write_rows(self) -> None:
        """Write a table that says which image each volume, or each folder, belongs to."""
        cohort, probabilities = self._explained.cohort, self._explained.evaluation.own_probability
        first = "folder" if self._own_folders else "volume"
        table: list[Sequence[object]] = []
        for volume, row in enumerate(self.rows.tolist()):
            names = cohort.subjects[row], cohort.keys[row], cohort.group_names[cohort.groups[row]]
            in_figure = "yes" if row in self._drawn else "no"
            texts = *map(plain_text, names), f"{probabilities[row]:.6f}", in_figure
            table.append((self._own_folders[volume] if self._own_folders else volume, *texts))
        header = (first, "subject", "image", "group", "own_probability", "in_figure")
        self._folder.mkdir(exist_ok=True)
        _write_table(self._folder / f"{self._file_name('volumes')}.tsv", header, table)

    def _write(
        self, name: str, stack: npt.NDArray[np.generic], description: str, intent: str
    ) -> None:
        geometry = self._subset.geometry
        if not self._own_folders:
            write_volumes(self._folder / f"{name}.nii.gz", stack, geometry, description, intent)
        for row, folder in enumerate(self._own_folders):
            path = self._folder / folder / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            own = geometry.take(np.array([row]))
            write_volumes(path, stack[row : row + 1], own, description, intent)


def write_volumes(
    path: Path,
    stack: npt.NDArray[np.generic],
    geometry: Geometry,
    description: str,
    intent: str = "none",
) -> None:
    """Write images or maps as NIfTI.

    Where the affine does not say where left is, the file says so by codes of 0, and holds the
    spacing alone.

    Args:
        path: Path that ends in ``.nii.gz``.
        stack: Array [N, 1, *S]; stored as [*S, N], of two dimensions as [H, W, 1, N], and without
            the last axis where ``geometry`` has affines of its own for each image.
        geometry: Position of the images in the world.
        description: Name of the content, for the header.
        intent: NIfTI's code of what the values mean.
    """
    shape = (*stack.shape[2:], 1)[:3]
    volumes = np.moveaxis(stack[:, 0].reshape(len(stack), *shape), 0, 3)
    if geometry.affines is not None:
        volumes = volumes[..., 0]
    affine = geometry.affine_of(0)
    image = nibabel.Nifti1Image(np.asfortranarray(volumes), affine if geometry.oriented else None)
    if not geometry.oriented:
        zooms = (*geometry.spacing, float(np.linalg.norm(affine[:3, 2])) or 1.0)[:3]
        image.header.set_zooms((*zooms, 1.0)[: volumes.ndim])
    image.header.set_xyzt_units("mm")
    image.header.set_intent(intent)
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    # Level 1: gradients hardly compress, and level 9 takes ten times as long over it.
    path.write_bytes(gzip.compress(image.to_bytes(), 1, mtime=0))


def label_regions(anatomy: Anatomy) -> tuple[LabelArray, list[tuple[int, str, str]]]:
    """Return foreground and regions as one label image, and what each label means.

    Voxels in several regions have a label of their own, so that nothing is lost.

    Returns:
        Labels [N, 1, *S], 0 outside of everything, and rows of label, names and whether the voxels
        lie in the foreground.
    """
    labels = np.zeros(anatomy.foreground.shape, dtype=np.int32)
    combinations: list[tuple[str, ...]] = [()]
    for name, mask in _masks(anatomy):
        # Every label falls in two, outside and inside of the mask; those that occur are kept.
        combinations += [(*names, name) for names in combinations]
        halves = labels + mask * np.int32(len(combinations) // 2)
        counts = np.bincount(halves.ravel(), minlength=len(combinations)).tolist()
        occurring = [half for half, count in enumerate(counts) if count or half == 0]
        combinations = [combinations[half] for half in occurring]
        renumbered = np.zeros(len(counts), dtype=np.int32)
        renumbered[occurring] = np.arange(len(occurring))
        labels = renumbered[halves]
    table = []
    for label, names in enumerate(combinations):
        within = [name for name in names if name]
        words = " and ".join(within) or ("foreground" if names else "outside")
        table.append((label, plain_text(words), "yes" if "" in names else "no"))
    return labels, table


def _masks(anatomy: Anatomy) -> Iterator[tuple[str, BoolArray]]:
    """Yield the foreground, under an empty name, and every region."""
    yield "", anatomy.foreground
    yield from anatomy.rois.items()
    yield from ((f"control of {name}", mask) for name, mask in anatomy.control_rois.items())


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows([header, *rows])
    path.write_text(text.getvalue(), encoding="utf-8")
