"""The pictures of a board: scores, ranks and costs, as SVG files that are the same bytes each time.

Every number in them stands in a table of the page as well.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from benchmark.reading import SCORED
from benchmark.report.figures.forest import (
    Panel,
    calibrated_panel,
    draw_panel,
    name_rows,
    score_label,
)
from benchmark.report.figures.style import (
    CHARACTER,
    COLOURS,
    GREYS,
    MUTED,
    WIDTH,
    known,
    limits,
    styled,
)
from benchmark.results.scores import RANDOM
from leaderboard.board.board import Board, BoardCell, BoardProtocol, ModelBoard
from leaderboard.site.labels import Spot, place_labels

LINE = 0.215  # inches, of a row
_LONGEST = 28
P = ParamSpec("P")
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_BAND = "#f1f4f7"
_HOLLOW: dict[str, Any] = {
    "markerfacecolor": "none",
    "markeredgecolor": COLOURS[1],
    "markersize": 7.5,
}
_SIZE = re.compile(rb'width="([\d.]+)pt" height="([\d.]+)pt"')


def size_of(svg: bytes) -> tuple[int, int]:
    """Return the width and height of a figure in points."""
    width, height = (float(size) for size in _SIZE.search(svg).groups())  # type: ignore[union-attr]
    return round(width), round(height)


def _as_svg(draw: Callable[Concatenate[Figure, P], None]) -> Callable[P, bytes]:
    """Turn a function that fills a figure into one that returns its text as SVG."""

    def make(*args: P.args, **kwargs: P.kwargs) -> bytes:
        sink = io.BytesIO()

        @styled
        def fill(figure: Figure) -> None:
            # Saved within the style: ticks are made, and glyphs turned into paths, only then.
            draw(figure, *args, **kwargs)
            figure.savefig(sink, format="svg", metadata=_NO_METADATA)

        fill()
        return sink.getvalue()

    make.__doc__ = draw.__doc__
    return make


@_as_svg
def draw_forest(figure: Figure, model: ModelBoard, protocol: BoardProtocol, index: int) -> None:
    """Draw all explainers' scores under the board's ``index``-th protocol, the best on top."""
    cells = {row.explainer: row.cells[index] for row in model.rows}
    controls = {row.explainer for row in model.rows if row.status == "control"}
    sign = -1 if protocol.direction == "lower" else 1

    def order(name: str) -> tuple[float, str]:
        score = cells[name].score
        return -sign * known(None if score is None else score.estimate, -sign * math.inf), name

    rows = sorted(cells, key=order)
    panels = _panels(f"{protocol.name}: score", protocol, cells, model.truth_is_one(index))
    height = _fit(figure, len(rows), 1.0)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(_name_width(rows) / WIDTH, 0.61 / height, 0.985, 1 - 0.39 / height, 0.07)
    for axes, panel in zip(grid, panels, strict=True):
        draw_panel(axes, panel, rows, controls)
    name_rows(grid[0], {name: short(name) for name in rows}, controls)


def _panels(
    title: str, protocol: BoardProtocol, cells: Mapping[str, BoardCell], to_truth: bool
) -> list[Panel]:
    """Return the panel of a protocol's scores, and of calibrated scores where there are some."""
    scores = {row: cell.score for row, cell in cells.items() if cell.score is not None}
    noise = scores.get(RANDOM)
    words = {
        row: cell.state if cell.state != SCORED else "no number"
        for row, cell in cells.items()
        if cell.score is None or cell.score.estimate is None
    }
    calibrated = {
        row: cell.calibrated for row, cell in cells.items() if cell.calibrated is not None
    }
    label = score_label(protocol.statistic, protocol.direction)
    if protocol.owed:
        return [Panel(title, label, scores, words, 0.0)]
    panel = Panel(title, label, scores, words, None if noise is None else noise.estimate)
    if not calibrated:
        return [panel]
    return [panel, calibrated_panel("calibrated", calibrated, to_truth)]


@_as_svg
def draw_method(figure: Figure, board: Board, explainer: str) -> None:
    """Draw one explainer's scores: a panel for each protocol, a line for each model."""
    entries = [
        (model, row) for model in board.models for row in model.rows if row.explainer == explainer
    ]
    rows = {
        f"{model.model}, {model.cohort}" if board.has_many_cohorts else model.model: row
        for model, row in entries
    }
    names, count = list(rows), len(board.protocols)
    columns = min(count, 5)
    lines = math.ceil(count / columns)
    height = lines * (1.0 + LINE * max(2, len(names)))
    figure.set_size_inches(WIDTH, height)
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False)
    left = _name_width(names) / WIDTH
    figure.subplots_adjust(
        left, 0.55 / height, 0.985, 1 - 0.33 / height, 0.13, 1.0 / LINE / max(2, len(names))
    )
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    for index, (axes, protocol) in enumerate(zip(grid.flat, board.protocols, strict=False)):
        cells = {name: row.cells[index] for name, row in rows.items()}
        to_truth = all(model.truth_is_one(index) for model, _ in entries)
        word = "" if protocol.averaged else " (gate)" if protocol.gate else " (beside)"
        title = protocol.name + word
        scores, *calibrated = _panels(title, protocol, cells, to_truth)
        panel = replace(calibrated[0], title=title, words=scores.words) if calibrated else scores
        draw_panel(axes, panel, names, set())
    name_rows(grid[0][0], {name: short(name) for name in names}, set())


@_as_svg
def draw_ranks(figure: Figure, model: ModelBoard) -> None:
    """Draw the ranks of a model's explainers in each way, with intervals and tie groups."""
    rows = [row for row in model.rows if row.standing]
    names = [row.explainer for row in rows]
    height = _fit(figure, max(1, len(names)), 0.95)
    axes = figure.subplots()
    left = _name_width(names or [""]) / WIDTH
    figure.subplots_adjust(left, 0.56 / height, 0.9, 1 - 0.39 / height)
    name_rows(axes, {name: short(name) for name in names}, set())
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0.4, max(2, len(names)) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("rank, 1 is best")
    for index, row in enumerate(rows):
        standing, up = row.standing, len(rows) - 1 - index
        if standing is None:
            continue
        if standing.group % 2:
            axes.axhspan(up - 0.5, up + 0.5, color=_BAND, linewidth=0, zorder=0)
        axes.hlines(up, standing.low, standing.high, color=COLOURS[0], linewidth=1.6)
        axes.plot([standing.rank], [up], "o", color=COLOURS[0], markersize=5, zorder=3)
        if standing.rank_by_mean_rank is not None:
            axes.plot([standing.rank_by_mean_rank], [up], "D", **_HOLLOW, zorder=4)
    _brackets(axes, [row.standing.group for row in rows if row.standing])
    axes.plot([], [], "o-", color=COLOURS[0], markersize=5, label="by total, with 95 % interval")
    if model.owed is None:
        axes.plot([], [], "D", **_HOLLOW, linestyle="", label="by mean rank")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.2)


def _brackets(axes: Axes, groups: Sequence[int]) -> None:
    """Draw a bracket beside every tie group of more than one, and name it."""
    for group in sorted(set(groups)):
        own = [len(groups) - 1 - index for index, other in enumerate(groups) if other == group]
        if len(own) == 1:
            continue
        low, high = min(own) - 0.3, max(own) + 0.3
        beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "color": MUTED}
        bracket = [1.005, 1.012, 1.012, 1.005], [low, low, high, high]
        axes.plot(*bracket, linewidth=1, clip_on=False, **beside)
        axes.text(1.02, (low + high) / 2, f"{len(own)} tied", va="center", fontsize=7, **beside)


@_as_svg
def draw_costs(figure: Figure, model: ModelBoard) -> None:
    """Draw the totals of a model's explainers against the image passes that they took."""
    points = [
        (row, row.passes, total)
        for row in model.rows
        if (total := row.total) is not None and total.estimate is not None and row.passes
    ]
    figure.set_size_inches(WIDTH, 5.6)
    axes = figure.subplots()
    figure.subplots_adjust(0.07, 0.1, 0.985, 0.93)
    axes.set_xscale("log")
    # Powers in mathematical notation would be shown as their source.
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("image passes of all protocols, forward and backward (log scale)")
    axes.set_ylabel("mean calibrated score" if model.owed is None else "total, chance is 0")
    passes = [math.log10(count) for _, count, _ in points]
    low, high = limits(passes, 0.12)
    axes.set_xlim(10**low, 10**high)
    ends = [
        (known(total.low, total.estimate or 0), known(total.high, total.estimate or 0))
        for *_, total in points
    ]
    axes.set_ylim(*limits([value for pair in ends for value in pair], 0.06))
    axes.grid(color="#ececec", linewidth=0.6)
    axes.set_axisbelow(True)
    kinds = (
        ("ranked", "o", COLOURS[0], COLOURS[0], "ranked"),
        ("gate failed", "X", COLOURS[1], COLOURS[1], "failed a gate"),
        ("not ranked", "s", "white", COLOURS[2], "not ranked"),
        ("control", "^", GREYS[0], GREYS[0], "control"),
    )
    for status, marker, face, edge, label in kinds:
        own = [(x, known(total.estimate)) for row, x, total in points if row.status == status]
        if own:
            xs, ys = zip(*own, strict=True)
            drawn = axes.plot(xs, ys, marker, linestyle="", label=label, zorder=3)[0]
            drawn.set(markerfacecolor=face, markeredgecolor=edge, markersize=6)
    for (_, x, _), (bottom, top) in zip(points, ends, strict=True):
        axes.vlines(x, bottom, top, color="#9fb6c6", linewidth=1.1, zorder=2)
    if points:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)
    spots = [
        Spot(short(row.explainer), x, known(total.estimate), *pair)
        for (row, x, total), pair in zip(points, ends, strict=True)
    ]
    place_labels(axes, spots)


def _fit(figure: Figure, rows: int, around: float) -> float:
    height = around + LINE * rows
    figure.set_size_inches(WIDTH, height)
    return height


def _name_width(names: Sequence[str]) -> float:
    return 0.2 + CHARACTER * max(len(short(name)) for name in names)


def short(name: str) -> str:
    """Return a name that fits beside a figure."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
