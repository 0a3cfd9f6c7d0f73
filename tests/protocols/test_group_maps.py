"""`group_maps`: what is learned and lies where anatomy differs gains, all else is worth nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from phantoms import phantom_with_partners
from placeless import UniformTimesOutput
from torch import Tensor
from trials import build_trial, cohort_of, trained

from baselines.cohorts.phantom2 import Phantom2
from baselines.explainers.class_activation import GradCAMAligned
from baselines.explainers.controls import Centre, Intensity, Sobel, TrueDeviation
from baselines.explainers.gradient import Saliency
from baselines.models.phantom2_resnet import Phantom2ResNet
from baselines.models.smallresnet import SmallResNet
from benchmark.classifier import Classifier
from benchmark.cohort import Anatomy
from benchmark.errors import AttributionError, NotAssessableError, SuiteError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.protocol import exhibit_purpose
from benchmark.reading import Reading, Sample, find, interval
from benchmark.records.arrays import ArrayFolder
from benchmark.results.explained_model import add_geometry
from benchmark.seeding import stream
from benchmark.statistics.linear import draw_permutations, nuisance_design
from benchmark.target import Projection, Target
from benchmark.trial import Runtime, Trial
from protocols.group_maps import GroupMaps, GroupMapsConfig
from protocols.group_maps.differences import Model, difference_p, measure, split_half
from protocols.group_maps.population import Population, choose_subjects
from protocols.group_maps.tables import welch_p

QUICK = GroupMapsConfig(
    subjects=60, permutations=99, halves=4, repeats=1, steady_subjects=0, controls=()
)
PROTOCOL = GroupMaps(QUICK)
DARK = 0.4523  # half of the test images are darker on average
VOXELS, SUBJECTS = 300, 60
CHANGE = np.arange(VOXELS) < 30


@lru_cache(maxsize=2)
def _trial(cohort: str = "phantom") -> Trial:
    """Return a trial on a committed cohort, whose memory the tests share."""
    source, people = (
        (SmallResNet(), phantom_with_partners())
        if cohort == "phantom"
        else (Phantom2ResNet(), Phantom2().load())
    )
    runtime = Runtime(torch.device("cpu"), suite="v2#0")
    return Trial(Sobel(), source.load(people.shape), people, runtime)


@lru_cache(maxsize=8)
def _readings(explainer: Explainer, cohort: str = "phantom") -> list[Reading]:
    return PROTOCOL.readings(_trial(cohort).on(explainer=explainer))


GRADCAM, SOBEL, TRUTH = GradCAMAligned(), Sobel(), TrueDeviation()


def _score(readings: list[Reading], name: str = "own_recovery", **where: Any) -> float:
    reading = find(readings, name, **where)
    assert reading is not None
    return float(np.mean(reading.values))


def _table(subjects: int = SUBJECTS) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    return pd.DataFrame({"age": generator.normal(70, 5, subjects)})


def _groups(subjects: int = SUBJECTS) -> np.ndarray:
    return np.arange(subjects) % 2


def _model(*, with_age: bool, subjects: int = SUBJECTS) -> Model:
    table = _table(subjects)
    covariates = ("age",) if with_age else ()
    return Model(_groups(subjects), nuisance_design(table, covariates=covariates))


def _maps(shift: float = 0.0, seed: int = 0, subjects: int = SUBJECTS) -> np.ndarray:
    """Return maps of noise, where group A is larger in the change."""
    maps = np.random.default_rng(seed).normal(size=(subjects, VOXELS))
    maps[np.ix_(_groups(subjects) == 0, CHANGE)] += shift
    return maps


@pytest.mark.parametrize("with_age", [False, True], ids=["plain", "adjusted"])
def test_values_average_to_numerator_and_denominator(with_age: bool) -> None:
    """If it fails, the mean over subjects, which boards show, is not the recovery."""
    model = _model(with_age=with_age)
    maps = model.adjusted(_maps(1.0))
    found = measure(maps, model, CHANGE)
    groups, share = model.groups, CHANGE.mean()
    difference = maps[groups == 0].mean(0) - maps[groups == 1].mean(0)
    noise = sum(maps[groups == group].var(0, ddof=1) / (groups == group).sum() for group in (0, 1))
    energy = difference**2 - model.inflation * noise
    wanted = (energy[CHANGE].sum() - share * energy.sum()) / (1 - share)
    assert found.located.mean() == pytest.approx(wanted, abs=1e-9)
    assert found.total.mean() == pytest.approx((difference**2).sum(), abs=1e-9)
    assert found.values.mean() == pytest.approx(wanted / (difference**2).sum(), abs=1e-9)


@pytest.mark.parametrize("with_age", [False, True], ids=["plain", "adjusted"])
def test_maps_that_do_not_differ_recover_nothing_on_average(with_age: bool) -> None:
    """If it fails, chance is not 0, and noise or covariates earn a score."""
    model = _model(with_age=with_age)
    energies = [
        float(measure(model.adjusted(_maps(seed=seed)), model, CHANGE).energy.mean())
        for seed in range(60)
    ]
    error = float(np.std(energies) / np.sqrt(len(energies)))
    assert abs(np.mean(energies)) < 3 * error


def test_reliability_is_that_of_halves() -> None:
    """If it fails, the closed form says something else than agreement between halves."""
    model, maps = _model(with_age=False), _maps(0.5)
    halves = []
    for number in range(50):
        half = np.zeros(SUBJECTS, dtype=int)
        for group in (0, 1):
            members = np.flatnonzero(model.groups == group)
            half[stream("half", number, group).permutation(members)[: len(members) // 2]] = 1
        halves.append(half)
    reliability = measure(maps, model, CHANGE).reliability.mean()
    assert split_half(maps, model.groups, tuple(halves)) == pytest.approx(reliability, abs=0.05)


@pytest.mark.parametrize("with_age", [False, True], ids=["plain", "adjusted"])
def test_p_is_uniform_where_only_age_tells_and_small_where_groups_do(with_age: bool) -> None:
    """If it fails, the test alarms at random or by age, or misses what is there."""
    model, orders = _model(with_age=with_age), draw_permutations(SUBJECTS, 99, "test")
    ages = _table()["age"].to_numpy()[:, None] - 70 if with_age else 0.0
    null = [difference_p(_maps(seed=seed) + ages, model, orders) for seed in range(60)]
    assert np.mean(np.array(null) <= 0.2) < 0.4
    assert np.mean(null) == pytest.approx(0.5, abs=0.15)
    assert difference_p(_maps(1.0) + ages, model, orders) == 0.01


def test_a_confounder_is_taken_out_of_the_difference() -> None:
    """If it fails, groups that differ in age alone seem to differ in their maps."""
    table = _table()
    table["age"] += 10 * (_groups() == 0)
    model = Model(_groups(), nuisance_design(table))
    maps = _maps() + table[["age"]].to_numpy()
    assert abs(measure(model.adjusted(maps), model, CHANGE).difference.mean()) < 0.5
    assert abs(measure(maps, model, CHANGE).difference.mean()) > 5


def test_one_subject_alone_does_not_make_a_group() -> None:
    """If it fails, a single outlying map passes for a difference of the groups."""
    maps, model = _maps(), _model(with_age=False)
    maps[0, CHANGE] += 100
    assert difference_p(maps, model, draw_permutations(SUBJECTS, 199, "outlier")) > 0.05


class _Asked(Saliency):
    """Saliency that keeps the targets it was asked for."""

    def __init__(self) -> None:
        self.targets: list[Target] = []

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient, and keep the target."""
        self.targets.append(target)
        return super().attribute(classifier, images, target)


def test_every_subject_is_asked_the_same_question() -> None:
    """If it fails, the sign of maps follows labels, and any two groups differ, also shuffled."""
    explainer = _Asked()
    config = QUICK.model_copy(update={"fewest": 3, "subjects": 8, "permutations": 19})
    GroupMaps(config).readings(build_trial(explainer))
    projections = {target for target in explainer.targets if isinstance(target, Projection)}
    assert len(projections) == 1
    assert len(projections) == len(set(explainer.targets))
    assert next(iter(projections)).sign == 1


@pytest.mark.parametrize("control", [SOBEL, Centre(), Intensity()], ids=lambda one: one.name)
def test_a_map_of_the_image_alone_owes_exactly_nothing_and_fails(control: Explainer) -> None:
    """If it fails, edges or anatomy pass for what a network learned."""
    readings = _readings(control)
    reading = find(readings, "own_recovery")
    assert reading is not None
    np.testing.assert_array_equal(reading.values, 0)
    assert PROTOCOL.verdict(readings).passed is False


def test_the_true_deviation_recovers_the_difference() -> None:
    """If it fails, the best map there can be looks bad, or where anatomy differs is misplaced."""
    readings = _readings(TRUTH)
    assert _score(readings, "recovery") >= 0.8
    assert _score(readings, "share_of_t", region="change") != 0
    people = _population("phantom", 60)
    assert people.voxels.sum() == 5951
    change = np.asarray(people.cohort.change)[:, 0].mean(0)[people.voxels] ** 2
    assert change[people.change].sum() / change.sum() == pytest.approx(0.9, abs=0.01)


def test_posed_images_are_averaged_in_the_common_space() -> None:
    """If it fails, places of different subjects are mixed wherever images bring poses."""
    there = _readings(TRUTH, "phantom2")
    assert _score(there, "recovery") >= 0.8
    geometry = _trial("phantom2").test.geometry
    misplaced = replace(
        _trial("phantom2").cohort,
        geometry=replace(_trial("phantom2").cohort.geometry, poses=None, registered=True),
    )
    assert geometry.poses is not None
    blurred = PROTOCOL.readings(_trial("phantom2").on(explainer=TRUTH, cohort=misplaced))
    assert _score(blurred, "recovery") < _score(there, "recovery") - 0.1


def test_a_map_without_place_recovers_nothing() -> None:
    """If it fails, the output of a network alone passes for a place."""
    readings = _readings(UniformTimesOutput())
    assert abs(_score(readings, "recovery")) < 0.02
    assert interval(readings, PROTOCOL.difference_p) is not None
    assert _score(readings, "difference_p") <= 0.05
    assert PROTOCOL.verdict(readings).passed is False


def test_a_method_that_follows_the_network_passes() -> None:
    """If it fails, nothing could pass."""
    readings = _readings(GRADCAM)
    assert PROTOCOL.verdict(readings).passed is True
    assert 0.05 < _score(readings) < 0.5


@lru_cache(maxsize=2)
def _population(cohort: str, subjects: int) -> Population:
    test = _trial(cohort).test
    rows = choose_subjects(test, "v2#0", subjects)
    return Population(test, rows, test.groups[[own[0] for own in rows]], 4.5)


def test_a_constant_map_stays_constant_when_smoothed() -> None:
    """If it fails, the border of the brain differs from its middle for every method."""
    people = _population("phantom", 60)
    ones = torch.ones(len(people.all_rows), 1, *people.cohort.shape)
    np.testing.assert_allclose(people.smooth(ones), 1, atol=1e-6)


def test_regions_of_a_map_that_is_the_same_everywhere_have_no_p() -> None:
    """If it fails, a p-value is made of rounding, and a warning stands on the terminal."""
    keys = tuple(f"s{row:02d}" for row in range(20))
    sample = Sample(keys, keys, (0, 1) * 10)
    values = np.where(np.arange(20) % 3 == 0, 1.0, np.nextafter(1.0, 2.0))
    assert np.isnan(welch_p(Reading("region_mean", sample, values)))
    values = np.arange(20.0)
    assert 0 < welch_p(Reading("region_mean", sample, values)) < 1


class FewMaps(GradCAMAligned):
    """Grad-CAM that is not finite on the darker half of the images."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the map, or NaN."""
        maps = super().attribute(classifier, images, target)
        is_dark = images.flatten(1).mean(1) < DARK
        return torch.where(is_dark.view(-1, *[1] * (maps.ndim - 1)), torch.nan, maps)


def test_a_method_with_too_few_maps_is_refused_by_what_it_gave() -> None:
    """If it fails, one lost subject is told as a map that is not finite of every subject."""
    with pytest.raises(AttributionError, match=r"non-finite map of \d+ of 60 .* fewer than 20 in"):
        PROTOCOL.readings(_trial().on(explainer=FewMaps()))


def test_images_of_a_subject_count_once() -> None:
    """If it fails, a subject with many visits weighs more than another, or lies on both sides."""
    cohort = cohort_of()
    table = cohort.participants.copy()
    test = table.index[table["split"] == "test"]
    of_a = [row for row in test if table.loc[row, "group"] == 0]
    table.loc[of_a[1], "subject"] = table.loc[of_a[0], "subject"]
    people = replace(cohort, participants=table).select("test")
    rows = choose_subjects(people, "v2#0", 100)
    groups = np.array([people.groups[own[0]] for own in rows])
    population = Population(people, rows, groups, 4.5)
    assert sorted(len(own) for own in rows)[-2:] == [1, 2]
    assert len(rows) == len(test) - 1
    values = np.arange(len(population.all_rows), dtype=float)
    assert population.of_subjects(values).shape == (len(rows),)


def test_it_is_asked_only_where_it_can_be_answered() -> None:
    """If it fails, averages over other places, a handful of people, or no truth get a number."""
    trial, cohort = build_trial(SOBEL), cohort_of()
    with pytest.raises(NotAssessableError, match="fewer than 20 test subjects in group A"):
        PROTOCOL.readings(trial)
    loose = replace(cohort, geometry=replace(cohort.geometry, registered=False))
    with pytest.raises(NotAssessableError, match="not in one space"):
        PROTOCOL.readings(trial.on(cohort=loose))
    few = GroupMaps(QUICK.model_copy(update={"fewest": 3, "permutations": 19}))
    bare = replace(cohort, anatomy=Anatomy(cohort.anatomy.foreground))
    with pytest.raises(UnsupportedError, match="neither change nor regions"):
        few.readings(trial.on(cohort=bare))
    told = cohort.participants.assign(scanner=cohort.groups)
    with pytest.raises(NotAssessableError, match="a covariate determines the group"):
        few.readings(trial.on(cohort=replace(cohort, participants=told)))


def test_a_model_that_does_not_tell_the_groups_apart_is_not_assessed() -> None:
    """If it fails, a method is blamed for a network that learned nothing."""
    groups = np.arange(80) % 2
    keys = tuple(f"s{number}" for number in range(80))
    sample = Sample(keys, keys, tuple(groups.tolist()))
    noise = np.random.default_rng(0).normal(size=80)
    verdict = PROTOCOL.verdict([Reading("auroc", sample, noise)])
    assert verdict.state == "not assessable"
    assert "does not tell the groups apart" in str(verdict.reason)


def test_a_report_has_tables_pictures_and_volumes(tmp_path: Path) -> None:
    """If it fails, a report lacks the group maps, or shows them in another space."""
    archive = ArrayFolder(tmp_path, lambda: None)
    trial = _trial().on(explainer=GRADCAM)
    kept = replace(trial, runtime=replace(trial.runtime, archive=archive))
    readings = {"gradcam_aligned": PROTOCOL.readings(kept), "sobel": _readings(SOBEL)}
    purpose = exhibit_purpose(PROTOCOL.name, PROTOCOL.version, PROTOCOL.settings({}))
    arrays = kept.exhibited(purpose)
    assert arrays is not None
    exhibits = {"gradcam_aligned": add_geometry(arrays, trial.test)}
    tables = {table.name: table for table in PROTOCOL.tables(readings)}
    assert [row[0] for row in tables["methods"].rows] == list(readings)
    assert all(len(row) == len(table.columns) for table in tables.values() for row in table.rows)
    assert len(tables["regions"].rows) == 8
    counts = tables["methods"].columns.index("voxels (FWE 5 %)")
    assert all(isinstance(row[counts], int) for row in tables["methods"].rows), "3.49e+03 voxels"
    names = [drawing.name for drawing in PROTOCOL.drawings(exhibits, readings)]
    assert names == ["maps", "recovery"]
    for drawing in PROTOCOL.drawings(exhibits, readings):
        drawing.draw()
    volumes = {volume.name: volume for volume in PROTOCOL.volumes(exhibits)}
    assert set(volumes) == {f"gradcam_aligned_{one}" for one in ("D", "t", "p_fwe", "q_fdr")}
    difference = volumes["gradcam_aligned_D"]
    np.testing.assert_array_equal(difference.geometry.affine, trial.cohort.geometry.affine)
    assert difference.values.shape == (1, 1, *trial.cohort.shape)
    p = volumes["gradcam_aligned_p_fwe"].values
    assert p.max() == 1
    assert (p <= 0.05).sum() == _score(readings["gradcam_aligned"], "voxels_fwe")


def test_volumes_are_tested_with_enhanced_clusters_where_a_suite_asks(tmp_path: Path) -> None:
    """If it fails, TFCE is asked for and missing, of other subjects, or on by default."""
    asked = {"fewest": 3, "subjects": 24, "permutations": 39, "tfce": True}
    protocol = GroupMaps(QUICK.model_copy(update=asked))
    plain = GroupMaps(protocol.config.model_copy(update={"tfce": False}))
    archive = ArrayFolder(tmp_path, lambda: None)
    trial = build_trial(SOBEL, cohort_of(3), trained(3).copy(), archive=archive)
    readings, without = protocol.readings(trial), plain.readings(trial)
    names = [one.statistic for one in readings if "tfce" in one.statistic]
    assert names == ["voxels_tfce", "voxels_tfce_near"]
    known = [one for one in readings if one.statistic not in names]
    assert [one.statistic for one in known] == [one.statistic for one in without]
    for own, other in zip(known, without, strict=True):
        np.testing.assert_array_equal(own.values, other.values)
    purpose = exhibit_purpose(protocol.name, protocol.version, protocol.settings({}))
    arrays = trial.exhibited(purpose)
    assert arrays is not None
    exhibits = {"sobel": add_geometry(arrays, trial.test)}
    volumes = {volume.name: volume for volume in protocol.volumes(exhibits)}
    voxels = _score(readings, "voxels_tfce")
    assert (volumes["sobel_p_tfce"].values <= 0.05).sum() == voxels > 0
    assert [name for name in volumes if "tfce" not in name] == [
        f"sobel_{one}" for one in ("D", "t", "p_fwe", "q_fdr")
    ]
    tables = {table.name: table for table in protocol.tables({"sobel": readings})}
    columns, row = tables["methods"].columns, tables["methods"].rows[0]
    assert row[columns.index("voxels (TFCE 5 %)")] == voxels
    assert len(row) == len(columns)
    drawing = next(iter(protocol.drawings(exhibits, {"sobel": readings})))
    assert "violet" in drawing.caption
    drawing.draw()
    table = next(iter(plain.tables({"sobel": without})))
    assert "TFCE" not in "".join(table.columns) + table.caption


def test_enhanced_clusters_are_refused_on_slices() -> None:
    """If it fails, slices are tested as flat volumes, which nobody's software does."""
    asked = GroupMaps(QUICK.model_copy(update={"tfce": True}))
    with pytest.raises(SuiteError, match=r"tfce = true, which is for volumes, but .* slices of"):
        asked.readings(build_trial(SOBEL))
    assert asked.inputs(cohort_of(3)) == {}


def test_a_setting_that_is_off_names_no_other_score() -> None:
    """If it fails, every published score of group maps is asked again, or published twice."""
    fields = set(GroupMapsConfig.model_fields)
    assert set(PROTOCOL.settings({})) == fields - {"tfce"}
    assert "tfce" not in QUICK.model_dump_json()
    assert GroupMapsConfig.model_validate({"tfce": False}).model_dump() == (
        GroupMapsConfig().model_dump()
    )
    assert GroupMaps(GroupMapsConfig(tfce=True)).settings({})["tfce"] is True


def test_values_that_differ_by_rounding_are_not_tested() -> None:
    """If it fails, a map that is the same in everybody warns the reader of SciPy's precision."""
    sample = Sample(("a", "b", "c", "d"), ("a", "b", "c", "d"), (0, 0, 1, 1))
    rounded = 0.3 + np.array([0, 1, 0, -1]) * 1e-16
    assert np.isnan(welch_p(Reading("region_mean", sample, rounded)))
    assert welch_p(Reading("region_mean", sample, np.array([0.1, 0.2, 0.4, 0.6]))) < 0.3
