"""Dose–response curves: T, IoU and ΔT over the strength of a planted signal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Condition, Reading, find, interval, summarise_all
from benchmark.report.figures.image_rows import Tile, draw_image_rows
from benchmark.report.figures.planes import Planes, find_exhibit_planes
from benchmark.report.figures.sides import describe_sides
from benchmark.report.figures.style import COLOURS, GREYS, WIDTH, styled
from benchmark.results.scores import CONTROLS
from protocols.positive_control.planting import gradient_magnitude
from protocols.positive_control.statistics import (
    PROBE,
    TUNED,
    ZERO,
    PositiveControlStatistics,
    strengths_of,
)

_PANELS: tuple[tuple[str, str, dict[str, Condition]], ...] = (
    ("T of the frozen model", "group_distance", {"arm": PROBE}),
    ("IoU with the site, tuned model", "iou", {"arm": TUNED}),
    ("ΔT restored above random masks, share of T", "restored_above_random", {}),
)
_OUTLINED = "site of the planted signal"


@styled
def draw_dose_response(
    figure: Figure, readings: Mapping[str, Sequence[Reading]], strengths: Sequence[str]
) -> None:
    """Draw one line an explainer; T belongs to the model, and has one line."""
    figure.set_size_inches(WIDTH, 3.2)
    methods = [name for name in readings if name not in CONTROLS]
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(methods)}
    controls = [name for name in readings if name in CONTROLS]
    colours |= {name: GREYS[number % len(GREYS)] for number, name in enumerate(controls)}
    grid = figure.add_gridspec(1, 3, left=0.05, right=0.99, top=0.78, bottom=0.12, wspace=0.22)
    for column, (title, statistic, where) in enumerate(_PANELS):
        axes = figure.add_subplot(grid[column])
        of_model = statistic == "group_distance"
        for name in [next(iter(readings))] if of_model else list(readings):
            colour = "#222222" if of_model else colours[name]
            _curve(axes, readings[name], statistic, where, strengths, colour)
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(strengths)), list(strengths))
        axes.axhline(0, color="#8a8a8a", linewidth=0.6)
    names = (*methods, *controls)
    handles = [axes.plot([], [], color=colours[name], label=name)[0] for name in names]
    figure.legend(handles=handles, loc="upper left", ncol=min(8, len(names)), frameon=False)


def _curve(
    axes: Axes,
    readings: Sequence[Reading],
    statistic: str,
    where: Mapping[str, Condition],
    strengths: Sequence[str],
    colour: str,
) -> None:
    at_strength = [find(readings, statistic, **where, strength=name) for name in strengths]
    known = {dose: reading for dose, reading in enumerate(at_strength) if reading is not None}
    if not known:
        return
    doses, intervals = list(known), summarise_all(list(known.values()))
    heights = [score.estimate for score in intervals]
    lows, highs = [score.low for score in intervals], [score.high for score in intervals]
    axes.plot(doses, heights, color=colour, marker="o", markersize=3, linewidth=1.2)
    axes.vlines(doses, lows, highs, color=colour, linewidth=1.0)


def planted_drawings(
    exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
) -> Iterator[Drawing]:
    """Yield dose–response curves, planted images with artefact maps, and each method's maps."""
    measured = next(iter(readings.values()))
    strengths = strengths_of(measured)
    yield Drawing(
        "dose_response",
        "Dose and response",
        "Over the strength of the planted signal: T between clean and planted images on the frozen "
        "model, the overlap of each map with the site, and the share of T that goes when clean "
        "pixels are put back at the top of the map, beyond shape-matched random masks. Means over "
        "subjects with 95 % intervals; controls are grey.",
        lambda: draw_dose_response(readings, strengths),
    )
    if not exhibits:
        return
    first = next(iter(exhibits.values()))
    planes = _planes(first)
    sides = describe_sides(planes.letters)
    yield Drawing(
        "planted",
        "What was planted",
        "Above: the images of one subject, clean, with the signal at each strength, and with the "
        "square of zeros that older controls use. Below: the gradient of what was changed, all on "
        f"one scale, with the mean artefact index. Cyan outlines the site. {sides}",
        lambda: draw_image_rows(
            _planted_rows(first, planes.of(0), strengths, measured),
            planes.aspect,
            "largest gradient of all",
            _OUTLINED,
            planes.millimetres,
        ),
        "png",
    )
    yield Drawing(
        "maps",
        "Maps of the planted signal",
        "On the model tuned to each strength, importance over the image; each map is scaled by "
        f"itself. Cyan outlines the site. Above each, the score over all subjects. {sides}",
        lambda: draw_image_rows(
            _map_rows(exhibits, strengths, readings),
            planes.aspect,
            outlined=_OUTLINED,
            millimetres=planes.millimetres,
        ),
        "png",
    )


def _planted_rows(
    exhibit: Exhibit, planes: Planes, strengths: Sequence[str], readings: Sequence[Reading]
) -> list[tuple[str, list[Tile]]]:
    """Return the images of the first subject, and below each what planting left in it."""
    names = [*(f"image {strength}" for strength in strengths), ZERO]
    letters = planes.letters[0]
    clean, truth = planes.cut_one(exhibit["clean"]), planes.cut_one(exhibit["truth"]) > 0
    changes = {name: gradient_magnitude(planes.cut_one(exhibit[name]) - clean) for name in names}
    scale = float(max(change.max() for change in changes.values()))
    pictures = [Tile(clean, "clean", outline=truth, letters=letters)]
    artefacts = [Tile(np.zeros_like(clean), "", is_map=True, scale=1.0, letters=letters)]
    for name in names:
        strength = name.removeprefix("image ")
        index = interval(readings, PositiveControlStatistics.edge_artefact, strength=strength)
        caption = "" if index is None else f"artefact {index.estimate:.2f}"
        pictures.append(Tile(planes.cut_one(exhibit[name]), strength, letters=letters))
        change = changes[name].astype(np.float32)
        artefacts.append(Tile(change, caption, is_map=True, scale=scale, letters=letters))
    return [("image", pictures), ("gradient of\nthe change", artefacts)]


def _map_rows(
    exhibits: Mapping[str, Exhibit],
    strengths: Sequence[str],
    readings: Mapping[str, Sequence[Reading]],
) -> list[tuple[str, list[Tile]]]:
    rows = []
    for name, exhibit in exhibits.items():
        planes, tiles = _planes(exhibit), []
        for subject in range(len(exhibit["clean"])):
            for strength in strengths:
                measured = PositiveControlStatistics.found
                score = interval(readings.get(name, ()), measured, arm=TUNED, strength=strength)
                caption = "" if score is None else f"{strength} {score.estimate:.2f}"
                names = (f"image {strength}", f"map {strength}", "truth")
                image, map_, truth = (planes.cut_one(exhibit[plane], subject) for plane in names)
                tiles.append(Tile(image, caption, map_, truth > 0, letters=planes.letters[subject]))
        rows.append((name, tiles))
    return rows


def _planes(exhibit: Exhibit) -> Planes:
    """Return the plane of each subject, through the middle of the site."""
    return find_exhibit_planes(exhibit, np.asarray(exhibit["truth"], dtype=bool))
