"""False alarms of `biomarker` on real maps, with volumes that mean nothing, and its trials."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from benchmark.arrays import FloatArray
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer
from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.cohort_checks import load_cohort
from benchmark.reading import shared_bootstrap
from benchmark.records.arrays import ArrayFolder
from benchmark.statistics.linear import (
    PartialCorrelation,
    correlation_test,
    draw_permutations,
    nuisance_design,
)
from benchmark.statistics.studentised import studentised_intervals
from benchmark.training import Recipe
from benchmark.trial import Peers, Runtime, Study, Trial
from benchmark.trial.projection import group_axis, signed_maps
from protocols.biomarker import Biomarker
from protocols.biomarker.associations import Setting, make_setting
from protocols.biomarker.measures import Marks, measure_marks
from protocols.biomarker.people import find_people
from protocols.biomarker.regions import own_regions
from protocols.biomarker.regressions import read_regressions
from protocols.biomarker.subfields import read_subfields

RUNS = 500
PART_RUNS = 200
MIXED_RUNS = 3
SITE_SPREAD = 0.5  # standard deviation of scanners, in standard deviations of subjects


def trial_on(cohort: str | Cohort, model: str, folder: Path) -> Trial:
    """Return a trial whose maps are kept in a folder."""
    catalogue = Catalogue()
    people = load_cohort(catalogue.cohorts.find(cohort)) if isinstance(cohort, str) else cohort
    source = catalogue.models.find(model).create()
    classifier = load_fitted(source, people, torch.device("cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    runtime = Runtime(torch.device("cpu"), 64, "v2", ArrayFolder(folder, lambda: None))
    peers = Peers({}, source.recipe or Recipe(), source.relatives)
    return Trial(explainer_of("saliency"), classifier, people, runtime, peers)


def explainer_of(name: str) -> Explainer:
    """Return an explainer of the catalogue."""
    return Catalogue().explainers.find(name).create()


def setting_and_marks(trial: Trial) -> tuple[Setting, Marks]:
    """Return what the score of a trial is made from."""
    people = find_people(trial, 20, None)
    axis = group_axis(trial)
    volumes = people.signed_volumes(people.regions)
    groups = people.groups[people.first]
    orders = draw_permutations(len(people), 1000, "acceptance", within=groups)
    setting = make_setting(people, volumes, axis.values[people.rows], orders)
    inside = trial.test.anatomy.foreground[people.rows]
    marks = measure_marks(
        signed_maps(trial, people.rows), people, own_regions(trial.test, people), inside
    )
    return setting, marks


def nulls(trial: Trial, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield how often volumes permuted within their group pass, and what lacks the group does."""
    yield ["map", "verdict passes", "p ≤ 0.05", "p ≤ 0.05 without the group", "lower bound > 0"]
    for name in names:
        setting, marks = setting_and_marks(trial.on(explainer=explainer_of(name)))
        groups, given = setting.groups, setting.by_output
        covariates = nuisance_design(setting.people.covariates)
        fit = setting.by_group.residuals(setting.volumes)
        explained = setting.volumes - fit
        # As one would permute who forgets the group.
        orders = draw_permutations(len(groups), 999, "acceptance")
        bootstrap = shared_bootstrap(tuple(f"s{row:04}" for row in range(len(groups))))
        hits = np.zeros(4)
        for run in range(RUNS):
            generator = np.random.default_rng(run)
            order = np.arange(len(groups))
            for group in (0, 1):
                members = np.flatnonzero(groups == group)
                order[members] = generator.permutation(members)
            volumes = explained + fit[order]
            own, control, *copies = (
                PartialCorrelation(of, volumes, given).values
                for of in (marks.own, marks.control, *marks.copies)
            )
            beyond = np.mean([own - copy for copy in copies], axis=0)
            columns = np.column_stack([own, beyond, own - control])
            lows = [limit.low for limit in studentised_intervals(bootstrap, columns)]
            with_group = correlation_test(marks.own, volumes, given, setting.permutations)
            without = correlation_test(marks.own, volumes, covariates, orders)
            hits += [min(lows) > 0, with_group.p <= 0.05, without.p <= 0.05, lows[0] > 0]
        yield [f"`{name}`", *(f"{share:.3f}" for share in hits / RUNS)]


def null_volumes(setting: Setting, volumes: FloatArray, run: int) -> FloatArray:
    """Return volumes [n, K] whose residuals are permuted within their group."""
    left = setting.by_group.residuals(volumes)
    order, generator = np.arange(len(left)), np.random.default_rng(run)
    for group in (0, 1):
        members = np.flatnonzero(setting.groups == group)
        order[members] = generator.permutation(members)
    permuted: FloatArray = volumes - left + left[order]
    return permuted


def sites(trial: Trial, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield how often null volumes pass where scanners shift both the map and the volume."""
    yield ["map", "p ≤ 0.05", "p ≤ 0.05, scanner ignored", "numbers of mixed models, not finite"]
    for name in names:
        setting, marks = setting_and_marks(trial.on(explainer=explainer_of(name)))
        people, own = setting.people, marks.own
        scanners = people.covariates["scanner"].astype("category").cat.codes.to_numpy()
        output = {"output": people.mean(setting.output)}
        table = people.covariates.drop(columns="scanner")
        ignoring = nuisance_design(table, setting.groups, extra=output)
        hits, strange, numbers = np.zeros(2), 0, 0
        for run in range(RUNS):
            generator = np.random.default_rng((RUNS, run))  # both sides of a brain shift alike
            shifts = generator.normal(0, SITE_SPREAD, (2, scanners.max() + 1, 1))
            volumes = null_volumes(setting, setting.volumes, run)
            of_map = own + shifts[0, scanners] * setting.by_group.residuals(own).std(0)
            volumes += shifts[1, scanners] * setting.by_group.residuals(volumes).std(0)
            hits += [
                correlation_test(of_map, volumes, design, setting.permutations).p <= 0.05
                for design in (setting.by_output, ignoring)
            ]
            if run < MIXED_RUNS:
                of_images = shifts[0, scanners] * setting.by_group.residuals(own).std(0)
                moved = volumes - setting.volumes
                counts = _mixed_numbers(trial, setting, marks, moved, of_images)
                strange, numbers = strange + counts[0], numbers + counts[1]
        shares = [f"{share:.3f}" for share in hits / RUNS]
        yield [f"`{name}`", *shares, f"{strange} of {numbers}"]


def _mixed_numbers(
    trial: Trial, setting: Setting, marks: Marks, moved: FloatArray, of_map: FloatArray
) -> tuple[int, int]:
    """Return how many numbers of mixed models are not finite, and how many there are.

    A warning of the fit is an error here.

    Args:
        trial: Trial on the cohort.
        setting: What the score is made from.
        marks: What the map puts on the regions.
        moved: [n, K] what is added to a subject's volumes.
        of_map: [n, K] what is added to what the map puts on the regions.
    """
    people = setting.people
    owners = np.unique(people.subjects, return_inverse=True)[1]
    known = people.signed_volumes_by_image(people.regions) + moved[owners]
    columns = {f"{region}_volume": known[:, at] for at, region in enumerate(people.regions)}
    changed = replace(people, participants=people.participants.assign(**columns))
    notes = Study(trial, Biomarker.name).of(people.rows[people.first])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_regressions(
            notes,
            replace(setting, people=changed, volumes=setting.volumes + moved),
            replace(marks, own=marks.own + of_map, by_image=marks.by_image + of_map[owners]),
        )
    mixed = [one.values for one in notes.readings if one.conditions.get("model") == "mixed"]
    return sum(not np.isfinite(values).all() for values in mixed), len(mixed)


def parts(trial: Trial, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield how often any part of a region passes at a false discovery rate of 5 % by chance."""
    settled = []
    for name in names:
        on = trial.on(explainer=explainer_of(name))
        setting, marks = setting_and_marks(on)
        settled.append((Study(on, Biomarker.name), setting, marks))
    ps = np.array(
        [_part_ps(study, *rest, run) for run in range(PART_RUNS) for study, *rest in settled]
    )
    ps = ps.reshape(PART_RUNS, -1)
    rates = stats.false_discovery_control(ps, axis=1)
    yield ["maps", "parts", "p ≤ 0.05 of each", "any q ≤ 0.05", "runs"]
    words = ", ".join(f"`{name}`" for name in names)
    each, any_q = (ps <= 0.05).mean(), (rates <= 0.05).any(axis=1).mean()
    yield [words, f"{ps.shape[1]}", f"{each:.3f}", f"{any_q:.3f}", f"{PART_RUNS}"]


def _part_ps(study: Study, setting: Setting, marks: Marks, run: int) -> list[float]:
    """Return the p-value of each part, with the parts' volumes permuted within groups."""
    people = setting.people
    drawn = null_volumes(setting, people.volumes(people.parts), run)
    owners = np.unique(people.subjects, return_inverse=True)[1]
    columns = {f"{part}_volume": drawn[owners, at] for at, part in enumerate(people.parts)}
    shuffled = replace(people, participants=people.participants.assign(**columns))
    notes = study.of(people.rows[people.first])
    known = len(notes.readings)
    regions = own_regions(study.trial.test, people)
    read_subfields(notes, replace(setting, people=shuffled), marks, regions)
    return [
        float(one.values[0])
        for one in notes.readings[known:]
        if one.statistic == Biomarker.p.name and one.conditions["of"] == Biomarker.subfield.name
    ]
