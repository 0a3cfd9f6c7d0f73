"""`positive_control`: truth found, noise not, nothing found in nothing, and who shares what."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from trials import RECIPE, assert_same_values, build_trial, cohort_of, values_by_key

from baselines.explainers.class_activation import GradCAM
from baselines.explainers.controls import Centre, Oracle, Random, Sobel
from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer
from benchmark.reading import Reading, find, summarise
from benchmark.target import Target
from benchmark.trial import Memory, Peers, Trial
from benchmark.trial.removal import masking_rows
from protocols.positive_control import PositiveControl, PositiveControlConfig
from protocols.positive_control.arms import TunedTo, null_p_values, probed, restored_shares
from protocols.positive_control.planting import Strength
from protocols.positive_control.statistics import assessable_strengths

WEAK = Strength(name="mild", sigma=1, attenuation=0.1)
MEDIUM = Strength(name="medium", sigma=2, attenuation=0.8)
STRONG = Strength(name="strong", sigma=2, attenuation=1)
CONFIG = PositiveControlConfig(
    strengths=(WEAK, MEDIUM, STRONG),
    subjects=16,
    probe_subjects=8,
    decoys=4,
    quantiles=(0.1,),
    repeats=2,
    permutations=99,
    splits=20,
)
PROTOCOL = PositiveControl(CONFIG)


class Constant(Explainer):
    """A map of ones."""

    name = "constant"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return ones."""
        return torch.ones_like(images)


class Copy(Explainer):
    """The image as its own map; positive and negative differences count alike."""

    name = "copy"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the images."""
        return images.clone()


@lru_cache(maxsize=4)
def _memory(dimensions: int) -> Memory:
    """Return what trials of one cohort share, so that the tuned models are fitted once."""
    return Memory()


def _trial(explainer: Explainer, cohort: Cohort | None = None, batch_size: int = 64) -> Trial:
    trial = build_trial(explainer, cohort, batch_size=batch_size)
    trial = replace(trial, peers=Peers(recipe=RECIPE))
    return trial if cohort is not None else replace(trial, memory=_memory(2))


def _get(readings: list[Reading], statistic: str, **conditions: str | float) -> Reading:
    reading = find(readings, statistic, **conditions)
    assert reading is not None, (statistic, conditions)
    return reading


@lru_cache(maxsize=8)
def _readings(kind: type[Explainer]) -> list[Reading]:
    return PROTOCOL.readings(_trial(kind()))


def test_the_truth_is_found_and_noise_is_not() -> None:
    """If it fails, the protocol does not measure finding."""
    truth, noise = (summarise(_get(_readings(kind), "found")) for kind in (Oracle, Random))
    assert truth.estimate == pytest.approx(1)
    assert noise.low <= 0.02
    assert abs(noise.estimate) < 0.05


def test_methods_that_look_pass_and_maps_without_a_model_fail() -> None:
    """If it fails, the verdict says nothing."""
    assert "strong" in assessable_strengths(_readings(Oracle))
    assert PROTOCOL.verdict(_readings(Oracle)).passed
    assert PROTOCOL.verdict(_readings(GradCAM)).passed
    for control in (Random, Centre, Sobel):
        assert PROTOCOL.verdict(_readings(control)).passed is False, control


def test_the_centre_beats_noise_but_not_itself_elsewhere() -> None:
    """If it fails, sites that lie deep make a pass of a map of the middle of the organ."""
    readings = _readings(Centre)
    above = summarise(_get(readings, "ap_above_decoys", arm="tuned", strength="strong"))
    assert above.low <= 0


def test_nothing_is_found_where_nothing_is_planted() -> None:
    """If it fails, a site scores by where it lies."""
    for kind in (Saliency, GradCAM):
        reading = _get(_readings(kind), "ap_above_decoys", arm="probe", strength="none")
        interval = summarise(reading)
        assert interval.low <= 0 <= interval.high


def test_p_values_without_a_signal_are_uniform() -> None:
    """If it fails, T is called significant too often; one lucky split would not show it."""
    p_values = null_p_values(_trial(Saliency()), 200, 199)
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert 0 < p_values.min() < 0.05
    assert _get(_readings(Saliency), "uniformity_p").values[0] <= 1


def test_what_was_learned_is_significant_and_gated() -> None:
    """If it fails, a model that cannot see the signal is blamed on the map."""
    readings = _readings(Saliency)
    assert summarise(_get(readings, "auroc", arm="tuned", strength="strong"), "auroc").low > 0.6
    assert _get(readings, "permutation_p", arm="tuned", strength="strong").values[0] == 0.01
    blind = [
        Reading(one.statistic, one.sample, np.zeros_like(one.values), one.conditions)
        if one.statistic == "auroc"
        else one
        for one in readings
    ]
    verdict = PROTOCOL.verdict(blind)
    assert (verdict.state, verdict.reason) == ("not assessable", "signal not learned")


def test_restoring_the_whole_signal_takes_all_of_t() -> None:
    """If it fails, a share of T is not what it says."""
    trial = _trial(Saliency())
    arm, rows = TunedTo(STRONG).arm(trial), masking_rows(trial, 16)
    everything = torch.ones(len(rows), 1, *trial.cohort.shape, dtype=torch.bool)
    shares = restored_shares(arm, rows, rows, torch.cat([everything, ~everything], 1))
    assert shares[:, 0].mean() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(shares[:, 1], 0, atol=1e-5)
    oracle = _get(_readings(Oracle), "restored", strength="strong", arm="map", q="site")
    assert oracle.values.mean() > 0.5


def test_t_is_the_mean_over_pairs() -> None:
    """If it fails, the subjects' shares do not make up T."""
    trial = _trial(Saliency())
    for arm in (TunedTo(STRONG).arm(trial), probed(trial, STRONG)):
        assert arm.distances.mean() == pytest.approx(arm.trial.evaluation.group_distance)


def test_the_score_is_the_mean_over_assessable_strengths() -> None:
    """If it fails, the score is not the one that is documented."""
    readings = _readings(Saliency)
    parts = [
        _get(readings, "found", arm="tuned", strength=one).values
        for one in assessable_strengths(readings)
    ]
    np.testing.assert_allclose(_get(readings, "found").values, np.mean(parts, axis=0))


def test_badges_tell_dose_and_limit() -> None:
    """If it fails, a saturating method looks as if it rose."""
    badges = {one.name: one for one in PositiveControl.badges(_readings(Oracle))}
    assert badges["finds the signal"].detail == "detection limit: mild"
    assert badges["T rises"].held
    assert set(badges) == {"finds the signal", "T rises", "IoU rises", "ΔT rises"}
    assert badges["IoU rises"].held is False  # the truth's overlap is 1 at every strength


def test_a_constant_map_has_no_score() -> None:
    """If it fails, a map that marks everything gets a number."""
    reading = _get(_readings(Constant), "found")
    assert np.isnan(reading.values).all()
    assert set(reading.reasons.values()) == {"constant map"}


def test_the_contrast_of_the_image_itself_finds_the_signal() -> None:
    """If it fails, the contrast arm does not compare an image with its own planted self."""
    reading = _get(_readings(Copy), "found", arm="contrast", strength="strong")
    assert summarise(reading).estimate > 0.5


@pytest.mark.parametrize("kind", [GradCAM, Saliency])
def test_a_subjects_value_depends_on_that_subject_alone(kind: type[Explainer]) -> None:
    """If it fails, batch size or order of subjects moves scores."""
    order = np.random.default_rng(3).permutation(len(cohort_of()))
    fitted = {one: TunedTo(one).arm(_trial(kind())).trial.classifier for one in CONFIG.strengths}

    def fresh(cohort: Cohort, batch_size: int) -> Trial:
        trial = _trial(kind(), cohort, batch_size)
        for strength in CONFIG.strengths:  # training looks at all subjects, by design
            relative = next(
                one for one in PROTOCOL.relatives(trial) if one.name.endswith(strength.name)
            )
            model = fitted[strength].copy()
            trial.relative(replace(relative, fit=lambda model=model: model))
        return trial

    runs = [
        values_by_key(PROTOCOL.readings(fresh(cohort, size)))
        for size, cohort in ((64, cohort_of()), (1, cohort_of().take(order)), (7, cohort_of()))
    ]
    assert_same_values(runs, PROTOCOL.tolerance)


def test_strengths_that_make_no_dose_are_refused() -> None:
    """If it fails, a suite names two strengths alike, and their scores fall together."""
    with pytest.raises(ValueError, match="different names"):
        PositiveControlConfig(strengths=(WEAK, STRONG, STRONG))
