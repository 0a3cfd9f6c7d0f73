"""Maps over images: a row for each of some test subjects, a column for each method.

All tiles form one mosaic in a single axes; an axes for each of ten by eight tiles takes ten times
as long.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib
import nibabel
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.arrays import BoolArray, ImageArray, Rows
from benchmark.cohort import Cohort
from benchmark.report.figures.style import DPI, INK, MUTED, styled
from benchmark.trial.outputs import Evaluation

SUBJECTS_PER_GROUP = 5
CONFIDENT = 0.8
ROBUST_PERCENTILE = 99.5
_OPACITY = 0.85
_TILE = 128  # pixels; larger planes are averaged down, much smaller ones are magnified
_GAP = 4  # pixels between tiles
_LEFT, _RIGHT, _TOP, _BOTTOM = 128, 6, 70, 30  # pixels around a mosaic
_STRIP_TOP = 36  # pixels above a strip


@dataclass(frozen=True)
class Planes:
    """Planes that volumes are cut to; two-dimensional images pass unchanged.

    Attributes:
        axis: ImageArray axis that is cut across, or None for two-dimensional images.
        indices: Index of each subject's plane along that axis.
        order: Order of the two axes that remain: upright first.
        flips: Whether each of these runs against the way it is shown.
    """

    axis: int | None
    indices: tuple[int, ...]
    order: tuple[int, int] = (0, 1)
    flips: tuple[bool, bool] = (False, False)

    def cut(self, stack: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the planes [n, h, w] of a stack [n, 1, *S]."""
        if self.axis is None:
            return stack[:, 0]
        volumes = zip(stack[:, 0], self.indices, strict=True)
        cuts = np.stack([volume.take(index, self.axis) for volume, index in volumes])
        planes = cuts.transpose(0, *(axis + 1 for axis in self.order))
        return np.flip(planes, tuple(axis for axis, flip in enumerate(self.flips, 1) if flip))


@dataclass(frozen=True)
class Tiles:
    """Planes of the n subjects that a figure shows.

    Attributes:
        groups: Name of each subject's group.
        subjects: Name of each subject.
        own_probabilities: Probability that the model gives each subject's own group.
        images: Grey values [n, h, w] in [0, 1].
        foreground: Foreground [n, h, w].
        rois: Union [n, h, w] of the regions that the disease changes.
        control_rois: Union [n, h, w] of the control regions.
        aspect: Height of a pixel over its width, both in mm.
        planes: Plane of each subject, to cut maps alike.
    """

    groups: tuple[str, ...]
    subjects: tuple[str, ...]
    own_probabilities: tuple[float, ...]
    images: ImageArray
    foreground: BoolArray
    rois: BoolArray
    control_rois: BoolArray
    aspect: float
    planes: Planes


def choose_rows(cohort: Cohort, evaluation: Evaluation) -> Rows:
    """Return which test images to show: five subjects a group, from the surest to the least sure.

    Subjects that the model gives their own group with a probability of at least 0.8 come first,
    spread evenly over the order of that probability; where they are too few, the next follow.
    Rows of group 0 stand before those of group 1, each by falling probability.
    """
    own = evaluation.own_probability
    chosen: list[int] = []
    for group in (0, 1):
        ranked = sorted(
            np.flatnonzero(cohort.groups == group).tolist(),
            key=lambda row: (-own[row], cohort.keys[row]),
        )
        first_of = {cohort.subjects[row]: row for row in reversed(ranked)}
        ranked = [row for row in ranked if first_of[cohort.subjects[row]] == row]
        sure = sum(own[row] >= CONFIDENT for row in ranked)
        pool = ranked[: max(sure, SUBJECTS_PER_GROUP)]
        count = min(SUBJECTS_PER_GROUP, len(pool))
        ranks = np.linspace(0, len(pool) - 1, count).round().astype(int)
        chosen.extend(pool[rank] for rank in ranks)
    return np.array(chosen, dtype=np.int64)


def cut_tiles(cohort: Cohort, evaluation: Evaluation, rows: Rows) -> Tiles:
    """Return the planes of these images that a figure shows.

    Volumes are cut at the centre of the subject's regions, across the axis that runs closest to
    front–back, and shown upright with the patient's left on the left.
    """
    subset = cohort.take(rows)
    anatomy, nowhere = subset.anatomy, np.zeros(subset.images.shape, dtype=np.bool_)
    truth = [anatomy.rois[name] for name in anatomy.truth or anatomy.rois]
    rois = np.logical_or.reduce([nowhere, *truth])
    control_rois = np.logical_or.reduce([nowhere, *anatomy.control_rois.values()])
    has_roi = rois.any(axis=tuple(range(1, rois.ndim)), keepdims=True)
    planes = _find_planes(subset, np.where(has_roi, rois, anatomy.foreground))
    spacing = [size for axis, size in enumerate(subset.geometry.spacing) if axis != planes.axis]
    return Tiles(
        groups=tuple(subset.group_names[group] for group in subset.groups),
        subjects=tuple(subset.subjects),
        own_probabilities=tuple(evaluation.own_probability[rows].tolist()),
        images=planes.cut(subset.images).astype(np.float32),
        foreground=planes.cut(anatomy.foreground).astype(np.bool_),
        rois=planes.cut(rois).astype(np.bool_),
        control_rois=planes.cut(control_rois).astype(np.bool_),
        aspect=spacing[planes.order[0]] / spacing[planes.order[1]],
        planes=planes,
    )


@styled
def draw_overlays(figure: Figure, tiles: Tiles, importance: Mapping[str, ImageArray]) -> None:
    """Draw the bare image and each method's importance over it.

    Each map is divided by its own 99.5th percentile inside the foreground, so colours compare
    places within a map and never strengths between maps. Importance is non-negative planes
    [n, h, w], by method.
    """
    grey = _shrink(tiles.images)[..., None].repeat(3, -1)
    columns = [grey]
    notes: list[tuple[int, int, str]] = []
    for column, maps in enumerate(importance.values(), start=1):
        strength, words = _normalise(maps, tiles.foreground)
        notes.extend((row, column, word) for row, word in words.items())
        columns.append(_blend(grey, _shrink(strength)))
    mosaic = _mosaic(np.stack(columns, axis=1), fill=1.0)
    width, height = _size_in_pixels(mosaic, tiles)
    figure_width, figure_height = _LEFT + width + _RIGHT, _TOP + height + _BOTTOM
    figure.set_size_inches(figure_width / DPI, figure_height / DPI)
    left, bottom = _LEFT / figure_width, _BOTTOM / figure_height
    axes = figure.add_axes((left, bottom, width / figure_width, height / figure_height))
    _show_mosaic(axes, mosaic, tiles, lambda masks: np.stack([masks] * len(columns), axis=1))
    for row, column, word in notes:
        axes.text(column + 0.5, row + 0.9, word, color="white", fontsize=6, ha="center")
    characters = max(6, int(width / len(columns) / DPI / 0.071))
    for column, title in enumerate(["image", *importance]):
        name = _wrap(title, characters)
        heading = axes.text(column + 0.5, -0.06, name, ha="center", va="bottom", fontsize=7.5)
        heading.set_fontweight("bold")
    labels = zip(tiles.groups, tiles.subjects, tiles.own_probabilities, strict=True)
    for row, (group, subject, probability) in enumerate(labels):
        text = f"{group}\n{_shorten(subject, 16)}\nprobability {probability:.2f}"
        axes.text(-0.06, row + 0.5, text, ha="right", va="center", fontsize=7, color=INK)
    legend = "solid cyan: regions that the disease changes\ndashed grey: control regions"
    figure.text(left, 5 / figure_height, legend, color=MUTED, fontsize=6, linespacing=1.3)


@styled
def draw_strip(figure: Figure, tiles: Tiles, importance: ImageArray) -> None:
    """Draw the n subjects side by side, and one method's importance [n, h, w] over each below.

    Nobody is named: above each stand the group and the probability that the model gives it.
    """
    grey = _shrink(tiles.images)[..., None].repeat(3, -1)
    strength, words = _normalise(importance, tiles.foreground)
    mosaic = _mosaic(np.stack([grey, _blend(grey, _shrink(strength))]), fill=1.0)
    width, height = _size_in_pixels(mosaic, tiles)
    figure_height = height + _STRIP_TOP
    figure.set_size_inches(width / DPI, figure_height / DPI)
    axes = figure.add_axes((0, 0, 1, height / figure_height))
    _show_mosaic(axes, mosaic, tiles, lambda masks: np.stack([masks] * 2))
    for column, word in words.items():
        axes.text(column + 0.5, 1.9, word, color="white", fontsize=6, ha="center")
    labels = zip(tiles.groups, tiles.own_probabilities, strict=True)
    for column, (group, probability) in enumerate(labels):
        text = f"{group}\nprobability {probability:.2f}"
        axes.text(column + 0.5, -0.05, text, ha="center", va="bottom", fontsize=6.5)


def _size_in_pixels(mosaic: ImageArray, tiles: Tiles) -> tuple[int, int]:
    """Return width and height of a mosaic on the page."""
    # A whole number of figure pixels for each of the mosaic, so that nothing is resampled.
    scale = max(1, _TILE // (max(_shrink(tiles.images).shape[1:]) + _GAP))
    return scale * mosaic.shape[1], round(scale * mosaic.shape[0] * tiles.aspect)


def _show_mosaic(
    axes: Axes, mosaic: ImageArray, tiles: Tiles, arrange: Callable[[ImageArray], ImageArray]
) -> None:
    """Fill the axes with a mosaic, a unit for each tile, and draw the rims of its regions.

    ``arrange`` takes masks [n, h, w] to [rows, columns, h, w], as the mosaic has them.
    """
    axes.set_axis_off()
    regions = ((tiles.control_rois, "#dcdcdc", (0, (2.2, 1.4))), (tiles.rois, "#00e5ff", (0, ())))
    pixels = (mosaic * 255).round().astype(np.uint8)
    height, width, _ = mosaic.shape
    rows, columns = arrange(tiles.images).shape[:2]
    extent = (0.0, float(columns), float(rows), 0.0)
    axes.imshow(pixels, extent=extent, aspect="auto", interpolation="nearest")
    xs, ys = (np.arange(width) + 0.5) * columns / width, (np.arange(height) + 0.5) * rows / height
    for masks, colour, dashes in regions:
        arranged = arrange(_shrink(masks.astype(np.float32)))
        rims = _mosaic(arranged[..., None], fill=0.0)[..., 0]
        if rims.max() > 0.5:
            axes.contour(xs, ys, rims, [0.5], colors=colour, linestyles=[dashes], linewidths=0.6)


def _normalise(maps: ImageArray, foreground: BoolArray) -> tuple[ImageArray, dict[int, str]]:
    """Return maps in [0, 1], and a word for each that has nothing to show."""
    scaled, words = np.zeros_like(maps, dtype=np.float32), {}
    for row, (plane, inside) in enumerate(zip(maps, foreground, strict=True)):
        values = plane[inside] if inside.any() else plane.ravel()
        if not np.isfinite(plane).all():
            words[row] = "not finite"
        elif values.min() == values.max():
            words[row] = "constant"
        else:
            robust = float(np.percentile(values, ROBUST_PERCENTILE))
            # A map of a few pixels is 0 at the percentile.
            scaled[row] = np.clip(plane / (robust if robust > 0 else values.max()), 0, 1)
    return scaled, words


def _blend(grey: ImageArray, strength: ImageArray) -> ImageArray:
    """Return colours [n, h, w, 3]: stronger is brighter and hides more of the image."""
    colours = matplotlib.colormaps["inferno"](0.25 + 0.75 * strength)[..., :3]
    opacity = (_OPACITY * strength)[..., None]
    return np.asarray((1 - opacity) * grey + opacity * colours, dtype=np.float32)


def _mosaic(tiles: ImageArray, fill: float) -> ImageArray:
    """Return one picture [rows · h', columns · w', C] of tiles [rows, columns, h, w, C]."""
    gap = (_GAP // 2, _GAP - _GAP // 2)
    padded = np.pad(tiles, ((0, 0), (0, 0), gap, gap, (0, 0)), constant_values=fill)
    rows, columns, height, width, channels = padded.shape
    in_order = padded.transpose(0, 2, 1, 3, 4)
    return in_order.reshape(rows * height, columns * width, channels)


def _shrink(planes: ImageArray) -> ImageArray:
    """Return planes [n, h, w] averaged over blocks until a page can show every pixel."""
    factor = -(-max(planes.shape[1:]) // _TILE)
    if factor == 1:
        return planes
    height, width = (length // factor for length in planes.shape[1:])
    cropped = planes[:, : height * factor, : width * factor]
    blocks: ImageArray = cropped.reshape(len(planes), height, factor, width, factor).mean((2, 4))
    return blocks


def _find_planes(cohort: Cohort, regions: BoolArray) -> Planes:
    """Return the coronal plane through the middle of each subject's region."""
    if len(cohort.shape) == 2:
        return Planes(None, ())
    # For each array axis the world axis (x, y, z) closest to it, and which way it runs.
    orientation = nibabel.io_orientation(cohort.geometry.affine)
    world_axes = [int(world) for world in orientation[:, 0]]
    axis = world_axes.index(1)
    others = [other for other in range(3) if other != axis]
    order = sorted((0, 1), key=lambda index: -world_axes[others[index]])
    directions = [orientation[others[index], 1] for index in order]
    middles = tuple(int(np.median(np.nonzero(region[0])[axis])) for region in regions)
    flips = bool(directions[0] > 0), bool(directions[1] < 0)
    return Planes(axis, middles, (order[0], order[1]), flips)


def _wrap(text: str, characters: int) -> str:
    """Break a name behind underscores, or anywhere if need be, into at most three lines."""
    parts = text.replace("_", "_ ").split()
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) > characters:
            lines.append("")
        lines[-1] += part
    broken = [piece for line in lines for piece in textwrap.wrap(line, characters) or [line]]
    return "\n".join(
        broken if len(broken) <= 3 else [*broken[:2], _shorten(broken[2] + "…", characters)]
    )


def _shorten(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
