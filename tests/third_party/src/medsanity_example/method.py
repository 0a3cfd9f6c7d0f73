"""An attribution method."""

from __future__ import annotations

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.explainer import Explainer
from benchmark.target import Target


class BlurredGradient(Explainer):
    """The magnitude of the gradient under a Gaussian.

    Args:
        sigma: Of the Gaussian, in pixels.
    """

    version = "1.1"
    family = "gradient"
    polarity = "positive"

    def __init__(self, sigma: float = 1.5) -> None:
        self.sigma = sigma

    @property
    def config(self) -> dict[str, str | int | float]:
        """Width of the Gaussian."""
        return {"sigma": self.sigma}

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the blurred magnitude, [B, 1, *S]."""
        images = images.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(target(*classifier(images)).sum(), images)
        sigmas = (0, 0, *[self.sigma] * (images.ndim - 2))
        return torch.from_numpy(gaussian_filter(gradient.abs().cpu().numpy(), sigmas)).to(images)
