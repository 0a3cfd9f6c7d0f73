"""The gradient with respect to the image: plain, times the image, and averaged over noise."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.explainer import Explainer
from benchmark.seeding import torch_stream
from benchmark.target import Target

SAMPLES = 32
AT_ONCE = 2**22


class Saliency(Explainer):
    """The gradient of the target with respect to the grey image, signed.

    Simonyan et al. show its magnitude, which is what the polarity ``absolute`` ranks by. They take
    the largest over the colour channels; a grey image has one, and where a trunk wants it repeated
    the gradients of the copies add up, as the chain rule has it.
    """

    name = "saliency"
    family = "gradient"
    polarity = "absolute"
    passes = (1, 1)
    paper = "Simonyan et al. 2013, Deep inside convolutional networks"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient [B, 1, *S]; see the base class."""
        return gradient_of(classifier, images, target)


class InputXGradient(Saliency):
    """The image times its gradient.

    On a network of ReLUs without biases the attributions add up to the target. What is black in the
    image gets nothing, whatever the network makes of it.
    """

    name = "input_x_gradient"
    paper = "Shrikumar et al. 2016, Not just a black box"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return image × gradient [B, 1, *S]; see the base class."""
        return images * super().attribute(classifier, images, target)


class SmoothGrad(Explainer):
    """The mean gradient over copies of the image under Gaussian noise.

    Every image sees the same noise, scaled to the image's own range, so its map depends on nothing
    but the image. The network runs with batch norm folded.

    Args:
        sigma: Standard deviation of the noise as a share of the image's range, from its darkest to
            its brightest pixel; the paper finds 0.1 to 0.2.
        samples: Number of copies.
    """

    name = "smoothgrad"
    family = "gradient"
    polarity = "absolute"
    passes = (SAMPLES, SAMPLES)
    paper = "Smilkov et al. 2017, SmoothGrad: removing noise by adding noise"

    def __init__(
        self,
        sigma: Annotated[float, Field(ge=0)] = 0.15,
        samples: Annotated[int, Field(gt=0)] = SAMPLES,
    ) -> None:
        self.sigma, self.samples = sigma, samples

    @property
    def config(self) -> dict[str, str | int | float]:
        """Standard deviation of the noise, and number of copies."""
        return {"sigma": self.sigma, "samples": self.samples}

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the mean gradient [B, 1, *S]; see the base class."""
        folded = classifier.streamlined()
        generator = torch_stream("smoothgrad", *images.shape[2:])
        noise = torch.randn(self.samples, *images.shape[1:], generator=generator).to(images)
        maps = []
        for image in images.detach().split(1):
            scale = self.sigma * (image.max() - image.min())
            total = torch.zeros_like(image)
            for chunk in noise.split(at_once(image)):
                total += gradient_of(folded, image + scale * chunk, target).sum(0, keepdim=True)
            maps.append(total / self.samples)
        return torch.cat(maps)


class Scored(nn.Module):
    """The explained scalar as a module, [B, 1, *S] → [B], for methods of Captum."""

    def __init__(self, classifier: Classifier, target: Target) -> None:
        super().__init__()
        self.classifier, self.target = classifier, target

    def forward(self, images: Tensor) -> Tensor:
        """Return the scalar of each image."""
        return self.target(*self.classifier(images))


def gradient_of(classifier: Classifier, images: Tensor, target: Target) -> Tensor:
    """Return the gradient of each image's target with respect to the image, both [B, 1, *S]."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(target(*classifier(images)).sum(), images)
    return gradient


def at_once(image: Tensor) -> int:
    """Return how many altered copies of one image go through the network together."""
    return max(1, AT_ONCE // image.numel())


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Return values [B] in the shape that broadcasts over images, [B, 1, ...]."""
    return values.view(-1, *[1] * (images.ndim - 1))
