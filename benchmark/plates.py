"""Plates: rows of images side by side, each with a line of text, such as a cascade or a dose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmark.canvas import DPI, INK, MUTED, WIDTH, styled
from benchmark.dose_figure import draw_dose_response
from benchmark.planting import gradient_magnitude
from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, find, summarise

Plane = npt.NDArray[np.float32]

_GAP = 4  # pixels between tiles
_TEXT = 30  # pixels above a row
_LABEL = 118  # pixels left of a row
_ROBUST = 99.5  # percentile that a map is scaled to


@dataclass(frozen=True)
class Tile:
    """One picture of a plate.

    Attributes:
        image: [h, w]; grey in [0, 1], or a map of any scale.
        text: Above it.
        over: Map [h, w] laid over the image, or None.
        outline: [h, w] bool, drawn as a line, or None.
        scale: What a map without an image is divided by; its own 99.5th percentile if None.
        is_map: Whether ``image`` itself is a map.
    """

    image: Plane
    text: str = ""
    over: Plane | None = None
    outline: npt.NDArray[np.bool_] | None = None
    scale: float | None = None
    is_map: bool = False


@styled
def draw_plate(figure: Figure, rows: Sequence[tuple[str, Sequence[Tile]]]) -> None:
    """Fill the figure with rows of tiles, each under its label."""
    height, width = rows[0][1][0].image.shape
    columns = max(len(tiles) for _, tiles in rows)
    size = min(200.0, (WIDTH * DPI - _LABEL) / columns - _GAP)  # pixels across a tile
    tall = size * height / width
    total = len(rows) * (tall + _TEXT + _GAP)
    figure.set_size_inches(WIDTH, total / DPI)
    across = WIDTH * DPI
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, across), ylim=(total, 0))
    axes.set_axis_off()
    for number, (label, tiles) in enumerate(rows):
        top = number * (tall + _TEXT + _GAP) + _TEXT
        axes.text(4, top + tall / 2, label, va="center", color=INK)
        for place, tile in enumerate(tiles):
            left = _LABEL + place * (size + _GAP)
            box = (left, left + size, top + tall, top)
            axes.imshow(_colours(tile), extent=box, interpolation="nearest", aspect="auto")
            if tile.outline is not None and tile.outline.any():
                xs = left + (np.arange(width) + 0.5) * size / width
                ys = top + (np.arange(height) + 0.5) * tall / height
                axes.contour(xs, ys, tile.outline, levels=[0.5], colors="#00e5ff", linewidths=0.9)
            axes.text(left + size / 2, top - 5, tile.text, ha="center", va="bottom", color=MUTED)
    axes.set_xlim(0, across)
    axes.set_ylim(total, 0)


def planted_drawings(
    exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
) -> Iterator[Drawing]:
    """Yield dose–response curves, planted images with artefact maps, and each method's maps."""
    measured = next(iter(readings.values()))
    strengths = [
        str(one.conditions["strength"])
        for one in measured
        if one.statistic == "auroc" and one.conditions["arm"] == "tuned"
    ]
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
    yield Drawing(
        "planted",
        "What was planted",
        "Above: the images of one subject, clean, with the signal at each strength, and with the "
        "square of zeros that older controls use. Below: the gradient of what was changed, all on "
        "one scale, with the mean artefact index. Cyan outlines the site.",
        lambda: draw_plate(_planted_rows(first, strengths, measured)),
        "png",
    )
    yield Drawing(
        "maps",
        "Maps of the planted signal",
        "On the model tuned to each strength, importance over the image; each map is scaled by "
        "itself. Cyan outlines the site. Above each, the score over all subjects.",
        lambda: draw_plate(_map_rows(exhibits, strengths, readings)),
        "png",
    )


def _planted_rows(
    exhibit: Exhibit, strengths: Sequence[str], readings: Sequence[Reading]
) -> list[tuple[str, list[Tile]]]:
    names = [*(f"image {one}" for one in strengths), "zero"]
    plane = _Plane(exhibit)
    clean, truth = plane.cut("clean", 0), plane.cut("truth", 0) > 0
    changes = {name: gradient_magnitude(plane.cut(name, 0) - clean) for name in names}
    scale = float(max(one.max() for one in changes.values()))
    pictures = [Tile(clean, "clean", outline=truth)]
    artefacts = [Tile(np.zeros_like(clean), "", is_map=True, scale=1.0)]
    for name in names:
        strength = name.removeprefix("image ")
        index = find(readings, "edge_artefact", strength=strength)
        told = "" if index is None else f"artefact {summarise(index).estimate:.2f}"
        pictures.append(Tile(plane.cut(name, 0), strength))
        change = changes[name].astype(np.float32)
        artefacts.append(Tile(change, told, is_map=True, scale=scale))
    return [("image", pictures), ("gradient of\nthe change", artefacts)]


def _map_rows(
    exhibits: Mapping[str, Exhibit],
    strengths: Sequence[str],
    readings: Mapping[str, Sequence[Reading]],
) -> list[tuple[str, list[Tile]]]:
    rows = []
    for name, exhibit in exhibits.items():
        plane, tiles = _Plane(exhibit), []
        for subject in range(len(exhibit["clean"])):
            for strength in strengths:
                score = find(readings.get(name, ()), "found", arm="tuned", strength=strength)
                told = "" if score is None else f"{strength} {summarise(score).estimate:.2f}"
                tiles.append(
                    Tile(
                        plane.cut(f"image {strength}", subject),
                        told,
                        plane.cut(f"map {strength}", subject),
                        plane.cut("truth", subject) > 0,
                    )
                )
        rows.append((name, tiles))
    return rows


class _Plane:
    """Cuts exhibits through the middle of each subject's truth; images pass as they are."""

    def __init__(self, exhibit: Exhibit) -> None:
        self._exhibit = exhibit

    def cut(self, name: str, subject: int) -> Plane:
        volume = np.asarray(self._exhibit[name][subject, 0], dtype=np.float32)
        if volume.ndim == 2:
            return volume
        middle = np.argwhere(self._exhibit["truth"][subject, 0]).mean(0).round().astype(int)
        plane: Plane = volume[middle[0]]
        return plane


def _colours(tile: Tile) -> npt.NDArray[np.float64]:
    """Return the tile as RGB, [h, w, 3]."""
    ramp = matplotlib.colormaps["inferno"]
    if tile.is_map:
        scale = tile.scale or float(np.percentile(tile.image, _ROBUST)) or 1.0
        return np.asarray(ramp(np.clip(tile.image / scale, 0, 1)))[..., :3]
    grey = np.repeat(np.clip(tile.image, 0, 1)[..., None], 3, axis=2).astype(np.float64)
    if tile.over is None:
        return grey
    high = float(np.percentile(tile.over, _ROBUST)) or float(tile.over.max())
    share = np.clip(tile.over / high, 0, 1) if high > 0 else np.zeros_like(tile.over)
    weight = 0.85 * np.sqrt(share)[..., None]
    return grey * (1 - weight) + np.asarray(ramp(share))[..., :3] * weight
