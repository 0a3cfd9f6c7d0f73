"""Losses of the target where parts of the image are replaced; the model is a black box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from baselines.explainers.baseline import SingleBaselineExplainer
from baselines.explainers.gradient import Scored, at_once
from benchmark.classifier import Classifier
from benchmark.seeding import torch_stream
from benchmark.target import Target

# By the number of axes: a volume has too many places for the windows of an image.
WINDOWS = {2: 15, 3: 7}
CELLS = {2: 7, 3: 4}
MASKS = 256
_KEPT = 0.5


class Occlusion(SingleBaselineExplainer):
    """The loss of the target where a window is replaced by the baseline, by Captum.

    Windows overlap by half: 15 along each axis of an image, each an eighth of it wide, and 7 along
    each axis of a volume, each a quarter wide. A pixel gets the mean over the windows that hold it.
    """

    name = "occlusion"
    family = "perturbation"
    polarity = "absolute"
    passes = (1 + WINDOWS[2] ** 2, 0)
    paper = "Zeiler and Fergus 2014, Visualizing and understanding convolutional networks"
    constants: ClassVar = {"windows": WINDOWS[2], "windows_3d": WINDOWS[3]}

    def compare(
        self, classifier: Classifier, images: Tensor, baselines: Tensor, target: Target
    ) -> Tensor:
        """Return the mean losses [B, 1, *S]; see the base class."""
        from captum.attr import Occlusion as CaptumOcclusion  # slow, and every run imports this

        count = WINDOWS[images.ndim - 2]
        strides = [max(1, math.ceil(length / (count + 1))) for length in images.shape[2:]]
        windows = list(map(min, [2 * step for step in strides], images.shape[2:]))
        with torch.no_grad():
            losses: Tensor = CaptumOcclusion(Scored(classifier.streamlined(), target)).attribute(
                images.detach(),
                sliding_window_shapes=(1, *windows),
                strides=(1, *strides),
                baselines=baselines[:, 0],
                perturbations_per_eval=max(1, min(16, at_once(images))),
            )
        return losses.to(images)


class RISE(SingleBaselineExplainer):
    """The mean of random masks, each weighted by what the target makes of the image under it.

    256 masks, the same for every image: a coarse grid of cells that are kept or replaced with equal
    chance, shifted at random and interpolated. The paper weighs with probabilities; here it is the
    target minus its mean over the masks, which takes away a constant and the noise that a constant
    brings. The baseline, black as in the paper unless chosen, shows where a mask is 0.
    """

    name = "rise"
    family = "perturbation"
    polarity = "absolute"
    passes = (MASKS, 0)
    paper = "Petsiuk et al. 2018, RISE: randomized input sampling for explanation"
    constants: ClassVar = {"masks": MASKS, "cells": CELLS[2], "cells_3d": CELLS[3]}

    def compare(
        self, classifier: Classifier, images: Tensor, baselines: Tensor, target: Target
    ) -> Tensor:
        """Return the weighted means [B, 1, *S]; see the base class."""
        masks = draw_masks(images.shape[2:]).to(images)
        folded, size = classifier.streamlined(), at_once(images[:1])
        maps = []
        with torch.no_grad():
            for image, baseline in zip(images.split(1), baselines[:, 0].split(1), strict=True):
                masked = (baseline + part * (image - baseline) for part in masks.split(size))
                scores = torch.cat([target(*folded(inputs)) for inputs in masked])
                weights = (scores - scores.mean()) / (_KEPT * len(masks))
                maps.append(torch.tensordot(weights, masks, dims=1)[None])
        return torch.cat(maps)


def draw_masks(size: Sequence[int]) -> Tensor:
    """Return the masks [MASKS, 1, *size] in [0, 1]."""
    generator = torch_stream("rise", *size)
    cells = CELLS[len(size)]
    widths = [math.ceil(length / cells) for length in size]
    grid = torch.rand(MASKS, 1, *[cells + 1] * len(size), generator=generator) < _KEPT
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    large = [(cells + 1) * width for width in widths]
    shifts = [torch.randint(width, (MASKS,), generator=generator).tolist() for width in widths]
    masks = []
    for coarse, *shift in zip(grid.float().split(1), *shifts, strict=True):
        mask = functional.interpolate(coarse, large, mode=mode, align_corners=False)
        for axis, (start, length) in enumerate(zip(shift, size, strict=True), start=2):
            mask = mask.narrow(axis, start, length)
        masks.append(mask)
    return torch.cat(masks)
