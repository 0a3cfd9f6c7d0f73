"""Studies whose truth is known, on which tests given covariates show how often they are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import gaussian_filter
from simulations import Array, names_of

from benchmark.seeding import stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.linear import (
    Design,
    PartialCorrelation,
    Permutations,
    correlation_test,
    draw_permutations,
    nuisance_design,
    regress,
    regress_mixed,
    voxelwise_test,
)
from benchmark.statistics.studentised import studentised_intervals

NOISES = ("normal", "heavy tails", "unequal")
SIZE = 24  # pixels of a side of a simulated map


@dataclass(frozen=True)
class People:
    """Subjects with covariates, of two groups that differ in volume and in the output.

    Attributes:
        table: Covariates of n subjects.
        groups: [n], half of them 0 and half 1.
        volumes: [n, 2] of two sides. Given covariates and group they go with nothing else, or by
            ``effect`` with the shares.
        output: [n] φ.
        shares: [n, 2] of a map on the two sides: they follow the output and the group.
        copies: [n, 3, 2] of the same map on three networks that learned nothing.
        control: [n, 2] of the same map on control regions: it follows the output.
    """

    table: pd.DataFrame
    groups: npt.NDArray[np.int64]
    volumes: Array
    output: Array
    shares: Array
    copies: Array
    control: Array

    def design(self, *, with_group: bool = True, with_output: bool = True) -> Design:
        """Return what correlations are given."""
        extra = {"output": self.output} if with_output else None
        return nuisance_design(self.table, self.groups if with_group else None, extra=extra)


def draw_people(
    generator: np.random.Generator, count: int, noise: str = "normal", effect: float = 0.0
) -> People:
    """Return subjects whose map follows volumes by ``effect`` beyond all that is adjusted for."""
    groups = halves(count)
    table = pd.DataFrame(
        {
            "age": generator.normal(70, 8, count),
            "sex": generator.choice(["F", "M"], count),
            "tiv": generator.normal(1500, 120, count),
            "scanner": generator.choice(["a", "b"], count),
        }
    )

    def noises(*shape: int) -> Array:
        draws = generator.normal(size=(count, *shape))
        if noise == "heavy tails":
            draws = generator.standard_t(3, size=(count, *shape))
        elif noise == "unequal":
            draws *= np.where(groups == 1, 2.0, 0.7).reshape(-1, *[1] * len(shape))
        return draws

    age, tiv = ((table[name] - table[name].mean()) / table[name].std() for name in ("age", "tiv"))
    nuisance = (0.5 * tiv - 0.4 * age).to_numpy()
    own = noises(2) + 0.8 * noises(1)
    volumes = own + (nuisance - 1.5 * groups)[:, None]
    # What the network sees of the volume cannot be seen by the map once the output is given.
    output = -2.0 * groups + 0.5 * nuisance + noises()
    shares = (output - groups)[:, None] + effect * own + noises(2)
    control = 0.7 * output[:, None] + noises(2)
    copies = noises(3, 2) + 0.3 * nuisance[:, None, None]
    return People(table, groups, volumes, output, shares, copies, control)


def biomarker_errors(
    noise: str, count: int, data_sets: int, permutations: int = 499
) -> dict[str, float]:
    """Return how often maps that say nothing of volume beyond the output seem to.

    Returns:
        Share of data sets with p ≤ .05 by the test with subjects permuted within groups, by the
        test with all permuted, and by the test without the group in its design; and with a lower
        limit above 0 of the score and of all three that a verdict asks for.
    """
    generator = stream("simulation", "biomarker", noise, count)
    within = draw_permutations(count, permutations, "simulation", within=halves(count))
    orders = draw_permutations(count, permutations, "simulation")
    bootstrap = SubjectBootstrap(names_of(count), 2000)  # over all, as readings are summarised
    hits = {"test": 0, "all permuted": 0, "test without group": 0, "lower limit": 0, "verdict": 0}
    for _ in range(data_sets):
        people = draw_people(generator, count, noise)
        design, volumes = people.design(), people.volumes
        hits["test"] += correlation_test(people.shares, volumes, design, within).p <= 0.05
        hits["all permuted"] += correlation_test(people.shares, volumes, design, orders).p <= 0.05
        ungrouped = people.design(with_group=False, with_output=False)
        across = correlation_test(people.shares, volumes, ungrouped, orders)
        hits["test without group"] += across.p <= 0.05
        arms = [people.shares, people.control, *people.copies.transpose(1, 0, 2)]
        own, control, *copies = (PartialCorrelation(arm, volumes, design).values for arm in arms)
        columns = np.column_stack([own, own - control, own - np.mean(copies, axis=0)])
        lows = [interval.low for interval in studentised_intervals(bootstrap, columns)]
        hits["lower limit"] += lows[0] > 0
        hits["verdict"] += min(lows) > 0
    return {name: count / data_sets for name, count in hits.items()}


def correlation_coverage(
    noise: str, count: int, effect: float, data_sets: int
) -> dict[str, tuple[float, float]]:
    """Return how intervals of a partial correlation do against the truth of a large sample.

    Returns:
        Of the values per subject and of the bootstrap that fits anew: the share of intervals that
        hold the truth, and of those whose lower limit lies above it.
    """
    generator = stream("simulation", "coverage", noise, count, effect)
    large = draw_people(generator, 50_000, noise, effect)
    truth = PartialCorrelation(large.shares, large.volumes, large.design()).estimate
    names = names_of(count)
    over_all, in_groups = (
        SubjectBootstrap(names, 2000),
        SubjectBootstrap(names, 2000, halves(count)),
    )
    limits: dict[str, list[tuple[float, float]]] = {"values": [], "refitted": []}
    for _ in range(data_sets):
        people = draw_people(generator, count, noise, effect)
        correlation = PartialCorrelation(people.shares, people.volumes, people.design())
        (interval,) = studentised_intervals(over_all, correlation.values[:, None])
        limits["values"].append((interval.low, interval.high))
        replicates = correlation.replicates(in_groups)
        interval = in_groups.statistic_interval(correlation.estimate, replicates)
        limits["refitted"].append((interval.low, interval.high))
    results = {}
    for name, pairs in limits.items():
        low, high = np.array(pairs).T
        covered = float(((low <= truth) & (truth <= high)).mean())
        results[name] = covered, float((low > truth).mean())
    return results


def halves(count: int) -> npt.NDArray[np.int64]:
    """Return the groups of subjects: 0 and 1 in turn."""
    return np.arange(count) % 2


def scanner_errors(count: int, data_sets: int, permutations: int = 499) -> tuple[float, float]:
    """Return how often four scanners with offsets in map and volume make p ≤ .05.

    Returns:
        The share by the default rule, and where the scanner is ignored.
    """
    generator = stream("simulation", "scanners", count)
    orders = draw_permutations(count, permutations, "simulation")
    adjusted = ignored = 0
    for _ in range(data_sets):
        people = draw_people(generator, count)
        scanners = generator.integers(0, 4, count)
        # One gain for the whole image: it moves what a map shows and what is segmented.
        offsets = generator.normal(scale=0.7, size=4)[scanners][:, None]
        shares, volumes = people.shares + offsets, people.volumes + offsets
        table, extra = people.table.assign(scanner=scanners), {"output": people.output}
        given = nuisance_design(table, people.groups, extra=extra)
        without = nuisance_design(table.drop(columns="scanner"), people.groups, extra=extra)
        adjusted += correlation_test(shares, volumes, given, orders, "two-sided").p <= 0.05
        ignored += correlation_test(shares, volumes, without, orders, "two-sided").p <= 0.05
    return adjusted / data_sets, ignored / data_sets


def mixed_errors(
    clusters: str, spread: float, data_sets: int, count: int = 150
) -> dict[str, float]:
    """Return how often a predictor that says nothing has p ≤ .05 where rows come in clusters.

    Args:
        clusters: ``sites``, twelve of them, or ``visits``, two a subject.
        spread: Standard deviation of the clusters' means, in those of a row's own noise.
        data_sets: Number of data sets.
        count: Number of rows.
    """
    generator = stream("simulation", "mixed", clusters, spread)
    hits = {"mixed": 0, "ignored": 0, "fell back": 0}
    for _ in range(data_sets):
        members = generator.integers(0, 12, count)
        if clusters == "visits":
            members = np.arange(count) // 2
        offsets = generator.normal(size=(count, 2))[members]
        outcome = generator.normal(size=count) + spread * offsets[:, 0]
        predictor = generator.normal(size=count) + 0.7 * offsets[:, 1]
        table = pd.DataFrame(generator.normal(size=(count, 2)), columns=["age", "tiv"])
        design = nuisance_design(table)
        mixed = regress_mixed(outcome, predictor, design, members.tolist())
        if not np.isfinite([mixed.beta, mixed.error, mixed.p, mixed.gained_aic]).all():
            raise ArithmeticError("a mixed model left a number that is none")
        hits["mixed"] += mixed.p <= 0.05
        hits["fell back"] += bool(mixed.note)
        hits["ignored"] += regress(outcome, predictor, design).p <= 0.05
    return {name: count / data_sets for name, count in hits.items()}


def smooth_maps(generator: np.random.Generator, count: int) -> Array:
    """Return maps of smooth noise [n, SIZE²] of standard deviation 1."""
    noise = generator.normal(size=(count, SIZE, SIZE))
    maps = gaussian_filter(noise, sigma=(0, 1.3, 1.3))  # FWHM 3 pixels
    return (maps / maps.std()).reshape(count, -1)


@dataclass(frozen=True)
class VoxelErrors:
    """How often maps that do not differ seem to.

    Attributes:
        any_voxel: Share of data sets with a voxel whose p, adjusted by max-T, is ≤ .05.
        any_discovery: The same by the false discovery rate.
        smallest: Smallest adjusted p of each data set, uniform where the test is exact.
    """

    any_voxel: float
    any_discovery: float
    smallest: Array


def voxel_errors(
    data_sets: int, permutations: int, *, by_age: bool = False, adjusted: bool = True
) -> VoxelErrors:
    """Return the errors of voxelwise tests on maps of 60 subjects that follow age alone.

    Args:
        data_sets: Number of data sets.
        permutations: Number of permutations of each.
        by_age: Whether the groups depend on age, as pseudo-groups of healthy people may; otherwise
            they are drawn by lot.
        adjusted: Whether age is given.
    """
    generator = stream("simulation", "voxels", by_age, adjusted)
    orders: Permutations = draw_permutations(60, permutations, "simulation")
    follows_age = np.zeros((SIZE, SIZE))
    follows_age[8:16, 8:16] = 0.5
    smallest, discoveries = [], 0
    for _ in range(data_sets):
        age = generator.normal(size=60)
        chance = age + generator.normal(size=60) if by_age else generator.normal(size=60)
        groups = (chance > np.median(chance)).astype(np.int64)
        maps = smooth_maps(generator, 60) + age[:, None] * follows_age.ravel()
        covariates = ("age",) if adjusted else ()
        design = nuisance_design(pd.DataFrame({"age": age}), covariates=covariates)
        test = voxelwise_test(maps, groups, design, orders)
        smallest.append(float(test.p_fwe.min()))
        discoveries += test.q.min() <= 0.05
    return VoxelErrors(
        float(np.mean(np.array(smallest) <= 0.05)), discoveries / data_sets, np.array(smallest)
    )
