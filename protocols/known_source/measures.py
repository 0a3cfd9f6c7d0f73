"""How much better a map shows a source on the network of that source than on any other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.cohort import Cohort
from benchmark.maps import localisation, ranking

Table = Mapping[tuple[str, str], FloatArray]


def region_of(cohort: Cohort, source: str) -> BoolArray:
    """Return the union of the regions that hold a source, [N, 1, *S]."""
    names = cohort.sources[source].rois
    region: BoolArray = np.any([cohort.anatomy.rois[name] for name in names], axis=0)
    return region


def precisions(
    ranked: Tensor, regions: Mapping[str, Tensor], inside: Tensor
) -> dict[str, FloatArray]:
    """Return the average precision of importance on the region of each source, each [n].

    A map that ranks nothing has that of a random ranking; an image without a pixel of the source
    has none.

    Args:
        ranked: [n, 1, *S] importance.
        regions: [n, 1, *S] region of each source.
        inside: [n, 1, *S] foreground.
    """
    order = ranking.rank_pixels(ranked, inside)
    by_chance, measured = expected_precisions(regions, inside), {}
    for source, region in regions.items():
        ap = localisation.average_precision(ranked, region, inside, order).numpy()
        measured[source] = np.where(np.isnan(ap), by_chance[source], ap)
    return measured


def expected_precisions(regions: Mapping[str, Tensor], inside: Tensor) -> dict[str, FloatArray]:
    """Return the average precision of a random ranking on each source; as ``precisions``."""
    return {
        source: localisation.expected_average_precision(region, inside).numpy()
        for source, region in regions.items()
    }


def above_others(table: Table, chance: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return how far each network's map exceeds another network's on its own source, each [n].

    The other network is the one whose maps show the source best, in the mean over all subjects of
    (ap − π)/(1 − π), the scale of the score itself. So the score is exactly own mean minus the
    largest other mean, and no subject chooses by its own noise.

    Args:
        table: [n] average precision by network and source.
        chance: [n] average precision π of a random ranking, by source; NaN where an image has no
            pixel of the source, which then tells nothing and counts as chance.

    Returns:
        ``(ap_own − ap_other) / (1 − π)`` by source.
    """
    differences = {}
    for source, by_chance in chance.items():
        scaled = {
            network: np.nan_to_num((table[network, source] - by_chance) / (1 - by_chance))
            for network in chance
        }
        others = [network for network in chance if network != source]
        # The first of equals, so that rounding does not decide.
        strongest = max(others, key=lambda network: float(scaled[network].mean()))
        differences[source] = scaled[source] - scaled[strongest]
    return differences
