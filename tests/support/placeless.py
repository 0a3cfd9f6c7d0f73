"""Maps that follow a network and know no place, or a place and no network.

None of them is an explanation. The first four bear the output of the network and thus the
separation of the groups, on no place at all, on a fixed atlas, or on edges; the last is the mirror
image of a control, whose sign a protocol must not mistake for knowledge.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from baselines.cohorts.phantom2 import Phantom2
from baselines.explainers.controls import Sobel
from benchmark.classifier import Classifier
from benchmark.cohort import Batch
from benchmark.errors import AttributionError
from benchmark.explainer import Explainer
from benchmark.maps.blurring import gaussian_blur
from benchmark.target import Target

_ATLAS_SIGMA = 1.5  # pixels


class UniformTimesOutput(Explainer):
    """The explained scalar itself at every pixel."""

    name = "uniform_x_output"
    family = "output"
    passes = (1, 0)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the scalar of each image at every pixel, [B, 1, *S]."""
        return _outputs(classifier, images, target).expand(images.shape).clone()


class AtlasTimesOutput(Explainer):
    """The explained scalar where images have their regions, blurred.

    Args:
        regions: [1, 1, *S] share of images in which a pixel belongs to a region, such as
            ``Cohort.references.regions``, which methods are not shown.
    """

    name = "atlas_x_output"
    family = "output"
    passes = (1, 0)

    def __init__(self, regions: Tensor) -> None:
        self.regions = gaussian_blur(regions, regions.ndim - 2, _ATLAS_SIGMA)

    @property
    def config(self) -> dict[str, str | int | float]:
        """What tells one atlas from another."""
        return {"regions": hashlib.sha256(self.regions.numpy().tobytes()).hexdigest()}

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the scalar times the blurred share at each pixel, [B, 1, *S]."""
        return _outputs(classifier, images, target) * self.regions.to(images)


class Phantom2AtlasTimesOutput(AtlasTimesOutput):
    """The atlas of the posed phantom, which a command can name since it asks for no regions."""

    def __init__(self) -> None:
        regions = Phantom2().load().references.regions
        if regions is None:
            raise AttributionError("The posed phantom has no regions.")
        super().__init__(regions)


class SobelTimesOutput(Explainer):
    """The explained scalar on the edges of the image."""

    name = "sobel_x_output"
    family = "output"
    passes = (1, 0)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Refuse: the control that draws edges asks for a batch."""
        raise AttributionError(f"Explainer {self.name!r} must be called with a batch.")

    def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        """Return the scalar times the edge magnitude, [B, 1, *S]."""
        return _outputs(classifier, batch.images, target) * Sobel().draw(batch)


class NegativeSobel(Sobel):
    """Edge magnitude with its sign turned, as a map that is larger where there is no edge."""

    name = "negative_sobel"
    polarity = "absolute"

    def draw(self, batch: Batch) -> Tensor:
        """Return minus the magnitude, [B, 1, *S]."""
        return -super().draw(batch)


def _outputs(classifier: Classifier, images: Tensor, target: Target) -> Tensor:
    """Return the explained scalar of each image, [B, 1, 1, ...]."""
    with torch.no_grad():
        values = target(*classifier(images))
    return values.reshape(-1, *(1,) * (images.ndim - 1))
