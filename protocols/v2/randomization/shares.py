"""What is left of a map on networks that forgot: similarities, and shares made from readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.arrays import BoolArray, FloatArray
from benchmark.reading import Reading, Statistic, find, shared_bootstrap
from benchmark.statistics.crossed import CrossedShare, Fold
from benchmark.trial import NULL_COPIES, Study
from benchmark.trial.study import Conditions
from protocols.v2.randomization.likeness import SPEARMAN, Measure
from protocols.v2.randomization.statistics import GATE, RandomizationStatistics

TOP = Measure("top", GATE)
DECIDING = (SPEARMAN, TOP)

Similarities = Mapping[Measure, FloatArray]


def conditions_of(measure: Measure) -> Conditions:
    """Return the conditions of a similarity by a measure; Spearman goes without."""
    return {} if measure == SPEARMAN else measure.conditions


def read_similarities(
    images: Study,
    is_ranking: BoolArray,
    statistic: Statistic,
    similarities: Similarities,
    at: Conditions | None = None,
) -> None:
    """Read similarities [n] by measure; an image on which the map itself ranks nothing has none."""
    for measure, values in similarities.items():
        known = np.where(is_ranking, values, np.nan)
        images.read(statistic, known, {**(at or {}), **conditions_of(measure)})


def share_on_copies(readings: Sequence[Reading], measure: Measure) -> CrossedShare | None:
    """Return the share that the map loses on randomised copies; None where there is no twin."""
    of_copies = [
        find(readings, RandomizationStatistics.full, copy=copy, **conditions_of(measure))
        for copy in range(NULL_COPIES)
    ]
    return _share(readings, measure, [reading for reading in of_copies if reading is not None])


def share_on_labels(readings: Sequence[Reading], measure: Measure) -> CrossedShare | None:
    """Return the share that the map loses on permuted labels; None where a network is missing."""
    reading = find(readings, RandomizationStatistics.memorised, **conditions_of(measure))
    return _share(readings, measure, [] if reading is None else [reading])


def smaller_share(readings: Sequence[Reading]) -> tuple[Measure, CrossedShare] | None:
    """Return the smaller of the shares by ranks and by the top 2 %, and how it was measured."""
    shares = {measure: share_on_copies(readings, measure) for measure in DECIDING}
    known = {measure: share for measure, share in shares.items() if share is not None}
    if not known:
        return None
    smallest = min(known, key=lambda measure: known[measure].estimate)
    return smallest, known[smallest]


def _share(
    readings: Sequence[Reading], measure: Measure, similarities: Sequence[Reading]
) -> CrossedShare | None:
    """Return the share that is lost, of the similarity to the twin.

    An image on which the map ranks nothing counts as one on which it ignores every network: it has
    as much in common with the map on the others as other images have with the twin's.
    """
    twin = find(readings, RandomizationStatistics.twin, **conditions_of(measure))
    if twin is None or not similarities:
        return None
    kept = np.column_stack([reading.values for reading in similarities])
    is_ranking = ~np.isnan(twin.values)
    if not is_ranking.any() or np.isnan(kept[is_ranking]).any():
        return None
    ceilings = np.where(is_ranking, twin.values, twin.values[is_ranking].mean())
    fold: Fold = "positive" if measure.name == TOP.name else "magnitude"
    signs = np.sign(kept[is_ranking].mean(0)) if fold == "magnitude" else np.ones(kept.shape[1])
    kept = np.where(is_ranking[:, None], kept, ceilings[:, None] * signs)
    return CrossedShare(kept, ceilings, shared_bootstrap(twin.sample.subjects), fold)
