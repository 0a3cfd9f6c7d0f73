"""The plane of each image that a picture shows, and which side of the patient lies at its edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import nibabel
import numpy as np
import numpy.typing as npt

from benchmark.arrays import BoolArray, ImageArray
from benchmark.cohort import Geometry
from benchmark.protocol import Exhibit
from benchmark.report.figures.sides import EdgeLetters, edge_letters

_SHOWN = ((2, 1), (2, 0), (1, 0))
"""World axes that run down and across sagittal, coronal and axial planes."""


@dataclass(frozen=True)
class Planes:
    """Planes that volumes are cut to; two-dimensional images pass as they are stored.

    Attributes:
        axis: Array axis that is cut across, or None for two-dimensional images.
        indices: Index of each image's plane along that axis.
        order: Order of the two axes that remain: the one that runs down the picture first.
        flips: Whether each of these runs against the way it is shown.
        aspect: Height of a pixel over its width, both in mm.
        letters: Sides of the patient at the edges of each image's picture; None where they are
            not known.
        millimetres: Width of a pixel in mm; None where it is not known.
    """

    axis: int | None
    indices: tuple[int, ...]
    order: tuple[int, int]
    flips: tuple[bool, bool]
    aspect: float
    letters: tuple[EdgeLetters | None, ...]
    millimetres: float | None = None

    def cut(self, stack: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the planes [n, h, w] of a stack [n, 1, *S]."""
        if self.axis is None:
            return stack[:, 0]
        volumes = zip(stack[:, 0], self.indices, strict=True)
        cuts = np.stack([volume.take(index, self.axis) for volume, index in volumes])
        planes = cuts.transpose(0, *(axis + 1 for axis in self.order))
        return np.flip(planes, tuple(axis for axis, flip in enumerate(self.flips, 1) if flip))

    def cut_one(self, stack: npt.NDArray[np.generic], image: int = 0) -> ImageArray:
        """Return the plane [h, w] of one image of a stack [n, 1, *S], in single precision."""
        alone = np.asarray(stack[image : image + 1], dtype=np.float32)
        plane: ImageArray = self.of(image).cut(alone)[0].astype(np.float32, copy=False)
        return plane

    def of(self, image: int) -> Planes:
        """Return the plane of one image alone, to cut several stacks [1, 1, *S] of it alike."""
        chosen = slice(image, image + 1)
        return replace(self, indices=self.indices[chosen], letters=self.letters[chosen])


def find_middle(region: BoolArray, axis: int) -> int:
    """Return the median of a region's own voxels along an axis, whose plane always meets it."""
    return int(np.percentile(np.nonzero(region)[axis], 50, method="lower"))


def find_fullest(region: BoolArray, axis: int) -> int:
    """Return the plane across an axis that holds most of a region."""
    others = tuple(other for other in range(region.ndim) if other != axis)
    return int(region.sum(axis=others).argmax())


def find_planes(
    geometry: Geometry,
    regions: BoolArray,
    cut: int | None = None,
    choose: Callable[[BoolArray, int], int] = find_middle,
) -> Planes:
    """Return the plane of each image that shows its region.

    Volumes are shown upright, with the patient's left on the left. Volumes that do not say where
    left is are shown as they are stored, and so are two-dimensional images.

    Args:
        geometry: Spacing and affines of the images.
        regions: Region [n, 1, *S] of each image that the plane runs through; never empty.
        cut: World axis x, y or z (0, 1 or 2) that a volume is cut across, which is the array axis
            of that number where nobody knows how it lies; front–back, or the first of the array,
            unless given.
        choose: Returns the index of the plane, from a region [*S] and the axis that is cut.
    """
    dimensions = regions.ndim - 2
    axis, array_axes, flips = _find_layout(geometry, dimensions, cut)
    others = [other for other in range(dimensions) if other != axis]
    down, across = array_axes
    return Planes(
        axis,
        () if axis is None else tuple(choose(region[0], axis) for region in regions),
        (others.index(down), others.index(across)),
        flips,
        aspect=geometry.spacing[down] / geometry.spacing[across],
        letters=tuple(
            edge_letters(geometry.affine_of(row), array_axes, flips) if geometry.oriented else None
            for row in range(len(regions))
        ),
        millimetres=geometry.spacing[across],
    )


def find_exhibit_planes(exhibit: Exhibit, regions: BoolArray) -> Planes:
    """Return the plane of each image of an exhibit, as :func:`find_planes` does for a cohort.

    Args:
        exhibit: Arrays that a protocol kept, with what a report adds: ``spacing``, ``affines`` of
            its images or the one of all, and ``oriented``; without them, sides are unknown.
        regions: Region [n, 1, *S] of each image that the plane runs through.
    """
    if "affines" not in exhibit:
        spacing = (1.0,) * (regions.ndim - 2)
        unplaced = find_planes(Geometry(spacing, np.eye(4), oriented=False), regions)
        return replace(unplaced, millimetres=None)
    spacing = tuple(np.asarray(exhibit["spacing"], dtype=np.float64).tolist())
    affines = np.asarray(exhibit["affines"], dtype=np.float64)
    own = affines if len(affines) > 1 else None
    oriented = bool(exhibit["oriented"])
    return find_planes(Geometry(spacing, affines[0], affines=own, oriented=oriented), regions)


def _find_layout(
    geometry: Geometry, dimensions: int, cut: int | None
) -> tuple[int | None, tuple[int, int], tuple[bool, bool]]:
    """Return the axis to cut across, the axes that run down and across, and what is flipped."""
    if dimensions == 2:
        return None, (0, 1), (False, False)
    if not geometry.oriented:
        axis = cut or 0
        down, across = (other for other in range(3) if other != axis)
        return axis, (down, across), (False, False)
    # For each array axis the world axis (x, y, z) closest to it, and which way it runs.
    orientation = nibabel.io_orientation(geometry.affine_of(0))
    axis_of = {int(world): axis for axis, world in enumerate(orientation[:, 0])}
    world = 1 if cut is None else cut
    down, across = (axis_of[other] for other in _SHOWN[world])
    return axis_of[world], (down, across), (orientation[down, 1] > 0, orientation[across, 1] < 0)
