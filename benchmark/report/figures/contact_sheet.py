"""The contact sheet of a cohort: a few of its images with every mask drawn in.

All panels stand in a single axes whose unit is an inch; an axes for each takes ten times as long.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.arrays import BoolArray, Rows
from benchmark.cohort import SPLITS, Cohort
from benchmark.report.figures.marks import Rim, draw_rim
from benchmark.report.figures.planes import Planes, find_fullest, find_planes
from benchmark.report.figures.sides import describe_sides, draw_letters
from benchmark.report.figures.style import INK, MUTED, WIDTH, styled

Dashes = tuple[float, tuple[float, ...]]

SUBJECTS = 12
_COLUMNS = {2: 4, 3: 2}  # panels side by side, by the number of dimensions
_GAP, _MARGIN, _TITLE, _LINE = 0.12, 0.08, 0.22, 0.17  # inches
_BETWEEN = 0.04  # inches between the planes of a volume
_LEGEND_COLUMN, _SAMPLE = 2.4, 0.3  # inches
# Bright enough for dark images; neighbours differ with any colour vision (Okabe & Ito, 2008).
_COLOURS = ("#56B4E9", "#E69F00", "#F0E442", "#FF8AD8", "#009E73", "#D55E00", "#0072B2")
_SOLID: Dashes = (0, ())
_DASHED: Dashes = (0, (3.0, 1.6))
_DOTTED: Dashes = (0, (1.0, 1.2))
_FOREGROUND = Rim("#ffffff", _DOTTED, 0.7)


@dataclass(frozen=True)
class _Outline:
    """A mask [N, 1, *S], and how it is drawn."""

    title: str
    mask: BoolArray
    rim: Rim


def choose_subjects(cohort: Cohort, most: int = SUBJECTS) -> Rows:
    """Return the rows of some images, one a subject, spread over groups and splits.

    The choice depends on the subjects' names alone. Rows are ordered by group, split and subject.
    """
    first_of: dict[str, int] = {}
    for row, subject in enumerate(cohort.subjects):
        first_of.setdefault(subject, row)
    splits = [SPLITS.index(str(split)) for split in cohort.participants["split"]]
    strata: dict[tuple[int, int], list[int]] = {}
    for subject in sorted(first_of, key=_shuffle):
        row = first_of[subject]
        strata.setdefault((int(cohort.groups[row]), splits[row]), []).append(row)
    # From each stratum in turn, so that those with few subjects leave their places to the others.
    turns = max(map(len, strata.values()))
    in_turn = [
        strata[stratum][turn]
        for turn in range(turns)
        for stratum in sorted(strata, key=lambda stratum: (stratum[1], stratum[0]))
        if turn < len(strata[stratum])
    ]
    rows = in_turn[:most]
    rows.sort(key=lambda row: (cohort.groups[row], splits[row], cohort.subjects[row]))
    return np.array(rows, dtype=np.int64)


@styled
def draw_contact_sheet(figure: Figure, cohort: Cohort, rows: Rows) -> None:
    """Draw these images with the rim of every mask, and the patient's sides where they are known.

    Of volumes, three planes are shown: each where the regions, or else the foreground, cover most.
    """
    subset = cohort.take(rows)
    outlines = _list_outlines(subset)
    views = [_find_views(subset, row) for row in range(len(subset))]
    columns = min(_COLUMNS[len(subset.shape)], len(subset))
    width = (WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    sizes = [_sizes(subset, planes) for planes in views]
    scale = min(width - _BETWEEN * (len(size) - 1) for size in sizes) / max(
        sum(across for _, across in size) for size in sizes
    )
    height = scale * max(down for size in sizes for down, _ in size)
    sides = describe_sides([planes.letters[0] for view in views for planes in view])
    legend = _legend_lines(outlines, sides)
    panel_rows = -(-len(subset) // columns)
    top = _MARGIN + panel_rows * (_TITLE + height + _GAP) + legend * _LINE + _MARGIN
    figure.set_size_inches(WIDTH, top)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for row, (planes, size) in enumerate(zip(views, sizes, strict=True)):
        down, across = divmod(row, columns)
        left = _MARGIN + across * (width + _GAP)
        upper = top - _MARGIN - down * (_TITLE + height + _GAP) - _TITLE
        axes.text(left, upper + 0.05, _title(subset, row, width), va="bottom", color=INK)
        for plane, (plane_height, plane_width) in zip(planes, size, strict=True):
            box = (left, left + scale * plane_width, upper - scale * plane_height, upper)
            _draw_plane(axes, subset, row, plane, outlines, box)
            left = box[1] + _BETWEEN
    _draw_legend(axes, outlines, sides, _MARGIN + legend * _LINE)
    # Images set the limits to their own.
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, top)


def _shuffle(subject: str) -> bytes:
    return hashlib.sha256(f"contact sheet:{subject}".encode()).digest()


def _list_outlines(cohort: Cohort) -> list[_Outline]:
    anatomy = cohort.anatomy
    title = "foreground: the whole image" if anatomy.foreground.all() else "foreground"
    outlines = [_Outline(title, anatomy.foreground, _FOREGROUND)]
    regions = [(name, mask, _SOLID) for name, mask in anatomy.rois.items()]
    regions += [
        (f"control of {name}", mask, _DASHED) for name, mask in anatomy.control_rois.items()
    ]
    for number, (title, mask, dashes) in enumerate(regions):
        rim = Rim(_COLOURS[number % len(_COLOURS)], dashes, 0.9)
        outlines.append(_Outline(title, mask, rim))
    return outlines


def _find_views(cohort: Cohort, row: int) -> list[Planes]:
    """Return the planes of one image that are shown: of a volume, one across each axis."""
    anatomy, geometry = cohort.anatomy, cohort.geometry.take(np.array([row]))
    masks = [mask[row, 0] for mask in anatomy.rois.values()]
    region = np.logical_or.reduce(masks) if masks else anatomy.foreground[row, 0]
    cuts = (None,) if region.ndim == 2 else (0, 1, 2)
    return [find_planes(geometry, region[None, None], cut, find_fullest) for cut in cuts]


def _sizes(cohort: Cohort, views: Sequence[Planes]) -> list[tuple[float, float]]:
    """Return height and width of each plane in millimetres."""
    sizes = []
    for planes in views:
        axes = [axis for axis in range(len(cohort.shape)) if axis != planes.axis]
        down, across = (axes[number] for number in planes.order)
        spacing, shape = cohort.geometry.spacing, cohort.shape
        sizes.append((shape[down] * spacing[down], shape[across] * spacing[across]))
    return sizes


def _title(cohort: Cohort, row: int, width: float) -> str:
    group = cohort.group_names[int(cohort.groups[row])]
    split = str(cohort.participants["split"].iloc[row])
    most = max(8, int(width / 0.07) - len(group) - len(split) - 6)
    subject = cohort.subjects[row]
    subject = subject if len(subject) <= most else f"{subject[: most - 1]}…"
    return f"{subject} · {group} · {split}"


def _draw_plane(
    axes: Axes,
    cohort: Cohort,
    row: int,
    planes: Planes,
    outlines: Sequence[_Outline],
    box: tuple[float, float, float, float],
) -> None:
    left, right, bottom, top = box
    image = planes.cut(cohort.images[row : row + 1])[0]
    axes.imshow(
        image, cmap="gray", vmin=0, vmax=1, extent=box, aspect="auto", interpolation="nearest"
    )
    height, width = image.shape
    xs = left + (np.arange(width) + 0.5) * (right - left) / width
    ys = top - (np.arange(height) + 0.5) * (top - bottom) / height
    for outline in outlines:
        mask = planes.cut(outline.mask[row : row + 1])[0].astype(np.float32)
        draw_rim(axes, xs, ys, mask, outline.rim)
    if planes.letters[0] is not None:
        draw_letters(axes, planes.letters[0], box, size=7.0)


def _legend_lines(outlines: Sequence[_Outline], sides: str) -> int:
    """Return how many lines the legend takes."""
    columns = int((WIDTH - 2 * _MARGIN) // _LEGEND_COLUMN)
    return -(-len(outlines) // columns) + len(_wrap(sides))


def _draw_legend(axes: Axes, outlines: Sequence[_Outline], sides: str, top: float) -> None:
    columns = int((WIDTH - 2 * _MARGIN) // _LEGEND_COLUMN)
    for number, outline in enumerate(outlines):
        down, across = divmod(number, columns)
        left, middle = _MARGIN + across * _LEGEND_COLUMN, top - (down + 0.5) * _LINE
        xs, ys, rim = (left, left + _SAMPLE), (middle, middle), outline.rim
        axes.plot(xs, ys, color=INK, linewidth=rim.width + 1.6, solid_capstyle="butt")
        axes.plot(xs, ys, color=rim.colour, linestyle=rim.dashes, linewidth=rim.width + 0.4)
        words = textwrap.shorten(outline.title, 34, placeholder="…")
        axes.text(left + _SAMPLE + 0.06, middle, words, va="center", color=MUTED)
    lines = -(-len(outlines) // columns)
    for number, sentence in enumerate(_wrap(sides)):
        middle = top - (lines + number + 0.5) * _LINE
        axes.text(_MARGIN, middle, sentence, va="center", color=MUTED)


def _wrap(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, int(WIDTH / 0.066))
