"""Trials that protocol tests are built from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmark.classifier import Classifier, PassCounter
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_classifier, build_cohort
from benchmark.reading import Reading
from benchmark.training import Recipe, fine_tune
from benchmark.trial import ArrayArchive, Runtime, Trial

RECIPE = Recipe(
    epochs=60, batch_size=4, learning_rate=2e-2, weight_decay=0.0, shift=0, mirror=False
)


@lru_cache(maxsize=4)
def cohort_of(dimensions: int = 2) -> Cohort:
    """Return 48 subjects, half of them in the test split."""
    return build_cohort(SHAPE_2D if dimensions == 2 else SHAPE_3D, subjects=48)


@lru_cache(maxsize=4)
def trained(dimensions: int = 2) -> Classifier:
    """Return a classifier that tells the groups of ``cohort_of`` apart with confidence."""
    return fine_tune(build_classifier(dimensions), cohort_of(dimensions), RECIPE)


Arrays = dict[str, npt.NDArray[np.generic]]


class MemoryArchive:
    """Keeps arrays in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, Arrays] = {}

    def load(self, identity: str) -> Arrays | None:
        """Return what was kept."""
        return self.kept.get(identity)

    def save(self, identity: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Keep it."""
        self.kept[identity] = dict(arrays)

    def turn(
        self, identity: str, announce: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Return a context; no other process knows of this dictionary."""
        return nullcontext()


def build_trial(
    explainer: Explainer,
    cohort: Cohort | None = None,
    classifier: Classifier | None = None,
    batch_size: int = 64,
    archive: ArrayArchive | None = None,
) -> Trial:
    """Return a trial with a memory of its own, on the CPU."""
    runtime = Runtime(torch.device("cpu"), batch_size=batch_size, archive=archive)
    if classifier is None:
        classifier = trained().copy()
        classifier.passes = PassCounter()  # copies share their counter
    return Trial(explainer, classifier, cohort or cohort_of(), runtime)


Values = dict[tuple[str, str, str], float]


def values_by_key(readings: Iterable[Reading]) -> Values:
    """Return every value of every reading by statistic, conditions and image."""
    return {
        (one.statistic, str(sorted(one.conditions.items())), key): value
        for one in readings
        for key, value in zip(one.sample.keys, one.values, strict=True)
    }


def assert_same_values(runs: Sequence[Values], tolerance: float = 1e-6) -> None:
    """Fail unless all runs have the same values within a tolerance, relative or absolute."""
    for other in runs[1:]:
        assert other.keys() == runs[0].keys()
        for key, value in runs[0].items():
            wanted = pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True)
            assert other[key] == wanted, key
