"""Plugins that run in a moment, loaded by path as a third party's would be."""

# ruff: noqa: D102  # what the methods must do is said by their base classes

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.cohort import Batch, Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import NotAssessableError, SuiteError
from benchmark.explainer import Explainer
from benchmark.model_source import ModelSource
from benchmark.plugins.examples import SHAPE_3D, build_classifier, build_cohort
from benchmark.protocol import ProtocolConfig, SanityProtocol
from benchmark.reading import Reading, Statistic, Verdict, find, statistic, summarise
from benchmark.target import Target
from benchmark.training import Recipe
from benchmark.trial import Study, Trial
from benchmark.trial.region_effects import region_effects

FILE = Path(__file__)
SLOWNESS = "FAKE_SECONDS"
NODE, GATES = "FAKE_NODE", "FAKE_GATES"


def spec(name: str) -> str:
    """Return how a class of this file is named on the command line."""
    return f"{FILE}:{name}"


def _wait_at_gate(cell: str) -> None:
    """On a node of a test's cluster, say that a cell is there, and wait until it is let go."""
    if folder := os.environ.get(GATES):
        Path(folder, f"{cell}.{os.environ[NODE]}").touch()
        while not Path(folder, f"{cell}.open").exists():
            time.sleep(0.02)


class TinyCohort(CohortSource):
    """24 subjects, 12 of them tested."""

    name = "tiny"

    def load(self) -> Cohort:
        return build_cohort()


class GeneratedCohort(CohortSource):
    """96 subjects, 48 of them tested, in whose place others can be drawn."""

    name = "generated"

    def load(self) -> Cohort:
        return self._draw(0)

    def draw(self, seed: int) -> Cohort:
        return self._draw(1 + seed)

    def _draw(self, seed: int) -> Cohort:
        published, drawn = (build_cohort(subjects=96, seed=one) for one in (0, seed))
        table = published.participants.copy()
        is_test = table["split"] == "test"
        table.loc[is_test, "subject"] = [f"{seed}-{name}" for name in table["subject"][is_test]]
        images = published.images.copy()
        images[is_test] = drawn.images[is_test]
        return Cohort(self.name, images, table, published.anatomy, published.geometry)


class OtherCohort(CohortSource):
    """Other subjects, other noise."""

    name = "other"

    def load(self) -> Cohort:
        cohort = build_cohort(seed=1)
        object.__setattr__(cohort, "name", self.name)
        return cohort


class OwnModelCohort(OtherCohort):
    """A cohort that another network was trained on."""

    name = "own_model"
    model = "smallvgg"


class Volumes(OtherCohort):
    """Volumes that no network was trained on."""

    name = "volumes"
    loads = 0

    def load(self) -> Cohort:
        type(self).loads += 1
        cohort = build_cohort(SHAPE_3D)
        object.__setattr__(cohort, "name", self.name)
        return cohort


class TinyModel(ModelSource):
    """An untrained network."""

    name = "tiny_model"

    def load(self, input_shape: Sequence[int]) -> Classifier:
        return build_classifier(len(input_shape), input_shape=input_shape)


class QuickModel(TinyModel):
    """The same, whose relatives are trained in a moment."""

    name = "quick_model"
    recipe = Recipe(
        epochs=2, batch_size=4, learning_rate=2e-2, weight_decay=0.0, shift=0, mirror=False
    )


class TornModel(ModelSource):
    """Its file is missing."""

    name = "torn_model"

    def load(self, input_shape: Sequence[int]) -> Classifier:
        raise RuntimeError("no such file\nand more")


class Bright(Explainer):
    """The image, after one pass through the model."""

    name = "bright"
    polarity = "positive"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        classifier.feature_maps(images)
        return images.clone()


class Dark(Bright):
    """The image upside down."""

    name = "dark"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return 1 - super().attribute(classifier, images, target)


class Powered(Bright):
    """The image to a power that a suite may set."""

    name = "powered"

    def __init__(self, power: float = 2.0) -> None:
        if power <= 0:
            raise SuiteError(f"The power must be above 0, not {power}.")
        self.power = power

    @property
    def config(self) -> dict[str, str | int | float]:
        return {"power": self.power, "rule": "plain"}

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return super().attribute(classifier, images, target) ** self.power


class Compared(Bright):
    """The image minus the mean of the training images."""

    name = "compared"
    needs_references = True

    def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        assert batch.references is not None
        return self.attribute(classifier, batch.images, target) - batch.references.mean


class DarkAligned(Dark):
    """The same under the name that pairs it with ``dark``."""

    name = "dark_aligned"


class Flat(Explainer):
    """Says nothing anywhere."""

    name = "flat"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return torch.zeros_like(images)


class Leaving(Explainer):
    """Ends the program as if all was well."""

    name = "leaving"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        raise SystemExit(0)


class Raising(Explainer):
    """Breaks down."""

    name = "raising"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        raise ValueError("out of ideas\nsecond line")


class Meddling(Bright):
    """Writes into the network past every count of writes, once its maps were checked."""

    name = "meddling"

    def __init__(self) -> None:
        self.calls = 0

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        self.calls += 1
        if self.calls > 3:
            classifier.head.weight.data.neg_()
            next(classifier.trunk.parameters()).data.fill_(1)
        return super().attribute(classifier, images, target)


class Sloped(Explainer):
    """The gradient, which follows the network."""

    name = "sloped"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        images.requires_grad_()
        return torch.autograd.grad(target(*classifier(images)).sum(), images)[0]


class Picky(Bright):
    """Refuses every model."""

    name = "picky"

    def supports(self, classifier: Classifier) -> str | None:
        return "needs attention heads"


class LoadingConfig(ProtocolConfig):
    """Settings of ``loading``."""

    power: float = Field(1.0, gt=0)
    memory: int = 2**30


class Loading(SanityProtocol[LoadingConfig]):
    """Share of the map in the truth, over the truth's share of the foreground."""

    name = "loading"
    version = "1.0"
    title = "Is the truth loaded?"
    primary = "share"
    chance = "excess"
    margin = 0.2
    Config = LoadingConfig
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("share", "share of the map in the truth", "higher"),
        Statistic("excess", "the same minus the truth's share of the foreground"),
        Statistic("gap", "mean of the map", "none", "group_difference"),
        Statistic("told", "mean of the map", "none", "auroc"),
    )

    def readings(self, trial: Trial) -> list[Reading]:
        time.sleep(float(os.environ.get(SLOWNESS, "0")))
        _wait_at_gate(f"{trial.explainer.name}-{self.name}")
        if trial.runtime.batch_size > self.config.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        truth, foreground = trial.test.truth, trial.test.anatomy.foreground
        if truth is None:
            raise NotAssessableError("no truth to load")
        maps = trial.importance.double().numpy() ** self.config.power * foreground
        axes = tuple(range(1, maps.ndim))
        totals = maps.sum(axes)
        flat = totals == 0
        with np.errstate(invalid="ignore"):
            share = (maps * truth).sum(axes) / totals
        area = truth.sum(axes) / foreground.sum(axes)
        sample = trial.sample()
        reasons = {key: "constant map" for key, no in zip(sample.keys, flat, strict=True) if no}
        means = np.where(flat, np.nan, maps.mean(axes))
        return [
            Reading("share", sample, share, {}, reasons),
            Reading("excess", sample, share - area, {}, reasons),
            Reading("share", sample, share, {"power": self.config.power, "arm": "map"}, reasons),
            Reading("gap", sample, means, {}, reasons),
            Reading("told", sample, means, {}, reasons),
        ]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        excess = find(readings, "excess")
        passed = excess is not None and summarise(excess).low > 0
        return Verdict("scored", passed, None if passed else "no more than its area")


class Second(Loading):
    """Another protocol on the same maps."""

    name = "second"
    version = "2.1"


class Fatal(Loading):
    """Ends its process without a word where it is asked about the bright map.

    Asked about the dark one, it goes on twice, as where a library forks and does not end the copy.
    """

    name = "fatal"

    def readings(self, trial: Trial) -> list[Reading]:
        if trial.explainer.name == "bright":
            os._exit(7)
        if trial.explainer.name == "dark" and hasattr(os, "fork"):
            os.fork()
        return super().readings(trial)


class Redrawing(Loading):
    """Asks for the maps once more, and keeps nothing of it."""

    name = "redrawing"

    def readings(self, trial: Trial) -> list[Reading]:
        readings = super().readings(trial)
        trial.draw(np.arange(len(trial.test)))
        return readings


class Removing(Redrawing):
    """Draws maps, and then asks what depends on cohort and model alone."""

    name = "removing"

    def readings(self, trial: Trial) -> list[Reading]:
        readings = super().readings(trial)
        effects = region_effects(trial, np.arange(len(trial.test)), 2)["blur"]
        sample = trial.sample()
        return [*readings[:2], Reading("gap", sample, effects.after.mean(1))]


class Undefined(Loading):
    """Finds nothing to assess."""

    name = "undefined"

    def readings(self, trial: Trial) -> list[Reading]:
        raise NotAssessableError("the model knows nothing")


class Unspeakable(Loading):
    """Gives a condition that no record can hold."""

    name = "unspeakable"

    def readings(self, trial: Trial) -> list[Reading]:
        score = super().readings(trial)[0]
        return [score, Reading("gap", score.sample, score.values, {"q": None})]  # type: ignore[dict-item]


class OfModel(SanityProtocol[LoadingConfig]):
    """Asks about the model alone: its probability of the own group."""

    name = "of_model"
    version = "1.0"
    title = "Is the model sure?"
    primary = "sureness"
    chance = "sureness"
    margin = 1.0
    explains = False
    Config = LoadingConfig
    sureness = statistic("probability of the own group")

    def inputs(self, cohort: Cohort) -> dict[str, object]:
        return {"concepts": sorted(cohort.concepts)}

    def measure(self, study: Study) -> None:
        study.read(self.sureness, study.trial.evaluation.own_probability)
        study.exhibit({"power": np.array(self.config.power)})

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        return Verdict("scored", None)


class Exhibiting(SanityProtocol[LoadingConfig]):
    """Notes the mean of the map to a power, and keeps the power for a figure."""

    name = "exhibiting"
    version = "1.0"
    title = "Is the mean high?"
    primary = "height"
    chance = "height"
    margin = 10.0
    truth_leads = False
    Config = LoadingConfig
    panel = ("random",)
    height = statistic("mean of the map to a power", "higher")

    def measure(self, study: Study) -> None:
        maps = study.trial.importance.double().numpy() ** self.config.power
        study.read(self.height, maps.mean((1, 2, 3)))
        study.exhibit({"power": np.array(self.config.power)})

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        return Verdict("scored", None)
