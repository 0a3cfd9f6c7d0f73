"""A protocol: how much of the map's largest values lies where the groups differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from benchmark.classifier import PassCounter
from benchmark.errors import NotAssessableError
from benchmark.protocol import ProtocolConfig, SanityProtocol
from benchmark.reading import Reading, Statistic, Verdict, find, summarise
from benchmark.trial import Trial


class OverlapConfig(ProtocolConfig):
    """Settings of ``example_overlap``.

    Attributes:
        quantile: Share of the foreground that is marked.
    """

    quantile: float = Field(0.05, gt=0, lt=1)


class Overlap(SanityProtocol[OverlapConfig]):
    """The share of marked pixels that lie in the truth, over the truth's share of the foreground.

    It is 0 for a map of noise and at most 1.
    """

    version = "1.0"
    title = "Does the map mark where the groups differ?"
    primary = "overlap"
    chance = "overlap"
    margin = 0.1
    Config = OverlapConfig
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("overlap", "marked pixels in the truth, above chance", "higher"),
    )

    def readings(self, trial: Trial) -> list[Reading]:
        """Return the overlap of each test image."""
        if trial.test.truth is None:
            raise NotAssessableError("the cohort does not know where its groups differ")
        sample, reasons, values = trial.sample(), {}, []
        maps = trial.importance.numpy()
        for key, one, truth, inside in zip(
            sample.keys, maps, trial.test.truth, trial.test.anatomy.foreground, strict=True
        ):
            here, there = one[inside], truth[inside]
            marked = np.argsort(-here, kind="stable")[: round(self.config.quantile * here.size)]
            if np.ptp(here) == 0:
                reasons[key] = "constant map"
                values.append(np.nan)
                continue
            chance = there.mean()
            values.append((there[marked].mean() - chance) / (1 - chance))
        return [Reading("overlap", sample, np.array(values), {}, reasons)]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass where the interval lies above 0."""
        overlap = find(readings, "overlap")
        passed = overlap is not None and summarise(overlap).low > 0
        return Verdict("scored", passed, None if passed else "no more than noise marks")

    def cost(self, trial: Trial) -> PassCounter:
        """Return what one map for each test image takes."""
        forward, backward = trial.explainer.passes
        return PassCounter(len(trial.test) * forward, len(trial.test) * backward)
