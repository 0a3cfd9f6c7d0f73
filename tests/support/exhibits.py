"""A finished run of fake methods, with everything that a report shows of it."""

# ruff: noqa: D102  # what the methods must do is said by their base classes

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from runs import build_record

from benchmark.cohort import Cohort
from benchmark.plugins.examples import build_cohort
from benchmark.protocol import SanityProtocol
from benchmark.reading import Condition, Plot, Reading, Sample, Statistic, Verdict
from benchmark.records.record import Outcome, Record
from benchmark.results.explained_model import ExplainedModel
from benchmark.trial import Trial
from benchmark.trial.outputs import Evaluation

STEPS = (0.0, 0.1, 0.2)
FILLS = ("mean", "blur")
SIDES = ("left", "right")


class Shape(SanityProtocol[Any]):
    """A protocol whose statistics are drawn in every way there is."""

    name = "shape"
    version = "1.0"
    title = "Is it drawn?"
    primary = "score"
    chance = "score"
    margin = 0.2
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("score", "what counts", "higher"),
        Statistic("drop", "a curve", plot=Plot("curve", "q", ("arm",), "fill", "drop (T)")),
        Statistic("plain", "a curve", plot=Plot("curve", "q", ("arm",), None, "drop (T)")),
        Statistic("lift", "bars", plot=Plot("bars", "side", ("region", "model"), None, "lift")),
        Statistic("precision", "bars", plot=Plot("bars", "network", (), None, "ap")),
        Statistic("never", "not read", plot=Plot("curve", "q", (), None, "nothing")),
    )

    def readings(self, trial: Trial) -> list[Reading]:
        raise NotImplementedError

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        raise NotImplementedError


PROTOCOLS: Mapping[str, type[SanityProtocol[Any]]] = {"shape": Shape}


def readings_of(level: float, count: int = 12) -> list[Reading]:
    """Return readings under every condition, about ``level`` high."""
    keys = tuple(f"s{row:03d}" for row in range(count))
    sample = Sample(keys, keys, tuple(row % 2 for row in range(count)))
    noise = np.random.Generator(np.random.PCG64(0)).normal(0, 0.05, count)

    def read(statistic: str, height: float, **conditions: Condition) -> Reading:
        return Reading(statistic, sample, height + noise, conditions)

    readings = [read("score", level)]
    for q in STEPS:
        for arm, share in (("map", 1.0), ("random", 0.3), ("iid", 0.2)):
            readings.append(read("plain", level * q * share, q=q, arm=arm))
            readings += [read("drop", level * q * share, q=q, arm=arm, fill=fill) for fill in FILLS]
    for network, share in (("own", 1.0), ("memorised", 0.3), ("randomised", 0.1)):
        readings.append(read("precision", level * share, network=network))
    for side in SIDES:
        for region in ("roi", "control"):
            for model in ("trained", "randomised"):
                height = 10 * level if (region, model) == ("roi", "trained") else 1.0
                readings.append(read("lift", height, side=side, region=region, model=model))
    return readings


def scored(explainer: str, level: float = 0.5) -> Record:
    """Return the record of a cell that passed."""
    return build_record(
        explainer, protocol="shape", outcome=Outcome("scored", None, "pass", readings_of(level))
    )


def ended(explainer: str, outcome: Outcome) -> Record:
    """Return the record of a cell that came to another end."""
    return build_record(explainer, protocol="shape", outcome=outcome)


def build_explained_model(
    explainers: Sequence[str], cohort: Cohort | None = None
) -> ExplainedModel:
    """Return what to show of a model on a cohort: noise as maps, all signs."""
    test = (cohort or build_cohort()).select("test")
    generator = np.random.Generator(np.random.PCG64(1))
    signs = 1 - 2 * test.groups
    margin = signs * generator.uniform(-0.5, 4, len(test))
    evaluation = Evaluation(
        logits=np.column_stack([margin / 2, -margin / 2]),
        embeddings=generator.normal(size=(len(test), 4)),
        groups=test.groups,
    )
    maps = {
        name: generator.normal(size=test.images.shape).astype(np.float32) for name in explainers
    }
    polarities = dict.fromkeys(explainers, "absolute")
    return ExplainedModel(test, "tiny_model", evaluation, maps, polarities)
