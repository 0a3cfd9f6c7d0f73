"""How an image of a file becomes an array of the cohort, and where that array lies.

Volumes that lie in the world come out as [z, y, x] ascending. The rows of a coronal slice are z
descending and its columns x ascending; those of an axial slice are y descending and x; those of a
sagittal slice are z descending and y. The letters of ``axes`` in the cohort file can say otherwise.
Arrays and pictures keep the order in which they are stored, and ``axes`` says what that is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import nibabel
import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.cohort_toml import CohortFile, Slice
from baselines.cohorts.files.formats.scan import Scan, Source
from benchmark.arrays import FloatArray
from benchmark.cohort import Geometry
from benchmark.errors import CohortError

PLANES = ("sagittal", "coronal", "axial")  # the plane across the axes x, y, z
_LETTERS = "RAS"  # what the axes of an array are taken for where nobody knows
_SAME = 1e-3  # mm that equal affines may differ by, and the share that equal spacings may


@dataclass(frozen=True)
class Layout:
    """How the voxels of one scan become an array, and where they lie.

    Attributes:
        source: File that says so.
        stored: Shape of its voxels.
        affine: [4, 4] map from indices of the voxels to RAS+ millimetres.
        is_placed: Whether the file says where it lies; then its voxels are [X, Y, Z] in RAS+ order.
        is_oriented: Whether the sides of the patient are known.
        cut: Axis and index of the slice, or None to keep all.
        axes: Axis of the voxels that each axis of the array is made of, and whether it runs against
            it.
    """

    source: Source
    stored: tuple[int, ...]
    affine: FloatArray
    is_placed: bool
    is_oriented: bool
    cut: tuple[int, int] | None
    axes: tuple[tuple[int, bool], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape *S of the array."""
        return tuple(self.stored[axis] for axis, _ in self.axes)

    def arrange(self, voxels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the array [*S] of voxels."""
        order = [axis for axis, _ in self.axes]
        if self.cut is not None:
            voxels = np.take(voxels, [self.cut[1]], axis=self.cut[0])
            order = [*order, self.cut[0]]
        turned = voxels.transpose(order)
        turned = turned if self.cut is None else turned[..., 0]
        against = tuple(number for number, (_, flips) in enumerate(self.axes) if flips)
        return np.flip(turned, against)

    @property
    def array_affine(self) -> FloatArray:
        """[4, 4] map from indices of the array to RAS+ millimetres; a slice counts as [H, W, 1]."""
        to_stored = np.zeros((4, 4))
        to_stored[3, 3] = 1.0
        for column, (axis, against) in enumerate(self.axes):
            to_stored[axis, column] = -1.0 if against else 1.0
            to_stored[axis, 3] = self.stored[axis] - 1 if against else 0.0
        if len(self.axes) == 2:
            axis, index = (2, 0) if self.cut is None else self.cut
            to_stored[axis, 2], to_stored[axis, 3] = 1.0, index
        return np.asarray(self.affine @ to_stored)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size in mm along each axis of the array."""
        sizes = np.linalg.norm(self.array_affine[:3, : len(self.shape)], axis=0)
        return tuple(float(size) for size in sizes)

    def world_axis(self, axis: int) -> int:
        """Return which of x, y and z a stored axis runs closest to."""
        return int(nibabel.io_orientation(self.affine)[axis, 0])

    def lies_like(self, other: Layout) -> bool:
        """Return whether both lie on one grid."""
        return self.stored == other.stored and np.allclose(self.affine, other.affine, atol=_SAME)

    def __str__(self) -> str:
        """Return the grid, as messages name it."""
        rows = "; ".join(
            " ".join(f"{value:g}" for value in row) for row in self.affine[:3].round(4)
        )
        return f"{'×'.join(map(str, self.stored))} [{rows}]"


def find_layout(scan: Scan, recipe: CohortFile) -> Layout:
    """Return the layout of an image.

    Raises:
        CohortError: If it has too many axes or too few, lies nowhere and nobody says its spacing,
            or has no such slice.
    """
    shape = tuple(scan.voxels.shape)
    if scan.affine is not None:
        layout = Layout(scan.source, shape, scan.affine, True, True, None, ())
        layout = replace(layout, cut=_find_cut(layout, recipe.slice))
        return replace(layout, axes=_turned_axes(layout, recipe.axes))
    spacing, axes = recipe.spacing or scan.spacing, recipe.axes or scan.axes
    if recipe.axes and scan.axes and recipe.axes != scan.axes:
        raise CohortError(
            f"The {scan.source} has axes that run {scan.axes!r} by its header, but the cohort file "
            f"says {recipe.axes!r}; leave axes out, or correct whichever is wrong."
        )
    if spacing is None:
        raise CohortError(
            f"The {scan.source} does not say how large its pixels are; give spacing = "
            f"{[1.0] * len(shape)} in mm in the cohort file, with the true sizes."
        )
    for key, values in (("spacing", spacing), ("axes", axes)):
        if values is not None and len(values) != len(shape):
            raise CohortError(
                f"The {scan.source} has {len(shape)} axes, but {key} = {values!r} has "
                f"{len(values)}."
            )
    affine = _affine_of(shape, spacing, axes)
    layout = Layout(scan.source, shape, affine, False, axes is not None, None, ())
    layout = replace(layout, cut=_find_cut(layout, recipe.slice))
    return replace(layout, axes=tuple((axis, False) for axis in _kept_axes(layout)))


def default_axes(plane: str | None) -> str:
    """Return in which directions the axes of a plane run, or those of volumes if it is None."""
    return "SAR" if plane is None else {"sagittal": "IA", "coronal": "IR", "axial": "PR"}[plane]


def make_geometry(layouts: list[Layout], registered: bool) -> Geometry:
    """Return spacing and affines of all images, in the order of the rows.

    Raises:
        CohortError: If arrays have different shapes or spacings, or lie differently though they are
            called registered.
    """
    first = layouts[0]
    for layout in layouts:
        if layout.shape != first.shape or not np.allclose(
            layout.spacing, first.spacing, rtol=_SAME
        ):
            raise CohortError(
                f"The {layout.source} becomes an array {list(layout.shape)} of "
                f"{_sizes(layout.spacing)} mm, but the {first.source} {list(first.shape)} of "
                f"{_sizes(first.spacing)} mm; resample or crop them alike first, for example with "
                "nilearn.image.resample_to_img."
            )
        if nibabel.aff2axcodes(layout.array_affine) != nibabel.aff2axcodes(first.array_affine):
            raise CohortError(
                f"The {layout.source} is tilted so far that its axes run along others than those "
                f"of the {first.source}; resample them alike first."
            )
        if registered and not layout.lies_like(first):
            raise CohortError(
                f"The {layout.source} lies on the grid {layout}, but the {first.source} on "
                f"{first}; images that are registered share one grid, so resample them first, for "
                "example with nilearn.image.resample_to_img, or say registered = false."
            )
    own = not all(layout.lies_like(first) for layout in layouts)
    affines = np.stack([layout.array_affine for layout in layouts]) if own else None
    oriented = all(layout.is_oriented for layout in layouts)
    return Geometry(first.spacing, first.array_affine, registered, affines, oriented)


def _kept_axes(layout: Layout) -> list[int]:
    """Return the axes of the voxels that no slice takes away.

    Raises:
        CohortError: If neither two nor three are left, or one has a single voxel.
    """
    cut = layout.cut
    kept = [axis for axis in range(len(layout.stored)) if cut is None or axis != cut[0]]
    if len(kept) not in (2, 3) or min(layout.stored[axis] for axis in kept) < 2:
        raise CohortError(
            f"The {layout.source} has the shape {list(layout.stored)}, but an image or a volume "
            "was expected."
        )
    return kept


def _turned_axes(layout: Layout, wanted: str | None) -> tuple[tuple[int, bool], ...]:
    """Return the axes of an array whose file says where it lies, so that its voxels are RAS+."""
    kept = _kept_axes(layout)
    plane = None if layout.cut is None else PLANES[layout.cut[0]]
    letters = wanted or default_axes(plane)
    ornt = nibabel.orientations.axcodes2ornt(tuple(letters))
    if sorted(ornt[:, 0]) != kept:
        raise CohortError(
            f"The {layout.source} becomes {'a volume' if plane is None else f'a {plane} slice'}, "
            f"whose axes cannot run as axes = {letters!r} says; {default_axes(plane)!r} would do."
        )
    return tuple((int(axis), bool(sign < 0)) for axis, sign in ornt)


def _find_cut(layout: Layout, wanted: Slice | None) -> tuple[int, int] | None:
    """Return axis and index of the slice that is wanted, or of the only one that there is."""
    if wanted is None:
        flat = [axis for axis, length in enumerate(layout.stored) if length == 1]
        return (flat[0], 0) if len(flat) == 1 and len(layout.stored) == 3 else None
    if len(layout.stored) != 3:
        raise CohortError(f"The {layout.source} is no volume, so no slice can be taken of it.")
    if not layout.is_oriented:
        raise CohortError(
            f"The {layout.source} does not say how it lies, so nobody knows its {wanted.plane} "
            "slices; give axes, such as 'RAS', in the cohort file."
        )
    return _find_slice(layout, wanted)


def _find_slice(layout: Layout, wanted: Slice) -> tuple[int, int]:
    """Return axis and index of the slice in the stored voxels."""
    world = PLANES.index(wanted.plane)
    orientation = nibabel.io_orientation(layout.affine)
    axis = int(np.flatnonzero(orientation[:, 0] == world)[0])
    count, towards = layout.stored[axis], int(orientation[axis, 1])
    step, origin = layout.affine[world, axis], layout.affine[world, 3]
    others = np.delete(layout.affine[world, :3], axis)
    if wanted.mm is None:
        number, index = f"index {wanted.index}", wanted.index or 0
        index = index if towards > 0 or not 0 <= index < count else count - 1 - index
    else:
        if np.abs(others).max() > 1e-3 * abs(step):
            raise CohortError(
                f"The {layout.source} lies obliquely, so no {wanted.plane} slice is at "
                f"{wanted.mm} mm throughout; give the slice's index instead."
            )
        number, index = f"{wanted.mm} mm", round((wanted.mm - origin) / step)
    if not 0 <= index < count:
        raise CohortError(
            f"The {wanted.plane} slice at {number} lies outside the {layout.source} which has "
            f"slices 0 to {count - 1}, from {origin:g} to {origin + step * (count - 1):g} mm."
        )
    return axis, index


def _affine_of(shape: tuple[int, ...], spacing: tuple[float, ...], axes: str | None) -> FloatArray:
    """Return the affine of an array, its centre at 0 mm; its sides are made up without ``axes``."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    letters = axes or _LETTERS[: len(shape)]
    rows = [(int(world), sign) for world, sign in nibabel.orientations.axcodes2ornt(tuple(letters))]
    if len(rows) == 2:
        rows.append((3 - rows[0][0] - rows[1][0], 1.0))
    for column, (world, sign) in enumerate(rows):
        size = spacing[column] if column < len(spacing) else 1.0
        length = shape[column] if column < len(shape) else 1
        affine[world, column] = sign * size
        affine[world, 3] -= sign * size * (length - 1) / 2
    return affine


def _sizes(spacing: tuple[float, ...]) -> str:
    return " × ".join(f"{size:.4g}" for size in spacing)
