"""One image or mask as its file holds it, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark.arrays import FloatArray


@dataclass(frozen=True)
class Source:
    """Which image is read, and what messages call it.

    Attributes:
        path: Path of the file, or of the folder of a DICOM series.
        title: Name of the image in messages, such as ``image of 'sub-01'``.
        index: Number of the image in a file that holds several, from 0, or None where it holds one.
        array: Name of the array in an ``.npz``, or None where it holds one.
    """

    path: Path
    title: str
    index: int | None = None
    array: str | None = None

    def __str__(self) -> str:
        """Return title and path, as messages name it."""
        number = "" if self.index is None else f" (number {self.index})"
        return f"{self.title}, {self.path}{number},"


@dataclass(frozen=True)
class Scan:
    """The values of one image or mask, and where they lie.

    Attributes:
        source: Source that was read.
        voxels: Values [X, Y, Z] in RAS+ order if the file says where its voxels lie in the world;
            else [H, W] or [D, H, W] as stored.
        affine: [4, 4] map from indices of ``voxels`` to RAS+ millimetres, or None if the file does
            not say.
        spacing: Size in mm along each axis of ``voxels``, where the file says that much without an
            affine; None otherwise.
        axes: Direction in which each axis of ``voxels`` runs, as letters of R, L, A, P, S and I,
            where the file says that much without an affine; None otherwise.
    """

    source: Source
    voxels: npt.NDArray[np.generic]
    affine: FloatArray | None = None
    spacing: tuple[float, ...] | None = None
    axes: str | None = None
