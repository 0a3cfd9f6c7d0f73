"""Maps over images: some test subjects down, the methods across, regions outlined.

All tiles stand in one mosaic on one axes. With an axes for each of ten by eight tiles the same
figure takes ten times as long.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import nibabel
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.cohort import Cohort
from benchmark.report.figures.style import DPI, INK, MUTED, styled
from benchmark.trial.outputs import Evaluation

Rows = npt.NDArray[np.int64]
Array = npt.NDArray[np.float32]
Dashes = tuple[int, tuple[float, ...]]

SUBJECTS_PER_GROUP = 5
CONFIDENT = 0.8
ROBUST_PERCENTILE = 99.5
_OPACITY = 0.85
_TILE = 128  # pixels; larger planes are averaged down, much smaller ones are magnified
_GAP = 4  # pixels between tiles
_LEFT, _RIGHT, _TOP, _BOTTOM = 128, 6, 70, 30  # pixels
_ROI, _CONTROL = "#00e5ff", "#dcdcdc"


@dataclass(frozen=True)
class Planes:
    """How volumes are cut to planes; two-dimensional images pass unchanged.

    Attributes:
        axis: Array axis that is cut across, or None.
        places: Index of the plane along it, for each subject.
        order: Order of the two axes that remain: upright first.
        flips: Whether each of these runs against the way it is shown.
    """

    axis: int | None
    places: tuple[int, ...]
    order: tuple[int, int] = (0, 1)
    flips: tuple[bool, bool] = (False, False)

    def cut(self, stack: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return the planes [n, h, w] of a stack [n, 1, *S]."""
        if self.axis is None:
            return stack[:, 0]
        chosen = [
            volume[0].take(at, self.axis) for volume, at in zip(stack, self.places, strict=True)
        ]
        planes = np.stack(chosen).transpose(0, *(axis + 1 for axis in self.order))
        for axis, flip in enumerate(self.flips, start=1):
            planes = np.flip(planes, axis) if flip else planes
        return planes


@dataclass(frozen=True)
class Tiles:
    """One plane of each shown subject.

    Attributes:
        labels: Group, subject and own-class probability of each subject.
        images: [n, h, w] grey values in [0, 1].
        foreground: [n, h, w] bool.
        rois: [n, h, w] bool, union of the regions that the disease changes.
        control_rois: [n, h, w] bool.
        aspect: Height over width of a pixel in mm.
        planes: Which plane of each subject, to cut maps alike.
    """

    labels: tuple[str, ...]
    images: Array
    foreground: npt.NDArray[np.bool_]
    rois: npt.NDArray[np.bool_]
    control_rois: npt.NDArray[np.bool_]
    aspect: float
    planes: Planes


def choose_rows(cohort: Cohort, evaluation: Evaluation) -> Rows:
    """Return which images to show: five subjects a group, from the surest to the least sure.

    Subjects that the model gives their own group with a probability of at least 0.8 come first,
    spread evenly over the order of that probability; where they are too few, the next follow.

    Args:
        cohort: Test split, N images.
        evaluation: Of the same N images.

    Returns:
        Row numbers, group 0 before group 1, each by falling probability.
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
        places = np.linspace(0, len(pool) - 1, count).round().astype(int)
        chosen.extend(pool[place] for place in places)
    return np.array(chosen, dtype=np.int64)


def cut_tiles(cohort: Cohort, evaluation: Evaluation, rows: Rows) -> Tiles:
    """Return what the figure shows of these images.

    Volumes are cut at the centre of the subject's regions, across the axis that runs closest to
    front–back, and shown upright with the patient's left on the left.

    Args:
        cohort: Test split.
        evaluation: Of the same images.
        rows: Row numbers to show.
    """
    some = cohort.take(rows)
    anatomy = some.anatomy
    names = anatomy.truth or tuple(anatomy.rois)
    rois = _union([anatomy.rois[name] for name in names], some)
    controls = _union(list(anatomy.control_rois.values()), some)
    planes = _find_planes(some, np.where(_filled(rois), rois, anatomy.foreground))
    spacing = [size for axis, size in enumerate(some.geometry.spacing) if axis != planes.axis]
    shown = zip(some.groups, some.subjects, evaluation.own_probability[rows], strict=True)
    return Tiles(
        labels=tuple(
            f"{some.group_names[group]}\n{_shorten(subject, 16)}\np(own) {probability:.2f}"
            for group, subject, probability in shown
        ),
        images=planes.cut(some.images).astype(np.float32),
        foreground=planes.cut(anatomy.foreground).astype(np.bool_),
        rois=planes.cut(rois).astype(np.bool_),
        control_rois=planes.cut(controls).astype(np.bool_),
        aspect=spacing[planes.order[0]] / spacing[planes.order[1]],
        planes=planes,
    )


@styled
def draw_overlays(figure: Figure, tiles: Tiles, importance: Mapping[str, Array]) -> None:
    """Draw the bare image and each method's importance over it.

    Each map is divided by its own 99.5th percentile inside the foreground, so colours compare
    places within a map and never strengths between maps.

    Args:
        figure: Given by the decorator.
        tiles: The n shown subjects.
        importance: Non-negative planes [n, h, w] by method.
    """
    grey = _shrink(tiles.images)
    count, height, width = (len(grey), grey.shape[1] + _GAP, grey.shape[2] + _GAP)
    columns = 1 + len(importance)
    # A whole number of figure pixels for each of the mosaic, so that nothing is resampled.
    scale = max(1, _TILE // max(height, width))
    tile = scale * width
    tall = round(scale * height * tiles.aspect)
    size = (_LEFT + columns * tile + _RIGHT, _TOP + count * tall + _BOTTOM)
    figure.set_size_inches(size[0] / DPI, size[1] / DPI)
    place = (_LEFT, _BOTTOM, columns * tile, count * tall)
    axes = figure.add_axes(
        (place[0] / size[0], place[1] / size[1], place[2] / size[0], place[3] / size[1])
    )
    painted = [grey[..., None].repeat(3, -1)]
    notes: list[tuple[int, int, str]] = []
    for column, maps in enumerate(importance.values(), start=1):
        strength, words = _normalise(maps, tiles.foreground)
        notes.extend((row, column, word) for row, word in words.items())
        painted.append(_blend(painted[0], _shrink(strength)))
    mosaic = _mosaic(np.stack(painted, axis=1), fill=1.0)
    extent = (0.0, float(columns), float(count), 0.0)
    pixels = (mosaic * 255).round().astype(np.uint8)
    axes.imshow(pixels, extent=extent, aspect="auto", interpolation="nearest")
    for masks, colour, style in (
        (tiles.control_rois, _CONTROL, (0, (2.2, 1.4))),
        (tiles.rois, _ROI, (0, ())),
    ):
        _outline(axes, np.stack([_shrink(masks.astype(np.float32))] * columns, 1), (colour, style))
    for row, column, word in notes:
        axes.text(column + 0.5, row + 0.9, word, color="white", fontsize=6, ha="center")
    _label_mosaic(axes, tiles.labels, ["image", *importance], tile / DPI)
    legend = "cyan: regions that the disease changes", "dashed: control regions"
    figure.text(
        _LEFT / size[0], 5 / size[1], "\n".join(legend), color=MUTED, fontsize=6, linespacing=1.3
    )


@styled
def draw_strip(figure: Figure, tiles: Tiles, importance: Array) -> None:
    """Draw the n subjects side by side, and one method's importance over each below.

    Nobody is named: above each stand the group and the probability of it.

    Args:
        figure: Given by the decorator.
        tiles: The n shown subjects.
        importance: Non-negative planes [n, h, w] of the method.
    """
    grey = _shrink(tiles.images)[..., None].repeat(3, -1)
    strength, words = _normalise(importance, tiles.foreground)
    mosaic = _mosaic(np.stack([grey, _blend(grey, _shrink(strength))]), fill=1.0)
    # A whole number of figure pixels for each of the mosaic, so that nothing is resampled.
    scale = max(1, _TILE // (max(grey.shape[1:3]) + _GAP))
    high, wide = round(scale * mosaic.shape[0] * tiles.aspect), scale * mosaic.shape[1]
    top = 28
    figure.set_size_inches(wide / DPI, (high + top) / DPI)
    axes = figure.add_axes((0, 0, 1, high / (high + top)))
    count = len(grey)
    extent = (0.0, float(count), 2.0, 0.0)
    pixels = (mosaic * 255).round().astype(np.uint8)
    axes.imshow(pixels, extent=extent, aspect="auto", interpolation="nearest")
    for masks, colour, style in (
        (tiles.control_rois, _CONTROL, (0, (2.2, 1.4))),
        (tiles.rois, _ROI, (0, ())),
    ):
        _outline(axes, np.stack([_shrink(masks.astype(np.float32))] * 2), (colour, style))
    for column, word in words.items():
        axes.text(column + 0.5, 1.9, word, color="white", fontsize=6, ha="center")
    axes.set_axis_off()
    for column, label in enumerate(tiles.labels):
        group, _, probability = label.split("\n")
        text = f"{group}  {probability}"
        axes.text(column + 0.5, -0.05, text, ha="center", va="bottom", fontsize=6.5)


def _label_mosaic(axes: Axes, labels: Sequence[str], titles: Sequence[str], tile: float) -> None:
    axes.set_axis_off()
    characters = max(6, int(tile / 0.071))
    for column, title in enumerate(titles):
        axes.text(
            column + 0.5,
            -0.06,
            _wrap(title, characters),
            ha="center",
            va="bottom",
            fontsize=7.5,
            fontweight="bold",
        )
    for row, label in enumerate(labels):
        axes.text(-0.06, row + 0.5, label, ha="right", va="center", fontsize=7, color=INK)


def _outline(axes: Axes, masks: Array, line: tuple[str, Dashes]) -> None:
    """Draw the rim of masks [rows, columns, h, w] over a mosaic of such tiles."""
    mosaic = _mosaic(masks[..., None], fill=0.0)[..., 0]
    if mosaic.max() <= 0.5:
        return
    (high, wide), (rows, columns) = mosaic.shape, masks.shape[:2]
    xs, ys = (np.arange(wide) + 0.5) * columns / wide, (np.arange(high) + 0.5) * rows / high
    axes.contour(xs, ys, mosaic, [0.5], colors=line[0], linestyles=[line[1]], linewidths=0.6)


def _normalise(maps: Array, foreground: npt.NDArray[np.bool_]) -> tuple[Array, dict[int, str]]:
    """Return maps in [0, 1], and a word for each that has nothing to show."""
    scaled, words = np.zeros_like(maps, dtype=np.float32), {}
    for row, (one, inside) in enumerate(zip(maps, foreground, strict=True)):
        values = one[inside] if inside.any() else one.ravel()
        if not np.isfinite(one).all():
            words[row] = "not finite"
        elif values.min() == values.max():
            words[row] = "constant"
        else:
            robust = float(np.percentile(values, ROBUST_PERCENTILE))
            # A map of a few pixels is 0 at the percentile.
            scaled[row] = np.clip(one / (robust if robust > 0 else values.max()), 0, 1)
    return scaled, words


def _blend(grey: Array, strength: Array) -> Array:
    """Return colours [n, h, w, 3]: stronger is brighter and hides more of the image."""
    colours = matplotlib.colormaps["inferno"](0.25 + 0.75 * strength)[..., :3]
    opacity = (_OPACITY * strength)[..., None]
    blended: Array = ((1 - opacity) * grey + opacity * colours).astype(np.float32)
    return blended


def _mosaic(tiles: Array, fill: float) -> Array:
    """Return one picture [rows · h', columns · w', C] of tiles [rows, columns, h, w, C]."""
    half = (_GAP // 2, _GAP - _GAP // 2)
    width = ((0, 0), (0, 0), half, half, (0, 0))
    padded = np.pad(tiles, width, constant_values=fill)
    rows, columns, high, wide, channels = padded.shape
    mosaic: Array = padded.transpose(0, 2, 1, 3, 4).reshape(rows * high, columns * wide, channels)
    return mosaic


def _shrink(planes: Array) -> Array:
    """Return planes [n, h, w] averaged over blocks until a page can show every pixel."""
    factor = -(-max(planes.shape[1:]) // _TILE)
    if factor == 1:
        return planes
    high, wide = (length // factor for length in planes.shape[1:])
    cropped = planes[:, : high * factor, : wide * factor]
    blocks: Array = cropped.reshape(len(planes), high, factor, wide, factor).mean((2, 4))
    return blocks


def _find_planes(cohort: Cohort, regions: npt.NDArray[np.bool_]) -> Planes:
    if len(cohort.shape) == 2:
        return Planes(None, ())
    # For each array axis the world axis (x, y, z) closest to it, and which way it runs.
    directions = nibabel.io_orientation(cohort.geometry.affine)
    worlds = [int(world) for world in directions[:, 0]]
    axis = worlds.index(1)
    others = [one for one in range(3) if one != axis]
    order = sorted((0, 1), key=lambda place: -worlds[others[place]])
    runs = [directions[others[place], 1] for place in order]
    places = tuple(int(np.median(np.nonzero(one[0])[axis])) for one in regions)
    return Planes(axis, places, (order[0], order[1]), (bool(runs[0] > 0), bool(runs[1] < 0)))


def _union(masks: Sequence[npt.NDArray[np.bool_]], cohort: Cohort) -> npt.NDArray[np.bool_]:
    union = np.zeros(cohort.images.shape, dtype=np.bool_)
    for mask in masks:
        union |= mask
    return union


def _filled(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return whether each mask holds anything, to broadcast against masks [n, 1, *S]."""
    return np.asarray(masks.any(axis=tuple(range(1, masks.ndim)), keepdims=True))


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
