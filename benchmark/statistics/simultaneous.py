"""Compares all explainers with each other at once: decided pairs, rank sets and tie groups.

A board says of many pairs at the same time who is better, and is wrong if one of these claims is.
The min-p step-down holds the probability of a single wrong claim at 5 % (Westfall & Young 1993;
Romano & Wolf 2005): a pair is decided where its difference is rarer, among its own resamples, than
the rarest of all pairs still open is in 95 % of the resamples; then the others are looked at again,
until none is added. What is decided leaves each explainer a set of ranks, and all sets hold the
true ranks together in 95 % of data sets (Mogstad et al. 2024).

Pairs are compared by p-values, not by differences in standard errors. Two methods that hardly
differ but in one subject have a difference that is many standard errors away from its mean in every
resample without that subject. The largest of all pairs would be theirs, and would leave all other
methods undecided.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmark.arrays import BoolArray, FloatArray
from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.studentised import FEWEST_SUBJECTS, ROUNDING, studentise

RESAMPLES = 10_000
EQUAL = 1e-6  # totals that differ by less are equal but for rounding: records keep six digits
_LEVEL = 0.95
_CHUNK_ELEMENTS = 2**21


@dataclass(frozen=True)
class Block:
    """Values of the subjects of one cohort, whose means are parts of the totals of K explainers.

    Attributes:
        name: Name of the cohort, which names its resamples.
        values: [n, K] finite value of each subject for each explainer, weights applied. Where a
            total is a smooth function of means, the value is the function plus the influence of the
            subject on it. No value counts as chance, which is 0.
        subjects: [n] unique names of the subjects.
        groups: [n] groups, within which subjects are resampled.
    """

    name: str
    values: FloatArray
    subjects: tuple[str, ...]
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Ranking:
    """What comparing the totals of K explainers decides.

    Attributes:
        totals: [K] totals.
        is_better: [K, K] whether the explainer of the row is surely better than that of the column.
        ranks: 1 + the number of explainers with a larger total; lies within the limits.
        low: 1 + the number of explainers that are surely better.
        high: K minus the number of explainers that are surely worse.
        groups: Tie group, numbered from 1 by the largest total in it, of explainers with the same
            limits.
    """

    totals: FloatArray
    is_better: BoolArray
    ranks: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    groups: tuple[int, ...]


def compare(blocks: Sequence[Block], resamples: int = RESAMPLES) -> Ranking:
    """Compare the totals of every two explainers, all at once.

    Neither the order of explainers nor that of subjects or blocks plays a part. With fewer than 20
    subjects in a block nothing is decided, as no interval is stated either.

    Args:
        blocks: Cohorts of different subjects; their means add up to the totals, and their errors
            are independent.
        resamples: Number of bootstrap replicates.

    Raises:
        InputError: If there is no block, or blocks do not fit.
    """
    ordered = _checked(blocks)
    order = np.lexsort(np.concatenate([block.values for block in ordered])[::-1])
    in_order = [_Subjects(block.name, block.values[:, order], block.groups) for block in ordered]
    totals = np.sum([block.values.mean(0) for block in in_order], axis=0)
    is_better = np.zeros((len(order), len(order)), dtype=bool)
    if len(order) > 1 and min(len(block.groups) for block in in_order) >= FEWEST_SUBJECTS:
        first, second = np.array(list(itertools.combinations(range(len(order)), 2))).T
        pairs = [
            _Subjects(block.name, block.values[:, first] - block.values[:, second], block.groups)
            for block in in_order
        ]
        differences = totals[first] - totals[second]
        decided = _step_down(differences, *_pivots(pairs, resamples))
        for sign, winner, loser in ((1, first, second), (-1, second, first)):
            won = decided & (sign * differences > 0)
            is_better[winner[won], loser[won]] = True
    back = np.argsort(order)
    return _ranking(totals[back], is_better[np.ix_(back, back)])


def total_intervals(blocks: Sequence[Block], resamples: int = RESAMPLES) -> list[Interval]:
    """Return the total of each explainer with its bootstrap-t interval.

    An explainer's interval does not depend on the others, to the last bit. It has no limits where a
    block holds fewer than 20 subjects.

    Raises:
        InputError: If there is no block, or blocks do not fit.
    """
    ordered = _checked(blocks)
    width, count = ordered[0].values.shape[1], sum(len(block.groups) for block in ordered)
    smallest = min(len(block.groups) for block in ordered)
    tail = (1 - _LEVEL) / 2
    intervals = []
    for column in range(width):
        own = [
            _Subjects(block.name, block.values[:, column : column + 1].copy(), block.groups)
            for block in ordered
        ]
        total = float(sum(block.values.mean() for block in own))
        if smallest < FEWEST_SUBJECTS:
            intervals.append(Interval(total, math.nan, math.nan, count))
            continue
        error, t_values = _pivots(own, resamples)
        if error[0] <= ROUNDING:
            certain = 0.0 if abs(total) <= ROUNDING else total
            intervals.append(Interval(certain, certain, certain, count))
            continue
        low, high = np.quantile(t_values[:, 0], (tail, 1 - tail)) * error[0]
        intervals.append(Interval(total, total - float(high), total - float(low), count))
    return intervals


def simultaneous_widths(
    blocks: Sequence[Block], resamples: int = RESAMPLES, level: float = _LEVEL
) -> tuple[FloatArray, FloatArray]:
    """Return K totals and the half-widths of intervals that hold all true totals together.

    Every interval leaves out the same share of its own resamples (min-p). So totals that go
    together cost little, and one that hangs on a single subject widens no other. A total that is
    the same in every subject has no width.

    Args:
        blocks: Samples of different subjects, whose means add up to the totals; a sample that is
            subtracted has its values negated.
        resamples: Number of bootstrap replicates.
        level: Share of data sets in which they do.

    Raises:
        InputError: If there is no block, blocks do not fit, or one holds fewer than 20 subjects.
    """
    ordered = _checked(blocks)
    if (smallest := min(len(block.groups) for block in ordered)) < FEWEST_SUBJECTS:
        raise InputError(f"Expected at least {FEWEST_SUBJECTS} subjects but got {smallest}.")
    totals: FloatArray = np.sum([block.values.mean(0) for block in ordered], axis=0)
    errors, t_values = _pivots(ordered, resamples)
    uncertain = errors > ROUNDING
    if not uncertain.any():
        return totals, np.zeros_like(totals)
    magnitudes = np.sort(np.abs(t_values), axis=0)
    rarest = _shares(np.abs(t_values))[:, uncertain].min(axis=1)
    share = float(np.quantile(rarest, 1 - level, method="lower"))
    # Strictly fewer than this share of a total's own resamples lie beyond.
    position = min(math.floor((1 - share) * resamples), resamples - 1)
    return totals, np.where(uncertain, magnitudes[position] * errors, 0.0)


@dataclass(frozen=True)
class _Subjects:
    """Values [n, M] of subjects in sorted order, with their groups [n] and a cohort's name."""

    name: str
    values: FloatArray
    groups: npt.NDArray[np.int64]

    def strata(self) -> list[tuple[float, FloatArray]]:
        """Return each group's share of the subjects, and its values, in the order of groups."""
        members = [self.groups == group for group in np.unique(self.groups)]
        return [(float(member.mean()), self.values[member]) for member in members]


def _checked(blocks: Sequence[Block]) -> list[_Subjects]:
    """Return the blocks in the order of their names, with subjects in the order of theirs."""
    widths = {block.values.shape[1:] for block in blocks}
    if len(widths) != 1 or len({block.name for block in blocks}) != len(blocks):
        raise InputError(
            "Expected blocks of different names with values [n, K] of the same K explainers but "
            f"got {', '.join(f'{block.name} {list(block.values.shape)}' for block in blocks)}."
        )
    for block in blocks:
        if not np.isfinite(block.values).all() or not len(block.values):
            raise InputError(f"Expected a finite value of every subject of {block.name}.")
        if len(set(block.subjects)) != len(block.values):
            raise InputError(f"Expected one row for each subject of {block.name}.")
    ordered = []
    for block in sorted(blocks, key=lambda block: block.name):
        order = np.argsort(np.asarray(block.subjects, dtype=np.str_), kind="stable")
        groups = np.asarray(block.groups, dtype=np.int64)[order]
        ordered.append(_Subjects(block.name, block.values[order].astype(np.float64), groups))
    return ordered


def _pivots(blocks: Sequence[_Subjects], resamples: int) -> tuple[FloatArray, FloatArray]:
    """Return the standard errors [M] of sums of means, and (θ* − θ)/se* of resamples, [R, M]."""
    strata = [
        (block.name, number, share, values)
        for block in blocks
        for number, (share, values) in enumerate(block.strata())
    ]
    error = np.sqrt(sum(share**2 * values.var(0) / len(values) for *_, share, values in strata))
    width = blocks[0].values.shape[1]
    shifts, variances = np.zeros((resamples, width)), np.zeros((resamples, width))
    for name, number, share, values in strata:
        count = len(values)
        # Measured from the mean, so that squares of small spreads do not drown in a large mean.
        above = values - values.mean(0)
        draws = _draws(name, number, count, resamples)
        rows = max(1, _CHUNK_ELEMENTS // max(width, count))
        for start in range(0, resamples, rows):
            drawn = draws[start : start + rows].astype(np.float64) / count
            means = drawn @ above
            shifts[start : start + rows] += share * means
            spread = np.maximum(drawn @ above**2 - means**2, 0.0)
            variances[start : start + rows] += share**2 / count * spread
    return error, studentise(shifts, np.sqrt(variances, out=variances), error)


@lru_cache(maxsize=16)
def _draws(name: str, stratum: int, count: int, resamples: int) -> npt.NDArray[np.integer]:
    """Return how often each subject of a stratum is drawn, [R, count]; other cohorts, other draws.

    Were the draws of two cohorts the same, what has nothing to do with each other would go
    together.
    """
    generator = stream("simultaneous", name, stratum, count, resamples)
    picks = generator.integers(0, count, size=(resamples, count))
    picks += count * np.arange(resamples)[:, None]
    drawn = np.bincount(picks.ravel(), minlength=resamples * count)
    return drawn.reshape(resamples, count).astype(np.min_scalar_type(count))


def _step_down(differences: FloatArray, errors: FloatArray, t_values: FloatArray) -> BoolArray:
    """Return which differences [P] are surely not 0, all together, from pivots [R, P]."""
    magnitudes = np.abs(t_values, out=t_values)
    differ = np.abs(differences) > EQUAL
    # A difference that is the same in every subject is certain.
    sizes = np.divide(
        np.abs(differences), errors, out=np.full_like(errors, np.inf), where=errors > ROUNDING
    )
    p_values = (1 + (magnitudes >= sizes).sum(axis=0)) / (1 + len(magnitudes))
    p_values[np.isinf(sizes)] = 0.0
    shares = _shares(magnitudes)
    decided = np.zeros(len(differences), dtype=bool)
    while not decided.all():
        rarest = shares[:, ~decided].min(axis=1)
        added = ~decided & differ & (p_values < np.quantile(rarest, 1 - _LEVEL, method="lower"))
        if not added.any():
            break
        decided |= added
    return decided


def _shares(magnitudes: FloatArray) -> FloatArray:
    """Return how large a share of each column [R, P] is at least as large as each of its values."""
    smaller = stats.rankdata(magnitudes, method="min", axis=0) - 1
    shares: FloatArray = 1 - smaller / len(magnitudes)
    return shares


def _ranking(totals: FloatArray, is_better: BoolArray) -> Ranking:
    low = (1 + is_better.sum(0)).tolist()
    high = (len(totals) - is_better.sum(1)).tolist()
    limits = list(zip(low, high, strict=True))
    largest = {pair: max(totals[np.array([own == pair for own in limits])]) for pair in limits}
    numbers = sorted(largest, key=lambda pair: (-largest[pair], pair))
    return Ranking(
        totals=totals,
        is_better=is_better,
        ranks=tuple(1 + int((totals > total + EQUAL).sum()) for total in totals),
        low=tuple(low),
        high=tuple(high),
        groups=tuple(1 + numbers.index(pair) for pair in limits),
    )
