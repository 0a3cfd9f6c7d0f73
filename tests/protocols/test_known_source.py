"""`known_source`: maps that follow the network gain, those that look at the image alone do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from contract_settings import people_of, trial_of
from torch import Tensor

from baselines.cohorts.sources import Sources
from baselines.explainers.controls import Centre, Intensity, Oracle, Random, Sobel
from baselines.explainers.gradient import Saliency
from baselines.models.phantom2_resnet import Phantom2ResNet
from benchmark.classifier import Classifier
from benchmark.errors import AttributionError, NotAssessableError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.plugins.examples import build_classifier
from benchmark.reading import Reading, Sample, find, summarise
from benchmark.target import Margin, Target
from benchmark.trial import Peers, Runtime, Trial
from protocols.known_source import KnownSource, KnownSourceConfig
from protocols.known_source.figures import source_drawings
from protocols.known_source.measures import above_others

NAME = KnownSource.name
PROTOCOL = KnownSource(KnownSourceConfig(subjects=8))
SIDES = ("left", "right")


def _untuned(explainer: Explainer, dimensions: int = 2) -> Trial:
    """Return a trial whose networks of sources have learned nothing, which takes no time."""
    trial = trial_of(explainer, "conv", dimensions, people_of(NAME, dimensions))
    for seed, relative in enumerate(PROTOCOL.relatives(trial)):
        trial.relative(replace(relative, fit=partial(build_classifier, dimensions, seed)))
    return trial


def _score(trial: Trial) -> Reading:
    reading = find(PROTOCOL.readings(trial), PROTOCOL.primary)
    assert reading is not None
    return reading


@pytest.mark.parametrize("dimensions", [2, 3], ids=["2-D", "3-D"])
@pytest.mark.parametrize("control", [Centre(), Intensity(), Sobel()], ids=lambda one: one.name)
def test_a_map_of_the_image_alone_is_worth_exactly_nothing(
    control: Explainer, dimensions: int
) -> None:
    """If it fails, anatomy or edges earn a score without the network."""
    np.testing.assert_array_equal(_score(_untuned(control, dimensions)).values, 0)


@pytest.mark.parametrize("dimensions", [2, 3], ids=["2-D", "3-D"])
def test_the_truth_of_each_task_is_worth_one(dimensions: int) -> None:
    """If it fails, the truth shown is that of another task, and nothing could reach the ceiling."""
    np.testing.assert_allclose(_score(_untuned(Oracle(), dimensions)).values, 1, atol=0.03)


def test_the_other_network_is_the_best_of_them_in_the_mean() -> None:
    """If it fails, each subject chooses by its own noise, or a weaker network is subtracted."""
    generator, names = np.random.default_rng(0), ("a", "b", "c")
    table = {(row, column): generator.random(9) for row in names for column in names}
    chance = {name: np.full(9, 0.1 * number) for number, name in enumerate(names)}
    differences = above_others(table, chance)
    for source in names:
        others = [table[name, source] for name in names if name != source]
        strongest = max(others, key=np.mean)
        wanted = (table[source, source] - strongest) / (1 - chance[source])
        np.testing.assert_allclose(differences[source], wanted, atol=1e-12)


def test_an_image_without_the_source_counts_as_chance() -> None:
    """If it fails, a subject whose region lies outside the foreground leaves the score without."""
    table = {(row, column): np.array([0.5, np.nan]) for row in SIDES for column in SIDES}
    table["left", "left"] = np.array([0.9, np.nan])
    chance = {name: np.array([0.1, np.nan]) for name in SIDES}
    differences = above_others(table, chance)
    np.testing.assert_allclose(differences["left"], [0.4 / 0.9, 0])
    np.testing.assert_allclose(differences["right"], [0, 0])


class Counting(Explainer):
    """Counts the images that it is asked about, by network and target."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, Target]] = Counter()

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the images."""
        self.asked[classifier.name, target] += len(images)
        return images.clone()


def test_each_network_is_asked_for_its_own_label() -> None:
    """If it fails, a network explains why a region is dark that it has never learned."""
    explainer = Counting()
    trial = _untuned(explainer)
    _score(trial)
    groups = trial.test.sources["right"].labels
    assert not np.array_equal(groups, trial.test.groups)
    targets = {Margin(group, 1 - group) for group in set(groups.tolist())}
    for side in SIDES:
        name = f"{trial.classifier.name}-source-{side}"
        assert {target for network, target in explainer.asked if network == name} == targets


class Shy(Saliency):
    """The gradient, except on the darkest images, where it says nothing."""

    name = "shy"

    def __init__(self, below: float) -> None:
        super().__init__()
        self._below = below

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient, or zeros where the mean of an image is small."""
        maps = super().attribute(classifier, images, target)
        dark = images.flatten(1).mean(1) < self._below
        return torch.where(dark.view(-1, *[1] * (images.ndim - 1)), 0, maps)


def test_an_abstention_counts_as_chance_and_many_fail_the_method() -> None:
    """If it fails, a method raises its score by leaving out what it is unsure of."""
    protocol = KnownSource(KnownSourceConfig(subjects=16))
    trial = _untuned(Saliency())
    asked = find(protocol.readings(trial), protocol.primary)
    assert asked is not None
    rows = [trial.test.keys.index(key) for key in asked.sample.keys]
    means = trial.test.images[rows].mean((1, 2, 3))
    levels = np.sort(means)
    shy = protocol.readings(trial.on(explainer=Shy((levels[0] + levels[1]) / 2)))
    score = find(shy, protocol.primary)
    assert score is not None
    assert score.values[means.argmin()] == 0
    others = np.arange(len(means)) != means.argmin()
    np.testing.assert_array_equal(score.values[others], asked.values[others])
    assert [_abstentions(shy, side) for side in SIDES] == [1, 1]
    with pytest.raises(AttributionError, match="abstains"):
        protocol.readings(trial.on(explainer=Shy((levels[1] + levels[2]) / 2)))


def _abstentions(readings: list[Reading], side: str) -> float:
    reading = find(readings, "abstentions", network=side)
    assert reading is not None
    return summarise(reading, "constant").estimate


def test_a_cohort_without_sources_is_told_so() -> None:
    """If it fails, a user's own cohort ends in a traceback instead of a sentence."""
    people = people_of(NAME, 2)
    trial = trial_of(Saliency(), "conv", 2, replace(people, sources={}))
    with pytest.raises(UnsupportedError, match="the cohort declares no sources"):
        PROTOCOL.readings(trial)
    single = replace(people, sources={"left": people.sources["left"]})
    with pytest.raises(UnsupportedError, match="'left' as its only source"):
        PROTOCOL.readings(trial_of(Saliency(), "conv", 2, single))
    with pytest.raises(NotAssessableError, match="no training split"):
        PROTOCOL.readings(trial_of(Saliency(), "conv", 2, people.select("test")))


def _judged(own: float, other: float, score: float, scored: int = 40) -> list[Reading]:
    """Return readings of networks that tell their own labels, and others', by margins so far up."""
    keys = tuple(f"s{number:02d}" for number in range(40))
    noise = np.random.default_rng(1).normal(size=40)
    few = Sample(keys[:scored], keys[:scored], (0, 1) * (scored // 2))
    labels = {"left": np.arange(40) % 2, "right": np.arange(40) // 2 % 2}
    readings = [Reading("source", few, score + 0.1 * noise[:scored])]
    for network in SIDES:
        for source in SIDES:
            groups = labels[source]
            margins = noise + (own if network == source else other) * groups
            sample = Sample(keys, keys, tuple(groups.tolist()))
            readings.append(
                Reading("auroc", sample, margins, {"network": network, "source": source})
            )
    return readings


def test_the_verdict_asks_the_networks_first() -> None:
    """If it fails, a map is judged on networks that never learned their source, or know both."""
    passed = PROTOCOL.verdict(_judged(own=5, other=0, score=0.2))
    assert (passed.state, passed.passed) == ("scored", True)
    failed = PROTOCOL.verdict(_judged(own=5, other=0, score=0.0))
    assert failed.passed is False
    assert failed.reason == "the map does not follow the source"
    few = PROTOCOL.verdict(_judged(own=5, other=0, score=0.2, scored=18))
    assert (few.state, few.passed) == ("scored", None)
    assert "20 subjects" in (few.reason or "")
    for own, other, reason in ((0.5, 0, "not learned: left"), (5, 2, "knows right as well")):
        verdict = PROTOCOL.verdict(_judged(own, other, 0.2))
        assert verdict.state == "not assessable"
        assert reason in (verdict.reason or "")


def _reference() -> Trial:
    """Return a trial of the committed networks, asked by the gradient."""
    source, people = Phantom2ResNet(), Sources().load()
    peers = Peers(recipe=source.recipe, weights=source.relatives)
    runtime = Runtime(torch.device("cpu"))
    return Trial(Saliency(), source.load(people.shape), people, runtime, peers)


def test_gradients_follow_the_committed_networks_and_noise_does_not() -> None:
    """If it fails, the reference networks no longer tell who follows them."""
    protocol, trial = KnownSource(KnownSourceConfig(subjects=24)), _reference()
    readings = protocol.readings(trial)
    assert protocol.verdict(readings).passed
    gradients = find(readings, protocol.primary)
    assert gradients is not None
    assert summarise(gradients).estimate > 0.1
    noise = protocol.readings(trial.on(explainer=Random()))
    score = find(noise, protocol.primary)
    assert score is not None
    assert abs(summarise(score).estimate) < protocol.margin
    drawing = next(source_drawings({"saliency": readings, "random": noise}))
    drawing.draw()
