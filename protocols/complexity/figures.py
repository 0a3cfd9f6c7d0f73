"""A strip of Gini indices for each method, with its mean on randomised networks beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from benchmark.protocol import Drawing
from benchmark.reading import Reading, find, summarise
from benchmark.report.figures.style import CHANCE, CHARACTER, COLOURS, GREYS, INK, WIDTH, styled
from benchmark.results.scores import CONTROLS
from benchmark.seeding import stream

Readings = Mapping[str, Sequence[Reading]]

_NOISE = 1 / 3


def concentration_drawings(readings: Readings) -> Iterator[Drawing]:
    """Yield the strip of all explainers that have a Gini index."""
    measured = {name: own for name, own in readings.items() if _has_value(own)}
    if measured:
        yield Drawing(
            "gini",
            "How spread out the maps are",
            "Each dot is the Gini index of one subject's map, the tick their mean; the open "
            "diamond is the mean on randomised copies of the network. 0 is a flat map, 1 a single "
            "pixel, and the dashed line uniform noise. A method whose diamond lies at its tick is "
            "as sparse for a network that knows nothing.",
            lambda: draw_concentration(measured),
        )


@styled
def draw_concentration(figure: Figure, readings: Readings) -> None:
    """Fill the figure with a row of dots for each explainer, controls in grey."""
    height = 0.85 + 0.26 * len(readings)
    figure.set_size_inches(WIDTH, height)
    left = (0.25 + CHARACTER * max(map(len, readings))) / WIDTH
    axes = figure.add_axes((left, 0.5 / height, 0.985 - left, 1 - 0.7 / height))
    axes.axvline(_NOISE, color=CHANCE, lw=0.9, linestyle=(0, (4, 3)), zorder=1)
    for row, (name, own) in enumerate(readings.items()):
        colour = GREYS[0] if name in CONTROLS else COLOURS[0]
        reading, of_copies = find(own, "gini"), find(own, "gini_copy")
        if reading is None:
            continue
        jitter = stream("complexity", "strip", name).uniform(-0.24, 0.24, len(reading.values))
        axes.plot(reading.values, row + jitter, "o", color=colour, ms=2.2, alpha=0.5, mew=0)
        axes.plot([float(np.nanmean(reading.values))], [row], "|", color=INK, ms=12, mew=1.6)
        if of_copies is not None:
            axes.plot(
                [summarise(of_copies).estimate], [row], "D", mfc="white", mec=COLOURS[1], ms=5
            )
    axes.set_yticks(range(len(readings)), list(readings), fontsize=8)
    axes.set_ylim(len(readings) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("Gini index (0 = flat, 1 = one pixel)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def _has_value(readings: Sequence[Reading]) -> bool:
    reading = find(readings, "gini")
    return reading is not None and bool(np.isfinite(reading.values).any())
