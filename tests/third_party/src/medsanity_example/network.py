"""A model: a frozen random encoder with a head fitted to the cohort."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.model_source import ModelSource
from benchmark.training import fit_probe


class Network(ModelSource):
    """Two convolutions that were never trained, and a logistic regression on what they give."""

    description = "frozen random convolutions with a fitted head"

    def load(self, input_shape: Sequence[int]) -> Classifier:
        """Return the encoder with a head that knows nothing yet."""
        if len(input_shape) != 2:
            raise ClassifierError(f"It takes images, not volumes {list(input_shape)}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trunk = nn.Sequential(
                nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()
            )
            head = nn.Linear(32, 2)
        return Classifier("example_network", trunk, head, input_shape)

    def fit(self, classifier: Classifier, cohort: Cohort) -> Classifier:
        """Return the encoder with the fitted head."""
        return fit_probe(classifier, cohort)
