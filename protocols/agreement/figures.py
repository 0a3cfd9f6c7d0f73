"""Who agrees with whom, and whether the mass of a map foretells what removing a region does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmark.arrays import FloatArray
from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, interval, summarise
from benchmark.report.figures.style import COLOURS, INK, MUTED, WIDTH, styled
from benchmark.statistics.wording import typographic
from protocols.agreement.measures import classes
from protocols.agreement.statistics import SAME, AgreementStatistics

Readings = Mapping[str, Sequence[Reading]]

_POINTS = 1500
_ACROSS = 4


def agreement_drawings(exhibits: Mapping[str, Exhibit], readings: Readings) -> Iterator[Drawing]:
    """Yield the heatmap of agreement and the scatter of mass against effect."""
    names, table, same = _pairs(readings)
    if len(names) > 1:
        equal = "; ".join(" = ".join(group) for group in classes(names, same) if len(group) > 1)
        yield Drawing(
            "agreement",
            "Who agrees with whom",
            "Spearman correlation of two methods' maps of one subject, minus that with the other "
            "map of another subject: what is left is agreement about this subject. Means over "
            "subjects; empty cells were not compared. "
            + (f"One method under several names: {equal}." if equal else "No two are one method."),
            lambda: draw_agreement(names, table, same),
        )
    kept = {name: exhibits[name] for name in readings if name in exhibits}
    if kept:
        yield Drawing(
            "regions",
            "Mass on a region, and what removing it does",
            "Each point is one region of one subject: the share of the map's mass on it, by rank "
            "within the subject, and the drop of the signed group projection when that region "
            "alone is removed, by rank. In the title the mean correlation within subjects.",
            lambda: draw_regions(kept, readings),
            "png",
        )


@styled
def draw_agreement(
    figure: Figure, names: Sequence[str], table: FloatArray, same: Sequence[tuple[str, str]]
) -> None:
    """Fill the figure with a square of numbers, equal methods outlined."""
    left, side = 1.3, 0.62 * len(names)  # inches
    high = side + 1.45
    figure.set_size_inches(WIDTH, high)
    axes = figure.add_axes((left / WIDTH, 1.0 / high, side / WIDTH, side / high))
    axes.imshow(table, cmap="RdBu_r", vmin=-1, vmax=1)
    for row, column in np.ndindex(table.shape):
        value = table[row, column]
        if np.isfinite(value):
            ink = "white" if abs(value) > 0.6 else INK
            text = typographic(f"{value:.2f}")
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)
    number = {name: row for row, name in enumerate(names)}
    for first, second in same:
        for row, column in ((number[first], number[second]), (number[second], number[first])):
            xs = np.array([-0.5, 0.5, 0.5, -0.5, -0.5]) + column
            ys = np.array([-0.5, -0.5, 0.5, 0.5, -0.5]) + row
            axes.plot(xs, ys, color=INK, linewidth=1.6)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    figure.text(
        (left + side + 0.3) / WIDTH, 0.5, "outlined: Spearman ≥ 0.99 on every subject", color=MUTED
    )


@styled
def draw_regions(figure: Figure, exhibits: Mapping[str, Exhibit], readings: Readings) -> None:
    """Fill the figure with a small scatter for each explainer."""
    rows = -(-len(exhibits) // _ACROSS)
    figure.set_size_inches(WIDTH, 2.5 * rows + 0.4)
    grid = figure.add_gridspec(
        rows, _ACROSS, left=0.06, right=0.99, top=0.9, bottom=0.16, wspace=0.15, hspace=0.4
    )
    for number, (name, exhibit) in enumerate(exhibits.items()):
        axes = figure.add_subplot(grid[number // _ACROSS, number % _ACROSS])
        xs, ys = _ranked(exhibit["masses"]), _ranked(exhibit["effects"])
        known = np.isfinite(xs) & np.isfinite(ys)
        step = max(1, int(known.sum()) // _POINTS)
        axes.plot(xs[known][::step], ys[known][::step], ".", color=COLOURS[0], ms=2, alpha=0.35)
        score = interval(readings[name], AgreementStatistics.predicts_delta_t)
        axes.set_title(name if score is None else f"{name}  {score.estimate:.2f}", loc="left")
        axes.set_xticks([0, 1])
        axes.set_yticks([0, 1])
    figure.text(0.5, 0.02, "rank of the map's mass on the region", ha="center", color=INK)
    figure.text(0.01, 0.5, "rank of the drop without it", rotation=90, va="center", color=INK)


def _pairs(readings: Readings) -> tuple[list[str], FloatArray, list[tuple[str, str]]]:
    """Return all names, the table of corrected agreement, and the pairs that are one method."""
    corrected: dict[tuple[str, str], float] = {}
    same: list[tuple[str, str]] = []
    for name, own in readings.items():
        for reading in own:
            where = reading.conditions
            if "other" in where:
                pair = name, str(where["other"])
            elif "first" in where:
                pair = str(where["first"]), str(where["second"])
            else:
                continue
            if reading.statistic == "spearman_corrected":
                corrected[pair] = corrected[pair[::-1]] = summarise(reading).estimate
            elif reading.statistic == "spearman" and bool((reading.values >= SAME).all()):
                same.append(pair)
    panel = dict.fromkeys(second for _, second in corrected)
    names = list(dict.fromkeys([*readings, *panel]))
    table = np.full((len(names), len(names)), np.nan)
    for (first, second), value in corrected.items():
        table[names.index(first), names.index(second)] = value
    return names, table, list(dict.fromkeys(same))


def _ranked(values: npt.NDArray[np.generic]) -> FloatArray:
    """Return ranks within each row as shares from 0 to 1, NaN where there is no value."""
    known = np.asarray(values, dtype=np.float64)
    ranks = known.argsort(1).argsort(1).astype(np.float64)
    counts = np.isfinite(known).sum(1, keepdims=True)
    return np.where(np.isfinite(known), ranks / np.maximum(counts - 1, 1), np.nan)
