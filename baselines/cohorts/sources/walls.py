"""The walls of fluid spaces in the template, found in it and moved along their normals.

The third ventricle is the dark slit at the mid-line. In the coronal plane y = −21 mm of the ICBM
152 template it reaches from z = −5 to 18 mm, where the fornix closes it. It is 4 mm wide, and 6 at
its roof, which holds some choroid plexus of grey 0.35–0.48 among fluid of 0.25. Thalamus and
tegmentum round it are at 0.65–0.75, so a threshold of 0.5 lies half-way up the wall.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, map_coordinates

from baselines.cohorts.template import load_template
from benchmark.arrays import BoolArray, FloatArray
from benchmark.errors import CohortError

REACH = 8.0
"""Distance from a wall in mm at which nothing moves any more."""

MARGIN = 1.0
"""How far a structure's region extends beyond its wall, in mm."""

# Voxel of the distance field along x, y and z, and how much it is smoothed, both in mm. Without
# smoothing the normal would flip at the mid-line of a slit.
_STEP, _SMOOTHING = np.array([0.5, 1.0, 0.5]), 0.7


@dataclass(frozen=True)
class FluidWall:
    """The wall of the fluid space that holds a point of the template.

    Distances are measured within coronal planes, so that a slice shows the whole of the change.
    A plane outside the box takes those of the box's first or last plane.

    Attributes:
        name: Name of the region.
        point: Point (x, y, z) in the fluid, in MNI mm.
        low, high: Corners (x, y, z) in mm of the box that the fluid space ends at.
        darkest_tissue: Grey of the template below which it counts as fluid. A thin fissure, which
            the average of 152 brains blurs, needs up to 0.6.
    """

    name: str
    point: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    darkest_tissue: float = 0.5

    def displacement(self, points: FloatArray, amount: float) -> FloatArray:
        """Return the offset [*S, 3] in mm of points that widen the space by ``amount`` mm.

        The wall moves along its normal by that much. The tissue on both sides follows, less and
        less along a raised cosine, which is 0 at ``REACH``.
        """
        distance, across, up = (self._sample(field, points) for field in self._fields)
        window = 0.5 * (1 + np.cos(np.pi * np.minimum(np.abs(distance) / REACH, 1)))
        offset = np.zeros_like(points)
        offset[..., 0], offset[..., 2] = across, up
        return np.asarray(-amount * window[..., None] * offset)

    def region(self, points: FloatArray) -> BoolArray:
        """Return the points [*S, 3] in the fluid or at most ``MARGIN`` beyond its wall, [*S]."""
        return np.asarray(self._sample(self._fields[0], points) <= MARGIN)

    @cached_property
    def _grid(self) -> tuple[FloatArray, tuple[int, int, int]]:
        """First point [3] in mm and shape of the distance field, which goes beyond the reach."""
        room = np.array([REACH + 2, 0.0, REACH + 2])
        first = np.array(self.low) - room
        counts = np.rint((np.array(self.high) + room - first) / _STEP).astype(int) + 1
        return first, (int(counts[0]), int(counts[1]), int(counts[2]))

    @cached_property
    def _fields(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Distance to the wall in mm, negative in the fluid, and its slope along x and z."""
        first, shape = self._grid
        points = np.moveaxis(np.indices(shape, dtype=np.float64), 0, -1) * _STEP + first
        template = load_template()
        in_box = ((points >= self.low) & (points <= self.high)).all(axis=-1)
        labels, _ = label((template.sample(template.t1, points) < self.darkest_tissue) & in_box)
        index = np.rint((np.array(self.point) - first) / _STEP).astype(int)
        inside = (index >= 0).all() and (index < shape).all()
        own = labels[tuple(index)] if inside else 0
        if not own:
            raise CohortError(
                f"The structure {self.name!r} names the point {self.point}, where the template "
                f"is not darker than {self.darkest_tissue}, or which lies outside its box from "
                f"{self.low} to {self.high}."
            )
        fluid = labels == own
        distance = np.empty(shape)
        for plane in range(shape[1]):
            outside, within = (
                distance_transform_edt(mask, sampling=_STEP[[0, 2]])
                for mask in (~fluid[:, plane], fluid[:, plane])
            )
            # The wall lies half a voxel from the centres on both of its sides.
            distance[:, plane] = np.where(within > 0, _STEP[0] / 2 - within, outside - _STEP[0] / 2)
        distance = gaussian_filter(distance, _SMOOTHING / _STEP)
        across, _, up = np.gradient(distance, *_STEP)
        return distance, across, up

    def _sample(self, field: FloatArray, points: FloatArray) -> FloatArray:
        """Return a field's values [*S] at points [*S, 3], those of its edge beyond it."""
        indices = np.moveaxis((points - self._grid[0]) / _STEP, -1, 0)
        values = map_coordinates(field, indices, output=np.float64, order=1, mode="nearest")
        return np.asarray(values)


# Behind y = −28 mm the ventricle opens into the cistern behind the thalami, which spans the box.
THIRD_VENTRICLE = FluidWall(
    "third_ventricle", point=(0.0, -21.0, 0.0), low=(-8.0, -28.0, -6.0), high=(8.0, -12.0, 19.0)
)
