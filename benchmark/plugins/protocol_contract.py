"""The contract of protocols: clauses that every protocol keeps."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import AttributionError, NotAssessableError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.plugins.clause import Broken, Contract, NotAsked, clause
from benchmark.plugins.examples import (
    build_cohort,
    build_examples,
    build_trained,
    with_concepts,
    with_sources,
    with_volumes,
)
from benchmark.protocol import SanityProtocol
from benchmark.reading import Reading, Verdict, find
from benchmark.target import Target
from benchmark.trial import Peers, Runtime, Trial

_SUBJECTS = 128  # half of them are tested


class _Gradient(Explainer):
    """The gradient, a simple explainer that protocols are checked with."""

    name = "gradient"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        leaf = images.detach().requires_grad_()
        return torch.autograd.grad(target(*classifier(leaf)).sum(), leaf)[0]


class _Blank(_Gradient):
    """An explainer whose maps are zero."""

    name = "blank"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        return 0 * super().attribute(classifier, images, target)


class ProtocolContract(Contract[SanityProtocol[Any]]):
    """The clauses that every protocol is held to by default, on a small conv net that learned."""

    @cached_property
    def _measured(self) -> list[Reading]:
        try:
            return self.build().readings(_trial(_Gradient()))
        except (NotAssessableError, UnsupportedError) as error:
            # The example is small and simple by design, and a protocol may rightly refuse it.
            raise NotAsked(f"the example gives nothing to measure: {error}") from error

    @clause(
        "score and chance statistic are among the statistics, and the version is MAJOR.MINOR",
        "List every statistic that a reading names in `statistics`.",
        basis=True,
    )
    def declaration(self) -> None:  # noqa: D102
        protocol = self.build()
        names = {statistic.name for statistic in protocol.statistics}
        for name in ("primary", "chance"):
            if getattr(protocol, name) not in names:
                raise Broken(f"`{name}` is {getattr(protocol, name)!r}, none of {sorted(names)}")
        major, _, minor = str(protocol.version).partition(".")
        if not (major.isdigit() and minor.isdigit()):
            raise Broken(f"`version` is {protocol.version!r}")

    @clause(
        "readings hold the score without conditions, and statistics that were declared",
        "Return a Reading of `primary` with empty conditions, one value for each of its images.",
        basis=True,
    )
    def readings(self) -> None:  # noqa: D102
        protocol = self.build()
        names = {statistic.name for statistic in protocol.statistics}
        if undeclared := {reading.statistic for reading in self._measured} - names:
            raise Broken(f"there is a reading of {min(undeclared)!r}")
        if find(self._measured, protocol.primary) is None:
            raise Broken(f"there is no reading of {protocol.primary!r} without conditions")

    @clause(
        "order of subjects and size of batches change nothing",
        "Draw from benchmark.seeding.stream, named by suite, protocol, subject and condition.",
    )
    def order(self) -> None:  # noqa: D102
        protocol, cohort = self.build(), _people()
        reversed_cohort = cohort.take(np.arange(len(cohort))[::-1])
        first = _values(self._measured)
        second = _values(protocol.readings(_trial(_Gradient(), reversed_cohort, batch_size=5)))
        tolerance = max(protocol.tolerance, 1e-5)
        if first.keys() != second.keys():
            raise Broken("other images or conditions come out")
        for key, value in first.items():
            if not np.isclose(value, second[key], rtol=tolerance, atol=tolerance, equal_nan=True):
                raise Broken(f"{key[0]!r} of {key[2]!r} is {value:.6g} and then {second[key]:.6g}")

    @clause(
        "a map of zeros gets no number, and each missing value a reason",
        "Give NaN with a reason where a map ranks nothing, or raise AttributionError.",
    )
    def blank_map(self) -> None:  # noqa: D102
        protocol = self.build()
        if not protocol.explains:  # it asks no map
            return
        _ = self._measured  # what refuses the example whatever the map is not asked
        try:
            score = find(protocol.readings(_trial(_Blank())), protocol.primary)
        except AttributionError:  # it fails a method that ranks nothing
            return
        if score is None or not np.isnan(score.values).all():
            raise Broken("it is scored")
        if any(key not in score.reasons for key in score.sample.keys):
            raise Broken("a value is missing without a reason")

    @clause(
        "the verdict follows from readings alone",
        "Return a Verdict, with a reason where it is a failure.",
    )
    def verdict(self) -> str | None:  # noqa: D102
        first, second = (self.build().verdict(self._measured) for _ in range(2))
        if not isinstance(first, Verdict) or first != second:
            raise Broken(f"it is {first!r} and then {second!r}")
        if first.passed is False and not first.reason:
            raise Broken("it fails without a reason")
        return f"{first.state}: {first.reason}" if first.reason else None


def _trial(explainer: Explainer, cohort: Cohort | None = None, batch_size: int = 64) -> Trial:
    example = build_examples()[0]
    people = with_concepts(cohort or _people())
    runtime = Runtime(torch.device("cpu"), batch_size)
    peers = Peers({explainer.name: explainer}, references=example.cohort.references)
    return Trial(explainer, build_trained().copy(), people, runtime, peers)


@lru_cache(maxsize=1)
def _people() -> Cohort:
    """Return the subjects, enough of them in the test split for statements about groups."""
    return with_volumes(with_sources(build_cohort(subjects=_SUBJECTS)))


def _values(readings: list[Reading]) -> dict[tuple[str, str, str], float]:
    return {
        (reading.statistic, str(sorted(reading.conditions.items())), key): float(value)
        for reading in readings
        for key, value in zip(reading.sample.keys, reading.values, strict=True)
    }
