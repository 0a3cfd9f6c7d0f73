"""Maps over images: a row for each of some test subjects, a column for each method.

All tiles form one mosaic in a single axes; an axes for each of ten by eight tiles takes ten times
as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.arrays import BoolArray, FloatArray, ImageArray, Rows
from benchmark.cohort import Cohort
from benchmark.report.figures.marks import (
    CONTROL,
    REGION,
    Key,
    draw_key,
    draw_rim,
    even_steps,
    write_cased,
)
from benchmark.report.figures.planes import Planes, find_planes
from benchmark.report.figures.sides import describe_sides, draw_letters
from benchmark.report.figures.style import DPI, INK, shorten, styled, wrap_name
from benchmark.trial.outputs import Evaluation

SUBJECTS_PER_GROUP = 5
CONFIDENT = 0.8
ROBUST_PERCENTILE = 99.5
_OPACITY = 0.85
_TILE = 128  # pixels; larger planes are averaged down, much smaller ones are magnified
_GAP = 4  # pixels between tiles
_LEFT, _RIGHT, _TOP, _MARGIN = 128, 6, 70, 6  # pixels around a mosaic
_STRIP_TOP = 36  # pixels above a strip
_CHARACTER = 6  # pixels that a character of a key takes at most


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
        planes: Plane of each subject, to cut maps alike.
    """

    groups: tuple[str, ...]
    subjects: tuple[str, ...]
    own_probabilities: tuple[float, ...]
    images: ImageArray
    foreground: BoolArray
    rois: BoolArray
    control_rois: BoolArray
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
    """Return the planes of these images that a figure shows, through the middle of the regions."""
    subset = cohort.take(rows)
    anatomy, nowhere = subset.anatomy, np.zeros(subset.images.shape, dtype=np.bool_)
    truth = [anatomy.rois[name] for name in anatomy.truth or anatomy.rois]
    rois = np.logical_or.reduce([nowhere, *truth])
    control_rois = np.logical_or.reduce([nowhere, *anatomy.control_rois.values()])
    has_roi = rois.any(axis=tuple(range(1, rois.ndim)), keepdims=True)
    planes = find_planes(subset.geometry, np.where(has_roi, rois, anatomy.foreground))
    return Tiles(
        groups=tuple(subset.group_names[group] for group in subset.groups),
        subjects=tuple(subset.subjects),
        own_probabilities=tuple(evaluation.own_probability[rows].tolist()),
        images=planes.cut(subset.images).astype(np.float32),
        foreground=planes.cut(anatomy.foreground).astype(np.bool_),
        rois=planes.cut(rois).astype(np.bool_),
        control_rois=planes.cut(control_rois).astype(np.bool_),
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
    scale = width / mosaic.shape[1]
    key = _describe(tiles, _LEFT + width, scale, has_maps=bool(importance))
    footer = key.height + 2 * _MARGIN
    figure_width, figure_height = _LEFT + width + _RIGHT, _TOP + height + footer
    figure.set_size_inches(figure_width / DPI, figure_height / DPI)
    left, bottom = _LEFT / figure_width, footer / figure_height
    axes = figure.add_axes((left, bottom, width / figure_width, height / figure_height))
    _show_mosaic(axes, mosaic, tiles, lambda masks: np.stack([masks] * len(columns), axis=1))
    _mark_sides(axes, tiles, lambda image: [(image, column) for column in range(len(columns))])
    for row, column, word in notes:
        write_cased(axes, column + 0.5, row + 0.3, word)
    characters = max(6, int(width / len(columns) / DPI / 0.071))
    for column, title in enumerate(["image", *importance]):
        name = wrap_name(title, characters)
        heading = axes.text(column + 0.5, -0.06, name, ha="center", va="bottom", fontsize=7.5)
        heading.set_fontweight("bold")
    labels = zip(tiles.groups, tiles.subjects, tiles.own_probabilities, strict=True)
    for row, (group, subject, probability) in enumerate(labels):
        text = f"{group}\n{shorten(subject, 16)}\nprobability {probability:.2f}"
        axes.text(-0.06, row + 0.5, text, ha="right", va="center", fontsize=7, color=INK)
    _add_key(figure, key, figure_width, figure_height)


@styled
def draw_strip(figure: Figure, tiles: Tiles, importance: ImageArray) -> None:
    """Draw the n subjects side by side, and one method's importance [n, h, w] over each below.

    Nobody is named: above each stand the group and the probability that the model gives it.
    """
    grey = _shrink(tiles.images)[..., None].repeat(3, -1)
    strength, words = _normalise(importance, tiles.foreground)
    mosaic = _mosaic(np.stack([grey, _blend(grey, _shrink(strength))]), fill=1.0)
    width, height = _size_in_pixels(mosaic, tiles)
    key = _describe(tiles, width, width / mosaic.shape[1])
    footer = key.height + 2 * _MARGIN
    figure_height = _STRIP_TOP + height + footer
    figure.set_size_inches(width / DPI, figure_height / DPI)
    axes = figure.add_axes((0, footer / figure_height, 1, height / figure_height))
    _show_mosaic(axes, mosaic, tiles, lambda masks: np.stack([masks] * 2))
    _mark_sides(axes, tiles, lambda image: [(0, image), (1, image)])
    for column, word in words.items():
        write_cased(axes, column + 0.5, 1.3, word)
    labels = zip(tiles.groups, tiles.own_probabilities, strict=True)
    for column, (group, probability) in enumerate(labels):
        text = f"{group}\nprobability {probability:.2f}"
        axes.text(column + 0.5, -0.05, text, ha="center", va="bottom", fontsize=6.5)
    _add_key(figure, key, width, figure_height)


def _describe(tiles: Tiles, width: int, scale: float, has_maps: bool = True) -> Key:
    """Return the key of a figure of these tiles, ``width`` pixels wide.

    A pixel of the mosaic is ``scale`` pixels of the figure wide.
    """
    millimetres = tiles.planes.millimetres
    grey: ImageArray = np.full((1, len(even_steps()), 3), 0.5, dtype=np.float32)
    colours = _blend(grey, even_steps()[None].astype(np.float32))[0].astype(np.float64)
    return Key(
        colours=colours if has_maps else None,
        regions="regions that the disease changes" if tiles.rois.any() else None,
        controls="control regions" if tiles.control_rois.any() else None,
        sides=describe_sides(tiles.planes.letters),
        pixels_per_mm=millimetres and scale / (_factor(tiles.images) * millimetres),
        characters=width // _CHARACTER,
    )


def _add_key(figure: Figure, key: Key, width: float, height: float) -> None:
    """Write a key at the foot of a figure of this size in pixels."""
    footer = key.height + 2 * _MARGIN
    axes = figure.add_axes((0, 0, 1, footer / height))
    axes.set_axis_off()
    draw_key(axes, _MARGIN, _MARGIN, key)
    axes.set_xlim(0, width)
    axes.set_ylim(footer, 0)


def _size_in_pixels(mosaic: ImageArray, tiles: Tiles) -> tuple[int, int]:
    """Return width and height of a mosaic on the page."""
    # A whole number of figure pixels for each of the mosaic, so that nothing is resampled; pixels
    # that are not square are stretched along their longer side.
    aspect = tiles.planes.aspect
    across, down = (1.0, aspect) if aspect >= 1 else (1 / aspect, 1.0)
    height, width = _shrink(tiles.images).shape[1:]
    scale = max(1, int(_TILE // max((height + _GAP) * down, (width + _GAP) * across)))
    return round(scale * mosaic.shape[1] * across), round(scale * mosaic.shape[0] * down)


def _show_mosaic(
    axes: Axes, mosaic: ImageArray, tiles: Tiles, arrange: Callable[[ImageArray], ImageArray]
) -> None:
    """Fill the axes with a mosaic, a unit for each tile, and draw the rims of its regions.

    ``arrange`` takes masks [n, h, w] to [rows, columns, h, w], as the mosaic has them.
    """
    axes.set_axis_off()
    arranged = arrange(np.ones_like(_shrink(tiles.images)))[..., None]
    # Between the tiles the page shows through, in whatever colour it has.
    pixels = (np.dstack([mosaic, _mosaic(arranged, fill=0.0)]) * 255).round().astype(np.uint8)
    height, width, _ = mosaic.shape
    rows, columns = arranged.shape[:2]
    # A row at a time, since what matplotlib needs to enlarge a picture grows with it.
    for row, band in enumerate(np.split(pixels, rows)):
        extent = (0.0, float(columns), row + 1.0, float(row))
        axes.imshow(band, extent=extent, aspect="auto", interpolation="nearest")
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    xs: FloatArray = (np.arange(width) + 0.5) * columns / width
    ys: FloatArray = (np.arange(height) + 0.5) * rows / height
    for masks, rim in ((tiles.control_rois, CONTROL), (tiles.rois, REGION)):
        masked = arrange(_shrink(masks.astype(np.float32)))
        draw_rim(axes, xs, ys, _mosaic(masked[..., None], fill=0.0)[..., 0], rim)


def _mark_sides(
    axes: Axes, tiles: Tiles, positions: Callable[[int], Sequence[tuple[int, int]]]
) -> None:
    """Write the sides into every tile; ``positions`` gives rows and columns of an image's tiles."""
    height, width = _shrink(tiles.images).shape[1:]
    upright, across = _GAP / 2 / (height + _GAP), _GAP / 2 / (width + _GAP)  # half a gap, in tiles
    for image, letters in enumerate(tiles.planes.letters):
        if letters is not None:
            for row, column in positions(image):
                sides = column + across, column + 1 - across
                draw_letters(axes, letters, (*sides, row + 1 - upright, row + upright))


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
    if (factor := _factor(planes)) == 1:
        return planes
    height, width = (length // factor for length in planes.shape[1:])
    cropped = planes[:, : height * factor, : width * factor]
    blocks: ImageArray = cropped.reshape(len(planes), height, factor, width, factor).mean((2, 4))
    return blocks


def _factor(planes: ImageArray) -> int:
    """Return how many pixels of planes [n, h, w] become one of the page along each side."""
    longest: int = max(planes.shape[1:])
    return -(-longest // _TILE)
