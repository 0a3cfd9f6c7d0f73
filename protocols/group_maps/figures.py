"""Pictures of group maps, of recoveries beside their nulls, and of the parts of T."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.arrays import BoolArray, FloatArray
from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, find
from benchmark.report.figures.planes import Planes, find_exhibit_planes
from benchmark.report.figures.sides import describe_sides, draw_letters
from benchmark.report.figures.style import CHANCE, COLOURS, GREYS, INK, MUTED, WIDTH, styled
from benchmark.results.scores import CONTROLS
from benchmark.statistics.wording import typographic
from protocols.group_maps.statistics import ALL, CHANGE, LEVEL, GroupMapsStatistics
from protocols.group_maps.tables import is_additive, null_of, parts_of, score_of

Readings = Mapping[str, Sequence[Reading]]

_COLUMNS = {
    "mean_A": "group A",
    "mean_B": "group B",
    "D": "A − B",
    "D_copy": "A − B, randomised copy",
}
_ROBUST = 99.5  # percentile that a scale reaches to
_ROUNDING = 1e-6  # share of the groups' scale below which a difference is one of rounding
_BAR, _TITLE = 0.68, 0.34  # inches, across for a scale and above the first row
_SMALL = 1e-3  # scales below are written with a power of ten
_RIM, _SIGNIFICANT, _ENHANCED = "#00b050", "#111111", "#9a2ee6"


def group_drawings(exhibits: Mapping[str, Exhibit], readings: Readings) -> Iterator[Drawing]:
    """Yield the group maps, the recoveries, and the parts of T of additive methods."""
    explained = {name: exhibit for name, exhibit in exhibits.items() if "D" in exhibit}
    if explained:
        first = next(iter(explained.values()))
        is_enhanced = any("p_tfce" in exhibit for exhibit in explained.values())
        yield Drawing(
            "maps",
            "Mean maps of the groups, and their difference",
            "Signed maps of φ, smoothed and adjusted for the covariates, on the mean image: red "
            "speaks for group A, the reference group, blue for group B, the cases. The bar behind "
            "both groups is their scale, in units of T, the distance of the groups in φ; that "
            "behind the difference holds for the copy with random weights too. Paler colours let "
            "the image through. Green outlines where the anatomy differs, black where the maps of "
            "the groups differ at a family-wise error rate of 5 %"
            f"{', violet where they do after threshold-free cluster enhancement' * is_enhanced}. "
            f"{describe_sides(_planes(first).letters)}",
            lambda: draw_maps(explained),
            "png",
        )
    measured = {
        name: own
        for name, own in readings.items()
        if find(own, GroupMapsStatistics.recovery) is not None
    }
    if measured:
        yield Drawing(
            "recovery",
            "What maps recover of the groups' difference",
            "Share of the squared difference of the mean maps that is reliable and lies where the "
            "anatomy differs, with 95 % intervals, and beside it what the same method recovers on "
            "randomised copies of the network. Controls are grey.",
            lambda: draw_recoveries(measured),
        )
    additive = {name: own for name, own in measured.items() if is_additive(own)}
    if additive:
        yield Drawing(
            "parts_of_t",
            "Which part of the distance of the groups lies where",
            "Sum of the raw map over a part of the image, group A minus group B, as a share of T; "
            "of methods whose maps add up to φ. Regions lie inside hemispheres and overlap with "
            "the change, so shares do not add up to one.",
            lambda: draw_parts(additive),
        )


@styled
def draw_maps(figure: Figure, exhibits: Mapping[str, Exhibit]) -> None:
    """Fill the figure with a row of mean maps for each method, and a scale behind each pair."""
    planes = _planes(next(iter(exhibits.values())))
    sample = planes.cut(next(iter(exhibits.values()))["D"])[0]
    wide = (WIDTH - 1.4 - 2 * _BAR) / len(_COLUMNS)
    high = wide * sample.shape[0] / sample.shape[1] * planes.aspect
    high = min(high, 2.0)
    figure.set_size_inches(WIDTH, len(exhibits) * (high + 0.08) + _TITLE + 0.05)
    total = figure.get_figheight()
    ratios = [wide, wide, _BAR] * 2
    grid = figure.add_gridspec(
        len(exhibits), len(ratios), left=0.14, right=0.995, top=1 - _TITLE / total,
        bottom=0.05 / total, wspace=0.02, hspace=0.04, width_ratios=ratios,
    )  # fmt: skip
    for row, (name, exhibit) in enumerate(exhibits.items()):
        cut = {key: _plane(exhibit, key, planes) for key in (*_COLUMNS, "image", "p_fwe", "change")}
        inside = _plane(exhibit, "inside", planes) > 0
        of_groups = _scale(cut["mean_A"], cut["mean_B"])
        # Else a map that is the same in everybody shows what rounding leaves of a difference.
        scales = [of_groups, max(_scale(cut["D"]), _ROUNDING * of_groups)]
        for column, (key, title) in enumerate(_COLUMNS.items()):
            axes = figure.add_subplot(grid[row, column + column // 2])
            axes.set_axis_off()
            if not row:
                axes.set_title(title, fontsize=8, color=MUTED)
            if key in exhibit:
                colours = _coloured(cut[key] / scales[column // 2], cut["image"], inside)
                axes.imshow(colours, aspect=planes.aspect, interpolation="nearest")
                _rim(axes, cut["change"] > 0, _RIM)
                if key == "D":
                    _rim(axes, inside & (cut["p_fwe"] <= LEVEL), _SIGNIFICANT)
                    if "p_tfce" in exhibit:
                        enhanced = _plane(exhibit, "p_tfce", planes) <= LEVEL
                        _rim(axes, inside & enhanced, _ENHANCED)
                if (letters := planes.letters[0]) is not None:
                    tall, across = colours.shape[:2]
                    draw_letters(axes, letters, (-0.5, across - 0.5, tall - 0.5, -0.5))
        for column, scale in zip((2, 5), scales, strict=True):
            space = figure.add_subplot(grid[row, column])
            _draw_scale(space, scale, "" if row else _unit(exhibit))
        middle = 1 - (_TITLE + (row + 0.5) * (high + 0.08)) / total
        figure.text(0.005, middle, name.replace("_", "_\u200b"), va="center", color=INK)


def _unit(exhibit: Exhibit) -> str:
    """Return the unit of a map's value."""
    return "T per\nvoxel" if np.asarray(exhibit["D"]).ndim > 4 else "T per\npixel"


def _draw_scale(space: Axes, scale: float, unit: str) -> None:
    """Draw the colours from minus to plus a scale into an empty space, upright, with its unit."""
    space.set_axis_off()
    space.set_title(unit, fontsize=7, color=MUTED)
    bar = space.inset_axes((0.06, 0.12, 0.15, 0.76))
    steps = np.linspace(1, -1, 128)[:, None]
    colours = matplotlib.colormaps["RdBu_r"]((steps + 1) / 2)[..., :3]
    bar.imshow(colours, extent=(0, 1, -1, 1), aspect="auto", interpolation="nearest")
    bar.yaxis.tick_right()
    limit = typographic(f"{scale:.1e}".replace("e-0", "e-") if scale < _SMALL else f"{scale:.2g}")
    bar.set_yticks((-1, 0, 1), (f"\N{MINUS SIGN}{limit}", "0", f"+{limit}"))
    bar.tick_params(labelsize=6, length=2)
    bar.set_xticks(())


@styled
def draw_recoveries(figure: Figure, readings: Readings) -> None:
    """Fill the figure with a bar for each method's recovery, and a mark for its null."""
    figure.set_size_inches(WIDTH, 3.2)
    axes = figure.add_axes((0.06, 0.36, 0.93, 0.56))
    for position, (name, own) in enumerate(readings.items()):
        score = score_of(own, GroupMapsStatistics.recovery)
        colour = GREYS[1] if name in CONTROLS else COLOURS[0]
        axes.bar(position - 0.16, score.estimate, 0.4, color=colour)
        axes.vlines(position - 0.16, score.low, score.high, color=INK, linewidth=1)
        axes.bar(position + 0.24, null_of(own), 0.26, color=COLOURS[1], alpha=0.75)
    axes.axhline(0, color=CHANCE, linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(readings)), list(readings), rotation=60, ha="right")
    axes.set_ylim(min(-0.05, axes.get_ylim()[0]), 1.05)
    axes.set_ylim(max(-0.5, axes.get_ylim()[0]), 1.05)
    axes.set_ylabel("recovery")
    for label, colour in {"network on trial": COLOURS[0], "randomised copies": COLOURS[1]}.items():
        axes.bar(0, 0, color=colour, label=label)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncol=2)


@styled
def draw_parts(figure: Figure, readings: Readings) -> None:
    """Fill the figure with a bar for each part of the image and method."""
    parts = {name: parts_of(own) for name, own in readings.items()}
    names = [name for name in next(iter(parts.values())) if name != ALL]
    figure.set_size_inches(WIDTH, 2.9)
    axes = figure.add_axes((0.06, 0.28, 0.93, 0.62))
    width = 0.8 / len(parts)
    for number, (method, shares) in enumerate(parts.items()):
        places = np.arange(len(names)) + (number - (len(parts) - 1) / 2) * width
        colour = COLOURS[number % len(COLOURS)]
        axes.bar(places, [shares[name] for name in names], width, color=colour, label=method)
    labels = ["where anatomy differs" if name == CHANGE else name for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=20, ha="right")
    axes.axhline(0, color=MUTED, linewidth=0.7)
    axes.set_ylabel("share of T")
    axes.legend(loc="upper right", frameon=False, ncol=3)


def _coloured(share: FloatArray, image: FloatArray, inside: BoolArray) -> FloatArray:
    """Return a signed map over an image as RGB, [h, w, 3]; ``share`` is 1 at the scale."""
    grey = np.repeat(np.clip(image, 0, 1)[..., None], 3, axis=2)
    ramp = matplotlib.colormaps["RdBu_r"]((np.clip(share, -1, 1) + 1) / 2)[..., :3]
    weight = np.where(inside, np.clip(np.abs(share), 0, 1) ** 0.5, 0)[..., None]
    return np.asarray(grey * (1 - weight) + ramp * weight)


def _rim(axes: Axes, region: BoolArray, colour: str) -> None:
    if region.any() and not region.all():
        axes.contour(region.astype(float), levels=[0.5], colors=[colour], linewidths=0.8)


def _scale(*maps: FloatArray) -> float:
    largest = float(np.percentile(np.abs(np.stack(maps)), _ROBUST))
    return largest or 1.0


def _planes(exhibit: Exhibit) -> Planes:
    region = np.asarray(exhibit["change"], dtype=np.float32) > 0
    return find_exhibit_planes(exhibit, region if region.any() else np.ones_like(region))


def _plane(exhibit: Exhibit, name: str, planes: Planes) -> FloatArray:
    if name not in exhibit:
        return np.zeros(planes.cut(np.asarray(exhibit["D"]))[0].shape)
    return np.asarray(planes.cut(np.asarray(exhibit[name]))[0], dtype=np.float64)
