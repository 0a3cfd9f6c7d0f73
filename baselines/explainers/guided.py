"""Guided backpropagation, alone and within a class activation map.

Kept as a warning: it restores the image's edges whatever the upper layers hold (Adebayo et al.
2018, Nie et al. 2018).
"""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from baselines.canonical import canonical, operations
from baselines.explainers.class_activation import GradCAM
from baselines.explainers.gradient import Scored
from benchmark.classifier import Classifier
from benchmark.errors import UnsupportedError
from benchmark.explainer import Explainer
from benchmark.target import Target


class GuidedBackprop(Explainer):
    """The gradient with negative parts cut off at every ReLU on the way back, by Captum.

    Captum hooks the layers of the network's canonical form: in the network itself it would pass by
    what is no layer, and break on what works in place.
    """

    name = "guided_backprop"
    family = "gradient"
    polarity = "absolute"
    passes = (1, 1)
    paper = "Springenberg et al. 2014, Striving for simplicity"

    def supports(self, classifier: Classifier) -> str | None:
        """Return why there is no ReLU to guide, which leaves the plain gradient, or None."""
        try:
            kinds = {kind for _, kind in operations(canonical(classifier))}
        except UnsupportedError as error:
            return str(error)
        return None if nn.ReLU in kinds else "the network has no ReLU layers to guide"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the guided gradient [B, 1, *S]; see the base class."""
        # Slow, and the catalogue imports this file.
        from captum.attr import GuidedBackprop as CaptumGuidedBackprop

        scored = Scored(canonical(classifier), target)
        with warnings.catch_warnings():
            # Captum warns that it sets hooks on ReLUs, which it removes afterwards.
            warnings.simplefilter("ignore", UserWarning)
            guided: Tensor = CaptumGuidedBackprop(scored).attribute(
                images.detach().clone().requires_grad_()
            )
        return guided.detach()


class GuidedGradCAM(GuidedBackprop):
    """Guided backpropagation times the positive part of Grad-CAM."""

    name = "guided_gradcam"
    passes = (2, 1)
    paper = "Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks"

    def supports(self, classifier: Classifier) -> str | None:
        """Return why one of its two factors is missing, or None where both are there."""
        return super().supports(classifier) or GradCAM().supports(classifier)

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the product [B, 1, *S]; see the base class."""
        cam = GradCAM().attribute(classifier, images, target).clamp_min(0)
        return super().attribute(classifier, images, target) * cam
