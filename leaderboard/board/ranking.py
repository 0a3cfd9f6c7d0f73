"""From calibrated scores to ranks within one model: totals, tie groups, and two ways to rank.

Totals, ranks and their intervals come from one bootstrap over the subjects of all protocols, so
that differences between explainers and between protocols are paired. The interval of a single
score resamples the subjects of that score alone, in a run as on a board.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from benchmark.arrays import FloatArray
from benchmark.reading import Reading, Sample, shared_bootstrap
from benchmark.results.calibration import Calibration
from benchmark.results.scores import Scores
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap
from benchmark.statistics.rank_intervals import ranks_of_replicates
from benchmark.statistics.significance import holm

ALPHA = 0.05
# Below this, two totals are equal but for rounding.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Measured:
    """The calibrated scores of a protocol.

    Attributes:
        calibrated: Calibrated scores by explainer.
        replicates: Their replicates [R] by explainer, from resamples that all protocols share.
    """

    calibrated: Mapping[str, Interval]
    replicates: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Standing:
    """Where an explainer stands among those that are ranked.

    Attributes:
        rank: 1 + the number of explainers in better tie groups.
        interval: Interval of the rank by total, over resamples of the subjects.
        group: Number of its tie group, from 1.
        total: Mean of its calibrated scores.
        mean_rank: Mean of its ranks under each protocol.
        rank_by_mean_rank: Competition rank by the former.
    """

    rank: int
    interval: Interval
    group: int
    total: Interval
    mean_rank: float
    rank_by_mean_rank: int


@dataclass(frozen=True)
class Ranking:
    """Explainers in order, and whether the two ways to rank agree.

    Attributes:
        standings: Standings by explainer, the best total first.
        tau: Kendall's τ between totals and mean ranks; NaN where fewer than two are ranked.
    """

    standings: Mapping[str, Standing]
    tau: float


def measure(scores: Mapping[str, Scores]) -> tuple[dict[str, Measured], SubjectBootstrap | None]:
    """Return the calibrated scores of every protocol that has some, and the bootstrap they share.

    Args:
        scores: Scores by protocol; of gates and of protocols without noise only the subjects count.
    """
    whole, rows = _union(scores)
    if not len(whole):
        return {}, None
    measured = {
        protocol: _measure(own, partial(_spread, whole=whole, rows=rows[protocol]))
        for protocol, own in scores.items()
        if own.can_be_calibrated
    }
    return measured, shared_bootstrap(whole.subjects)


def rank(
    measured: Mapping[str, Measured], explainers: Sequence[str], bootstrap: SubjectBootstrap
) -> Ranking:
    """Rank explainers that have a score under every protocol.

    Aggregate, then rank: the total of an explainer is the mean of its calibrated scores. Every pair
    of totals is tested by its paired bootstrap difference, studentised and two-sided, with Holm
    over all pairs. A tie group reaches from its best down to the last before the first that is
    significantly worse than that best; all of a group share its rank.

    Rank, then aggregate: explainers are ranked under each protocol, and the ranks averaged.

    Args:
        measured: Calibrated scores by protocol.
        explainers: Names of those to rank.
        bootstrap: Bootstrap that the replicates come from.
    """
    if not explainers or not measured:
        return Ranking({}, math.nan)
    estimates = np.mean(
        [[own.calibrated[name].estimate for name in explainers] for own in measured.values()], 0
    )
    replicates = np.mean(
        [np.stack([own.replicates[name] for name in explainers], 1) for own in measured.values()], 0
    )
    order = sorted(range(len(explainers)), key=lambda index: (-estimates[index], explainers[index]))
    groups = _tie_groups(estimates, replicates, order)
    intervals = ranks_of_replicates(estimates, replicates, bootstrap, _EQUAL)
    mean_ranks = _mean_ranks(measured, explainers)
    by_mean = stats.rankdata(np.round(mean_ranks, 9), method="min").astype(int).tolist()
    firsts = {group: 1 + sum(other < group for other in groups) for group in groups}
    standings = {
        explainers[index]: Standing(
            rank=firsts[groups[index]],
            interval=intervals[index],
            group=groups[index],
            total=bootstrap.statistic_interval(float(estimates[index]), replicates[:, index]),
            mean_rank=float(mean_ranks[index]),
            rank_by_mean_rank=by_mean[index],
        )
        for index in order
    }
    tau = math.nan
    if len(explainers) > 1:
        tau = float(stats.kendalltau(-np.round(estimates, 9), np.round(mean_ranks, 9)).statistic)
    return Ranking(standings, tau)


def _measure(scores: Scores, spread: Callable[[Reading], Reading]) -> Measured:
    readings = {
        entry.explainer: entry.reading for entry in scores.entries if entry.reading is not None
    }
    calibration = Calibration(scores)
    intervals = calibration.intervals(list(readings.values()))
    replicates = calibration.replicates(list(readings.values()), spread)
    return Measured(
        dict(zip(readings, intervals, strict=True)), dict(zip(readings, replicates.T, strict=True))
    )


def _union(scores: Mapping[str, Scores]) -> tuple[Sample, dict[str, dict[str, int]]]:
    """Return a sample with a row for every image of every protocol, and the rows by image."""
    images: dict[tuple[str, str], tuple[str, int]] = {}
    for protocol, own in scores.items():
        for entry in own.entries:
            if entry.reading is None:
                continue
            sample = entry.reading.sample
            for key, subject, group in zip(
                sample.keys, sample.subjects, sample.groups, strict=True
            ):
                images[protocol, key] = subject, group
    rows: dict[str, dict[str, int]] = {protocol: {} for protocol in scores}
    for row, (protocol, key) in enumerate(sorted(images)):
        rows[protocol][key] = row
    ordered = [images[image] for image in sorted(images)]
    return Sample(
        tuple(f"{protocol}/{key}" for protocol, key in sorted(images)),
        tuple(subject for subject, _ in ordered),
        tuple(group for _, group in ordered),
    ), rows


def _spread(reading: Reading, whole: Sample, rows: Mapping[str, int]) -> Reading:
    """Return the reading on the whole sample, NaN where it says nothing."""
    own = [rows[key] for key in reading.sample.keys]

    def on_whole(values: FloatArray) -> FloatArray:
        spread = np.full(len(whole), np.nan)
        spread[own] = values
        return spread

    below = reading.denominators
    return replace(
        reading,
        sample=whole,
        values=on_whole(reading.values),
        denominators=None if below is None else on_whole(below),
    )


def _tie_groups(estimates: FloatArray, replicates: FloatArray, order: Sequence[int]) -> list[int]:
    """Return the number of each explainer's tie group, from 1."""
    pairs = list(itertools.combinations(order, 2))
    p_values = dict(zip(pairs, _holm_pairs(estimates, replicates, pairs), strict=True))
    groups = [0] * len(order)
    head, group = order[0], 1
    for index in order:
        if index != head and p_values[head, index] < ALPHA:
            head, group = index, group + 1
        groups[index] = group
    return groups


def _holm_pairs(
    estimates: FloatArray, replicates: FloatArray, pairs: Sequence[tuple[int, int]]
) -> list[float]:
    p_values = []
    for first, second in pairs:
        difference = float(estimates[first] - estimates[second])
        spread = float(np.nanstd(replicates[:, first] - replicates[:, second]))
        if abs(difference) <= _EQUAL:
            p_values.append(1.0)
        elif spread <= _EQUAL:
            p_values.append(0.0)
        else:
            p_values.append(float(2 * stats.norm.sf(abs(difference) / spread)))
    return holm(p_values).tolist() if p_values else []


def _mean_ranks(measured: Mapping[str, Measured], explainers: Sequence[str]) -> FloatArray:
    ranks = [
        stats.rankdata(-np.round([own.calibrated[name].estimate for name in explainers], 9), "min")
        for own in measured.values()
    ]
    mean: FloatArray = np.mean(ranks, axis=0)
    return mean
