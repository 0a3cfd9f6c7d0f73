"""A row for each method, with points and intervals in the columns of each section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Self

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmark.report.figures.style import (
    COLOURS,
    GREYS,
    INK,
    MUTED,
    known,
    shorten,
    span,
    wrap_name,
)
from benchmark.report.paper.bands.canvas import CHARACTER, LINE, Canvas, draw_legend, legend_lines
from benchmark.report.paper.bands.view import MARKERS, View, axis_limits, order_methods
from benchmark.report.paper.sections import Section
from benchmark.report.paper.specification import Column, Rows, Series
from benchmark.report.paper.values import Choice, Value
from benchmark.results.scores import CONTROLS

_ROW, _GAP, _BELOW = 3.5, 3.0, 4.5  # mm
_LONGEST = 22  # characters of a name
_BOLD = 1.7  # mm, of a bold character
_BAND = "#f4f4f4"


def columns_of(view: View, band: Rows) -> list[tuple[Column, tuple[Series, ...]]]:
    """Return the columns that have values, with their series, one for each condition."""
    columns = []
    for column in band.columns:
        series = tuple(one for declared in column.series for one in expand(view, declared))
        if series:
            columns.append((column, series))
    return columns


def expand(view: View, series: Series) -> list[Series]:
    """Return a series for each value of the condition that its label stands for.

    None where there are no values.
    """
    values = view.chosen(series.choice)
    if not series.choice.over:
        return [series] if values else []
    name = series.choice.over[0]
    found = list(dict.fromkeys(value.condition(name) for value in values))
    return [
        Series(
            series.label.format(**{name: str(condition).replace("_", " ")}),
            Choice(
                series.choice.protocol,
                series.choice.statistic,
                (*series.choice.where, (name, condition)),
                is_tested=series.choice.is_tested,
            ),
        )
        for condition in (found[1:] if series.skips_first else found)
    ]


def measure_rows(view: View, band: Rows) -> float:
    """Return the height of the band in mm; 0 where it has no values."""
    columns = columns_of(view, band)
    if not columns:
        return 0.0
    layout = _Layout.of(view, columns)
    deepest = max(label.count("\n") + 1 for label in layout.labels)
    return layout.head + _ROW * len(layout.methods) + _BELOW + LINE * deepest + 0.5


def draw_rows(canvas: Canvas, top: float, view: View, band: Rows) -> None:
    """Draw the band below a place."""
    layout = _Layout.of(view, columns_of(view, band))
    if layout.entries:
        draw_legend(canvas, layout.left, top, view.width - layout.left - 1, layout.entries)
    start, height = top + layout.head, _ROW * len(layout.methods)
    x = layout.left
    for (column, series), sections, label in zip(
        layout.columns, layout.sections, layout.labels, strict=True
    ):
        first = x
        points = [value for one in series for value in view.chosen(one.choice)]
        ends = axis_limits(points, column.chance)
        for section in sections:
            axes = canvas.axes(x, start, layout.width, height)
            if x == layout.left or len(view.sections) > 1:
                title = _title(view, section, layout.width)
                canvas.text(x, start - 0.8, title, fontweight="bold", va="bottom")
            values = [view.chosen(one.choice, section) for one in series]
            _draw_panel(axes, layout.methods, values, ends)
            axes.set_xticks(_ticks(ends, layout.width))
            axes.axvline(column.chance, color="#8a8a8a", linewidth=0.5, zorder=1)
            if x == layout.left:
                _name_rows(axes, layout.methods)
            x += layout.width + _GAP
        middle = (first + x - _GAP) / 2
        canvas.text(middle, start + height + _BELOW, label, ha="center")


@dataclass(frozen=True)
class _Layout:
    """Sizes of a band in mm, and what stands where.

    Attributes:
        columns: Columns with their series.
        sections: Sections of each column.
        methods: Methods from the top.
        labels: Label below each column, in lines.
        entries: Marks of the legend by label.
        left: Width of the names.
        width: Width of a panel.
        head: Height above the panels.
    """

    columns: Sequence[tuple[Column, tuple[Series, ...]]]
    sections: Sequence[Sequence[Section]]
    methods: Sequence[str]
    labels: Sequence[str]
    entries: Mapping[str, dict[str, Any]]
    left: float
    width: float
    head: float

    @classmethod
    def of(cls, view: View, columns: Sequence[tuple[Column, tuple[Series, ...]]]) -> Self:
        """Return the layout of columns."""
        methods = _methods(view, columns)
        left = 2.0 + CHARACTER * max(len(shorten(name, _LONGEST)) for name in methods)
        sections = [_sections(view, series) for _, series in columns]
        count = sum(map(len, sections))
        width = (view.width - left - 1.5 - _GAP * (count - 1)) / count
        labels = [
            "\n".join(wrap(column.label, int(len(own) * (width + _GAP) / CHARACTER)))
            for (column, _), own in zip(columns, sections, strict=True)
        ]
        entries = {
            one.label: mark_of(number)
            for _, series in columns
            if len(series) > 1
            for number, one in enumerate(series)
        }
        lines = legend_lines(list(entries), view.width - left - 1) if entries else []
        titles = [_title(view, section, width) for own in sections for section in own]
        deepest = max(title.count("\n") + 1 for title in titles)
        head = LINE * (len(lines) + deepest) + 0.5
        return cls(columns, sections, methods, labels, entries, left, width, head)


def _title(view: View, section: Section, width: float) -> str:
    """Return the title above a panel, in lines where there is another one beside it."""
    if len(view.sections) == 1:
        return section.title
    return wrap_name(section.title, max(6, int(width / _BOLD)))


def _ticks(ends: tuple[float, float], width: float) -> list[float]:
    """Return the ticks of a panel, fewer where their numbers would touch; 0 stays."""
    ticks = MaxNLocator(3, steps=[1, 2, 5, 10]).tick_values(*ends)
    within = [float(tick) for tick in ticks if ends[0] <= tick <= ends[1]]
    longest = max((len(f"{tick:.6g}") for tick in within), default=0)
    step, every = ticks[1] - ticks[0], 1
    while (len(within) // every) * (longest + 1) * CHARACTER > width and every < len(within):
        every += 1
    kept = [tick for tick in within if round(tick / step) % every == 0]
    # One number alone makes no scale.
    return kept if len(kept) > 1 else sorted(within, key=abs)[:: max(1, len(within) - 1)]


def _name_rows(axes: Axes, methods: Sequence[str]) -> None:
    axes.set_yticks(range(len(methods)), [shorten(name, _LONGEST) for name in methods])
    for label, method in zip(axes.get_yticklabels(), methods, strict=True):
        label.set_color(MUTED if method in CONTROLS else INK)


def _draw_panel(
    axes: Axes, methods: Sequence[str], series: Sequence[Sequence[Value]], ends: tuple[float, float]
) -> None:
    for row in range(0, len(methods), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=_BAND, linewidth=0, zorder=0)
    _write_beyond(axes, methods, series, ends[1])
    for number, values in enumerate(series):
        shift = 0.0 if len(series) == 1 else 0.5 * (number / (len(series) - 1) - 0.5)
        for value in values:
            y, mark = methods.index(value.method) + shift, mark_of(number, value)
            low, estimate, high = span(value)
            if estimate > ends[1]:
                continue
            axes.hlines(y, low, high, color=mark["color"], linewidth=0.7, zorder=2)
            axes.plot([estimate], [y], **mark)
    axes.set_xlim(*ends)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_yticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _write_beyond(
    axes: Axes, methods: Sequence[str], series: Sequence[Sequence[Value]], end: float
) -> None:
    """Write the values that lie beyond an axis, those of a method in one text."""
    beyond: dict[str, list[float]] = {}
    for value in (value for values in series for value in values):
        if known(value.estimate) > end:
            beyond.setdefault(value.method, []).append(known(value.estimate))
    for method, numbers in beyond.items():
        text = " to ".join(dict.fromkeys(f"{own:.2g}" for own in (min(numbers), max(numbers))))
        colour = GREYS[0] if method in CONTROLS else INK
        place = end, methods.index(method)
        axes.text(*place, f"{text} ▸", ha="right", va="center_baseline", color=colour)


def mark_of(number: int, value: Value | None = None) -> dict[str, Any]:
    """Return the mark of a series: open where a test found nothing, and grey for controls."""
    is_control = value is not None and value.method in CONTROLS
    colour = GREYS[0] if is_control else COLOURS[number % len(COLOURS)]
    is_open = value is not None and value.is_significant is False
    return {
        "marker": MARKERS[number % len(MARKERS)],
        "color": colour,
        "markersize": 2.8,
        "markerfacecolor": "white" if is_open else colour,
        "markeredgewidth": 0.7,
        "linewidth": 0.7,
        "zorder": 3,
    }


def _methods(view: View, columns: Sequence[tuple[Column, tuple[Series, ...]]]) -> list[str]:
    first = order_methods(view.chosen(columns[0][1][0].choice))
    others = [v for _, series in columns for one in series for v in view.chosen(one.choice)]
    rest = [name for name in order_methods(others) if name not in first]
    return sorted([*first, *rest], key=lambda name: name in CONTROLS)


def _sections(view: View, series: Sequence[Series]) -> list[Section]:
    return [
        section
        for section in view.sections
        if any(view.chosen(one.choice, section) for one in series)
    ]
