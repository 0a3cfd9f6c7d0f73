"""The smallest smooth change of the image that lowers the target."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from baselines.explainers.gradient import per_image
from benchmark.classifier import Classifier
from benchmark.explainer import Explainer
from benchmark.target import Target

STEPS = 16
_SMALLEST = 1e-6


class Counterfactual(Explainer):
    """The smallest smooth change that lowers the target by its own size: a margin to zero.

    The size of a change δ is measured so that rough changes cost more: a change of size one is a
    unit of white noise under a Gaussian of ``smoothness``. At each step the target is linearised,
    and the change moves to the smallest one that the tangent says is enough, the iteration of
    DeepFool in another norm; a step that leads away from the goal is halved. On a linear model the
    first is the answer. Grey values stay within [0, 1]. The map is −δ: positive where brightness
    speaks for the target.

    Args:
        smoothness: Width σ of the Gaussian as a share of the shortest side.
    """

    name = "counterfactual"
    family = "optimisation"
    polarity = "absolute"
    passes = (STEPS, STEPS)
    paper = (
        "Wachter et al. 2017, Counterfactual explanations without opening the black box; "
        "Moosavi-Dezfooli et al. 2016, DeepFool"
    )

    def __init__(self, smoothness: Annotated[float, Field(gt=0, le=0.25)] = 1 / 48) -> None:
        self.smoothness = smoothness

    @property
    def config(self) -> dict[str, str | int | float]:
        """Smoothness and number of steps."""
        return {"smoothness": self.smoothness, "steps": STEPS}

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return −δ, [B, 1, *S]; see the base class."""
        folded, images = classifier.streamlined(), images.detach()
        change, goal = torch.zeros_like(images), None
        best, proposal, share = change, change, images.new_ones(len(images))
        nearest = images.new_full((len(images),), torch.inf)
        for _ in range(STEPS):
            leaf = (images + change).requires_grad_()
            score = target(*folded(leaf))
            (gradient,) = torch.autograd.grad(score.sum(), leaf)
            score = score.detach()
            if goal is None:
                goal = score - score.abs().clamp_min(_SMALLEST)
            smooth = self.smoothed(gradient)
            reach = (gradient * smooth).flatten(1).sum(1).clamp_min(torch.finfo(score.dtype).tiny)
            tangent = goal - score + (gradient * change).flatten(1).sum(1)
            closer = (score - goal).abs() < nearest
            nearest = torch.where(closer, (score - goal).abs(), nearest)
            best = torch.where(per_image(closer, images), change, best)
            enough = per_image(tangent / reach, images) * smooth
            proposal = torch.where(per_image(closer, images), enough, proposal)
            share = torch.where(closer, (2 * share).clamp_max(1), share / 2)
            change = best + per_image(share, images) * (proposal - best)
            change = (images + change).clamp(0, 1) - images
        is_changed = per_image(best.flatten(1).any(1), images)
        return -torch.where(is_changed, best, change)

    def smoothed(self, gradient: Tensor) -> Tensor:
        """Return the gradient under the Gaussian twice, as the norm's dual asks for."""
        for axis, length in enumerate(gradient.shape[2:], start=2):
            sigma = 2**0.5 * self.smoothness * min(gradient.shape[2:])
            pixels = torch.arange(length, dtype=torch.float64)
            weights = torch.exp(-((pixels[:, None] - pixels) ** 2) / (2 * sigma**2))
            # Not normalised at the border, so that the kernel is symmetric and the norm a norm.
            weights = (weights / weights.sum(1).max()).to(gradient)
            gradient = functional.linear(gradient.movedim(axis, -1), weights).movedim(-1, axis)
        return gradient
