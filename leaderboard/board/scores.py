"""Brings published records into the form that results are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import numpy as np

from benchmark.reading import SCORED, Reading, Sample, Statistic, find
from benchmark.results.scores import INFORMED, RANDOM, Score, Scores, Scoring
from leaderboard.published.record import PublishedRecord

# The statistic under which noise scores 0, by protocol: a record of suite v1 names its score alone.
# A board with a protocol that is not among them says that noise was not looked at.
CHANCE = {
    "agreement": Statistic("predicts_delta_t", ""),
    "delta_t": Statistic("delta_t", "", aggregate="balanced_mean"),
    "positive_control": Statistic("found", ""),
    "randomization": Statistic("twin", ""),
    "roi_pointing": Statistic("ap_above_chance", ""),
}


def scores_of(
    records: Sequence[PublishedRecord],
    noise: Mapping[str, Sequence[Reading]],
    order: Mapping[str, str],
) -> Scores:
    """Return the scores of one protocol on one model.

    Args:
        records: Records of the protocol and model, at least one.
        noise: All readings of ``random``, by the path of its record.
        order: Names of subjects that sort as their cohort does; see ``order_subjects``.
    """
    scale = records[0].scale
    chance = CHANCE.get(records[0].names.protocol)
    if scale.chance is not None:
        aggregate = scale.aggregate if scale.chance == scale.statistic else "mean"
        chance = Statistic(scale.chance, "", aggregate=aggregate)
    scoring = Scoring(
        Statistic(scale.statistic, "", scale.direction, scale.aggregate),
        chance,
        scale.margin,
        scale.truth_leads,
        not scale.averaged,
        owed=scale.owed,
    )
    entries, noise_reading = [], None
    for record in records:
        name, score = record.names.explainer, _in_order(record.score, order)
        if scale.owed and score is not None:
            # A map that ranks nothing shows nothing of the network.
            score = replace(score, values=np.nan_to_num(score.values, nan=0.0))
        blind = record.method.control and name not in INFORMED
        entries.append(Score(name, score, record.verdict, blind))
        if name == RANDOM and record.state == SCORED and chance is not None:
            other = find(noise.get(record.path, ()), chance.name)
            noise_reading = score if chance.name == scale.statistic else _in_order(other, order)
    faults = dict.fromkeys(fault for record in records for fault in record.faults)
    return Scores(scoring, tuple(entries), noise_reading, tuple(faults))


def order_subjects(samples: Iterable[Sample]) -> dict[str, str]:
    """Return names of subjects that sort as the subjects of the cohort do.

    Resamples go by the order of names, and pseudonyms have none. Readings keep the order of their
    cohort; by that, intervals on a board are those that a run gives, to the last digit.

    Args:
        samples: Parts of one cohort. Nobody is renamed where they contradict each other.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for sample in samples:
        for before, after in pairwise(dict.fromkeys(sample.subjects)):
            sorter.add(after, before)
    try:
        return {subject: f"{rank:06}" for rank, subject in enumerate(sorter.static_order())}
    except CycleError:
        return {}


def _in_order(reading: Reading | None, order: Mapping[str, str]) -> Reading | None:
    if reading is None:
        return None
    sample = reading.sample
    subjects = tuple(order.get(subject, subject) for subject in sample.subjects)
    return replace(reading, sample=replace(sample, subjects=subjects))
