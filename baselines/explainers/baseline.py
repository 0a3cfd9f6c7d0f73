"""Baselines to compare an image with: black, the training mean, itself blurred, healthy others.

An attribution of this kind says what the image has that its baseline lacks. Against a black image
that is everything bright; against people of the reference group it is what makes the image unlike
them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.cohort import Batch, References
from benchmark.errors import AttributionError
from benchmark.explainer import Explainer
from benchmark.target import Target

Baseline = Literal["black", "mean", "blurred", "reference"]
SingleBaseline = Literal["black", "mean", "blurred"]

_BLUR = 1 / 16


class ComparingExplainer(Explainer):
    """A method that explains the difference between an image and its baselines.

    Args:
        baseline: Kind of baseline: ``"black"``, ``"mean"`` of the training images, ``"blurred"``,
            the image under a Gaussian of σ one sixteenth of its shortest side, or ``"reference"``,
            images of the training split's reference group.

    Attributes:
        constants: Settings that no suite can change.
    """

    constants: ClassVar[dict[str, str | int | float]] = {}

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline

    @property
    def config(self) -> dict[str, str | int | float]:
        """Kind of baseline, and what no suite can change."""
        return {"baseline": self.baseline, **self.constants}

    @property
    def needs_references(self) -> bool:
        """Whether the baseline is made of training images."""
        return self.baseline in ("mean", "reference")

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the attributions [B, 1, *S] for a baseline that needs no training images."""
        return self.compare(classifier, images, baselines_of(self.baseline, images), target)

    def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        """Return the attributions of a batch; see the base class."""
        baselines = baselines_of(self.baseline, batch.images, batch.references)
        return self.compare(classifier, batch.images, baselines, target)

    @abstractmethod
    def compare(
        self, classifier: Classifier, images: Tensor, baselines: Tensor, target: Target
    ) -> Tensor:
        """Return the attributions [B, 1, *S] of images [B, 1, *S] to baselines [B, R, 1, *S]."""


class SingleBaselineExplainer(ComparingExplainer):
    """A method that compares an image with one baseline: black, the mean, or itself blurred."""

    def __init__(self, baseline: SingleBaseline = "black") -> None:
        super().__init__(baseline)


def baselines_of(kind: Baseline, images: Tensor, references: References | None = None) -> Tensor:
    """Return the baselines of images, [B, R, 1, *S]; R is 1 but for ``"reference"``.

    Raises:
        AttributionError: If the kind is unknown, or needs references and there are none.
    """
    if kind == "black":
        return torch.zeros_like(images)[:, None]
    if kind == "blurred":
        sigma, axes = _BLUR * min(images.shape[2:]), tuple(range(2, images.ndim))
        plain = images.detach().cpu().numpy().astype(np.float64)
        blurred = gaussian_filter(plain, sigma, mode="nearest", axes=axes)
        return torch.from_numpy(blurred).to(images)[:, None]
    if kind not in get_args(Baseline):
        raise AttributionError(f"There is no baseline {kind!r}; known: {get_args(Baseline)}.")
    if references is None or not len(references.group):
        raise AttributionError(f"The baseline {kind!r} needs images of the training split.")
    baselines = references.mean if kind == "mean" else references.group
    return baselines.to(images).expand(len(images), *baselines.shape)
