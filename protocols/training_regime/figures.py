"""Pictures of `training_regime`: accuracy over epochs, gains, and maps over refits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, find, summarise
from benchmark.report.figures.image_rows import Tile, draw_image_rows
from benchmark.report.figures.planes import Planes, find_exhibit_planes
from benchmark.report.figures.sides import describe_sides
from benchmark.report.figures.style import COLOURS, GREYS, INK, WIDTH, styled
from benchmark.training.regimes import REGIMES
from protocols.training_regime.gains import (
    excess_of_refits,
    interval_of,
    regimes_in,
    traced_epochs,
    two_way,
)
from protocols.training_regime.statistics import (
    BEST,
    MATCHED,
    RANDOMISED,
    TrainingRegimeStatistics,
    traced_point,
)

Readings = Mapping[str, Sequence[Reading]]

_MOST_MAPS = 3


def regime_drawings(exhibits: Mapping[str, Exhibit], readings: Readings) -> Iterator[Drawing]:
    """Yield accuracy over epochs, what each regime is worth, and maps over refits."""
    measured = {name: own for name, own in readings.items() if regimes_in(own)}
    if measured:
        yield Drawing(
            "regimes",
            "Stability and effect of maps under each regime",
            "Left the stability beyond maps of other subjects, right the effect of removing the "
            "top of the map, with 95 % intervals: filled at each refit's best epoch, open at "
            "epochs of matched accuracy. Grey are probes on encoders with random weights. All of "
            "it holds given this encoder.",
            lambda: draw_regimes(measured),
        )
    traced = {
        name: own
        for name, own in measured.items()
        if any(traced_epochs(own, regime) for regime in regimes_in(own))
    }
    if traced:
        yield Drawing(
            "epochs",
            "Stability of maps against accuracy, over epochs",
            "A line is a refit: how alike its maps are to those of the other refits of its regime, "
            "beyond maps of other subjects, against its AUROC on the validation split, at the "
            "epochs whose numbers stand at the first refit. All of it holds given this encoder.",
            lambda: draw_epochs(traced),
        )
    trained = {name: own for name, own in exhibits.items() if "image" in own and "epochs" in own}
    if trained:
        first = next(iter(trained.values()))
        yield Drawing(
            "accuracy",
            "Accuracy on the validation split over epochs",
            "A line is a refit. The filled point is its best epoch, the open one the epoch of "
            "matched accuracy.",
            lambda: draw_accuracy(first),
        )
        yield Drawing(
            "refits",
            "Maps of one subject over refits",
            "A row is a regime: the image, and its map on several refits at their best epochs, "
            f"each scaled by itself. {describe_sides(_planes(first).letters)}",
            lambda: draw_image_rows(
                _rows(trained), _planes(first).aspect, millimetres=_planes(first).millimetres
            ),
            "png",
        )


@styled
def draw_regimes(figure: Figure, readings: Readings) -> None:
    """Fill the figure with two panels, the methods side by side in each."""
    figure.set_size_inches(WIDTH, 3.4)
    grid = figure.add_gridspec(1, 2, left=0.07, right=0.99, top=0.84, bottom=0.3, wspace=0.15)
    titles = ("stability beyond other subjects' maps", "effect of removing the top (T)")
    for column, title in enumerate(titles):
        axes = figure.add_subplot(grid[column])
        axes.axhline(0, color=GREYS[2], linewidth=0.8)
        for index, own in enumerate(readings.values()):
            for number, regime in enumerate(regimes_in(own)):
                for point, shift in ((BEST, -0.05), (MATCHED, 0.05)):
                    if column:
                        interval = interval_of(two_way(own, "delta_t", regime, point))
                    else:
                        excess = find(
                            own, TrainingRegimeStatistics.excess, regime=regime, point=point
                        )
                        if excess is None:
                            continue
                        interval = summarise(excess)
                    x, colour = index + 0.25 * (number - 1) + shift, COLOURS[REGIMES.index(regime)]
                    face = colour if point == BEST else "white"
                    axes.vlines(x, interval.low, interval.high, color=colour, linewidth=1.0)
                    axes.plot(x, interval.estimate, "o", color=colour, mfc=face, markersize=4)
            if not column:
                for reading in own:
                    is_null = reading.conditions.get("regime") == RANDOMISED
                    if (
                        reading.statistic == "excess"
                        and is_null
                        and "without" not in reading.conditions
                    ):
                        axes.plot(index + 0.42, summarise(reading).estimate, "_", color=GREYS[0])
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(readings)), list(readings), rotation=45, ha="right")
    handles = [
        axes.plot([], [], "o", color=COLOURS[index], label=regime)[0]
        for index, regime in enumerate(REGIMES)
    ]
    figure.legend(handles=handles, loc="upper left", ncol=len(REGIMES), frameon=False)


@styled
def draw_epochs(figure: Figure, readings: Readings) -> None:
    """Fill the figure with a panel for each method, a line for each refit."""
    figure.set_size_inches(WIDTH, 3.2)
    grid = figure.add_gridspec(
        1, len(readings), left=0.07, right=0.99, top=0.86, bottom=0.15, wspace=0.12
    )
    for column, (name, own) in enumerate(readings.items()):
        axes = figure.add_subplot(grid[column])
        axes.axhline(0, color=GREYS[2], linewidth=0.8)
        for regime in regimes_in(own):
            colour, epochs = COLOURS[REGIMES.index(regime)], traced_epochs(own, regime)
            lines: dict[int, list[tuple[float, float]]] = {}
            for point in map(traced_point, epochs):
                for refit, excess in excess_of_refits(own, regime, point).items():
                    where: dict[str, str | int] = {"regime": regime, "point": point, "refit": refit}
                    auroc = find(own, TrainingRegimeStatistics.validation_auroc, **where)
                    if auroc is not None:
                        lines.setdefault(refit, []).append((float(auroc.values[0]), excess))
            for index, line in enumerate(lines.values()):
                axes.plot(*np.transpose(line), "o-", color=colour, markersize=3, linewidth=0.9)
                for epoch, position in zip(epochs, line if not index else (), strict=False):
                    axes.annotate(str(epoch), position, fontsize=6, color=colour, xytext=(3, 3),
                                  textcoords="offset points")  # fmt: skip
        axes.set_title(name, loc="left")
        axes.set_xlabel("validation AUROC")
        if not column:
            axes.set_ylabel("E, with the other refits")
    handles = [
        axes.plot([], [], "o-", color=COLOURS[index], label=regime)[0]
        for index, regime in enumerate(REGIMES)
    ]
    figure.legend(handles=handles, loc="upper right", ncol=len(REGIMES), frameon=False)


@styled
def draw_accuracy(figure: Figure, exhibit: Exhibit) -> None:
    """Fill the figure with a panel for each regime, a line for each refit."""
    names = [str(name) for name in exhibit["regimes"]]
    figure.set_size_inches(WIDTH, 2.6)
    grid = figure.add_gridspec(1, len(names), left=0.07, right=0.99, top=0.88, bottom=0.2)
    curves = np.asarray(exhibit["curves"], dtype=np.float64)
    epochs = np.asarray(exhibit["epochs"], dtype=np.int64)
    lowest = float(np.nanmin(curves))
    for column, name in enumerate(names):
        axes = figure.add_subplot(grid[column])
        for curve, (best, matched) in zip(curves[column], epochs[column].tolist(), strict=True):
            colour = COLOURS[column]
            axes.plot(np.arange(1, len(curve) + 1), curve, color=colour, linewidth=0.9, alpha=0.7)
            axes.plot(best, curve[best - 1], "o", color=colour, markersize=4)
            axes.plot(matched, curve[matched - 1], "o", color=colour, mfc="none", markersize=7)
        axes.set_title(name, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(lowest - 0.02, 1.02)
    figure.text(0.5, 0.03, "epoch", ha="center", color=INK)
    figure.text(0.01, 0.5, "validation AUROC", rotation=90, va="center", color=INK)


def _rows(exhibits: Mapping[str, Exhibit]) -> list[tuple[str, list[Tile]]]:
    rows = []
    for name, exhibit in exhibits.items():
        planes = _planes(exhibit)
        for regime in (str(known) for known in exhibit["regimes"]):
            tiles: list[Tile] = []
            for image in range(len(exhibit["image"])):
                letters = planes.letters[image]
                grey = planes.cut_one(exhibit["image"], image)
                tiles.append(Tile(grey, "image", letters=letters))
                maps = [key for key in exhibit if key.startswith(f"{regime} refit ")]
                for key in sorted(maps)[:_MOST_MAPS]:
                    text = key.removeprefix(f"{regime} ")
                    over = planes.cut_one(exhibit[key], image)
                    tiles.append(Tile(grey, text, over, letters=letters))
            rows.append((f"{name}_{regime}", tiles))
    return rows


def _planes(exhibit: Exhibit) -> Planes:
    """Return the plane of each subject through the middle of its image."""
    return find_exhibit_planes(exhibit, np.ones_like(exhibit["image"], dtype=np.bool_))
