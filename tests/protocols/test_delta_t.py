"""`delta_t` and the removal behind it: imputer health, verdict, and independence of batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from trials import assert_same_values, build_trial, cohort_of, trained, values_by_key
from zero_fill import Zero

from baselines.explainers.class_activation import GradCAM
from baselines.explainers.controls import Oracle, Random
from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.explainer import Explainer
from benchmark.maps.imputers import Imputer
from benchmark.reading import Reading, find, summarise
from benchmark.statistics.bootstrap import jackknife_distance
from benchmark.target import Target
from benchmark.training import fit_probe
from benchmark.trial.imputer_health import unfitness
from benchmark.trial.region_effects import region_effects
from benchmark.trial.removal import imputers, masking_rows, respond
from protocols.delta_t import DeltaT, DeltaTConfig

CONFIG = DeltaTConfig(quantiles=(0.02, 0.1), repeats=4, subjects=16)
PROTOCOL = DeltaT(CONFIG)


class Constant(Explainer):
    """A map of ones."""

    name = "constant"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return ones."""
        return torch.ones_like(images)


def _get(readings: list[Reading], statistic: str, **conditions: str | float) -> Reading:
    reading = find(readings, statistic, **conditions)
    assert reading is not None, (statistic, conditions)
    return reading


def test_the_oracle_moves_the_groups_and_noise_does_not() -> None:
    """If it fails, the protocol does not measure removal."""
    oracle = summarise(_get(PROTOCOL.readings(build_trial(Oracle())), "delta_t"))
    noise = summarise(_get(PROTOCOL.readings(build_trial(Random())), "delta_t"))
    assert oracle.low > 0.1
    assert noise.low <= 0.02
    assert oracle.estimate > 5 * abs(noise.estimate)


def test_a_good_map_passes_and_noise_does_not() -> None:
    """If it fails, the verdict says nothing."""
    assert PROTOCOL.verdict(PROTOCOL.readings(build_trial(Oracle()))).passed
    assert PROTOCOL.verdict(PROTOCOL.readings(build_trial(Random()))).passed is False


@pytest.mark.parametrize("explainer", [GradCAM(), Saliency()], ids=lambda one: one.name)
def test_a_subjects_value_depends_on_that_subject_alone(explainer: Explainer) -> None:
    """If it fails, batch size or order of subjects moves scores."""
    order = np.random.default_rng(3).permutation(len(cohort_of()))
    values = []
    for batch_size, cohort in ((64, cohort_of()), (1, cohort_of().take(order)), (7, cohort_of())):
        readings = PROTOCOL.readings(build_trial(explainer, cohort, batch_size=batch_size))
        values.append(values_by_key(readings))
    assert_same_values(values)


def test_other_explainers_do_not_touch_a_score() -> None:
    """If it fails, a method's score depends on whom it is scored beside."""
    alone = PROTOCOL.readings(build_trial(GradCAM()))
    shared = build_trial(Saliency())
    PROTOCOL.readings(shared)
    beside = PROTOCOL.readings(shared.on(explainer=GradCAM()))
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_the_score_is_the_excess_over_random_masks_averaged_over_q() -> None:
    """If it fails, the score is not the one that is documented."""
    readings = PROTOCOL.readings(build_trial(Saliency()))
    name = next(iter(imputers(build_trial(Saliency()))))
    excess = [
        _get(readings, "deletion", imputer=name, arm="map", q=q).values
        - _get(readings, "deletion", imputer=name, arm="random", q=q).values
        for q in CONFIG.quantiles
    ]
    np.testing.assert_allclose(_get(readings, "delta_t").values, np.mean(excess, axis=0))
    assert (_get(readings, "deletion", imputer=name, arm="map", q=0.0).values == 0).all()
    area = _get(readings, "deletion_area", imputer=name, arm="map").values
    heights = [_get(readings, "deletion", imputer=name, arm="map", q=q).values for q in (0.02, 0.1)]
    by_hand = (heights[0] / 2 * 0.02 + (heights[0] + heights[1]) / 2 * 0.08) / 0.1
    np.testing.assert_allclose(area, by_hand)


def test_both_groups_get_as_many_subjects() -> None:
    """If it fails, T_w is weighted by chance."""
    trial = build_trial(Saliency())
    rows = masking_rows(trial, 16)
    assert np.bincount(trial.test.groups[rows]).tolist() == [8, 8]
    shuffled = build_trial(Saliency(), cohort_of().take(np.arange(len(cohort_of()))[::-1].copy()))
    assert {trial.test.keys[row] for row in rows} == {
        shuffled.test.keys[row] for row in masking_rows(shuffled, 16)
    }


def test_a_constant_map_has_no_score() -> None:
    """If it fails, a method that marks everything gets a number."""
    reading = _get(PROTOCOL.readings(build_trial(Constant())), "delta_t")
    assert np.isnan(reading.values).all()
    assert set(reading.reasons.values()) == {"constant map"}


def use_imputers(monkeypatch: pytest.MonkeyPatch, fills: dict[str, Imputer]) -> None:
    for module in ("study", "region_effects"):
        monkeypatch.setattr(f"benchmark.trial.{module}.imputers", lambda _: fills)


def test_the_zero_fill_is_found_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a fill that makes nonsense of the protocol is trusted."""
    trial = build_trial(Oracle())
    fills = {"zero": Zero(), **imputers(trial)}
    use_imputers(monkeypatch, fills)
    readings = PROTOCOL.readings(trial)
    assert unfitness(readings, "zero") is not None
    assert unfitness(readings, "cohort_mean") is None
    remark = str(DeltaT.remark(readings))
    assert "zero unfit (" in remark
    assert "cohort_mean fit" in remark


def test_without_a_fit_imputer_nothing_is_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a verdict rests on an imputer that failed its own check."""
    trial = build_trial(Oracle())
    use_imputers(monkeypatch, {"zero": Zero()})
    verdict = PROTOCOL.verdict(PROTOCOL.readings(trial))
    assert (verdict.state, verdict.passed) == ("not assessable", None)


def test_imputers_that_disagree_fail_the_map() -> None:
    """If it fails, the sign of a score can be chosen by the imputer."""
    readings = PROTOCOL.readings(build_trial(Oracle()))
    turned = [
        Reading(one.statistic, one.sample, -one.values, one.conditions)
        if one.matches("delta_t", imputer="blur")
        else one
        for one in readings
        if one.statistic != "random_effect_t_w"  # in so small an image no other imputer is fit
    ]
    verdict = PROTOCOL.verdict(turned)
    assert verdict.passed is False
    assert verdict.reason == "imputers disagree"


def test_an_unregistered_cohort_has_no_cohort_mean() -> None:
    """If it fails, a voxel is replaced by the mean of other places."""
    cohort = cohort_of()
    loose = replace(cohort, geometry=replace(cohort.geometry, registered=False))
    assert list(imputers(build_trial(Saliency(), loose))) == ["noisy_linear", "blur"]
    assert next(iter(imputers(build_trial(Saliency())))) == "cohort_mean"


def test_removing_nothing_changes_nothing() -> None:
    """If it fails, imputers touch pixels they were not asked to remove."""
    trial = build_trial(Saliency())
    rows = masking_rows(trial, 8)
    masks = torch.zeros(len(rows), 1, *trial.cohort.shape, dtype=torch.bool)
    expected = trial.evaluation.own_margin[rows]
    for imputer in imputers(trial).values():
        response = respond(trial, rows, masks, imputer)
        np.testing.assert_allclose(response.margins[:, 0], expected, atol=1e-4)


def test_region_effects_are_measured_once_per_model() -> None:
    """If it fails, every explainer pays for the same removal."""
    trial = build_trial(Saliency())
    rows = masking_rows(trial, 16)
    region_effects(trial, rows, 4)
    before = trial.passes.snapshot()
    region_effects(trial.on(explainer=GradCAM()), rows, 4)
    assert trial.passes.since(before).forward == 0


def test_the_jackknife_takes_the_inflation_off_the_distance() -> None:
    """If it fails, T of small groups is read as a difference that is not there."""
    rng, truth = np.random.default_rng(0), 1.0
    groups = np.repeat([0, 1], 16)
    raw, corrected = [], []
    for _ in range(300):
        embeddings = rng.normal(size=(32, 20)) + truth * (groups[:, None] == 0) * np.eye(20)[0]
        means = [embeddings[groups == group].mean(0) for group in (0, 1)]
        raw.append(np.linalg.norm(means[0] - means[1]))
        corrected.append(jackknife_distance(embeddings, groups).mean())
    assert np.mean(raw) > 1.5
    assert abs(np.mean(corrected) - truth) < abs(np.mean(raw) - truth) / 2


def test_the_jackknife_is_leave_one_out() -> None:
    """If it fails, the closed form leaves out someone else."""
    rng = np.random.default_rng(1)
    embeddings, groups = rng.normal(size=(9, 4)), np.array([0, 1, 0, 1, 0, 1, 0, 0, 1])

    def distance(keep: np.ndarray) -> float:
        means = [embeddings[keep & (groups == group)].mean(0) for group in (0, 1)]
        return float(np.linalg.norm(means[0] - means[1]))

    everyone = np.ones(9, dtype=bool)
    by_hand = [9 * distance(everyone) - 8 * distance(np.arange(9) != one) for one in range(9)]
    np.testing.assert_allclose(jackknife_distance(embeddings, groups), by_hand)


def test_quantiles_that_make_no_curve_are_refused() -> None:
    """If it fails, a suite file with q = 5 (per cent) is taken for a share."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        DeltaTConfig(quantiles=(5.0,))
    with pytest.raises(ValueError, match="must rise"):
        DeltaTConfig(quantiles=(0.2, 0.1))


def test_three_dimensions_work_alike() -> None:
    """If it fails, something branches on the dimension."""
    cohort = cohort_of(3)
    trial = build_trial(Oracle(), cohort, fit_probe(trained(3), cohort))
    protocol = DeltaT(DeltaTConfig(quantiles=(0.02, 0.1), repeats=2, subjects=8))
    oracle = summarise(_get(protocol.readings(trial), "delta_t"))
    noise = summarise(_get(protocol.readings(trial.on(explainer=Random())), "delta_t"))
    assert oracle.estimate > abs(noise.estimate)
