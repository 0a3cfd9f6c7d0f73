"""What `randomization` reads beside its score: walks, permuted labels and smoothed maps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from benchmark.reading import Condition
from benchmark.trial import Memorised, Need, Study
from protocols.randomization import measures
from protocols.randomization.likeness import SPEARMAN
from protocols.randomization.statistics import (
    RandomizationConfig,
    RandomizationStatistics,
    by_measure,
    read_similarity,
)
from protocols.randomization.walks import CASCADE


def read_walks(
    own: measures.OwnMaps, config: RandomizationConfig, twin: measures.Similarities
) -> list[torch.Tensor]:
    """Compare step by step, and with the class that the randomised model predicts.

    The twin is the ceiling. Returns the first image's map at each step of the cascade, [1, 1, *S].
    """
    images, measured, cascade = own.images, RandomizationStatistics, []
    for step, similarities, maps in measures.walk(own, config):
        _read_step(images, step.walk, step.depth, similarities)
        if step.walk == CASCADE:
            cascade.append(maps[:1])
        if step.walk == CASCADE and step.depth == 1:
            for measure, values in similarities.items():
                read_similarity(images, measured.last_layer, values, by_measure(measure))
    for depth in (1, len(cascade)):
        _read_step(images, "twin", depth, twin)
    lane = config.walk_subjects // 2
    copies = [measures.repredicted_maps(images, copy, lane) for copy in range(config.seeds)]
    for measure, values in own.likeness(copies).items():
        conditions = {**by_measure(measure), "target": "re-predicted"}
        read_similarity(images, measured.full, values, conditions)
    return cascade


def read_permuted_labels(
    own: measures.OwnMaps, twin: measures.Similarities, need: Memorised
) -> None:
    """Compare with a model that memorised permuted labels, beside the twin."""
    images, measured, similarities = own.images, RandomizationStatistics, own.none
    missing = need.missing(images.trial)
    if missing is None:
        model = need.on(images.trial)
        accuracy = need.reached(model)
        images.constant(measured.training_accuracy, accuracy)
        if accuracy >= need.accuracy:
            similarities = own.likeness_on([model])
        else:
            missing = "labels not memorised"
    for measure, values in similarities.items():
        ceiling, at = twin[measure], by_measure(measure)
        read_similarity(images, measured.memorised, values, at, missing)
        read_similarity(images, measured.data_share, ceiling - values, at, missing, ceiling)


def read_smoothed(images: Study, config: RandomizationConfig) -> None:
    """Compare maps averaged over noise (sMPRT, Hedström et al. 2024), where they cost little."""
    passes, measured = sum(images.trial.explainer.passes), RandomizationStatistics.smooth_full
    if passes > config.smooth_passes:
        needed = passes * config.smooth_noises
        reason = f"smoothing would take {needed} passes an image and model"
        read_similarity(images, measured, np.full(len(images.rows), np.nan), missing=reason)
    else:
        read_similarity(images, measured, measures.smoothed_similarity(images, config))


def exhibit_cascade(image: Study, cascade: list[torch.Tensor], others: dict[str, Need]) -> None:
    """Keep one image's cascade, and its maps on other models by name, for the report."""
    trial, rows = image.trial, image.rows
    anatomy = trial.test.anatomy
    rois = [anatomy.rois[name][rows] for name in anatomy.truth or anatomy.rois]
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "keys": np.array([trial.test.keys[row] for row in rows]),
        "image": trial.test.images[rows],
        "foreground": anatomy.foreground[rows],
        "regions": np.logical_or.reduce(rois) if rois else anatomy.foreground[rows],
        "trained": image.ranked(image.maps()).numpy(),
        "cascade": image.ranked(torch.cat(cascade)).numpy(),
        "stages": np.array([stage.name for stage in trial.classifier.stages]),
    }
    for name, need in others.items():
        if need.missing(trial) is None:
            arrays[name] = image.ranked(need.on(trial).maps(rows)).numpy()
    image.exhibit(arrays)


def _read_step(images: Study, walk: str, depth: int, similarities: measures.Similarities) -> None:
    measured = RandomizationStatistics
    for measure, values in similarities.items():
        statistic = measured.similarity if measure == SPEARMAN else measured.structure
        conditions: dict[str, Condition] = {"walk": walk, "depth": depth, **by_measure(measure)}
        read_similarity(images, statistic, values, conditions)
