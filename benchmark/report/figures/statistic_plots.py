"""Plots of statistics over their conditions: curves and grouped bars, drawn from results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark.arrays import FloatArray
from benchmark.reading import Condition, Plot, Statistic
from benchmark.report.figures import style
from benchmark.report.figures.panels import Layout, PanelGrid
from benchmark.results.result import ConditionedEstimate, Result
from benchmark.results.scores import ORACLE

Series = tuple[Condition, ...]

_LINE_HEIGHT = 0.14  # inches
_LEADER = 0.16  # inches, of the line from the end of a curve to its name
_BASELINES = {"random", "iid", "randomised", "memorised", "chance", "control"}


@dataclass(frozen=True)
class _Panel:
    """Small plot of an explainer under one value of the panel condition."""

    explainer: str
    title: str
    series: Mapping[Series, Sequence[ConditionedEstimate]]

    @property
    def points(self) -> list[ConditionedEstimate]:
        return [point for line in self.series.values() for point in line]


@dataclass(frozen=True)
class _Chart:
    """Panels with what they share: the columns of their grid and the colour of each series."""

    plot: Plot
    panels: Sequence[_Panel]
    columns: int
    colours: Mapping[Series, str]

    @property
    def points(self) -> list[ConditionedEstimate]:
        return [point for panel in self.panels for point in panel.points]

    @property
    def baselines(self) -> list[str]:
        """Labels of what is drawn in grey: series, or bars where there is a single series."""
        if self.plot.series:
            return [_label(series) for series in self.colours if self.is_baseline(series)]
        values = dict.fromkeys(str(point.conditions[self.plot.x]) for point in self.points)
        return [value for value in values if value in _BASELINES]

    def is_baseline(self, series: Series) -> bool:
        return self.colours[series] in style.GREYS


def is_drawable(results: Sequence[Result], statistic: Statistic) -> bool:
    """Return whether these results hold any readings that the statistic's plot asks for."""
    return any(_points(result, statistic) for result in results)


@style.styled
def draw_statistic(figure: Figure, results: Sequence[Result], statistic: Statistic) -> None:
    """Draw a statistic over its conditions as its ``plot`` declares, a panel per explainer.

    Results are those of one model, cohort and protocol, from ``arrange``, and ``is_drawable``.
    """
    chart = _chart(results, statistic)
    if chart.plot.kind == "curve":
        _draw_curves(figure, chart)
    else:
        _draw_bars(figure, chart)


def describe_statistic(results: Sequence[Result], statistic: Statistic) -> str:
    """Return the caption of ``draw_statistic`` with the same arguments."""
    chart = _chart(results, statistic)
    sentence = statistic.description[:1].upper() + statistic.description[1:]
    return (
        f"{sentence}. Means over subjects with 95 % intervals"
        # A single series is compared with what stands beside it in grey, bar by bar.
        + ("" if chart.baselines and not chart.plot.series else f", for each {chart.plot.x}")
        + (f" and each {chart.plot.panel}" if chart.plot.panel else "")
        + "."
        + (f" For comparison, in grey: {', '.join(chart.baselines)}." if chart.baselines else "")
    )


def _draw_curves(figure: Figure, chart: _Chart) -> None:
    x_name, points = chart.plot.x, chart.points
    x_limits = style.limits([float(point.conditions[x_name]) for point in points], 0.0)
    y_limits = style.limits(style.extent(points), 0.08)
    gutter = 0.05 + _LEADER + style.CHARACTER * max(len(_label(series)) for series in chart.colours)
    layout = Layout(chart.columns, 1.45, left=0.62, gutter=max(0.55, gutter), top=0.3)
    grid = PanelGrid(figure, [panel.title for panel in chart.panels], layout, x_limits, y_limits)
    for index, panel in enumerate(chart.panels):
        if y_limits[0] < 0 < y_limits[1]:
            left, right = grid.right(index, x_limits).tolist()
            grid.axes.hlines(grid.up(index, (0.0,)), left, right, colors="#bdbdbd", linewidth=0.7)
        ends = []
        # Baselines first, so that the line that is asked about lies on top.
        for series in sorted(panel.series, key=chart.is_baseline, reverse=True):
            line = sorted(panel.series[series], key=lambda point: float(point.conditions[x_name]))
            colour, is_baseline = chart.colours[series], chart.is_baseline(series)
            alpha, width = (0.4, 0.9) if is_baseline else (0.2, 1.6)
            xs = grid.right(index, (float(point.conditions[x_name]) for point in line))
            lows, ys, highs = (grid.up(index, numbers) for numbers in _spans(line))
            grid.axes.fill_between(xs, lows, highs, color=colour, alpha=alpha, linewidth=0)
            grid.axes.plot(xs, ys, color=colour, linewidth=width, marker=".", markersize=3.5)
            ends.append((float(ys[-1]), _label(series), colour))
        corner = float(grid.right(index, x_limits)[1]), float(grid.up(index, y_limits)[1])
        _label_ends(grid.axes, corner, ends)
    grid.frame(x_name, chart.plot.label)


def _draw_bars(figure: Figure, chart: _Chart) -> None:
    names = list(dict.fromkeys(str(point.conditions[chart.plot.x]) for point in chart.points))
    thickness = 0.8 / len(chart.colours)
    # The truth's bars can be so long that no difference between methods is left to see.
    methods = [
        point for panel in chart.panels if panel.explainer != ORACLE for point in panel.points
    ]
    x_limits = style.limits([0.0, *style.extent(methods or chart.points)], 0.02)
    height = 0.12 * len(names) * (len(chart.colours) + 1)
    left = 0.2 + style.CHARACTER * max(map(len, names))
    layout = Layout(chart.columns, height, left=left, gutter=0.15, top=0.55)
    titles = [panel.title for panel in chart.panels]
    grid = PanelGrid(figure, titles, layout, x_limits, (len(names) - 0.5, -0.5))
    for index, panel in enumerate(chart.panels):
        zero = float(grid.right(index, (0.0,))[0])
        top, bottom = grid.up(index, (-0.5, len(names) - 0.5)).tolist()
        grid.axes.vlines(zero, bottom, top, colors="#8a8a8a", linewidth=0.7)
        for step, (series, colour) in enumerate(chart.colours.items()):
            bars = panel.series.get(series, ())
            shift = (step - (len(chart.colours) - 1) / 2) * thickness
            groups = [names.index(str(bar.conditions[chart.plot.x])) for bar in bars]
            ys = grid.up(index, (group + shift for group in groups))
            of_series = [
                style.GREYS[0] if not series and names[group] in chart.baselines else colour
                for group in groups
            ]
            spans = _spans(bars)
            lows, ends, highs = (grid.right(index, values) for values in spans)
            bar_height = 0.9 * thickness * height / len(names)
            grid.axes.barh(ys, ends - zero, bar_height, left=zero, color=of_series, linewidth=0)
            grid.axes.hlines(ys, lows, highs, color=style.INK, linewidth=0.8)
            for value, y, end in zip(spans[1], ys, ends, strict=True):
                if value > x_limits[1]:  # the bar ends beyond the scale
                    text = grid.axes.text(end - 0.05, y, f"{value:.3g} ▸", color="white")
                    text.set(fontsize=6, ha="right", va="center_baseline")
    grid.frame(chart.plot.label, "", names)
    handles = [
        Patch(color=colour, label=_label(key)) for key, colour in chart.colours.items() if key
    ]
    figure.legend(handles=handles, loc="upper left", ncols=4, frameon=False, borderaxespad=0.1)


def _points(result: Result, statistic: Statistic) -> list[ConditionedEstimate]:
    plot = statistic.plot
    if plot is None:
        return []
    names = {plot.x, *plot.series, plot.panel} - {None}
    return [
        row
        for row in result.statistics
        if row.statistic == statistic.name
        and set(row.conditions) == names
        and row.estimate is not None
        and (plot.kind == "bars" or isinstance(row.conditions[plot.x], int | float))
    ]


def _chart(results: Sequence[Result], statistic: Statistic) -> _Chart:
    plot = statistic.plot
    if plot is None or not is_drawable(results, statistic):
        raise ValueError(f"Statistic {statistic.name!r} has no readings that a plot asks for.")
    series_of: dict[tuple[int, Condition], dict[Series, list[ConditionedEstimate]]] = {}
    for index, result in enumerate(results):
        for point in _points(result, statistic):
            value = "" if plot.panel is None else point.conditions[plot.panel]
            lines = series_of.setdefault((index, value), {})
            key = tuple(point.conditions[name] for name in plot.series)
            lines.setdefault(key, []).append(point)
    keys = list(dict.fromkeys(key for lines in series_of.values() for key in lines))
    values = len({value for _, value in series_of})
    # Panels of one explainer share a row, and no row has more than four.
    columns = 4 if values >= 4 else min(len(series_of), 4 // values * values)
    panels = []
    for (index, value), lines in series_of.items():
        explainer = results[index].explainer
        title = explainer if plot.panel is None else f"{explainer} · {value}"
        panels.append(_Panel(explainer, title, lines))
    return _Chart(plot, panels, columns, _series_colours(keys))


def _series_colours(keys: Sequence[Series]) -> dict[Series, str]:
    baselines = [key for key in keys if _BASELINES & {str(value) for value in key}]
    others = [key for key in keys if key not in baselines]
    pairs = [*zip(others, cycle(style.COLOURS)), *zip(baselines, cycle(style.GREYS))]
    return dict(pairs)


def _label_ends(
    axes: Axes, corner: tuple[float, float], ends: Sequence[tuple[float, str, str]]
) -> None:
    """Write each line's name behind its end, moved apart where ends lie close.

    None stands above the panel. A thin line leads from each end to its name, since greys are hard
    to tell apart.
    """
    right, ceiling = corner
    lines, lowest = sorted(ends), -float("inf")
    heights = [lowest := max(height, lowest + _LINE_HEIGHT) for height, _, _ in lines]
    for (end, name, colour), height in zip(reversed(lines), reversed(heights), strict=True):
        ceiling = min(height, ceiling)
        ink = style.MUTED if colour in style.GREYS else colour
        axes.plot([right, right + _LEADER], [end, ceiling], color=colour, linewidth=0.7)
        axes.text(right + _LEADER + 0.02, ceiling, name, color=ink, fontsize=7, va="center")
        ceiling -= _LINE_HEIGHT


def _spans(points: Sequence[ConditionedEstimate]) -> FloatArray:
    """Return lows, estimates and highs, [3, n]."""
    return np.reshape([style.span(point) for point in points], (-1, 3)).T


def _label(series: Series) -> str:
    return " · ".join(map(str, series))
