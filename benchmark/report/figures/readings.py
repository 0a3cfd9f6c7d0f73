"""Readings by condition: curves and grouped bars, drawn from results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark.reading import Condition, Plot, Statistic
from benchmark.report.figures.panels import Board, Layout
from benchmark.report.figures.style import (
    CHARACTER,
    COLOURS,
    GREYS,
    INK,
    MUTED,
    extent,
    known,
    limits,
    styled,
)
from benchmark.results.lookup import ORACLE
from benchmark.results.result import ConditionedEstimate, Result

Series = tuple[Condition, ...]

_LINE_HEIGHT = 0.14  # inches
_BASELINES = {"random", "iid", "randomised", "control"}


@dataclass(frozen=True)
class _Panel:
    """One small axes: an explainer under one value of the panel condition."""

    explainer: str
    title: str
    series: Mapping[Series, Sequence[ConditionedEstimate]]

    @property
    def points(self) -> list[ConditionedEstimate]:
        return [one for line in self.series.values() for one in line]


@dataclass(frozen=True)
class _Chart:
    """Panels with what they share: their place in a grid and the colour of each series."""

    plot: Plot
    panels: Sequence[_Panel]
    columns: int
    colours: Mapping[Series, str]

    @property
    def points(self) -> list[ConditionedEstimate]:
        return [one for panel in self.panels for one in panel.points]


def is_drawable(results: Sequence[Result], statistic: Statistic) -> bool:
    """Return whether these results hold any readings that the statistic's plot asks for."""
    return any(_points(one, statistic) for one in results)


@styled
def draw_statistic(figure: Figure, results: Sequence[Result], statistic: Statistic) -> None:
    """Draw a statistic over its conditions as its ``plot`` declares, a panel per explainer.

    Args:
        figure: Given by the decorator.
        results: Of one model, cohort and protocol, from ``arrange``.
        statistic: ``is_drawable`` from these results.
    """
    if statistic.plot is None or not is_drawable(results, statistic):
        raise ValueError(f"Statistic {statistic.name!r} has no readings that a plot asks for.")
    chart = _chart(results, statistic, statistic.plot)
    if statistic.plot.kind == "curve":
        _draw_curves(figure, chart)
    else:
        _draw_bars(figure, chart)


def _draw_curves(figure: Figure, chart: _Chart) -> None:
    x_name, points = chart.plot.x, chart.points
    x_limits = limits([float(one.conditions[x_name]) for one in points], 0.0)
    y_limits = limits(extent(points), 0.08)
    gutter = 0.1 + CHARACTER * max(len(_label(name)) for name in chart.colours)
    layout = Layout(chart.columns, 1.45, left=0.62, gutter=max(0.55, gutter), top=0.3)
    board = Board(figure, [one.title for one in chart.panels], layout, x_limits, y_limits)
    for place, panel in enumerate(chart.panels):
        if y_limits[0] < 0 < y_limits[1]:
            left, right = board.right(place, x_limits).tolist()
            board.axes.hlines(board.up(place, (0.0,)), left, right, colors="#bdbdbd", linewidth=0.7)
        ends = []
        # Baselines first, so that the line that is asked about lies on top.
        for name in sorted(panel.series, key=lambda one: chart.colours[one] not in GREYS):
            line = sorted(panel.series[name], key=lambda one: float(one.conditions[x_name]))
            colour, baseline = chart.colours[name], chart.colours[name] in GREYS
            alpha, width = (0.4, 0.9) if baseline else (0.2, 1.6)
            xs = board.right(place, (float(one.conditions[x_name]) for one in line))
            ys = board.up(place, (known(one.estimate) for one in line))
            lows = board.up(place, (known(one.low, known(one.estimate)) for one in line))
            highs = board.up(place, (known(one.high, known(one.estimate)) for one in line))
            board.axes.fill_between(xs, lows, highs, color=colour, alpha=alpha, linewidth=0)
            board.axes.plot(xs, ys, color=colour, linewidth=width, marker=".", markersize=3.5)
            ends.append((float(ys[-1]), _label(name), MUTED if baseline else colour))
        corner = float(board.right(place, x_limits)[1]), float(board.up(place, y_limits)[1])
        _label_ends(board.axes, corner, ends)
    board.frame(x_name, chart.plot.label)


def _draw_bars(figure: Figure, chart: _Chart) -> None:
    names = list(dict.fromkeys(str(one.conditions[chart.plot.x]) for one in chart.points))
    thickness = 0.8 / len(chart.colours)
    # The truth's bars can be so long that no difference between methods is left to see.
    others = [one for panel in chart.panels if panel.explainer != ORACLE for one in panel.points]
    x_limits = limits([0.0, *extent(others or chart.points)], 0.02)
    height = 0.12 * len(names) * (len(chart.colours) + 1)
    left = 0.2 + CHARACTER * max(map(len, names))
    layout = Layout(chart.columns, height, left=left, gutter=0.15, top=0.55)
    titles = [one.title for one in chart.panels]
    board = Board(figure, titles, layout, x_limits, (len(names) - 0.5, -0.5))
    for place, panel in enumerate(chart.panels):
        zero = float(board.right(place, (0.0,))[0])
        top, bottom = board.up(place, (-0.5, len(names) - 0.5)).tolist()
        board.axes.vlines(zero, bottom, top, colors="#8a8a8a", linewidth=0.7)
        for step, (name, colour) in enumerate(chart.colours.items()):
            bars = panel.series.get(name, ())
            shift = (step - (len(chart.colours) - 1) / 2) * thickness
            groups = (names.index(str(one.conditions[chart.plot.x])) for one in bars)
            ys = board.up(place, (group + shift for group in groups))
            ends = board.right(place, (known(one.estimate) for one in bars))
            lows = board.right(place, (known(one.low, known(one.estimate)) for one in bars))
            highs = board.right(place, (known(one.high, known(one.estimate)) for one in bars))
            thick = 0.9 * thickness * height / len(names)
            board.axes.barh(ys, ends - zero, thick, left=zero, color=colour, linewidth=0)
            board.axes.hlines(ys, lows, highs, color=INK, linewidth=0.8)
            for one, y, end in zip(bars, ys, ends, strict=True):
                if known(one.estimate) > x_limits[1]:
                    _label_cut(board.axes, float(end), float(y), known(one.estimate))
    board.frame(chart.plot.label, "", names)
    figure.legend(
        handles=[Patch(color=colour) for colour in chart.colours.values()],
        labels=[_label(name) for name in chart.colours],
        loc="upper left",
        ncols=4,
        frameon=False,
        borderaxespad=0.1,
    )


def _points(result: Result, statistic: Statistic) -> list[ConditionedEstimate]:
    plot = statistic.plot
    if plot is None:
        return []
    wanted = {plot.x, *plot.series} | ({plot.panel} if plot.panel else set())
    return [
        one
        for one in result.statistics
        if one.statistic == statistic.name
        and set(one.conditions) == wanted
        and one.estimate is not None
        and (plot.kind == "bars" or isinstance(one.conditions[plot.x], int | float))
    ]


def _chart(results: Sequence[Result], statistic: Statistic, plot: Plot) -> _Chart:
    panels: dict[tuple[int, Condition], dict[Series, list[ConditionedEstimate]]] = {}
    for place, result in enumerate(results):
        for one in _points(result, statistic):
            value = "" if plot.panel is None else one.conditions[plot.panel]
            series = panels.setdefault((place, value), {})
            series.setdefault(tuple(one.conditions[part] for part in plot.series), []).append(one)
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    values = len({value for _, value in panels})
    # Panels of one explainer share a row, and no row has more than four.
    columns = 4 if values >= 4 else min(len(panels), 4 // values * values)
    titled = []
    for (place, value), own in panels.items():
        explainer = results[place].explainer
        title = explainer if plot.panel is None else f"{explainer} · {value}"
        titled.append(_Panel(explainer, title, own))
    return _Chart(plot, titled, columns, _series_colours(names))


def _series_colours(names: Sequence[Series]) -> dict[Series, str]:
    baselines = [name for name in names if _BASELINES & {str(part) for part in name}]
    others = [name for name in names if name not in baselines]
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(others)}
    return colours | {name: GREYS[place % len(GREYS)] for place, name in enumerate(baselines)}


def _label_ends(
    axes: Axes, corner: tuple[float, float], ends: Sequence[tuple[float, str, str]]
) -> None:
    """Write each line's name at its end, moved apart where ends lie close, none above the panel."""
    right, ceiling = corner
    lines, lowest = sorted(ends), -float("inf")
    heights = [lowest := max(height, lowest + _LINE_HEIGHT) for height, _, _ in lines]
    for (_, name, colour), height in zip(reversed(lines), reversed(heights), strict=True):
        ceiling = min(height, ceiling)
        axes.text(right + 0.05, ceiling, name, color=colour, fontsize=7, va="center")
        ceiling -= _LINE_HEIGHT


def _label_cut(axes: Axes, right: float, up: float, value: float) -> None:
    """Write its value into a bar that ends beyond the scale."""
    axes.text(
        right - 0.05,
        up,
        f"{value:.3g} ▸",
        color="white",
        fontsize=6,
        ha="right",
        va="center_baseline",
    )


def _label(series: Series) -> str:
    return " · ".join(map(str, series))
