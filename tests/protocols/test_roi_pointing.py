"""`roi_pointing`: its nulls, its verdict, and that a subject's value is its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from trials import RECIPE, assert_same_values, build_trial, cohort_of, trained, values_by_key

from baselines.explainers.class_activation import GradCAM, GradCAMAligned
from baselines.explainers.controls import Centre, Oracle, Random, Sobel
from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.errors import NotAssessableError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.plugins.examples import build_classifier, build_cohort
from benchmark.reading import Reading, find, summarise
from benchmark.target import Target
from benchmark.training import fine_tune, fit_probe
from protocols.roi_pointing import RoiPointing, RoiPointingConfig

PROTOCOL = RoiPointing(RoiPointingConfig(subjects=16, repeats=4))


class Constant(Explainer):
    """A map of ones."""

    name = "constant"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return ones."""
        return torch.ones_like(images)


class NotANumberForOne(Saliency):
    """Saliency that is not a number where the image is brightest."""

    name = "nan_for_one"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return saliency, broken for images whose first pixel is even in its last digit."""
        maps = super().attribute(classifier, images, target)
        odd = (images[:, 0, 0, 0] * 1e4).long() % 2 == 0
        return torch.where(odd.view(-1, 1, 1, 1), torch.nan, maps)


def _value(readings: list[Reading], statistic: str, **conditions: str) -> float:
    reading = find(readings, statistic, **conditions)
    assert reading is not None
    return summarise(reading).estimate


def test_the_oracle_is_on_top_and_noise_at_chance() -> None:
    """If it fails, the protocol does not measure pointing."""
    scores = {}
    for explainer in (Oracle(), Random(), Saliency(), Centre()):
        readings = PROTOCOL.readings(build_trial(explainer))
        scores[explainer.name] = _value(readings, "ap")
        if explainer.name == "random":
            chance = find(readings, "ap_above_chance")
            assert chance is not None
            interval = summarise(chance)
            assert interval.low <= 0 <= interval.high
    assert scores["oracle"] == 1.0
    assert scores["oracle"] > scores["saliency"] > scores["random"]


def test_a_map_that_follows_the_model_passes_and_controls_fail() -> None:
    """If it fails, the verdict cannot tell a method from an edge detector."""
    verdicts = {}
    for explainer in (Saliency(), Sobel(), Random(), Centre()):
        trial = build_trial(explainer)
        verdicts[explainer.name] = PROTOCOL.verdict(PROTOCOL.readings(trial))
    assert verdicts["saliency"].passed
    for name in ("sobel", "random", "centre"):
        assert verdicts[name].passed is False
        assert "randomised models score as well" in str(verdicts[name].reason)


@pytest.mark.parametrize("explainer", [GradCAM(), Saliency()], ids=lambda one: one.name)
def test_a_subjects_value_depends_on_that_subject_alone(explainer: Explainer) -> None:
    """If it fails, batch size or order of subjects moves scores."""
    values = []
    order = np.random.default_rng(2).permutation(len(cohort_of()))
    for batch_size, cohort in ((64, cohort_of()), (1, cohort_of().take(order)), (7, cohort_of())):
        readings = PROTOCOL.readings(build_trial(explainer, cohort, batch_size=batch_size))
        values.append(values_by_key(readings))
    assert_same_values(values)


def test_rescaling_a_map_changes_nothing() -> None:
    """If it fails, the unit of a map is part of its score."""

    class Scaled(GradCAMAligned):
        name = "scaled"

        def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
            return 1024 * super().attribute(classifier, images, target)

    first = PROTOCOL.readings(build_trial(GradCAMAligned()))
    second = PROTOCOL.readings(build_trial(Scaled()))
    for one, other in zip(first, second, strict=True):
        if one.statistic != "mean":
            np.testing.assert_allclose(one.values, other.values, atol=1e-6)


def test_a_constant_map_is_no_hit() -> None:
    """If it fails, a method that marks everything finds every region."""
    ap = find(PROTOCOL.readings(build_trial(Constant())), "ap")
    assert ap is not None
    assert np.isnan(ap.values).all()
    assert set(ap.reasons.values()) == {"constant map"}


def test_a_map_that_is_not_a_number_costs_that_subject_alone() -> None:
    """If it fails, one broken map breaks the run or passes for a number."""
    ap = find(PROTOCOL.readings(build_trial(NotANumberForOne())), "ap")
    assert ap is not None
    lost = np.isnan(ap.values)
    assert 0 < lost.sum() < len(lost)
    assert set(ap.reasons) == {key for key, gone in zip(ap.sample.keys, lost, strict=True) if gone}
    assert set(ap.reasons.values()) == {"non-finite map"}


def test_without_regions_the_protocol_is_unsupported() -> None:
    """If it fails, a cohort without regions gets a number."""
    cohort = cohort_of()
    bare = replace(cohort, anatomy=replace(cohort.anatomy, rois={}, control_rois={}, truth=()))
    with pytest.raises(UnsupportedError, match="no regions of interest"):
        PROTOCOL.readings(build_trial(Saliency(), bare))


def test_an_untrained_model_is_not_assessable() -> None:
    """If it fails, a map is blamed for a model that knows nothing."""
    with pytest.raises(NotAssessableError, match="confident and correct on 0 images"):
        PROTOCOL.readings(build_trial(Saliency(), classifier=build_classifier()))


def test_a_model_that_ignores_the_region_is_not_assessable() -> None:
    """If it fails, a map is blamed for not pointing where the model does not look."""
    readings = PROTOCOL.readings(build_trial(Saliency()))
    used = find(readings, "roi_effect_above_random")
    assert used is not None
    unused = Reading(used.statistic, used.sample, -np.abs(used.values))
    changed = [unused if one is used else one for one in readings]
    verdict = PROTOCOL.verdict(changed)
    assert (verdict.state, verdict.passed) == ("not assessable", None)
    assert verdict.reason == "model does not use the ROI"


def test_the_confident_subjects_are_the_same_for_all_explainers() -> None:
    """If it fails, paired differences compare different people."""
    samples = []
    for explainer in (Saliency(), Random()):
        ap = find(PROTOCOL.readings(build_trial(explainer)), "ap")
        assert ap is not None
        samples.append(ap.sample)
    assert samples[0] == samples[1]


def test_three_dimensions_work_alike() -> None:
    """If it fails, something branches on the dimension."""
    cohort = cohort_of(3)
    trial = build_trial(Saliency(), cohort, fit_probe(trained(3), cohort))
    protocol = RoiPointing(RoiPointingConfig(subjects=8, repeats=2, confidence=0.5))
    readings = protocol.readings(trial)
    oracle = protocol.readings(trial.on(explainer=Oracle()))
    assert _value(oracle, "ap") == 1.0
    assert 0 < _value(readings, "ap") < 1


def test_a_cohort_with_one_region_and_repeated_subjects_works() -> None:
    """If it fails, follow-up scans or a single hemisphere break the protocol."""
    cohort = build_cohort(subjects=24, regions=1, visits=2)
    classifier = fine_tune(trained(), cohort, RECIPE)
    ap = find(PROTOCOL.readings(build_trial(Saliency(), cohort, classifier)), "ap")
    assert ap is not None
    assert len(set(ap.sample.keys)) == len(ap.sample.keys) > len(set(ap.sample.subjects))
    assert summarise(ap).n_subjects == len(set(ap.sample.subjects))
