"""Dose–response curves: T, IoU and ΔT over the strength of a planted signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.canvas import COLOURS, CONTROLS, GREYS, WIDTH, styled
from benchmark.planted import PROBE, TUNED
from benchmark.reading import Condition, Reading, find, summarise_all

_HEIGHT = 3.2  # inches
_PANELS: tuple[tuple[str, str, dict[str, Condition]], ...] = (
    ("T of the frozen model", "group_distance", {"arm": PROBE}),
    ("IoU with the site, tuned model", "iou", {"arm": TUNED}),
    ("ΔT restored above random masks, share of T", "restored_above_random", {}),
)


@styled
def draw_dose_response(
    figure: Figure, readings: Mapping[str, Sequence[Reading]], strengths: Sequence[str]
) -> None:
    """Draw one line an explainer; T belongs to the model, and has one line.

    Args:
        figure: To fill.
        readings: By explainer.
        strengths: From the weakest to the strongest.
    """
    figure.set_size_inches(WIDTH, _HEIGHT)
    methods = [name for name in readings if name not in CONTROLS]
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(methods)}
    controls = [name for name in readings if name in CONTROLS]
    colours |= {name: GREYS[place % len(GREYS)] for place, name in enumerate(controls)}
    grid = figure.add_gridspec(1, 3, left=0.05, right=0.99, top=0.78, bottom=0.12, wspace=0.22)
    for place, (title, statistic, where) in enumerate(_PANELS):
        axes = figure.add_subplot(grid[place])
        shown = [next(iter(readings))] if statistic == "group_distance" else list(readings)
        for name in shown:
            colour = "#222222" if statistic == "group_distance" else colours[name]
            _curve(axes, readings[name], statistic, where, strengths, colour)
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(strengths)), list(strengths))
        axes.axhline(0, color="#8a8a8a", linewidth=0.6)
    handles = [
        axes.plot([], [], color=colours[name], label=name)[0] for name in (*methods, *controls)
    ]
    columns = min(8, len(handles))
    figure.legend(handles=handles, loc="upper left", ncol=columns, frameon=False)


def _curve(
    axes: Axes,
    readings: Sequence[Reading],
    statistic: str,
    where: Mapping[str, Condition],
    strengths: Sequence[str],
    colour: str,
) -> None:
    found = [find(readings, statistic, **where, strength=one) for one in strengths]
    known = [(place, one) for place, one in enumerate(found) if one is not None]
    if not known:
        return
    intervals = summarise_all([one for _, one in known])
    places = [place for place, _ in known]
    heights = [one.estimate for one in intervals]
    axes.plot(places, heights, color=colour, marker="o", markersize=3, linewidth=1.2)
    axes.vlines(
        places,
        [one.low for one in intervals],
        [one.high for one in intervals],
        color=colour,
        linewidth=1.0,
    )
