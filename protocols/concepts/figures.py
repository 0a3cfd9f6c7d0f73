"""A forest of the effects of concepts, pairs of images, and the images most like each concept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading
from benchmark.report.figures import style
from benchmark.report.figures.image_rows import Tile, draw_image_rows
from benchmark.report.figures.planes import find_exhibit_planes
from protocols.concepts.exhibits import LIKE, WITH, WITHOUT
from protocols.concepts.statistics import BAND, ConceptStatistics, findings, interval_of, number_of


def concept_drawings(exhibit: Exhibit, readings: Sequence[Reading]) -> Iterator[Drawing]:
    """Yield the forest, and the images where they were kept."""
    if not findings(readings):
        return
    yield Drawing(
        "effects",
        "What each concept does to the separation of the groups",
        "Left: the dot is the effect of pairs, or the shift of sets where there are no pairs, with "
        "its 95 % interval, in units of T; the diamond is what unpaired sets of the same images "
        "show. Positive is towards the cases. Within the dark band a concept does not drive the "
        "separation; the light band holds 95 % of the shifts between random sets. Right: how often "
        "a linear fit on other subjects tells images with the concept from those without; at one "
        "half the concept is not encoded.",
        lambda: draw_effects(readings),
    )
    pairs = [name.removeprefix(WITH) for name in exhibit if name.startswith(WITH)]
    if pairs:
        yield Drawing(
            "pairs",
            "The same subjects without and with each concept",
            "Each row shows subjects without the concept, with it, and the magnitude of the "
            "difference, which has a scale of its own in every row.",
            lambda: draw_image_rows(
                [(name, _pair_tiles(exhibit, name)) for name in pairs], highest="largest difference"
            ),
            "png",
        )
    like = [name.removeprefix(LIKE) for name in exhibit if name.startswith(LIKE)]
    if like:
        yield Drawing(
            "like",
            "Test images that are most and least like each concept",
            "Test images in the order in which they lie along the concept's direction in the "
            "embedding: five farthest along it, and five farthest against it. They show what the "
            "direction stands for, which need not be the concept.",
            lambda: draw_image_rows([(name, _like_tiles(exhibit, name)) for name in like]),
            "png",
        )


@style.styled
def draw_effects(figure: Figure, readings: Sequence[Reading]) -> None:
    """Fill the figure with a row for each concept: its effect, and whether it is encoded."""
    all_findings = findings(readings)
    height = 0.95 + 0.32 * len(all_findings)
    left = 0.25 + style.CHARACTER * max(len(finding.name) for finding in all_findings)
    figure.set_size_inches(style.WIDTH, height)
    width = style.WIDTH - left
    bottom, tall = 0.55 / height, 1 - 0.8 / height
    effects = figure.add_axes((left / style.WIDTH, bottom, 0.55 * width / style.WIDTH, tall))
    words = (left + 0.57 * width) / style.WIDTH
    encoded = figure.add_axes(
        ((left + 0.74 * width) / style.WIDTH, bottom, 0.23 * width / style.WIDTH, tall)
    )
    statistics = ConceptStatistics
    low, high = (
        number_of(readings, each) for each in (statistics.random_low, statistics.random_high)
    )
    effects.axvspan(low, high, color="#eef3f7", lw=0)
    effects.axvspan(-BAND, BAND, color="#cfd8df", lw=0)
    effects.axvline(0, color=style.CHANCE, lw=0.9, linestyle=(0, (4, 3)))
    encoded.axvline(0.5, color=style.CHANCE, lw=0.9, linestyle=(0, (4, 3)))
    for row, finding in enumerate(all_findings):
        colour = style.COLOURS[1] if finding.word == "shortcut" else style.COLOURS[0]
        _draw_interval(effects, row, style.span(finding.score), colour)
        if finding.paired:
            shift = interval_of(readings, statistics.shift, finding.name).estimate
            effects.plot([shift], [row], "D", mfc="white", mec=style.GREYS[0], ms=4)
        figure.text(
            words,
            bottom + tall * (1 - (row + 0.5) / len(all_findings)),
            finding.word,
            va="center",
            color=colour if finding.word in ("drives", "shortcut") else style.MUTED,
        )
        accuracy = style.span(interval_of(readings, statistics.encoded, finding.name))
        _draw_interval(encoded, row, accuracy, style.COLOURS[2])
    for axes in (effects, encoded):
        axes.set_ylim(len(all_findings) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
    effects.set_yticks(
        range(len(all_findings)), [finding.name for finding in all_findings], fontsize=8
    )
    effects.set_xlabel("effect (T, positive towards the cases)")
    encoded.set_yticks(range(len(all_findings)), [])
    encoded.set_xlim(0.3, 1.02)
    encoded.set_xlabel("encoded (accuracy on other subjects)")


def _draw_interval(axes: Axes, row: int, limits: tuple[float, float, float], colour: str) -> None:
    low, estimate, high = limits
    axes.hlines(row, low, high, color=colour, linewidth=1.6)
    axes.plot([estimate], [row], "o", color=colour, markersize=4.5)


def _pair_tiles(exhibit: Exhibit, name: str) -> list[Tile]:
    """Return three tiles of each pair: without, with, and the difference."""
    absent, present = exhibit[f"{WITHOUT}{name}"], exhibit[f"{WITH}{name}"]
    changed = present != absent
    # Some subjects do not change, such as those whose horn is closed.
    unchanged = ~changed.any(axis=tuple(range(1, changed.ndim)), keepdims=True)
    planes = find_exhibit_planes(exhibit, changed | unchanged)
    before, after = (planes.cut(images).astype(np.float32) for images in (absent, present))
    differences = np.abs(after - before)
    scale = float(np.percentile(differences, 99.5)) or float(differences.max()) or 1.0
    tiles = []
    parts = zip(before, after, differences, planes.letters, strict=True)
    for without, with_it, difference, letters in parts:
        tiles += [
            Tile(without, "without", letters=letters),
            Tile(with_it, "with", letters=letters),
            Tile(difference, "difference", is_map=True, scale=scale, letters=letters),
        ]
    return tiles


def _like_tiles(exhibit: Exhibit, name: str) -> list[Tile]:
    """Return the tiles of the test images at both ends of a direction."""
    images = exhibit[f"{LIKE}{name}"]
    planes = find_exhibit_planes(exhibit, np.ones(images.shape, dtype=np.bool_))
    cuts = planes.cut(images).astype(np.float32)
    texts = ["most"] * (len(cuts) // 2) + ["least"] * (len(cuts) - len(cuts) // 2)
    parts = zip(cuts, texts, planes.letters, strict=True)
    return [Tile(plane, text, letters=letters) for plane, text, letters in parts]
