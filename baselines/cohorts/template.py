"""The ICBM 152 template as nilearn ships it, and the views that the phantoms take of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from scipy.ndimage import map_coordinates

from benchmark.arrays import FloatArray


@dataclass(frozen=True)
class Template:
    """The average brain of 152 young adults (Fonov et al. 2009, 2011), skull-stripped.

    Attributes:
        t1: [X, Y, Z] float32 in [0, 1], T1-weighted, 1 mm isotropic; 0 outside the brain.
        brain: [X, Y, Z] float32, 1 in the brain and its cerebrospinal fluid, 0 elsewhere.
        affine: [4, 4] map from indices of ``t1`` to MNI millimetres (RAS+).
    """

    t1: FloatArray
    brain: FloatArray
    affine: FloatArray

    def sample(self, volume: FloatArray, points: FloatArray) -> FloatArray:
        """Return a volume's values [*S] at points [*S, 3] in MNI mm, linear; 0 beyond the edge."""
        to_index = np.linalg.inv(self.affine)
        indices = points @ to_index[:3, :3].T + to_index[:3, 3]
        indices = np.moveaxis(indices, -1, 0)
        return np.asarray(map_coordinates(volume, indices, output=np.float64, order=1))


@cache
def load_template() -> Template:
    """Return the template; read once per process.

    References:
        Fonov et al., "Unbiased average age-appropriate atlases for pediatric studies",
        NeuroImage 54 (2011) 313–327.
        Fonov et al., "Unbiased nonlinear average age-appropriate brain templates from birth to
        adulthood", NeuroImage 47 (2009) S102.
    """
    # Here, since nilearn takes up to a second and the committed phantom loads without it.
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    t1 = load_mni152_template(resolution=1)
    brain = load_mni152_brain_mask(resolution=1)
    return Template(
        t1=np.asarray(t1.dataobj, dtype=np.float32),
        brain=(np.asarray(brain.dataobj) > 0).astype(np.float32),
        affine=np.asarray(t1.affine, dtype=np.float64),
    )


@dataclass(frozen=True)
class View:
    """The part of the head that is imaged.

    Attributes:
        shape: Spatial shape *S, (H, W) or (D, H, W).
        affine: [4, 4] map from array indices to MNI millimetres; a slice counts as [H, W, 1].
        control_centre: Centre (x, y, z) in mm of the right control region, mirrored on the left.
    """

    shape: tuple[int, ...]
    affine: FloatArray
    control_centre: tuple[float, float, float]

    @cached_property
    def points(self) -> FloatArray:
        """Centre of every voxel in millimetres, [*S, 3]."""
        shape = (*self.shape, 1)[:3]
        indices = np.moveaxis(np.indices(shape, dtype=np.float64), 0, -1)
        points = indices @ self.affine[:3, :3].T + self.affine[:3, 3]
        return np.asarray(points.reshape(*self.shape, 3))

    def moved(self, motion: FloatArray) -> View:
        """Return the view of a head that moved: its points after ``motion`` [4, 4], in mm."""
        return replace(self, affine=np.asarray(motion @ self.affine))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel size in mm along each axis of *S."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        return tuple(float(size) for size in sizes[: len(self.shape)])


def coronal_view(size: int = 96, spacing: float = 1.5, y: float = -21.0) -> View:
    """Return a square coronal slice centred on the mid-line at z = 0.

    Row 0 is superior, column 0 the leftmost x.
    """
    edge = (size - 1) / 2 * spacing
    affine = np.eye(4)
    affine[:3] = [0.0, spacing, 0.0, -edge], [0.0, 0.0, spacing, y], [-spacing, 0.0, 0.0, edge]
    # Lateral parietal cortex and white matter, 52 mm from the hippocampus.
    return View((size, size), affine, control_centre=(46.0, -21.0, 34.0))


def crop_view(
    shape: tuple[int, int, int] = (48, 48, 96),
    spacing: float = 1.5,
    centre: tuple[float, float, float] = (0.0, -21.0, -14.0),
) -> View:
    """Return a box of [z, y, x] voxels, all ascending, around ``centre`` = (x, y, z) in mm."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1.0
    for axis, count in enumerate(shape):
        world = 2 - axis
        affine[world, axis] = spacing
        affine[world, 3] = centre[world] - (count - 1) / 2 * spacing
    # Superior temporal gyrus: the parietal control of the slice lies above the default box.
    return View(shape, affine, control_centre=(52.0, -21.0, 3.0))
