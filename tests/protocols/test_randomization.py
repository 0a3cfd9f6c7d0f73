"""`randomization`: what was learned passes, what belongs to the image fails, noise fails."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from trials import RECIPE, assert_same_values, build_trial, cohort_of, values_by_key

from baselines.explainers.class_activation import GradCAM
from baselines.explainers.controls import Centre, Intensity, Random, Sobel
from baselines.explainers.gradient import Saliency
from baselines.explainers.guided import GuidedBackprop
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer
from benchmark.reading import Reading, find, summarise
from benchmark.running.cells import conclude
from benchmark.trial import Memory, Peers, Trial
from protocols.randomization import Randomization, RandomizationConfig

CONFIG = RandomizationConfig(
    subjects=16, walk_subjects=4, seeds=2, smooth_subjects=4, smooth_noises=4
)
PROTOCOL = Randomization(CONFIG)


@lru_cache(maxsize=1)
def _memory() -> Memory:
    """Return what trials of one cohort share, so that twins are fitted once."""
    return Memory()


def _trial(explainer: Explainer, cohort: Cohort | None = None, batch_size: int = 64) -> Trial:
    trial = build_trial(explainer, cohort, batch_size=batch_size)
    trial = replace(trial, peers=Peers(recipe=RECIPE))
    return trial if cohort is not None else replace(trial, memory=_memory())


@lru_cache(maxsize=8)
def _readings(kind: type[Explainer]) -> list[Reading]:
    return PROTOCOL.readings(_trial(kind()))


def _get(readings: list[Reading], statistic: str, **conditions: str | float) -> Reading:
    reading = find(readings, statistic, **conditions)
    assert reading is not None, (statistic, conditions)
    return reading


def test_maps_without_a_model_fail_each_for_its_reason() -> None:
    """If it fails, the gate lets through what shows no model."""
    noise = PROTOCOL.verdict(_readings(Random))
    assert (noise.passed, noise.reason) == (False, "the maps of twins do not agree")
    for control in (Sobel, Intensity, Centre):
        verdict = PROTOCOL.verdict(_readings(control))
        assert verdict.passed is False
        assert "no more than half" in str(verdict.reason)
        assert summarise(_get(_readings(control), "twin")).estimate == pytest.approx(1)
        share = summarise(_get(_readings(control), "learned_share"), "ratio")
        assert share.estimate == pytest.approx(0, abs=1e-9)


def test_noise_has_no_share() -> None:
    """If it fails, nothing over nothing is a score."""
    assert np.isnan(summarise(_get(_readings(Random), "learned_share"), "ratio").estimate)
    twin = summarise(_get(_readings(Random), "twin"))
    assert twin.low <= 0.02
    assert twin.high >= -0.02


def test_the_share_is_contrast_over_twin() -> None:
    """If it fails, the score is not the one that is documented."""
    readings = _readings(Saliency)
    twin, full = _get(readings, "twin").values, _get(readings, "full").values
    share = summarise(_get(readings, "learned_share"), "ratio").estimate
    assert share == pytest.approx((twin - full).mean() / twin.mean())
    np.testing.assert_allclose(_get(readings, "contrast").values, twin - full)


def test_a_map_that_needs_the_model_notices() -> None:
    """If it fails, the protocol does not measure dependence on the model."""
    for kind in (GradCAM, Saliency):
        full, last = (summarise(_get(_readings(kind), one)) for one in ("full", "last_layer"))
        assert full.high < 0.9
        assert last.estimate <= 1
    assert _get(_readings(Saliency), "covered").values[0] == pytest.approx(1, abs=0.02)


def test_walks_begin_at_the_last_layer_and_end_at_the_full_copy() -> None:
    """If it fails, a curve's ends are something else."""
    readings = _readings(Saliency)
    last = _get(readings, "last_layer").values
    for walk in ("cascade", "independent"):
        np.testing.assert_array_equal(_get(readings, "similarity", walk=walk, depth=1).values, last)
    ends = [_get(readings, "similarity", walk=one, depth=3) for one in ("cascade", "bottom_up")]
    np.testing.assert_array_equal(ends[0].values, ends[1].values)


def test_a_method_that_costs_too_much_is_not_smoothed_and_says_so() -> None:
    """If it fails, integrated gradients takes an hour, or a blank looks like a result."""
    protocol = Randomization(CONFIG.model_copy(update={"smooth_passes": 1}))
    reading = _get(protocol.readings(_trial(Saliency())), "smooth_full")
    assert np.isnan(reading.values).all()
    assert set(reading.reasons.values()) == {"smoothing would take 8 passes an image and model"}


def test_without_a_training_split_there_is_no_twin_but_curves() -> None:
    """If it fails, a model is blamed for what the cohort lacks, or the curves are lost."""
    cohort = cohort_of()
    people = cohort.participants
    alone = cohort.take(np.flatnonzero(people["split"].to_numpy() == "test"))
    readings = PROTOCOL.readings(_trial(Saliency(), alone))
    outcome = conclude(PROTOCOL, readings)
    assert outcome.state == "not assessable"
    assert "no twin" in str(outcome.reason)
    assert np.isfinite(_get(readings, "similarity", walk="cascade", depth=2).values).all()


def test_labels_that_were_not_memorised_give_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a network that learned nothing at all counts as one that learned labels."""
    monkeypatch.setattr("benchmark.trial.needs.Memorised.reached", lambda *_: 0.6)
    trial = replace(_trial(Saliency()), memory=_memory().copy())
    readings = PROTOCOL.readings(trial)
    assert set(_get(readings, "data_share").reasons.values()) == {"labels not memorised"}
    assert np.isfinite(_get(readings, "learned_share").values).all()


@pytest.mark.parametrize("kind", [GradCAM, GuidedBackprop])
def test_a_subjects_value_depends_on_that_subject_alone(kind: type[Explainer]) -> None:
    """If it fails, batch size or order of subjects moves scores."""
    order = np.random.default_rng(3).permutation(len(cohort_of()))
    shared = _trial(kind())
    fitted = {one.name: shared.relative(one).classifier for one in PROTOCOL.relatives(shared)}

    def fresh(cohort: Cohort, batch_size: int) -> Trial:
        trial = _trial(kind(), cohort, batch_size)
        for one in PROTOCOL.relatives(trial):  # training looks at all subjects, by design
            model = fitted[one.name].copy()
            trial.relative(replace(one, fit=lambda model=model: model))
        return trial

    runs = [
        values_by_key(PROTOCOL.readings(fresh(cohort, size)))
        for size, cohort in ((64, cohort_of()), (1, cohort_of().take(order)), (7, cohort_of()))
    ]
    assert_same_values(runs, PROTOCOL.tolerance)


def test_maps_are_compared_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, scores move once a cohort has more subjects than are compared at a time."""
    at_once = values_by_key(_readings(GradCAM))
    monkeypatch.setattr("protocols.randomization.measures._COMPARED_AT_ONCE", 5)
    in_parts = values_by_key(PROTOCOL.readings(_trial(GradCAM())))
    assert_same_values([at_once, in_parts], 0)
