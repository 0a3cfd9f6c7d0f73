"""What removing parts of the region does to the model: the map's top, random voxels, the control.

Voxels of the region itself are chosen, so that a map is asked what it shows within the region and
not whether it finds it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.maps.masks import descending_order, iid_masks, top_masks
from benchmark.reading import Condition
from benchmark.seeding import seed_of
from benchmark.trial import Study
from benchmark.trial.projection import GroupAxis, signed_maps
from protocols.biomarker.people import People
from protocols.biomarker.regions import Regions
from protocols.biomarker.statistics import BiomarkerConfig, BiomarkerStatistics

MAP, RANDOM, CONTROL = "map", "random", "control"


def removed_positions(study: Study, people: People, count: int) -> Rows:
    """Return positions in ``people.rows`` of the images that are altered, as many of each group."""
    test, suite = study.trial.test, study.trial.runtime.suite
    by_group = []
    for group in (0, 1):
        members = [
            (seed_of(suite, "biomarker removal", test.keys[people.rows[position]]), position)
            for position in people.first.tolist()
            if people.groups[position] == group
        ]
        by_group.append([position for _, position in sorted(members)[: count // 2]])
    fewest = min(map(len, by_group))
    return np.sort([position for positions in by_group for position in positions[:fewest]])


def read_occlusion(
    study: Study, people: People, regions: Regions, axis: GroupAxis, config: BiomarkerConfig
) -> None:
    """Read what removing parts of the regions does, in units of T and in logits.

    Args:
        study: Notebook on the assessed subjects.
        people: Subjects whose images are occluded.
        regions: Regions of the subjects.
        axis: Direction between the groups.
        config: Settings.
    """
    statistics, trial = BiomarkerStatistics, study.trial
    in_train = (trial.cohort.participants["split"] == "train").to_numpy()
    if trial.cohort.geometry.registered and not in_train.any():
        study.read_missing(statistics.drop, "no training split to fill removed voxels from")
        return
    positions = removed_positions(study, people, config.removed)
    images = study.of(people.rows[positions])
    top = signed_maps(trial, images.rows).own.abs()
    region = _union(regions.rois, positions)
    arms = {
        MAP: _tops(images, top, region, config)[:, :, None],
        CONTROL: _tops(images, top, _union(regions.controls, positions), config)[:, :, None],
    }
    arms[RANDOM] = iid_masks(
        arms[MAP][:, :, 0], region, images.streams("within region"), config.repeats
    )
    responses = images.ask(arms, images.imputers()[0])
    signs = trial.evaluation.signs[images.rows]
    before = axis.values[images.rows]
    margin = trial.evaluation.own_margin[images.rows]
    drops: dict[str, FloatArray] = {}
    for arm, response in responses.items():
        after = axis.values_of(response.embeddings, images.rows)  # [n, Q, R]
        fall = signs[:, None, None] * (before[:, None, None] - after) / axis.separation
        drops[arm] = fall.mean(2)
        logits = (margin[:, None, None] - response.margins).mean(2)
        for column, q in enumerate(config.quantiles):
            where: dict[str, Condition] = {"arm": arm, "q": q}
            images.read(statistics.drop, drops[arm][:, column], where, reasons={})
            images.read(statistics.logit_drop, logits[:, column], where, reasons={})
    for column, q in enumerate(config.quantiles):
        above = (drops[MAP] - drops[RANDOM])[:, column]
        images.read(statistics.marked_drop, above, {"q": q}, reasons={})


def _tops(images: Study, top: Tensor, region: Tensor, config: BiomarkerConfig) -> Tensor:
    """Return the largest voxels of maps within a region at each share of it, [n, Q, *S] bool."""
    order = descending_order(top, region, images.streams("ties"))
    return top_masks(order, region, config.quantiles) & region


def _union(masks: Mapping[str, BoolArray], positions: Rows) -> Tensor:
    """Return the union of masks of some images, [n, 1, *S]."""
    union: BoolArray = np.logical_or.reduce([mask[positions] for mask in masks.values()])
    return torch.from_numpy(union)
