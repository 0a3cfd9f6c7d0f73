"""The acceptance checks of `group_maps` that take minutes; prints what docs/group_maps.md shows.

``python tests/support/group_maps_acceptance.py phantom FOLDER`` keeps the maps in the folder, where
a second run finds them; ``phantom2`` asks the same of posed images. Names of checks behind it, such
as ``coverage``, ask these alone, and names of explainers restrict ``scores`` and ``steady``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from nilearn.mass_univariate import permuted_ols
from phantoms import phantom_with_partners
from placeless import AtlasTimesOutput, SobelTimesOutput, UniformTimesOutput
from scipy import stats

from baselines.cohorts.phantom2 import Phantom2
from baselines.explainers.class_activation import GradCAM, GradCAMAligned
from baselines.explainers.controls import (
    Atlas,
    Centre,
    Intensity,
    Random,
    SmoothNoise,
    Sobel,
    TrueDeviation,
)
from baselines.explainers.gradient import InputXGradient, Saliency
from baselines.explainers.path import GradientSHAP, IntegratedGradients
from baselines.models.phantom2_resnet import Phantom2ResNet
from baselines.models.smallresnet import SmallResNet
from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.errors import SanityError
from benchmark.explainer import Explainer
from benchmark.reading import Reading, Sample, Statistic, interval, summarise
from benchmark.records.arrays import ArrayFolder
from benchmark.running.cells import conclude
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import NO_INTERVAL
from benchmark.statistics.linear import Design, draw_permutations, nuisance_design, voxelwise_test
from benchmark.training import Recipe
from benchmark.trial import LABEL_MODEL, Peers, Runtime, Trial
from benchmark.trial.projection import signed_maps
from protocols.group_maps import GroupMaps, GroupMapsConfig
from protocols.group_maps.differences import Model, difference_p, measure
from protocols.group_maps.population import Population, choose_subjects
from protocols.group_maps.statistics import LEVEL, GroupMapsStatistics

SUITE = "v2#0"
RUNS, SAMPLES, ORDERS, HEADS = 200, 200, 199, 10
CONTROLS: tuple[Explainer, ...] = (
    TrueDeviation(), Random(), SmoothNoise(), Centre(), Intensity(), Sobel(), Atlas(),
)  # fmt: skip
METHODS: tuple[Explainer, ...] = (
    IntegratedGradients(baseline="mean"), GradientSHAP(), GradCAM(), GradCAMAligned(),
    InputXGradient(), Saliency(),
)  # fmt: skip
STEADY = "gradcam_aligned", "saliency", "integrated_gradients", "gradient_shap"
SHUFFLED = GradCAMAligned(), Saliency(), Sobel(), IntegratedGradients(baseline="mean")
_QUICK = GroupMapsConfig(steady_subjects=0, controls=())


@dataclass(frozen=True)
class Bench:
    """A trial, and the subjects whose maps are simulated with."""

    trial: Trial

    @cached_property
    def people(self) -> Population:
        """The subjects that the protocol asks by default."""
        test = self.trial.test
        rows = choose_subjects(test, SUITE, _QUICK.subjects)
        return Population(test, rows, test.groups[[own[0] for own in rows]], _QUICK.fwhm)

    @cached_property
    def covariates(self) -> Design:
        """Design of the covariates."""
        return nuisance_design(self.people.participants)

    @cached_property
    def nothing(self) -> Design:
        """Design of the intercept alone."""
        return nuisance_design(self.people.participants, covariates=())

    def smoothed(self, explainer: Explainer) -> list[FloatArray]:
        """Return smoothed maps [n, V] on the network and on each copy."""
        drawn = signed_maps(self.trial.on(explainer=explainer), self.people.all_rows)
        return [self.people.smooth(maps) for maps in (drawn.own, *drawn.copies.values())]

    def mean_of(self, statistic: Statistic, values: FloatArray, groups: Rows) -> Reading:
        """Return a reading of values [n], a subject each."""
        names = tuple(f"s{number:04d}" for number in range(len(values)))
        return Reading(statistic.name, Sample(names, names, tuple(groups.tolist())), values)

    def low(self, values: FloatArray, groups: Rows) -> float:
        """Return the lower bound of the mean of values [n]."""
        statistic = GroupMapsStatistics.recovery
        reading = self.mean_of(statistic, values, groups)
        return summarise(reading, statistic.aggregate).low


def build(cohort: str, folder: Path) -> Trial:
    """Return a trial on one of the phantoms, whose maps are kept in a folder."""
    people = phantom_with_partners() if cohort == "phantom" else Phantom2().load()
    source = SmallResNet() if cohort == "phantom" else Phantom2ResNet()
    archive = ArrayFolder(folder, lambda: folder.mkdir(parents=True, exist_ok=True))
    runtime = Runtime(torch.device("cpu"), suite=SUITE, archive=archive)
    panel = {control.name: control for control in CONTROLS}
    peers = Peers(panel, source.recipe or Recipe(), source.relatives)
    return Trial(Sobel(), source.load(people.shape), people, runtime, peers)


def scores(trial: Trial, only: Sequence[str]) -> Iterator[str]:
    """Yield a row for each method and control (checks 1, 2, 9 and 11)."""
    protocol, one = GroupMaps(_QUICK), GroupMapsStatistics
    regions = trial.cohort.references.regions
    assert regions is not None
    placeless = UniformTimesOutput(), AtlasTimesOutput(regions), SobelTimesOutput()
    yield "| map | p | reliability | located | recovery | null | voxels | near | verdict |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for explainer in (*CONTROLS, *METHODS, *placeless):
        if only and explainer.name not in only:
            continue
        try:
            readings = protocol.readings(trial.on(explainer=explainer))
        except SanityError as error:
            yield f"| `{explainer.name}` | {error} |"
            continue
        outcome = conclude(protocol, readings)
        p, reliability, located, recovery, own, voxels, near = (
            interval(readings, statistic) or NO_INTERVAL
            for statistic in (
                one.difference_p, one.reliability, one.located, one.recovery, one.own_recovery,
                one.voxels_fwe, one.voxels_fwe_near,
            )
        )  # fmt: skip
        yield (
            f"| `{explainer.name}` | {p.estimate:.3f} | {reliability.estimate:.2f} "
            f"| {located.estimate:.2f} | {recovery.estimate:.2f} "
            f"[{recovery.low:.2f}, {recovery.high:.2f}] "
            f"| {recovery.estimate - own.estimate:.2f} | {voxels.estimate:.0f} "
            f"| {near.estimate:.2f} | {outcome.verdict or outcome.state}: {outcome.reason} |"
        )


def shuffled(bench: Bench) -> Iterator[str]:
    """Yield how often something is found between groups that were shuffled (check 3)."""
    count = len(bench.people.rows)
    orders = draw_permutations(count, ORDERS, "acceptance")
    yield "| maps, groups shuffled | pass | p <= .05 | KS p | max-T, any voxel | FDR, any voxel |"
    yield "|---|---|---|---|---|---|"
    for explainer in SHUFFLED:
        maps = bench.smoothed(explainer)
        p_values, passed, any_fwe, any_fdr = [], 0, 0, 0
        for run in range(RUNS):
            groups = stream("shuffled", run).permutation(bench.people.groups)
            model = Model(groups, bench.covariates)
            p_values.append(difference_p(maps[0], model, orders))
            test = voxelwise_test(maps[0][:, ::6], groups, bench.covariates, orders)
            any_fwe += bool((test.p_fwe <= LEVEL).any())
            any_fdr += bool((test.q <= LEVEL).any())
            passed += p_values[-1] <= LEVEL and _passes(bench, maps, model, orders)
        uniform = stats.kstest(p_values, "uniform").pvalue
        share = np.mean(np.array(p_values) <= LEVEL)
        yield (
            f"| `{explainer.name}` | {passed / RUNS:.3f} | {share:.3f} | {uniform:.2f} "
            f"| {any_fwe / RUNS:.3f} | {any_fdr / RUNS:.3f} |"
        )


def _passes(bench: Bench, maps: list[FloatArray], model: Model, orders: Rows) -> bool:
    """Return whether recovery, and recovery above the copies, certainly exceed the margin."""
    change, groups = bench.people.change, model.groups
    own = measure(model.adjusted(maps[0]), model, change).values
    above = []
    for copy in maps[1:]:
        differs = difference_p(copy, model, orders) <= LEVEL
        null = measure(model.adjusted(copy), model, change).values if differs else 0 * own
        above.append(own - (own if np.array_equal(copy, maps[0]) else null))
    margin = _QUICK.margin
    return all(bench.low(values, groups) > margin for values in (own, np.mean(above, axis=0)))


def own_signed(bench: Bench) -> Iterator[str]:
    """Yield how often maps whose sign follows a shuffled label differ (check 4)."""
    count, found = len(bench.people.rows), 0
    orders = draw_permutations(count, ORDERS, "acceptance")
    drawn = signed_maps(bench.trial.on(explainer=GradCAMAligned()), bench.people.all_rows).own
    unit = drawn / drawn.abs().flatten(1).sum(1).reshape(-1, *(1,) * (drawn.ndim - 1))
    smoothed = bench.people.smooth(unit)
    for run in range(RUNS):
        groups = stream("shuffled", run).permutation(bench.people.groups)
        signed = smoothed * (1 - 2 * groups)[:, None]
        found += difference_p(signed, Model(groups, bench.nothing), orders) <= LEVEL
    yield f"maps signed by a shuffled label (Grad-CAM, l1) differ in {found / RUNS:.3f} of {RUNS}"


def fitted_direction(bench: Bench) -> Iterator[str]:
    """Yield how often φ differs between shuffled groups on a random network (check 5)."""
    random = bench.trial.randomised(0)
    embeddings = random.evaluation.embeddings
    direction = _direction(random)
    found = {"fitted on the same subjects": 0, "of the training split": 0}
    for run in range(RUNS):
        groups = stream("shuffled", run).permutation(random.test.groups)
        own = embeddings[groups == 0].mean(0) - embeddings[groups == 1].mean(0)
        for name, w in zip(found, (own, direction), strict=True):
            phi = embeddings @ w
            found[name] += stats.ttest_ind(phi[groups == 0], phi[groups == 1]).pvalue <= LEVEL
    for name, count in found.items():
        yield f"random network, groups shuffled, direction {name}: φ differs in {count / RUNS:.3f}"


def _direction(trial: Trial) -> FloatArray:
    train = trial.train
    known = trial.models.embed_in_lanes(train.batch(np.arange(len(train))).images)[1]
    difference: FloatArray = known[train.groups == 0].mean(0) - known[train.groups == 1].mean(0)
    return difference


def against_nilearn(bench: Bench) -> Iterator[str]:
    """Yield how far t and p lie from those of nilearn (check 6)."""
    maps, groups = bench.smoothed(GradCAMAligned())[0][:, ::12], bench.people.groups
    contrast = (groups == 0).astype(float)
    for name, design in {"alone": bench.nothing, "with covariates": bench.covariates}.items():
        orders = draw_permutations(len(groups), 1000, "acceptance")
        own = voxelwise_test(maps, groups, design, orders)
        extra = design.matrix[:, 1:] if design.used else None
        other = permuted_ols(
            contrast, maps, extra, n_perm=1000, two_sided_test=True, random_state=0,
            output_type="dict", verbose=0,
        )  # fmt: skip
        apart = np.abs(own.t - other["t"][0]).max()
        p = 10.0 ** -other["logp_max_t"][0]
        of_p = np.abs(own.p_fwe - p).max()
        yield f"groups {name}: |t - nilearn's| {apart:.1e}, |p - nilearn's| {of_p:.3f}"


def confounded(bench: Bench) -> Iterator[str]:
    """Yield how often pseudo-groups of A that differ in age alone differ (check 7)."""
    people = bench.people.only(bench.people.groups == 0)
    kept = bench.people.groups == 0
    maps = bench.smoothed(IntegratedGradients(baseline="mean"))[0][kept][:, ::6]
    table = people.participants
    age = table["age"].to_numpy(dtype=float)
    age = (age - age.mean()) / age.std()
    with_age, without = (nuisance_design(table, covariates=names) for names in (("age",), ()))
    orders = draw_permutations(len(kept[kept]), ORDERS, "acceptance")
    # Maps of the phantom hardly follow age, so that an effect of age is added to some voxels.
    driven = maps.copy()
    driven[:, :50] += maps[:, :50].std(0) * age[:, None]
    for name, values in {"as they are": maps, "driven by age": driven}.items():
        found = {"with age": 0, "without": 0}
        for run in range(100):
            noise = stream("confounded", run).normal(size=len(age))
            groups = (age + noise > np.median(age + noise)).astype(int)
            for label, design in zip(found, (with_age, without), strict=True):
                test = voxelwise_test(values, groups, design, orders)
                found[label] += bool((test.p_fwe <= LEVEL).any())
        yield f"pseudo-groups of A by age, maps {name}: any voxel {found} of 100"


def coverage(bench: Bench) -> Iterator[str]:
    """Yield how often the 95 % interval of the recovery holds the truth (check 8).

    Samples of 60 and 60 are drawn with replacement from the subjects, whose own maps are the
    population; the truth is the ratio of expectations at that size.
    """
    groups, change, size = bench.people.groups, bench.people.change, 60
    design = nuisance_design(bench.people.participants.head(1).loc[[0] * (2 * size)], covariates=())
    yield "| maps | truth | mean | bootstrap-t of linearised values | percentile of the ratio |"
    yield "|---|---|---|---|---|"
    for explainer in SHUFFLED:
        maps = bench.smoothed(explainer)[0]
        truth = _expected(maps, groups, change, size)
        held, estimates = np.zeros(2), []
        for run in range(SAMPLES):
            generator = stream("coverage", explainer.name, run)
            rows = np.concatenate(
                [generator.choice(np.flatnonzero(groups == group), size) for group in (0, 1)]
            )
            found = measure(maps[rows], Model(groups[rows], design), change)
            estimates.append(float(found.values.mean()))
            reading = bench.mean_of(GroupMapsStatistics.recovery, found.values, groups[rows])
            as_ratio = replace(reading, values=found.located, denominators=found.total)
            limits = summarise(reading, "studentised"), summarise(as_ratio, "ratio")
            held += [limit.low <= truth <= limit.high for limit in limits]
        yield (
            f"| `{explainer.name}` | {truth:.3f} | {np.mean(estimates):.3f} "
            f"| {held[0] / SAMPLES:.3f} | {held[1] / SAMPLES:.3f} |"
        )


def _expected(maps: FloatArray, groups: Rows, change: BoolArray, size: int) -> float:
    means = [maps[groups == group].mean(0) for group in (0, 1)]
    noise = sum(maps[groups == group].var(0) / size for group in (0, 1))
    squared, share = (means[0] - means[1]) ** 2, change.mean()
    located = (squared[change].sum() - share * squared.sum()) / (1 - share)
    return float(located / (squared + noise).sum())


def memorised(trial: Trial) -> Iterator[str]:
    """Yield what is said of a network that knows permuted labels by heart (check 11)."""
    if LABEL_MODEL.missing(trial) is not None:
        return
    there = LABEL_MODEL.on(trial).on(explainer=GradCAMAligned())
    protocol = GroupMaps(_QUICK)
    outcome = conclude(protocol, protocol.readings(there))
    yield f"label-memorised network: {outcome.state}: {outcome.reason}"


def steady(trial: Trial, only: Sequence[str]) -> Iterator[str]:
    """Yield what changes that should not matter do; of refitted heads the mean and the range."""
    protocol = GroupMaps(GroupMapsConfig(controls=(), permutations=19, refits=HEADS + 1))
    one = GroupMapsStatistics
    for explainer in METHODS:
        if explainer.name not in (only or STEADY):
            continue
        readings = protocol.readings(trial.on(explainer=explainer))
        found: dict[str, list[tuple[float, float]]] = {}
        for reading in readings:
            if reading.statistic == one.steadiness.name:
                change = str(reading.conditions["change"])
                groups = interval(readings, one.steadiness_of_groups, change=change)
                assert groups is not None
                name = "heads" if change.startswith("head ") else change
                pair = float(np.nanmean(reading.values)), groups.estimate
                found.setdefault(name, []).append(pair)
        parts = []
        for change, pairs in found.items():
            mean, low, high = (part(pairs, axis=0) for part in (np.mean, np.min, np.max))
            words = f"{change} {mean[0]:.2f} / {mean[1]:.2f}"
            span = f" ({low[0]:.2f}–{high[0]:.2f} / {low[1]:.2f}–{high[1]:.2f})"
            parts.append(words + span * (len(pairs) > 1))
        yield f"{explainer.name}, subject / groups: {', '.join(parts)}"


def main(cohort: str, folder: Path, *chosen: str) -> None:
    """Print the checks of these names, or all, on one cohort; other names are explainers'."""
    trial = build(cohort, folder)
    bench = Bench(trial)
    of_bench = own_signed, fitted_direction, against_nilearn, confounded, coverage, shuffled
    lines = {check.__name__: check(bench) for check in of_bench}
    only = [name for name in chosen if name not in (*lines, "memorised", "steady", "scores")]
    lines |= {check.__name__: check(trial, only) for check in (steady, scores)}
    lines["memorised"] = memorised(trial)
    for name in [name for name in chosen if name in lines] or lines:
        for line in lines[name]:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
