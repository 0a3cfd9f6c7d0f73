"""Settings and statistics of `randomization`, and how a reading names its measure."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from benchmark.arrays import FloatArray
from benchmark.protocol import ProtocolConfig
from benchmark.reading import Condition, Plot, Statistic, statistic
from benchmark.trial import RANDOM_COPIES, Study
from benchmark.trial.study import Conditions
from protocols.randomization.likeness import SPEARMAN


class RandomizationConfig(ProtocolConfig):
    """Settings of `randomization`.

    Attributes:
        subjects: Images explained on the twin, on the copies, and on the model that memorised
            permuted labels; as many of each group.
        walk_subjects: Images, among these, explained at every step of the walks.
        seeds: Copies that each step is averaged over, at most three.
        smooth_subjects: Images, among these, whose maps are averaged over noise.
        smooth_noises: Noisy versions of each.
        smooth_sigma: Standard deviation of the noise, in units of intensity.
        smooth_passes: Methods whose map costs more passes than this are not averaged over noise.
        quantile: Share of the foreground that is compared as the top of two maps.
    """

    subjects: int = Field(64, ge=4)
    walk_subjects: int = Field(8, ge=2)
    seeds: int = Field(3, ge=1, le=RANDOM_COPIES)
    smooth_subjects: int = Field(16, ge=2)
    smooth_noises: int = Field(50, ge=2)
    smooth_sigma: float = Field(0.05, gt=0)
    smooth_passes: int = Field(8, ge=0)
    quantile: float = Field(0.1, gt=0, lt=1)


class RandomizationStatistics:
    """Everything that `randomization` reads."""

    learned_share = statistic(
        "how much of the map's reproducible content disappears when the weights are randomised",
        "higher",
        "ratio",
    )
    twin = statistic("similarity of the map to that on the model's twin", "higher")
    full = statistic("similarity of the map to that on fully randomised copies", "lower")
    contrast = statistic("twin minus full", "higher")
    last_layer = statistic("similarity when the head alone is randomised", "lower")
    similarity = statistic(
        "similarity to the trained model's map, step by step",
        plot=Plot("curve", "depth", ("walk",), None, "Spearman with the trained map"),
    )
    structure = statistic("similarity step by step, by the other measures")
    data_share = statistic(
        "how much of the map's reproducible content a model of permuted labels lacks",
        "higher",
        "ratio",
    )
    memorised = statistic("similarity to the map on a model of permuted labels", "lower")
    smooth_full = statistic("full, of maps averaged over noisy images", "lower")
    entropy_rise = statistic("rise of the map's entropy on copies, as a share", "higher")
    covered = statistic("share of parameters that randomising changes", aggregate="constant")
    training_accuracy = statistic("accuracy on permuted labels, memorised", aggregate="constant")


def by_measure(measure: str) -> dict[str, Condition]:
    """Return the conditions of a reading by a measure of similarity; Spearman goes without."""
    return {} if measure == SPEARMAN else {"measure": measure}


def read_similarity(
    images: Study,
    statistic: Statistic,
    values: FloatArray,
    where: Conditions | None = None,
    missing: str | None = None,
    over: FloatArray | None = None,
) -> None:
    """Read similarities [n] as ``Study.read`` does, each missing one with its reason.

    No image has a value if a reason is given as ``missing``.
    """
    unranked = [images.keys[row] for row in np.flatnonzero(np.isnan(values))]
    reasons = dict.fromkeys(unranked, "constant or non-finite map")
    if missing is not None:
        reasons = dict.fromkeys(images.keys, missing)
    images.read(statistic, values, where, over=over, reasons=reasons)
