"""Inference over subjects: the cluster bootstrap, what it resamples, and ranks on its resamples.

The unit is the subject. Rows are images; the rows of one subject are resampled together, since
resampling images covers 76 % where 95 % is claimed (40 subjects × 5 images, ICC 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmark.arrays import FloatArray
from benchmark.errors import InputError
from benchmark.seeding import stream

Integers = npt.NDArray[np.integer]

_BLOCK_ELEMENTS = 2**16
_PAIR_ROWS = 1024  # positives compared with all negatives at once
_DRAWN_AT_ONCE = 1024  # resamples whose wins are counted at once
_EXACT_HALVES = 2**23  # below, halves are exact in single precision
_DRAW_ROWS = 256
_TAIL = (1 - 0.95) / 2  # on each side of an interval
_EQUAL = 1e-12  # equal explainers have equal means but for rounding


@dataclass(frozen=True)
class Interval:
    """A point estimate with its confidence limits.

    Attributes:
        estimate: Statistic of the subjects as they are; NaN where none has a value.
        low: Lower limit; NaN where fewer than two subjects have a value, since one subject's
            bootstrap has no spread and would look certain.
        high: Upper limit; NaN where ``low`` is.
        n_subjects: Number of subjects with at least one value.
    """

    estimate: float
    low: float
    high: float
    n_subjects: int


NO_INTERVAL = Interval(math.nan, math.nan, math.nan, 0)


class SubjectBootstrap:
    """Percentile cluster bootstrap over subjects (Davison & Hinkley 1997, §3.8 and §5.3).

    How often each subject is drawn is decided once, for the subjects in sorted order. So every
    statistic of the same subjects meets the same resamples, differences are paired, and the order
    of rows plays no part. A mean is the sum over rows divided by the number of rows, both
    resampled; subjects with more rows weigh more. Rows without a value (NaN) are left out.

    Args:
        subjects: [N] subject of each row; ids may repeat.
        resamples: Number of bootstrap replicates R.
        strata: [N] stratum of each row, such as its group. Subjects are then drawn within strata,
            so that every resample has as many of each as the sample; a subject with rows in several
            counts to the largest. Subjects are drawn from all at once unless strata are given.

    Attributes:
        smallest_stratum: Number of subjects in the smallest stratum.

    Raises:
        InputError: If there are no rows.
    """

    def __init__(
        self,
        subjects: Sequence[str],
        resamples: int = 10_000,
        strata: Sequence[int] | Integers | None = None,
    ) -> None:
        if not len(subjects):
            raise InputError("Expected at least one subject to resample but got none.")
        unique, index = np.unique(np.asarray(subjects, dtype=np.str_), return_inverse=True)
        self._index: npt.NDArray[np.intp] = index
        self._order = np.argsort(index, kind="stable")
        self._starts = np.searchsorted(index[self._order], np.arange(len(unique)))
        self.smallest_stratum = len(unique)
        if strata is None:
            self._multiplicities = _multiplicities(len(unique), resamples)
        else:
            levels = np.maximum.reduceat(np.asarray(strata)[self._order], self._starts)
            self._multiplicities = _stratified_multiplicities(levels, resamples)
            self.smallest_stratum = int(np.unique(levels, return_counts=True)[1].min())

    @property
    def n_subjects(self) -> int:
        """Number of different subjects U."""
        return len(self._starts)

    def auroc(self, scores: npt.ArrayLike, labels: npt.ArrayLike) -> Interval:
        """Return the AUROC of scores [N] for label 1 against 0, labels [N]; ties count half."""
        estimate = self.auroc_estimate(scores, labels)
        replicates = self.auroc_replicates(scores, labels)
        valued_subjects = np.unique(self._index[~np.isnan(np.asarray(scores))])
        return self.statistic_interval(estimate, replicates, len(valued_subjects))

    def auroc_estimate(self, scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Return the AUROC alone; NaN where a class is missing."""
        once = np.ones((1, self.n_subjects), dtype=np.int64)
        return float(self._weighted_auroc(self._rows(scores, 1), np.asarray(labels), once)[0])

    def replicates(self, values: npt.ArrayLike) -> FloatArray:
        """Return bootstrap replicates of the mean, from which any function of means is built.

        Of values [N] or [N, M] it makes [R] or [R, M]; each column leaves out its own NaNs, and a
        replicate that holds no value is NaN.
        """
        dimensions = np.ndim(values)
        rows = self._rows(values, 2 if dimensions == 2 else 1)
        sums, counts = self.totals(rows.reshape(len(rows), -1))
        # Where every subject has as many values, every resample has as many as the sample.
        differs = (counts != counts[:1]).any(axis=0)
        replicates = np.empty((len(self._multiplicities), sums.shape[1]))
        start = 0
        for drawn in self.draws(sums.shape[1]):
            known = np.broadcast_to(counts.sum(axis=0), (len(drawn), len(differs)))
            if differs.any():
                known = known.copy()
                known[:, differs] = drawn @ counts[:, differs]
            replicates[start : start + len(drawn)] = _divide(drawn @ sums, known)
            start += len(drawn)
        return replicates if dimensions == 2 else replicates[:, 0]

    def auroc_replicates(self, scores: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
        """Return bootstrap replicates of the AUROC, [R]; NaN where a replicate lacks a class."""
        rows, classes = self._rows(scores, 1), np.asarray(labels)
        return self._weighted_auroc(rows, classes, self._multiplicities)

    def statistic_replicates(self, statistic: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Return bootstrap replicates [R, M] of statistics of weighted rows.

        Args:
            statistic: Function from the weights [r, N] of the rows in r resamples to M statistics
                of each resample, [r, M].
        """
        blocks = self.draws(len(self._index))
        return np.concatenate([statistic(drawn[:, self._index]) for drawn in blocks])

    def statistic_interval(
        self, estimate: float, replicates: FloatArray, n_subjects: int | None = None
    ) -> Interval:
        """Return the 95 % percentile interval of any statistic from its replicates [R].

        NaNs are ignored. All subjects have a value unless ``n_subjects`` says how many.
        """
        subjects = self.n_subjects if n_subjects is None else n_subjects
        known = replicates[~np.isnan(replicates)]
        if subjects < 2 or np.isnan(estimate) or not len(known):
            return Interval(estimate, math.nan, math.nan, subjects)
        low, high = np.quantile(known, (_TAIL, 1 - _TAIL))
        return Interval(estimate, float(low), float(high), subjects)

    def _rows(self, values: npt.ArrayLike, dimensions: int) -> FloatArray:
        rows = np.asarray(values, dtype=np.float64)
        if rows.ndim != dimensions or len(rows) != len(self._index):
            expected = f"[{len(self._index)}{', M' if dimensions == 2 else ''}]"
            raise InputError(f"Expected values {expected} but got shape {list(rows.shape)}.")
        if np.isinf(rows).any():
            raise InputError("Expected finite values, or NaN for none, but got an infinite one.")
        return rows

    def totals(self, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the sums and the numbers of values of each subject, of columns [N, M]: [U, M]."""
        ordered = columns[self._order]
        known = ~np.isnan(ordered)
        sums = np.add.reduceat(np.where(known, ordered, 0.0), self._starts, axis=0)
        counts = np.add.reduceat(known.astype(np.float64), self._starts, axis=0)
        return sums, counts

    def draws(self, width: int) -> Iterator[FloatArray]:
        """Yield how often each subject is drawn, [r, U], in blocks whose [r, width] stay small."""
        rows = max(1, _BLOCK_ELEMENTS // max(width, self.n_subjects))
        for start in range(0, len(self._multiplicities), rows):
            yield self._multiplicities[start : start + rows].astype(np.float64)

    def _weighted_auroc(
        self, scores: FloatArray, labels: Integers, multiplicities: Integers
    ) -> FloatArray:
        """Return the Mann–Whitney AUROC with rows weighted by their subjects, [r]."""
        by_subject = self._order[~np.isnan(scores[self._order])]
        positives, negatives = (by_subject[labels[by_subject] == label] for label in (1, 0))
        wins = np.zeros(len(multiplicities))
        if not len(positives) or not len(negatives):
            return np.full_like(wins, np.nan)
        losers, starts = self._subjects_of(negatives)
        # Wins are whole and half numbers, so that sums of them are exact in any order, and where
        # they are small enough in single precision too.
        most = _most_rows(starts, negatives) * _most_rows(
            self._subjects_of(positives)[1], positives
        )
        is_small = self.n_subjects**2 * most < _EXACT_HALVES
        precision: npt.DTypeLike = np.float32 if is_small else np.float64
        for chunk in np.array_split(positives, 1 + len(positives) // _PAIR_ROWS):
            winners, own_starts = self._subjects_of(chunk)
            margins = scores[chunk][:, None] - scores[negatives][None, :]
            beaten = (np.sign(margins) + 1) / 2
            of_subjects = np.add.reduceat(np.add.reduceat(beaten, own_starts, 0), starts, 1)
            table: npt.NDArray[np.floating] = of_subjects.T.astype(precision)
            for start in range(0, len(multiplicities), _DRAWN_AT_ONCE):
                block = slice(start, start + _DRAWN_AT_ONCE)
                drawn: npt.NDArray[np.floating] = multiplicities[block].astype(precision)
                won = np.einsum("rp,rp->r", drawn[:, losers] @ table, drawn[:, winners])
                wins[block] += won
        weights = [
            multiplicities[:, self._index[rows]].sum(1, dtype=np.float64)
            for rows in (positives, negatives)
        ]
        return _divide(wins, weights[0] * weights[1])

    def _subjects_of(self, rows: Integers) -> tuple[Integers, Integers]:
        """Return the subjects of rows that are sorted by subject, and where each one's begin."""
        index = self._index[rows]
        starts = np.flatnonzero(np.diff(index, prepend=-1))
        return index[starts], starts


def jackknife_distance(embeddings: FloatArray, groups: Integers) -> FloatArray:
    """Return pseudo-values [n] of T = ‖μ_A − μ_B‖ (Miller 1974), whose mean estimates T.

    T is no mean over subjects, and small groups inflate it; n·T − (n − 1)·T without subject i
    gives each subject a value, and takes the inflation off to first order. Of embeddings [n, D]
    in groups 0 and 1 each group needs two.
    """
    counts = np.bincount(groups, minlength=2)
    means = np.stack([embeddings[groups == group].mean(0) for group in (0, 1)])
    own_mean, other_mean = means[groups], means[1 - groups]
    left_out = own_mean + (own_mean - embeddings) / (counts[groups] - 1)[:, None]
    distances = np.linalg.norm(left_out - other_mean, axis=1)
    whole, count = np.linalg.norm(means[0] - means[1]), len(groups)
    pseudo_values: FloatArray = count * whole - (count - 1) * distances
    return pseudo_values


def ranks_of_replicates(
    estimates: npt.ArrayLike,
    replicates: npt.ArrayLike,
    bootstrap: SubjectBootstrap,
    slack: float = _EQUAL,
) -> list[Interval]:
    """Return the interval of each explainer's rank by any statistic that was bootstrapped.

    The rank is 1 + the number of strictly better explainers, so equal ones share the better rank.
    Limits are whole ranks, rounded outwards. All explainers are compared on the same resamples, so
    that what makes a subject easy for all of them cancels.

    They hold for one explainer at a time, and fail where explainers are nearly equal (Mogstad et
    al. 2024): of five that are, the first and the last are covered 75 % of the time where 95 % is
    claimed (40 subjects; 95 % or more where neighbours differ by 0.1 SD). So they describe how
    firm a rank is; a claim that two explainers differ needs their paired difference.

    Args:
        estimates: [E] a value per explainer; NaN where it has none.
        replicates: [R, E] the values on the same resamples.
        bootstrap: Bootstrap that drew the resamples.
        slack: Largest difference between two values that count as equal.
    """
    ranks = _ranks(np.asarray(estimates, dtype=np.float64)[None], slack)[0].tolist()
    drawn_ranks = _ranks(np.asarray(replicates, dtype=np.float64), slack).T
    intervals = map(bootstrap.statistic_interval, ranks, drawn_ranks)
    return [
        replace(rank, low=float(np.floor(rank.low)), high=float(np.ceil(rank.high)))
        for rank in intervals
    ]


def _ranks(scores: FloatArray, slack: float) -> FloatArray:
    """Return competition ranks along the rows of scores [R, E], 1 the largest; NaN of NaN."""
    ranks = np.full_like(scores, np.nan)
    for column, values in enumerate(scores.T):
        better = (scores > values[:, None] + slack).sum(axis=1)
        ranks[:, column] = np.where(np.isnan(values), np.nan, 1.0 + better)
    return ranks


def _multiplicities(count: int, resamples: int) -> Integers:
    """Return how often each subject is drawn in each resample, [resamples, count]."""
    return _drawn(stream("bootstrap", 0, count, resamples), count, resamples)


def _stratified_multiplicities(levels: Integers, resamples: int) -> Integers:
    """Return how often each subject is drawn where as many are drawn of each level, [R, U]."""
    dtype = np.min_scalar_type(len(levels))
    multiplicities: Integers = np.zeros((resamples, len(levels)), dtype=dtype)
    for level in np.unique(levels).tolist():
        members = np.flatnonzero(levels == level)
        generator = stream("bootstrap", "stratum", int(level), len(members), resamples)
        multiplicities[:, members] = _drawn(generator, len(members), resamples)
    return multiplicities


def _drawn(generator: np.random.Generator, count: int, resamples: int) -> Integers:
    """Return how often each of so many is drawn in each resample, [resamples, count]."""
    multiplicities: Integers = np.empty((resamples, count), dtype=np.min_scalar_type(count))
    for start in range(0, resamples, _DRAW_ROWS):
        rows = min(_DRAW_ROWS, resamples - start)
        picks = generator.integers(0, count, size=(rows, count))
        picks += count * np.arange(rows)[:, None]
        counts = np.bincount(picks.ravel(), minlength=rows * count)
        multiplicities[start : start + rows] = counts.reshape(rows, count)
    return multiplicities


def _most_rows(starts: Integers, rows: Integers) -> int:
    """Return the largest number of rows of one subject, given where each one's begin."""
    return int(np.diff(starts, append=len(rows)).max())


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN where the denominator is zero or NaN."""
    quotient: FloatArray = numerator / np.where(denominator == 0, np.nan, denominator)
    return quotient
