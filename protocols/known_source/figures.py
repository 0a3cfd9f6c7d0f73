"""Tables of networks and sources: which structure the map shows, whichever network it explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.arrays import FloatArray
from benchmark.protocol import Drawing
from benchmark.reading import Reading, interval
from benchmark.report.figures.style import INK, MUTED, WIDTH, styled
from benchmark.results.scores import CONTROLS
from protocols.known_source.statistics import KnownSourceStatistics, mean_precisions, sources_of

Readings = Mapping[str, Sequence[Reading]]

_ACROSS = 5
_DARK = 0.6  # share of the largest value above which numbers are white


def source_drawings(readings: Readings) -> Iterator[Drawing]:
    """Yield the tables of all explainers that were scored."""
    measured = {name: own for name, own in readings.items() if sources_of(own)}
    if measured:
        yield Drawing(
            "sources",
            "Which network's map shows which source",
            "Mean average precision of the maps of each network (row) on the region of each source "
            "(column). A map that follows the network has a dark diagonal; one that shows anatomy "
            "or a prior has the same row three times. In the title the score: the diagonal above "
            "the largest other value of its column, where 0 does not follow the network and 1 "
            "shows the own source alone. Colours reach to the largest value of a method.",
            lambda: draw_sources(measured),
        )


@styled
def draw_sources(figure: Figure, readings: Readings) -> None:
    """Fill the figure with a small table of numbers for each explainer, all on one scale."""
    rows = -(-len(readings) // _ACROSS)
    high = 2.1 * rows + 0.5  # inches
    figure.set_size_inches(WIDTH, high)
    grid = figure.add_gridspec(
        rows, _ACROSS, left=0.08, right=0.99, top=1 - 0.25 / high, bottom=0.6 / high,
        wspace=0.15, hspace=0.3,
    )  # fmt: skip
    tables = {name: _table(own) for name, own in readings.items()}
    # What looks at no network, above all the truth, would leave the methods pale.
    methods = [table for name, table in tables.items() if name not in CONTROLS]
    largest = max(float(np.nanmax(table)) for table in methods or tables.values())
    last_row = len(readings) - _ACROSS
    for number, (name, own) in enumerate(readings.items()):
        axes = figure.add_subplot(grid[number // _ACROSS, number % _ACROSS])
        _fill(axes, tables[name], largest)
        score = interval(own, KnownSourceStatistics.source)
        title = "" if score is None else f"  {round(score.estimate, 2) + 0.0:.2f}"  # never −0.00
        axes.set_title(name + title, loc="left")
        names, positions = sources_of(own), range(len(tables[name]))
        axes.set_xticks(positions, names if number >= last_row else [])
        axes.set_yticks(positions, names if number % _ACROSS == 0 else [])
        axes.tick_params(length=0)
    figure.text(0.5, 0.1 / high, "region of the source", ha="center", color=MUTED)
    figure.text(0.01, 0.5, "network of the source", rotation=90, va="center", color=MUTED)


def _fill(axes: Axes, table: FloatArray, largest: float) -> None:
    axes.imshow(table, cmap="Blues", vmin=0, vmax=largest)
    for row, column in np.ndindex(table.shape):
        ink = "white" if table[row, column] > _DARK * largest else INK
        value = f"{table[row, column]:.2f}"
        axes.text(column, row, value, ha="center", va="center", color=ink, fontsize=7)


def _table(readings: Sequence[Reading]) -> FloatArray:
    names, means = sources_of(readings), mean_precisions(readings)
    return np.array([[means[network, source] for source in names] for network in names])
