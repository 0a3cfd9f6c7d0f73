"""Gradients averaged on the way from a baseline to the image."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from baselines.explainers.baseline import Baseline, ComparingExplainer, SingleBaselineExplainer
from baselines.explainers.gradient import at_once, gradient_of, per_image
from benchmark.classifier import Classifier
from benchmark.seeding import torch_stream
from benchmark.target import Target

STEPS = 64


class IntegratedGradients(SingleBaselineExplainer):
    """Integrated gradients from one baseline.

    The attributions of an image add up to target(image) − target(baseline), up to the error of the
    64 Gauss–Legendre nodes: under 1 % on the reference network, where 32 leave 2.5 %. Each image is
    integrated by itself: its nodes then go through the network in batches that depend on the
    image's shape alone, and its map on no neighbour.

    The maps are Captum's to rounding, and 1.8 times as fast: the network runs with batch norm
    folded, and the nodes are computed once rather than for every image.
    """

    name = "integrated_gradients"
    family = "gradient"
    polarity = "absolute"
    passes = (STEPS, STEPS)
    paper = "Sundararajan et al. 2017, Axiomatic attribution for deep networks"
    constants: ClassVar = {"method": "gausslegendre", "steps": STEPS}

    def compare(
        self, classifier: Classifier, images: Tensor, baselines: Tensor, target: Target
    ) -> Tensor:
        """Return the integrated gradients [B, 1, *S]; see the base class."""
        folded = classifier.streamlined()
        nodes, weights = (per_image(values.to(images), images) for values in _quadrature())
        maps = []
        for image, baseline in zip(images.detach().split(1), baselines[:, 0].split(1), strict=True):
            total, size = torch.zeros_like(image), at_once(image)
            for shares, chunk_weights in zip(nodes.split(size), weights.split(size), strict=True):
                path = baseline + shares * (image - baseline)
                total += (chunk_weights * gradient_of(folded, path, target)).sum(0, keepdim=True)
            maps.append(total * (image - baseline))
        return torch.cat(maps)


class GradientSHAP(ComparingExplainer):
    """Expected gradients: integrated gradients averaged over draws of baseline and place.

    The draws are stratified: every baseline is drawn equally often, and each of its draws comes
    from a part of the way of its own. They are the same for every image. In expectation the
    attributions add up to target(image) − the mean of target(baseline), the Shapley efficiency;
    with 64 draws within a tenth of that on the reference network.

    Args:
        baseline: Kind of baseline; ``"reference"`` draws from the reference group of the training
            split, and the others leave only the place to chance.
    """

    name = "gradient_shap"
    family = "gradient"
    polarity = "absolute"
    passes = (STEPS, STEPS)
    paper = "Erion et al. 2021, Improving performance of deep learning models with axiomatic priors"
    constants: ClassVar = {"samples": STEPS}

    def __init__(self, baseline: Baseline = "reference") -> None:
        super().__init__(baseline)

    def compare(
        self, classifier: Classifier, images: Tensor, baselines: Tensor, target: Target
    ) -> Tensor:
        """Return the expected gradients [B, 1, *S]; see the base class."""
        folded = classifier.streamlined()
        nodes, baseline_rows = stratified_draws(baselines.shape[1])
        nodes = per_image(nodes.to(images), images)
        maps = []
        for image, others in zip(images.detach().split(1), baselines, strict=True):
            total, size = torch.zeros_like(image), at_once(image)
            for shares, rows in zip(nodes.split(size), baseline_rows.split(size), strict=True):
                step = image - others[rows.to(others.device)]
                gradient = gradient_of(folded, image - (1 - shares) * step, target)
                total += (gradient * step).sum(0, keepdim=True)
            maps.append(total / STEPS)
        return torch.cat(maps)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Tensor, Tensor]:
    """Return Gauss–Legendre nodes and weights on [0, 1], each [STEPS] float64."""
    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    return torch.from_numpy((1 + nodes) / 2), torch.from_numpy(weights / 2)


def stratified_draws(count: int) -> tuple[Tensor, Tensor]:
    """Return nodes on the way [STEPS] float64, and which of ``count`` baselines each starts at."""
    rows = torch.arange(STEPS) % count
    turn = torch.arange(STEPS) // count
    turns = torch.bincount(rows, minlength=count)[rows]
    generator = torch_stream("gradient_shap", count)
    chance = torch.rand(STEPS, generator=generator, dtype=torch.float64)
    return (turn + chance) / turns, rows
