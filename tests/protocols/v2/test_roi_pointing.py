"""`roi_pointing` 2: what a map owes to the network, the gate, and what masks tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor
from trials import assert_same_values, build_trial, cohort_of, trained, values_by_key

from baselines.cohorts.hippocampus import Hippocampus
from baselines.explainers.class_activation import GradCAM
from baselines.explainers.controls import Atlas, Centre, Oracle, Random, SmoothNoise, Sobel
from baselines.explainers.gradient import Saliency
from baselines.models.hippocampus_resnet import HippocampusResNet
from benchmark.classifier import Classifier
from benchmark.errors import AttributionError, NotAssessableError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.plugins.examples import build_classifier
from benchmark.reading import Reading, Statistic, find, summarise
from benchmark.running.device import reproducible
from benchmark.target import Target
from benchmark.trial import LABEL_MODEL, Peers, Runtime, Study, Trial
from benchmark.trial.interventions import region_use
from protocols.v2.roi_pointing import RoiPointing, RoiPointingConfig

PROTOCOL = RoiPointing(RoiPointingConfig(subjects=24))


@lru_cache(maxsize=1)
def memorised() -> Classifier:
    """Return a network that stands for the one of permuted labels."""
    return build_classifier(seed=5)


class Half(Saliency):
    """Saliency that is not a number on every second image."""

    name = "half"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return saliency, broken for images whose first pixel is even in its last digit."""
        maps = super().attribute(classifier, images, target)
        odd = (images[:, 0, 0, 0] * 1e4).long() % 2 == 0
        return torch.where(odd.view(-1, 1, 1, 1), torch.nan, maps)


class Scaled(GradCAM):
    """Grad-CAM in another unit."""

    name = "scaled"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return seven times the map."""
        return 7 * super().attribute(classifier, images, target)


def trial_of(explainer: Explainer, batch_size: int = 64, order: Sequence[int] = ()) -> Trial:
    """Return a trial on the small trained network, with a memorised network beside it."""
    cohort = cohort_of().take(np.array(order)) if len(order) else cohort_of()
    trial = build_trial(explainer, cohort, trained().copy(), batch_size)
    relative = LABEL_MODEL.relative(trial)
    trial.relative(replace(relative, fit=lambda: memorised().copy()))
    model = LABEL_MODEL.on(trial)
    key = ("benchmark.trial.needs._accuracy", model.model_identity, "", LABEL_MODEL.seed)
    trial.memory.once(key, lambda: 1.0)
    assert LABEL_MODEL.reached(model) == 1.0
    return trial


@lru_cache(maxsize=16)
def readings_of(explainer: type[Explainer]) -> list[Reading]:
    """Return the readings of an explainer."""
    return PROTOCOL.readings(trial_of(explainer()))


def values(readings: Sequence[Reading], statistic: Statistic, **where: str) -> np.ndarray:
    """Return the values of a reading."""
    reading = find(readings, statistic, **where)
    assert reading is not None
    return reading.values


@pytest.mark.parametrize("control", [Centre, Sobel, Atlas, Oracle])
def test_what_looks_at_no_network_owes_it_nothing(control: type[Explainer]) -> None:
    """If it fails, an atlas or an edge detector has a score that a network did not earn."""
    readings = readings_of(control)
    # Below 0 where chance is the strongest null: a map may avoid the regions.
    assert values(readings, PROTOCOL.own_ap).mean() <= 1e-9
    assert PROTOCOL.verdict(readings).passed is False


@pytest.mark.parametrize("noise", [Random, SmoothNoise])
def test_noise_is_at_chance(noise: type[Explainer]) -> None:
    """If it fails, noise that is redrawn for each network passes for following it."""
    reading = find(readings_of(noise), PROTOCOL.own_ap)
    assert reading is not None
    limits = summarise(reading, "studentised")
    assert limits.low <= 0
    assert limits.estimate < 0.03


def test_a_map_that_follows_the_network_has_a_score_and_its_bars() -> None:
    """If it fails, the score is not what the network adds to the strongest null."""
    readings = readings_of(Saliency)
    score = values(readings, PROTOCOL.own_ap)
    assert np.isfinite(score).all()
    assert score.mean() > 0.05
    assert "rank the regions as well" not in str(PROTOCOL.verdict(readings).reason)
    own = values(readings, PROTOCOL.scaled_ap, network="own")
    nulls = [values(readings, PROTOCOL.scaled_ap, network=n) for n in ("memorised", "randomised")]
    strongest = max(0.0, *(null.mean() for null in nulls))
    assert score.mean() == pytest.approx(own.mean() - strongest)
    groups = [values(readings, PROTOCOL.own_ap, group=name) for name in cohort_of().group_names]
    np.testing.assert_array_equal(np.nansum(groups, axis=0), score)


def test_abstaining_counts_as_chance_and_fails_where_it_is_a_habit() -> None:
    """If it fails, a method gains by saying nothing where it would be wrong."""
    with pytest.raises(AttributionError, match="abstains"):
        PROTOCOL.readings(trial_of(Half()))


def test_batches_order_and_unit_change_nothing() -> None:
    """If it fails, batch size, order of subjects or the unit of a map moves scores."""
    order = np.random.default_rng(2).permutation(len(cohort_of())).tolist()
    runs = [trial_of(Saliency()), trial_of(Saliency(), 7, order)]
    assert_same_values([values_by_key(PROTOCOL.readings(run)) for run in runs])
    first, second = readings_of(GradCAM), PROTOCOL.readings(trial_of(Scaled()))
    for name in ("own_ap", "specificity"):
        statistic = PROTOCOL.statistic(name)
        np.testing.assert_allclose(values(first, statistic), values(second, statistic), atol=1e-6)


def test_the_gate_says_yes_where_the_network_looks_and_refuses_one_that_knows_nothing() -> None:
    """If it fails, a map is blamed for not pointing where the model does not look."""
    readings = readings_of(Saliency)
    assert region_use.judge(readings).answer == "yes"
    auroc = find(readings, PROTOCOL.model_auroc)
    assert auroc is not None
    blind = replace(auroc, values=np.zeros_like(auroc.values))
    changed = [blind if reading is auroc else reading for reading in readings]
    verdict = PROTOCOL.verdict(changed)
    assert (verdict.state, verdict.passed) == ("not assessable", None)
    assert "AUROC" in str(verdict.reason)


def test_a_region_that_does_nothing_is_not_used() -> None:
    """If it fails, every network that knows its task passes for using every region."""
    readings = [
        replace(reading, values=np.zeros_like(reading.values))
        if reading.statistic.startswith("region_") and reading.statistic != "region_share"
        else reading
        for reading in readings_of(Saliency)
    ]
    assert region_use.judge(readings).answer == "no"


def test_without_regions_or_confidence_there_is_no_score() -> None:
    """If it fails, a cohort without regions, or a network that knows nothing, gets a number."""
    cohort = cohort_of()
    bare = replace(cohort, anatomy=replace(cohort.anatomy, rois={}, control_rois={}, truth=()))
    with pytest.raises(UnsupportedError, match="no regions of interest"):
        PROTOCOL.readings(build_trial(Saliency(), bare))
    with pytest.raises(NotAssessableError, match="confident and correct on 0 images"):
        PROTOCOL.readings(build_trial(Saliency(), classifier=build_classifier()))


@lru_cache(maxsize=1)
def real() -> Trial:
    """Return a trial on real patients' slices."""
    source, cohort = HippocampusResNet(), Hippocampus().load()
    peers = Peers({}, source.recipe, source.relatives)
    runtime = Runtime(torch.device("cpu"), suite="v2#0")
    return Trial(Sobel(), source.load(cohort.shape), cohort, runtime, peers)


def test_on_real_slices_the_network_uses_the_hippocampus_and_masks_tell_the_group() -> None:
    """If it fails, the gate is fooled by masks that bear the label, or nobody is told of them."""
    protocol = RoiPointing(RoiPointingConfig(confidence=0, fewest=2))
    with reproducible():
        readings = protocol.readings(real())
    assert region_use.judge(readings).answer == "yes"
    leaks = {
        mask: find(readings, protocol.mask_leak, mask=mask, by="area") for mask in ("own", "common")
    }
    assert leaks["own"] is not None
    assert leaks["common"] is not None
    assert summarise(leaks["own"], "auroc").estimate > 0.9
    assert summarise(leaks["common"], "auroc").estimate == pytest.approx(0.5, abs=0.05)
    assert "mask leak" in str(protocol.remark(readings))
    np.testing.assert_allclose(values(readings, protocol.own_ap), 0, atol=1e-9)


def test_on_real_slices_a_network_of_shuffled_labels_does_not_use_the_hippocampus() -> None:
    """If it fails, a network that knows the training images by heart passes the gate."""
    trial = LABEL_MODEL.on(real())
    train, test = trial.train.regions, trial.test.regions
    assert train is not None
    assert test is not None
    study = Study(trial, "roi_pointing")
    images = study.balanced(64)
    with reproducible():
        uses = region_use.region_use(images, {"all": (train, test)}, repeats=4)
    region_use.read(study, images, uses, "all")
    assert region_use.judge(study.readings).answer == "no"
    assert PROTOCOL.verdict(study.readings).state == "not assessable"
