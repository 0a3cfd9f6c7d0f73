"""Where a cohort is corrupted: round given points, in its regions, or at random points.

Every image gets a mask by one and the same rule, whether it is corrupted in the end or not, so that
the region itself tells nobody which images are. Points are in RAS+ millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.errors import CohortError, InputError
from benchmark.maps.alteration import depth_inside
from benchmark.seeding import stream

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Sites:
    """The masks of a cohort's images, and how they came about.

    Attributes:
        masks: [N, 1, *S] bool, never empty and inside the foreground.
        description: Description of what was asked for, as it stands in a record.
        points: Points in mm that balls lie round, one tuple for each image; empty where masks are
            no balls.
    """

    masks: BoolArray
    description: dict[str, object]
    points: tuple[tuple[Point, ...], ...] = field(default=())


def at_points(cohort: Cohort, points: Sequence[Point], radius: float) -> Sites:
    """Return balls round given points, cut to each image's foreground.

    Args:
        cohort: Cohort to corrupt.
        points: Points in mm, of the world that the images' affines lead into.
        radius: Radius of the balls in mm.

    Raises:
        InputError: If the radius is smaller than a voxel, or a point lies outside an image or its
            foreground.
    """
    _check_radius(cohort, radius)
    masks = np.zeros(cohort.images.shape, dtype=np.bool_)
    for row in range(len(cohort)):
        affine, foreground = cohort.geometry.affine_of(row), cohort.anatomy.foreground[row, 0]
        for point in points:
            if not foreground[_voxel_of(cohort, row, point)]:
                raise InputError(
                    f"The site {_text(point)} lies outside the foreground of "
                    f"{cohort.subjects[row]!r}."
                )
            masks[row, 0] |= ball(cohort.shape, affine, point, radius)
        masks[row, 0] &= foreground
    description = {"places": "given sites", "radius_mm": radius}
    return Sites(masks, description, (tuple(points),) * len(cohort))


def in_regions(cohort: Cohort, names: Sequence[str]) -> Sites:
    """Return the union of some of the cohort's own regions, cut to the foreground.

    Raises:
        InputError: If the cohort has no such region, or a subject's lies outside the foreground.
    """
    rois = cohort.anatomy.rois
    if unknown := [name for name in names if name not in rois]:
        known = ", ".join(sorted(rois)) or "none"
        raise InputError(
            f"Cohort {cohort.name!r} has no region {unknown[0]!r}. Its regions: {known}."
        )
    masks = np.any([rois[name] for name in names], axis=0) & cohort.anatomy.foreground
    for row, subject in enumerate(cohort.subjects):
        if not masks[row].any():
            raise InputError(f"{' and '.join(names)} of {subject!r} lies outside the foreground.")
    return Sites(masks, {"places": "regions", "regions": sorted(set(names))})


def at_random(cohort: Cohort, count: int, radius: float, seed: int) -> Sites:
    """Return balls round random points, whole in the foreground and clear of each other.

    In a registered cohort everybody gets the same points, and the foreground is what all images
    share; otherwise each image gets points of its own.

    Args:
        cohort: Cohort to corrupt.
        count: Number of points.
        radius: Radius of the balls in mm.
        seed: Seed of the points.

    Raises:
        InputError: If the radius is smaller than a voxel, or so many balls do not fit.
    """
    _check_radius(cohort, radius)
    if count < 1:
        raise InputError(f"Expected at least one random site, got {count}.")
    foreground, points = cohort.anatomy.foreground[:, 0], []
    masks = np.zeros(cohort.images.shape, dtype=np.bool_)
    for row, key in enumerate(cohort.keys):
        shared = cohort.geometry.registered
        if row == 0 or not shared:
            organ: BoolArray = np.all(foreground, axis=0) if shared else foreground[row]
            owner = "the foreground that all images share" if shared else f"the foreground of {key}"
            generator = stream("corruption", seed, "sites", "everybody" if shared else key)
            points.append(_draw_points(cohort, row, organ, (count, radius), generator, owner))
        else:
            points.append(points[0])
        for point in points[row]:
            masks[row, 0] |= ball(cohort.shape, cohort.geometry.affine_of(row), point, radius)
        masks[row, 0] &= foreground[row]
    who = "everybody" if cohort.geometry.registered else "each image"
    description = {"places": "random sites", "count": count, "radius_mm": radius, "drawn_for": who}
    return Sites(masks, description, tuple(points))


def ball(shape: Sequence[int], affine: FloatArray, point: Point, radius: float) -> BoolArray:
    """Return the voxels whose centre lies within ``radius`` mm of a point, [*S] bool.

    Distances follow the affine, so thick slices and sheared axes count as they are. A point beside
    a two-dimensional image counts as the nearest one in its plane.
    """
    dimensions = len(shape)
    centre = _index_of(affine, point)[:dimensions]
    metric = affine[:3, :dimensions].T @ affine[:3, :dimensions]
    reach = radius * np.sqrt(np.diag(np.linalg.inv(metric)))
    low = np.clip(np.floor(centre - reach), 0, shape).astype(int)
    high = np.clip(np.ceil(centre + reach) + 1, 0, shape).astype(int)
    # Only the box round the ball is looked at, however large the volume is.
    box = tuple(slice(start, stop) for start, stop in zip(low, high, strict=True))
    offsets = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1) - centre
    squares = np.einsum("...a,ab,...b->...", offsets, metric, offsets)
    mask = np.zeros(tuple(shape), dtype=np.bool_)
    mask[box] = squares <= radius**2 * (1 + 1e-9)
    return mask


def point_of(affine: FloatArray, voxel: Rows) -> Point:
    """Return the point in mm of a voxel [len(S)], rounded to micrometres."""
    index = np.zeros(4)
    index[: len(voxel)], index[3] = voxel, 1.0
    x, y, z = (round(float(value), 3) + 0.0 for value in (affine @ index)[:3])
    return x, y, z


def voxel_of(affine: FloatArray, point: Point, dimensions: int) -> tuple[int, ...]:
    """Return the indices of the voxel nearest to a point in mm."""
    return tuple(int(value) for value in np.rint(_index_of(affine, point)[:dimensions]))


def _index_of(affine: FloatArray, point: Point) -> FloatArray:
    """Return a point in mm as indices [3] of the array, not rounded."""
    try:
        index = np.linalg.solve(affine[:3, :3], np.asarray(point) - affine[:3, 3])
    except np.linalg.LinAlgError as error:
        message = "The affine of the images is singular, so no point has a voxel."
        raise CohortError(message) from error
    return np.asarray(index, dtype=np.float64)


def _voxel_of(cohort: Cohort, row: int, point: Point) -> tuple[int, ...]:
    """Return the voxel of a point after making sure that the image reaches there."""
    affine, shape = cohort.geometry.affine_of(row), cohort.shape
    voxel = voxel_of(affine, point, len(shape))
    subject = cohort.subjects[row]
    if not all(0 <= index < length for index, length in zip(voxel, shape, strict=True)):
        corners = [
            point_of(affine, np.array(end)) for end in ((0,) * len(shape), np.array(shape) - 1)
        ]
        raise InputError(
            f"The site {_text(point)} lies outside the image of {subject!r}, which reaches from "
            f"{_text(corners[0])} to {_text(corners[1])} mm."
        )
    if len(shape) == 2 and abs(_index_of(affine, point)[2]) > 0.5:
        nearest = point_of(affine, np.array(voxel))
        raise InputError(
            f"The site {_text(point)} lies beside the slice of {subject!r}; its nearest point in "
            f"the slice is {_text(nearest)} mm."
        )
    return voxel


def _draw_points(
    cohort: Cohort,
    row: int,
    organ: BoolArray,
    size: tuple[int, float],
    generator: np.random.Generator,
    owner: str,
) -> tuple[Point, ...]:
    """Return random points whose balls lie in the organ [*S] and do not touch each other."""
    (count, radius), affine = size, cohort.geometry.affine_of(row)
    depth = depth_inside(organ, cohort.geometry.spacing)
    allowed, points = depth > radius, list[Point]()
    for number in range(count):
        if not len(voxels := np.argwhere(allowed)):
            reason = (
                f"only {number} of {count} balls of {radius:g} mm fit into {owner}"
                if number
                else f"no ball of {radius:g} mm fits into {owner}, {depth.max():.3g} mm deep"
            )
            raise InputError(f"Random sites in cohort {cohort.name!r} cannot be drawn: {reason}.")
        points.append(point_of(affine, voxels[generator.integers(len(voxels))]))
        allowed &= ~ball(cohort.shape, affine, points[-1], 2 * radius)
    return tuple(points)


def _check_radius(cohort: Cohort, radius: float) -> None:
    spacing = cohort.geometry.spacing
    if not min(spacing) <= radius < np.inf:
        sizes = " × ".join(f"{size:g}" for size in spacing)
        raise InputError(
            f"Expected a radius of at least a voxel, which measures {sizes} mm in cohort "
            f"{cohort.name!r}, got {radius:g} mm."
        )


def _text(point: Point) -> str:
    return "(" + ", ".join(f"{value:g}" for value in point) + ")"
