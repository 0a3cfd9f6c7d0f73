"""Class activation maps: weighted sums of feature maps, each as published and at true centres.

A map is a weighted sum Σ_k w_k A_k of the last feature maps A, resized to the image. The feature
maps are computed once without a graph, and the gradient of the target is taken through what follows
them alone. So there is neither a hook nor a backward pass through the trunk. A suite may choose the
maps of an earlier layer, ``[explainer.gradcam] layer = "stage3"``.

Two departures from the papers hold for the whole family. The final ReLU is left to the family's
polarity: protocols rank the positive part, which is exactly that ReLU, and those that read signs
still have them. Maps are not rescaled to [0, 1], so that values of different images compare.

Each method exists twice. As published, a map is resized as if cells tiled the image; ``_aligned``
puts every cell at the pixel that it is centred on, which behind strided convolutions of odd kernel
lies up to half a cell further up and left.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier, GlobalAveragePool
from benchmark.errors import UnsupportedError
from benchmark.explainer import Explainer
from benchmark.feature_grid import upsample, upsample_aligned
from benchmark.target import Target

LAST = "last"


class _ClassActivation(Explainer):
    """A weighted sum of feature maps, resized to the image.

    Args:
        layer: Name of the child of the trunk whose output is weighed; the last unless given.

    Attributes:
        aligned: Whether cells are put at their true centres.
    """

    family = "class activation"
    polarity = "positive"
    passes = (1, 0)
    aligned: ClassVar[bool] = False

    def __init__(self, layer: str = LAST) -> None:
        self.layer = layer

    @property
    def config(self) -> dict[str, str | int | float]:
        """Name of the layer."""
        return {"layer": self.layer}

    def supports(self, classifier: Classifier) -> str | None:
        """Return why the model has no map to weigh, or None where it has one."""
        try:
            return self._why_unfit(self._cut(classifier))
        except UnsupportedError as error:
            return str(error)

    def _cut(self, classifier: Classifier) -> Classifier:
        cut = classifier if self.layer == LAST else classifier.cut(self.layer)
        return cut.with_channels_first()

    def _why_unfit(self, classifier: Classifier) -> str | None:
        shape = classifier.maps_shape
        sizes = ", ".join(["B", *map(str, shape)])
        if len(shape) != len(classifier.input_shape) + 1:
            return f"its feature maps are [{sizes}], not spatial"
        if math.prod(shape[1:]) == 1:
            return f"its feature maps are [{sizes}], a single cell that covers the whole image"
        if classifier.layout.fault is not None:
            return classifier.layout.fault
        if self.aligned and not classifier.feature_grid.shape:
            return "the centres of its feature cells cannot be traced back to the image"
        return None

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the signed map of each image; see the base class."""
        classifier = self._cut(classifier)
        with torch.no_grad():
            maps = classifier.feature_maps(images)
        cells = self._cells(classifier, maps, target)
        if self.aligned:
            return upsample_aligned(cells, images.shape[2:], classifier.feature_grid)
        return upsample(cells, images.shape[2:])

    @abstractmethod
    def _cells(self, classifier: Classifier, maps: Tensor, target: Target) -> Tensor:
        """Return the weighted sum [B, 1, *s] of feature maps [B, K, *s]."""


class CAM(_ClassActivation):
    """Class activation map: w_k is the target's weight of channel k in a linear head.

    The weight is read off as the gradient of the target with respect to the embedding, which for a
    linear head is exact and the same for every image: a row of the head's matrix for a logit, the
    difference of two rows for a margin, the direction itself for a projection.
    """

    name = "cam"
    paper = "Zhou et al. 2016, Learning deep features for discriminative localization"

    def _why_unfit(self, classifier: Classifier) -> str | None:
        pool, head = classifier.pool, classifier.head
        if not isinstance(pool, GlobalAveragePool) or not isinstance(head, nn.Linear):
            return (
                "it needs global average pooling and one linear layer behind the feature maps, "
                f"but the model has {type(pool).__name__} and {type(head).__name__}"
            )
        return super()._why_unfit(classifier)

    def _cells(self, classifier: Classifier, maps: Tensor, target: Target) -> Tensor:
        embedding = classifier.pool(maps).detach().requires_grad_()
        score = target(classifier.head(embedding), embedding)
        (weights,) = torch.autograd.grad(score.sum(), embedding)
        return _weighted_sum(weights, maps)


class GradCAM(_ClassActivation):
    """Grad-CAM: w_k is the mean over cells of the target's gradient."""

    name = "gradcam"
    paper = "Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks"

    def _cells(self, classifier: Classifier, maps: Tensor, target: Target) -> Tensor:
        gradient = _gradient(classifier, maps, target)
        return _weighted_sum(gradient.flatten(2).mean(-1), maps)


class GradCAMPlusPlus(_ClassActivation):
    """Grad-CAM++: w_k is the sum over cells of α · relu(g), g being the target's gradient.

    The paper differentiates exp(S). Its second and third derivatives are then exp(S) · g² and
    exp(S) · g³ (the score is piecewise linear in the maps), exp(S) cancels in its equation 19::

        α = g² / (2 g² + g³ Σ_cells A_k) = 1 / (2 + g Σ_cells A_k)    where g ≠ 0

    and what remains of it in w_k scales each whole map, which no ranking sees and which overflows
    for large scores, so it is left out. The short form is computed, since g² leaves the range of
    float32 on large maps. Cells with g ≤ 0 carry no weight, and neither do those whose denominator
    is zero, which takes negative feature maps. α is not normalised to sum to one over the cells:
    the authors' program does so, the paper does not.
    """

    name = "gradcampp"
    paper = "Chattopadhay et al. 2018, Grad-CAM++: improved visual explanations"

    def _cells(self, classifier: Classifier, maps: Tensor, target: Target) -> Tensor:
        gradient = _gradient(classifier, maps, target).flatten(2)
        denominator = 2 + gradient * maps.flatten(2).sum(-1, keepdim=True)
        shares = gradient.clamp_min(0) / denominator
        weights = torch.where(denominator != 0, shares, 0).sum(-1)
        return _weighted_sum(weights, maps)


class HiResCAM(_ClassActivation):
    """HiResCAM: every cell has a weight of its own, the target's gradient with its sign.

    The map sums to what a linear tail makes of it, and marks no cell that the target ignores, which
    Grad-CAM's mean over cells can. Behind average pooling and one linear layer both are one.
    """

    name = "hirescam"
    paper = "Draelos and Carin 2020, Use HiResCAM instead of Grad-CAM for faithful explanations"

    def _cells(self, classifier: Classifier, maps: Tensor, target: Target) -> Tensor:
        return (_gradient(classifier, maps, target) * maps).sum(1, keepdim=True)


class LayerCAM(_ClassActivation):
    """LayerCAM: every cell has a weight of its own, relu(g), g being the target's gradient."""

    name = "layercam"
    paper = "Jiang et al. 2021, LayerCAM: exploring hierarchical class activation maps"

    def _cells(self, classifier: Classifier, maps: Tensor, target: Target) -> Tensor:
        gradient = _gradient(classifier, maps, target)
        return (gradient.clamp_min(0) * maps).sum(1, keepdim=True)


class CAMAligned(CAM):
    """CAM with every cell at its true centre."""

    name = "cam_aligned"
    aligned = True


class GradCAMAligned(GradCAM):
    """Grad-CAM with every cell at its true centre."""

    name = "gradcam_aligned"
    aligned = True


class GradCAMPlusPlusAligned(GradCAMPlusPlus):
    """Grad-CAM++ with every cell at its true centre."""

    name = "gradcampp_aligned"
    aligned = True


class HiResCAMAligned(HiResCAM):
    """HiResCAM with every cell at its true centre."""

    name = "hirescam_aligned"
    aligned = True


class LayerCAMAligned(LayerCAM):
    """LayerCAM with every cell at its true centre."""

    name = "layercam_aligned"
    aligned = True


def _gradient(classifier: Classifier, maps: Tensor, target: Target) -> Tensor:
    """Return the gradient of the target with respect to feature maps, both [B, K, *s]."""
    # A tensor of its own: a trunk may hand its input through, and that must gain no graph.
    maps = maps.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(target(*classifier.tail(maps)).sum(), maps)
    return gradient


def _weighted_sum(weights: Tensor, maps: Tensor) -> Tensor:
    """Return Σ_k w_k A_k, [B, 1, *s], of weights [B, K] and maps [B, K, *s]."""
    shape = (*weights.shape, *(1 for _ in maps.shape[2:]))
    return (weights.view(shape) * maps).sum(1, keepdim=True)
