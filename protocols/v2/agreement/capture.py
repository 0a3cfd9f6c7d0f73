"""How much of a model's effects lies in the cells that a map marks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmark.arrays import FloatArray
from benchmark.maps.partition import OUTSIDE, masses


def capture(
    maps: FloatArray,
    cells: npt.NDArray[np.signedinteger],
    effects: FloatArray,
    marked: int,
    generators: Sequence[np.random.Generator],
) -> FloatArray:
    """Return which part of the largest effects lies in each map's marked cells, [n].

    0 is what cells drawn at random hold in the mean, and 1 is what the most effective cells do.

    Args:
        maps: [n, *S] importance; NaN throughout where a map ranks nothing.
        cells: [n, *S] cell of each pixel.
        effects: [n, M] size of the effect of altering each cell alone.
        marked: Cells of highest mean importance that count as marked.
        generators: Generator of each image, which orders cells of equal importance.

    Returns:
        NaN where a map ranks nothing, and 0 where no cell moves the model more than another.
    """
    values = np.full(len(maps), np.nan)
    for row, (map_, of_image, generator) in enumerate(zip(maps, cells, generators, strict=True)):
        sizes = np.bincount(of_image[of_image != OUTSIDE])
        shuffled = generator.permutation(len(sizes))
        means = masses(map_, of_image) / sizes
        if np.isnan(means).any():
            continue
        count = min(marked, len(sizes))
        effect = effects[row, : len(sizes)]
        chance = count * effect.mean()
        attainable = np.sort(effect)[-count:].sum() - chance
        foremost = shuffled[np.argsort(-means[shuffled], kind="stable")[:count]]
        gained = effect[foremost].sum() - chance
        values[row] = gained / attainable if attainable > 0 else 0.0
    return values
