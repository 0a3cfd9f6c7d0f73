"""From scores per subject to ranks within one model: totals, tie groups, and two ways to rank.

Every number comes from one bootstrap over the subjects of all protocols, so that differences
between explainers and between protocols are paired.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmark.reading import Aggregate, Reading, Sample, distributions, shared_bootstrap
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap
from benchmark.statistics.rank_intervals import ranks_of_replicates
from benchmark.statistics.significance import holm

FloatArray = npt.NDArray[np.float64]

ALPHA = 0.05
ORACLE, RANDOM = "oracle", "random"
# Below this, two totals are equal but for rounding.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Scores:
    """The scores of all explainers under one protocol.

    Attributes:
        readings: By explainer; of images of one cohort.
        aggregate: How subjects make one number.
        higher: Whether higher is better.
    """

    readings: Mapping[str, Reading]
    aggregate: Aggregate
    higher: bool


@dataclass(frozen=True)
class Measured:
    """What a protocol's scores come to.

    Attributes:
        score: By explainer, in the protocol's own unit.
        calibrated: By explainer, on the scale where noise is 0 and the truth 1, or where that is
            not known, above noise in the protocol's own unit; higher is better.
        truth_is_one: Whether the former.
        replicates: By explainer, of the calibrated score, [R].
    """

    score: Mapping[str, Interval]
    calibrated: Mapping[str, Interval]
    truth_is_one: bool
    replicates: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Standing:
    """Where an explainer stands among those that are ranked.

    Attributes:
        rank: 1 + the number of explainers in better tie groups.
        interval: Of the rank by total, over resamples of the subjects.
        group: Number of its tie group, from 1.
        total: Mean of its calibrated scores.
        mean_rank: Mean of its ranks under each protocol.
        rank_by_mean_rank: Its competition rank by the former.
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
        standings: By explainer, the best total first.
        tau: Kendall's τ between totals and mean ranks; NaN where fewer than two are ranked.
    """

    standings: Mapping[str, Standing]
    tau: float


def measure(scores: Mapping[str, Scores]) -> tuple[dict[str, Measured], SubjectBootstrap | None]:
    """Return what every protocol's scores come to, and the bootstrap that they share.

    Args:
        scores: By protocol.
    """
    whole, places = _union(scores)
    if not len(whole):
        return {}, None
    bootstrap = shared_bootstrap(whole.subjects)
    return {
        name: _measure(one, whole, places[name], bootstrap) for name, one in scores.items()
    }, bootstrap


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
        measured: Protocols that are ranked.
        explainers: Those to rank.
        bootstrap: That the replicates come from.
    """
    if not explainers or not measured:
        return Ranking({}, math.nan)
    estimates = np.mean(
        [[one.calibrated[name].estimate for name in explainers] for one in measured.values()], 0
    )
    replicates = np.mean(
        [np.stack([one.replicates[name] for name in explainers], 1) for one in measured.values()], 0
    )
    order = sorted(range(len(explainers)), key=lambda place: (-estimates[place], explainers[place]))
    groups = _tie_groups(estimates, replicates, order)
    intervals = ranks_of_replicates(estimates, replicates, bootstrap, _EQUAL)
    mean_ranks = _mean_ranks(measured, explainers)
    by_mean = stats.rankdata(np.round(mean_ranks, 9), method="min").astype(int).tolist()
    firsts = {group: 1 + sum(one < group for one in groups) for group in groups}
    standings = {
        explainers[place]: Standing(
            rank=firsts[groups[place]],
            interval=intervals[place],
            group=groups[place],
            total=bootstrap.statistic_interval(float(estimates[place]), replicates[:, place]),
            mean_rank=float(mean_ranks[place]),
            rank_by_mean_rank=by_mean[place],
        )
        for place in order
    }
    tau = math.nan
    if len(explainers) > 1:
        tau = float(stats.kendalltau(-np.round(estimates, 9), np.round(mean_ranks, 9)).statistic)
    return Ranking(standings, tau)


def ahead_of_truth(scores: Scores, explainer: str) -> Interval | None:
    """Return by how much an explainer scores better than the truth, on the images of both."""
    pair = [scores.readings.get(name) for name in (explainer, ORACLE)]
    if pair[0] is None or pair[1] is None:
        return None
    whole, places = _union({"": replace(scores, readings={explainer: pair[0], ORACLE: pair[1]})})
    rows = [_spread(one, whole, places[""]) for one in pair if one is not None]
    common = ~np.isnan(rows[0].values) & ~np.isnan(rows[1].values)
    if not common.any():
        return None
    rows = [replace(one, values=np.where(common, one.values, np.nan)) for one in rows]
    estimates, replicates = distributions(rows, scores.aggregate)
    sign = 1.0 if scores.higher else -1.0
    return shared_bootstrap(whole.subjects).statistic_interval(
        sign * float(estimates[0] - estimates[1]), sign * (replicates[:, 0] - replicates[:, 1])
    )


def _union(scores: Mapping[str, Scores]) -> tuple[Sample, dict[str, dict[str, int]]]:
    """Return a sample with a row for every image of every protocol, and where each one stands."""
    rows: dict[tuple[str, str], tuple[str, int]] = {}
    for name, one in scores.items():
        for reading in one.readings.values():
            sample = reading.sample
            told = zip(sample.keys, sample.subjects, sample.groups, strict=True)
            rows |= {(name, key): (subject, group) for key, subject, group in told}
    ordered = sorted(rows)
    places: dict[str, dict[str, int]] = {name: {} for name in scores}
    for place, (name, key) in enumerate(ordered):
        places[name][key] = place
    return Sample(
        tuple(f"{name}/{key}" for name, key in ordered),
        tuple(rows[one][0] for one in ordered),
        tuple(rows[one][1] for one in ordered),
    ), places


def _spread(reading: Reading, whole: Sample, places: Mapping[str, int]) -> Reading:
    """Return the reading on the whole sample, NaN where it says nothing."""
    rows = [places[key] for key in reading.sample.keys]
    values = np.full(len(whole), np.nan)
    values[rows] = reading.values
    denominators = None
    if reading.denominators is not None:
        denominators = np.full(len(whole), np.nan)
        denominators[rows] = reading.denominators
    return replace(reading, sample=whole, values=values, denominators=denominators)


def _measure(
    scores: Scores, whole: Sample, places: Mapping[str, int], bootstrap: SubjectBootstrap
) -> Measured:
    names = sorted(scores.readings)
    spread = [_spread(scores.readings[name], whole, places) for name in names]
    estimates, replicates = distributions(spread, scores.aggregate)
    subjects = np.array(whole.subjects)
    counts = [len(np.unique(subjects[~np.isnan(one.values)])) for one in spread]
    found = {
        name: bootstrap.statistic_interval(float(value), drawn, count)
        for name, value, drawn, count in zip(names, estimates, replicates.T, counts, strict=True)
    }
    if RANDOM not in names:
        return Measured(found, {}, False, {})
    noise = names.index(RANDOM)
    above = estimates - estimates[noise]
    drawn_above = replicates - replicates[:, noise : noise + 1]
    span, drawn_span, truth_is_one = 1.0 if scores.higher else -1.0, np.ones(len(replicates)), False
    if ORACLE in names:
        truth = names.index(ORACLE)
        interval = bootstrap.statistic_interval(float(above[truth]), drawn_above[:, truth])
        # A range from noise to truth that may be nothing cannot be a unit of measurement.
        if interval.low > 0 or interval.high < 0:
            span, drawn_span, truth_is_one = float(above[truth]), drawn_above[:, truth], True
    if not truth_is_one:
        drawn_span = drawn_span * span
    calibrated = above / span
    drawn = np.full_like(drawn_above, np.nan)
    np.divide(drawn_above, drawn_span[:, None], out=drawn, where=drawn_span[:, None] != 0)
    return Measured(
        found,
        {
            name: bootstrap.statistic_interval(float(value), column, count)
            for name, value, column, count in zip(names, calibrated, drawn.T, counts, strict=True)
        },
        truth_is_one,
        dict(zip(names, drawn.T, strict=True)),
    )


def _tie_groups(estimates: FloatArray, replicates: FloatArray, order: Sequence[int]) -> list[int]:
    """Return the number of each explainer's tie group, from 1."""
    pairs = list(itertools.combinations(order, 2))
    p_values = dict(zip(pairs, _holm_pairs(estimates, replicates, pairs), strict=True))
    groups = [0] * len(order)
    head, group = order[0], 1
    for place in order:
        if place != head and p_values[head, place] < ALPHA:
            head, group = place, group + 1
        groups[place] = group
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
        stats.rankdata(-np.round([one.calibrated[name].estimate for name in explainers], 9), "min")
        for one in measured.values()
    ]
    mean: FloatArray = np.mean(ranks, axis=0)
    return mean
