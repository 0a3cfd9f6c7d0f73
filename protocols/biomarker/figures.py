"""Figures of `biomarker`: methods beside their nulls, and what is left of each subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.arrays import FloatArray, Rows
from benchmark.protocol import Drawing
from benchmark.reading import Condition, Reading, find, interval
from benchmark.report.figures.style import CHANCE, CHARACTER, COLOURS, GREYS, INK, WIDTH, styled
from protocols.biomarker.associations import CONTROL, COPIES, MAP
from protocols.biomarker.statistics import BiomarkerStatistics as Read

Readings = Mapping[str, Sequence[Reading]]

_ACROSS = 4
_ARMS = {
    MAP: ("map on the region", COLOURS[0], "o"),
    CONTROL: ("map on the control region", COLOURS[1], "s"),
    COPIES: ("randomised copies", GREYS[0], "^"),
}


@dataclass(frozen=True)
class _Cloud:
    """A panel of subjects: what is left of the volume, and what is left of the map."""

    title: str
    across: FloatArray
    up: FloatArray
    groups: Rows


def biomarker_drawings(readings: Readings) -> Iterator[Drawing]:
    """Yield the figures that the readings can fill."""
    measured = {name: own for name, own in readings.items() if find(own, Read.beyond_output)}
    if not measured:
        return
    yield Drawing(
        "forest",
        "What maps add to the output",
        "Partial correlation with the volume, given covariates, group and the model's output, with "
        "95 % intervals: of the map on the region, of the map on the control region, and the mean "
        "over randomised copies of the network. A method passes if the first is above 0 and "
        "certainly above the other two.",
        lambda: draw_forest(measured),
    )
    regions = list(_clouds(measured, Read.residual.name, "roi"))
    if regions:
        yield Drawing(
            "scatter",
            "Map against volume, subject by subject",
            "What covariates, group and output leave of the volume (across) and of the map on the "
            "region (up), in standard deviations; blue is the reference group, orange the cases. "
            "The slope of the line is the partial correlation r.",
            lambda: draw_clouds(regions, "volume, residual", "map, residual"),
        )
    sides = list(_clouds(measured, Read.side.name, "pair"))
    if sides:
        yield Drawing(
            "sides",
            "Sides against each other, subject by subject",
            "What covariates and group leave of the volumes' difference between left and right "
            "(across) and of the map's (up), in standard deviations; blue is the reference group, "
            "orange the cases. The slope of the line is the partial correlation r.",
            lambda: draw_clouds(
                sides, "left − right volume, residual", "left − right map, residual"
            ),
        )


@styled
def draw_forest(figure: Figure, readings: Readings) -> None:
    """Fill the figure with three intervals for each method."""
    height = 0.42 * len(readings) + 0.9  # inches
    figure.set_size_inches(WIDTH, height)
    left = 0.3 + CHARACTER * max(map(len, readings))
    axes = figure.add_axes(
        (left / WIDTH, 0.45 / height, 1 - (left + 0.15) / WIDTH, 1 - 0.8 / height)
    )
    axes.axvline(0, color=CHANCE, lw=0.9, linestyle=(0, (4, 3)), zorder=1)
    for row, own in enumerate(readings.values()):
        for step, (arm, (_, colour, marker)) in enumerate(_ARMS.items()):
            limits = interval(own, Read.arm, arm=arm)
            if limits is None:
                continue
            level = len(readings) - 1 - row + 0.24 * (1 - step)
            if not np.isnan(limits.low):
                axes.hlines(level, limits.low, limits.high, color=colour, linewidth=1.6)
            axes.plot([limits.estimate], [level], marker, color=colour, markersize=4)
    axes.set_yticks(range(len(readings))[::-1], list(readings), fontsize=8)
    axes.set_ylim(-0.6, len(readings) - 0.4)
    axes.set_xlabel("partial correlation with the volume, given group and output")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, label=label)
        for label, colour, marker in _ARMS.values()
    ]
    figure.legend(handles=handles, loc="upper left", ncols=3, frameon=False, borderaxespad=0.1)


@styled
def draw_clouds(figure: Figure, clouds: Sequence[_Cloud], across: str, up: str) -> None:
    """Fill the figure with a scatter of subjects for each panel, all on one scale."""
    columns = min(_ACROSS, len(clouds))
    rows = -(-len(clouds) // columns)
    height = 2.4 * rows + 0.6  # inches
    figure.set_size_inches(WIDTH * columns / _ACROSS if columns < _ACROSS else WIDTH, height)
    grid = figure.add_gridspec(
        rows, columns, left=0.6 / figure.get_size_inches()[0], right=0.99,
        top=1 - 0.4 / height, bottom=0.55 / height, wspace=0.12, hspace=0.35,
    )  # fmt: skip
    reach = max(float(np.abs([cloud.across, cloud.up]).max()) for cloud in clouds) * 1.05
    for number, cloud in enumerate(clouds):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        _scatter(axes, cloud, reach)
        if number < len(clouds) - columns:
            axes.set_xticklabels([])
        if number % columns:
            axes.set_yticklabels([])
    figure.supxlabel(across, fontsize=8, y=0.1 / height, va="bottom")
    figure.supylabel(up, fontsize=8, x=0.005)


def _scatter(axes: Axes, cloud: _Cloud, reach: float) -> None:
    for group, colour in zip((0, 1), COLOURS, strict=False):
        of_group = cloud.groups == group
        axes.plot(
            cloud.across[of_group], cloud.up[of_group], "o", color=colour, markersize=2.2, alpha=0.7
        )
    slope = float((cloud.across * cloud.up).mean())
    ends = np.array([-reach, reach])
    axes.plot(ends, slope * ends, color=INK, linewidth=0.9)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    r = f"{round(slope, 2) + 0.0:.2f}".replace("-", "−")
    axes.set_title(f"{cloud.title}  r {r}", loc="left", fontsize=7)


def _clouds(readings: Readings, statistic: str, condition: str) -> Iterator[_Cloud]:
    """Yield a panel for each method and region, or structure, whose residuals were read."""
    for name, own in readings.items():
        for reading in own:
            if reading.statistic != statistic or reading.conditions.get("of") != MAP:
                continue
            where: dict[str, Condition] = {condition: reading.conditions[condition]}
            volume = find(own, statistic, of="volume", **where)
            if volume is None:
                continue
            yield _Cloud(
                f"{name}\n{where[condition]}",
                volume.values,
                reading.values,
                np.array(reading.sample.groups),
            )
