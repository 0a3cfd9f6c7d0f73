"""`randomization` 2: what is painted on an honest map fails by its top, and copies are a sample."""

from __future__ import annotations

from dataclasses import astuple, replace
from functools import lru_cache

import fire
import numpy as np
import pytest
import torch
from trials import build_trial

from baselines.cohorts.phantom2 import Phantom2
from baselines.explainers.class_activation import GradCAMAligned
from baselines.explainers.controls import Centre, Random, Sobel
from baselines.explainers.gradient import Saliency
from baselines.models.phantom2_resnet import Phantom2ResNet
from benchmark.explainer import Explainer
from benchmark.plugins.examples import build_cohort
from benchmark.reading import Reading, Sample, find
from benchmark.running.device import reproducible
from benchmark.seeding import torch_stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.crossed import CrossedShare
from benchmark.trial import Peers, Runtime, Study, Trial
from protocols.v2.randomization import Randomization, RandomizationConfig
from protocols.v2.randomization.likeness import SPEARMAN, Likeness, measures_in, similarities_to
from protocols.v2.randomization.shares import TOP, share_on_copies, share_on_labels

PROTOCOL = Randomization(
    RandomizationConfig(subjects=24, walk_subjects=2, seeds=1, smooth_passes=0)
)


@lru_cache(maxsize=1)
def _trial() -> Trial:
    source, cohort = Phantom2ResNet(), Phantom2().load()
    runtime = Runtime(torch.device("cpu"), suite="v2#0")
    peers = Peers({}, source.recipe, source.relatives)
    return Trial(Saliency(), source.load(cohort.shape), cohort, runtime, peers)


@lru_cache(maxsize=12)
def _readings(kind: type[Explainer]) -> list[Reading]:
    with reproducible():
        return PROTOCOL.readings(_trial().on(explainer=kind()))


@pytest.mark.parametrize("kind", [Saliency, GradCAMAligned])
def test_honest_methods_pass(kind: type[Explainer]) -> None:
    """If it fails, the gate refuses maps that follow the network."""
    readings = _readings(kind)
    assert PROTOCOL.score_interval(readings).estimate >= 0.6
    labels = share_on_labels(readings, TOP)
    assert labels is not None
    assert labels.estimate >= 0.6
    # 24 images are too few to be sure of the coarse maps' tops on permuted labels; 64 are not.
    assert PROTOCOL.verdict(readings).passed or kind is not Saliency


@pytest.mark.parametrize("kind", [Sobel, Centre, Random])
def test_maps_that_look_at_no_network_lose_nothing(kind: type[Explainer]) -> None:
    """If it fails, a map of the image alone looks learned."""
    score = find(_readings(kind), "learned_share")
    assert score is not None
    assert score.values.mean() == pytest.approx(0, abs=1e-9)
    assert PROTOCOL.verdict(_readings(kind)).passed is False


def test_a_stamp_on_an_honest_map_fails_by_its_top() -> None:
    """If it fails, an atlas painted over any map passes the gate."""
    readings = _readings(fire.StampedCAM)
    share = share_on_copies(readings, TOP)
    assert share is not None
    assert share.estimate < 0.2
    assert PROTOCOL.verdict(readings).passed is False


@pytest.mark.parametrize("kind", [fire.GuardedCAM, fire.Detector])
def test_a_prior_that_a_sure_network_brings_out_fails_by_permuted_labels(
    kind: type[Explainer],
) -> None:
    """If it fails, a prior that is shown wherever the network is sure passes the gate."""
    readings = _readings(kind)
    share = share_on_labels(readings, TOP)
    assert share is not None
    assert share.estimate < 0.2
    assert PROTOCOL.verdict(readings).passed is False


def test_edges_wherever_norms_were_trained_fail_by_permuted_labels() -> None:
    """If it fails, a filter passes that tells redrawn copies by their norms' scale of 1."""
    readings = _readings(fire.TrainedNorms)
    on_copies, on_labels = (share(readings, TOP) for share in (share_on_copies, share_on_labels))
    assert on_copies is not None
    assert on_copies.estimate > 0.6
    assert on_labels is not None
    # The norms of that network were trained as well: the null of every score is the map itself.
    assert on_labels.estimate == pytest.approx(0, abs=1e-9)
    assert PROTOCOL.verdict(readings).passed is False


def test_the_score_is_the_smaller_share_and_its_values_average_to_it() -> None:
    """If it fails, the printed score is not the mean of what a board compares."""
    readings = _readings(Saliency)
    shares = [share_on_copies(readings, measure) for measure in (SPEARMAN, TOP)]
    smaller = min(share.estimate for share in shares if share is not None)
    score = find(readings, "learned_share")
    assert score is not None
    assert score.values.mean() == pytest.approx(smaller)
    assert PROTOCOL.score_interval(readings).estimate == pytest.approx(smaller)
    assert smaller <= 1


def test_few_subjects_give_neither_limits_nor_a_verdict() -> None:
    """If it fails, a method is listed apart because few subjects were asked."""
    few = [
        replace(
            reading,
            sample=Sample(*(part[:12] for part in astuple(reading.sample))),
            values=reading.values[:12],
        )
        for reading in _readings(Saliency)
    ]
    assert np.isnan(PROTOCOL.score_interval(few).low)
    assert PROTOCOL.verdict(few).passed is None
    assert Randomization.badges(few)[-1].held is None


@pytest.mark.parametrize("fold", ["magnitude", "positive"])
def test_copies_widen_the_interval(fold: str) -> None:
    """If it fails, five copies are taken for all that there could be."""
    generator = np.random.default_rng(1)
    copies = np.array([0.1, 0.3, -0.2, 0.4, 0.2]) + generator.normal(0, 0.1, (64, 5))
    bootstrap = SubjectBootstrap([str(number) for number in range(64)])
    share = CrossedShare(copies, generator.normal(0.8, 0.1, 64), bootstrap, fold)  # type: ignore[arg-type]
    with_copies, without = share.interval(), share.interval(draw_copies=False)
    assert with_copies.high - with_copies.low > without.high - without.low
    assert share.values.mean() == pytest.approx(share.estimate)


def test_more_images_than_are_compared_at_once_are_compared_alike() -> None:
    """If it fails, a subject's similarity depends on how many subjects are asked about."""
    trial = build_trial(Saliency(), build_cohort(subjects=144))
    images, quantiles = Study(trial, "randomization"), (0.02, 0.1)
    assert len(images.rows) > 64
    maps, others = (
        torch.rand(images.foreground.shape, generator=torch_stream("maps", number))
        for number in range(2)
    )
    own, other = (Likeness(images, each, quantiles) for each in (maps, others))
    found = similarities_to(images, maps, [lambda: others, lambda: maps], quantiles)
    for similarities, expected in zip(found, (own.to(other), own.to(own)), strict=True):
        assert list(similarities) == measures_in(2, quantiles)
        for measure, values in expected.items():
            np.testing.assert_allclose(similarities[measure], values, rtol=1e-12)
