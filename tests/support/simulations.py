"""Data sets whose truth is known, on which intervals and comparisons show what they are worth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmark.seeding import stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.simultaneous import Block, compare
from benchmark.statistics.studentised import studentised_intervals
from benchmark.statistics.two_way import two_way_mean

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

_BETA_MEAN, _BETA_VARIANCE = 0.3 / 3.3, 0.3 * 3 / (3.3**2 * 4.3)

# Noise of mean 0 and variance 1: as bells, with a long tail, and most of it at one end.
NOISES: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "lognormal": lambda generator, shape: (
        (generator.lognormal(size=shape) - math.exp(0.5)) / math.sqrt(math.e * (math.e - 1))
    ),
    "beta(.3, 3)": lambda generator, shape: (
        (generator.beta(0.3, 3.0, size=shape) - _BETA_MEAN) / math.sqrt(_BETA_VARIANCE)
    ),
}
# True totals of eight explainers, in standard deviations of a subject's value.
TOTALS: dict[str, tuple[float, ...]] = {
    "all equal": (0.0,) * 8,
    "two levels": (0.5,) * 4 + (0.0,) * 4,
    "a ladder": tuple(0.15 * step for step in range(8)),
}


def names_of(count: int) -> tuple[str, ...]:
    """Return names of subjects."""
    return tuple(f"s{number:04d}" for number in range(count))


def coverage_of_mean(noise: str, subjects: int, data_sets: int, resamples: int) -> float:
    """Return how often the bootstrap-t interval of a mean of 1 holds it."""
    generator = stream("simulation", "mean", noise, subjects)
    values = 1.0 + NOISES[noise](generator, (subjects, data_sets))
    bootstrap = SubjectBootstrap(names_of(subjects), resamples)
    intervals = studentised_intervals(bootstrap, values)
    return float(np.mean([interval.low <= 1.0 <= interval.high for interval in intervals]))


def ranking_errors(
    noise: str, subjects: int, totals: tuple[float, ...], data_sets: int, resamples: int
) -> tuple[float, float]:
    """Return how often comparisons err.

    Half of what makes a subject's values vary is common to all explainers, as on real images.

    Returns:
        The share of data sets in which a pair of equal totals, or one the wrong way round, is
        decided; and the share in which every explainer's limits hold all its true ranks.
    """
    draw, generator = NOISES[noise], stream("simulation", "ranks", noise, subjects, str(totals))
    true = np.array(totals)
    is_better = true[:, None] > true[None, :]
    best = 1 + is_better.sum(0)
    worst = len(true) - is_better.sum(1)
    groups = tuple(number % 2 for number in range(subjects))
    false_splits = covered = 0
    for _ in range(data_sets):
        common, own = draw(generator, (subjects, 1)), draw(generator, (subjects, len(true)))
        values = true + math.sqrt(0.5) * (common + own)
        ranking = compare([Block("simulated", values, names_of(subjects), groups)], resamples)
        false_splits += bool((ranking.is_better & ~is_better).any())
        low, high = np.array(ranking.low), np.array(ranking.high)
        covered += bool(((low <= best) & (worst <= high)).all())
    return false_splits / data_sets, covered / data_sets


def coverage_of_two_way_mean(of_runs: float, data_sets: int) -> float:
    """Return how often the interval over 48 subjects and five runs holds the mean, 0.

    The variance of runs is given in units of the subjects'; a single value has a quarter beside.
    """
    generator = stream("simulation", "two-way", of_runs)
    covered = 0
    for _ in range(data_sets):
        subjects, residuals = generator.normal(size=(48, 1)), generator.normal(size=(48, 5))
        runs = math.sqrt(of_runs) * generator.normal(size=(1, 5))
        interval = two_way_mean(subjects + runs + residuals / 2).interval
        covered += interval.low <= 0 <= interval.high
    return covered / data_sets
