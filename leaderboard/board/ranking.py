"""From calibrated scores to ranks within one model: totals, tie groups, and two ways to rank.

Totals, ranks and their intervals come from one bootstrap over the subjects of all protocols, so
that differences between explainers and between protocols are paired. The interval of a single
score resamples the subjects of that score alone, in a run as on a board.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from benchmark.arrays import FloatArray
from benchmark.reading import Reading, Sample, shared_bootstrap
from benchmark.results.calibration import Calibration
from benchmark.results.scores import Scores
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap, ranks_of_replicates
from benchmark.statistics.significance import holm
from leaderboard.board.board import Standing
from leaderboard.board.rounding import DECIMALS, number_of

ALPHA = 0.05
# Below this, two totals are equal but for rounding.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Measured:
    """The calibrated scores of a protocol.

    Attributes:
        calibrated: Calibrated scores by explainer.
        replicates: Replicates [R] of the scores by explainer, from resamples that all protocols
            share.
    """

    calibrated: Mapping[str, Interval]
    replicates: Mapping[str, FloatArray]


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
    whole = _union(scores)
    if not len(whole):
        return {}, None
    measured = {}
    for protocol, own in scores.items():
        if own.can_be_calibrated:
            readings = [entry.reading for entry in own.entries if entry.reading is not None]
            names = [entry.explainer for entry in own.entries if entry.reading is not None]
            calibration = Calibration(own)
            spread = partial(_spread, protocol=protocol, whole=whole)
            replicates = calibration.replicates(readings, spread).T
            measured[protocol] = Measured(
                dict(zip(names, calibration.intervals(readings), strict=True)),
                dict(zip(names, replicates, strict=True)),
            )
    return measured, shared_bootstrap(whole.subjects)


def rank(
    measured: Mapping[str, Measured], explainers: Sequence[str], bootstrap: SubjectBootstrap | None
) -> Ranking:
    """Rank explainers that have a score under every protocol.

    Aggregate, then rank: the total of an explainer is the mean of its calibrated scores. Every pair
    of totals is tested by its paired bootstrap difference, studentised and two-sided, with Holm
    over all pairs. A tie group reaches from its best down to the last before the first that is
    significantly worse than that best; all of a group share its rank.

    Rank, then aggregate: explainers are ranked under each protocol, and the ranks averaged.

    Nobody is ranked where nothing is measured, and there is no bootstrap.
    """
    if not explainers or bootstrap is None or not measured:
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
    ranks = [
        stats.rankdata(-np.round([own.calibrated[name].estimate for name in explainers], 9), "min")
        for own in measured.values()
    ]
    mean_ranks = np.mean(ranks, axis=0)
    by_mean = stats.rankdata(np.round(mean_ranks, 9), method="min").astype(int).tolist()
    firsts = {group: 1 + sum(other < group for other in groups) for group in groups}
    standings = {
        explainers[index]: Standing(
            rank=firsts[groups[index]],
            low=_end(intervals[index].low, firsts[groups[index]]),
            high=_end(intervals[index].high, firsts[groups[index]]),
            group=groups[index],
            total=number_of(
                bootstrap.statistic_interval(float(estimates[index]), replicates[:, index])
            ),
            mean_rank=round(float(mean_ranks[index]), DECIMALS),
            rank_by_mean_rank=by_mean[index],
        )
        for index in order
    }
    tau = math.nan
    if len(explainers) > 1:
        tau = float(stats.kendalltau(-np.round(estimates, 9), np.round(mean_ranks, 9)).statistic)
    return Ranking(standings, tau)


def _union(scores: Mapping[str, Scores]) -> Sample:
    """Return a sample with a row for every image of every protocol, keyed by both."""
    samples = {
        (protocol, entry.reading.sample)
        for protocol, own in scores.items()
        for entry in own.entries
        if entry.reading is not None
    }
    rows = sorted(
        {
            (protocol, *image)
            for protocol, sample in samples
            for image in zip(sample.keys, sample.subjects, sample.groups, strict=True)
        }
    )
    return Sample(
        tuple(f"{protocol}/{key}" for protocol, key, *_ in rows),
        tuple(subject for _, _, subject, _ in rows),
        tuple(group for *_, group in rows),
    )


def _spread(reading: Reading, protocol: str, whole: Sample) -> Reading:
    """Return the reading on the whole sample, NaN where it says nothing."""
    rows = {key: row for row, key in enumerate(whole.keys)}
    own = [rows[f"{protocol}/{key}"] for key in reading.sample.keys]

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


def _end(end: float, rank: int) -> int:
    return int(end) if math.isfinite(end) else rank
