"""Controls: maps that look at no model, and that a method must beat.

Each is drawn on the device of the batch, and for every image by itself.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmark.cohort import Batch
from benchmark.errors import UnsupportedError
from benchmark.explainer import Control
from benchmark.seeding import stream

_DERIVATIVE = (-1.0, 0.0, 1.0)
_SMOOTHING = (1.0, 2.0, 1.0)
_SMALLEST_SIGMA = 0.5


class Random(Control):
    """Independent uniform noise in [0, 1), named by image and model; the chance level."""

    name = "random"
    version = "1.1"
    redrawn = True

    def draw(self, batch: Batch) -> Tensor:
        """Return noise [B, 1, *S]; the same for an image in any batch and on any device."""
        shape = batch.images.shape[1:]
        noise = [stream("random", key).random(shape, dtype=np.float32) for key in batch.keys]
        return torch.from_numpy(np.stack(noise)).to(batch.images.device)


class Centre(Control):
    """A Gaussian with the foreground's centroid and its standard deviation along each axis.

    It says "in the middle of the organ" and no more. Taking the width per axis from the foreground
    makes the map independent of the voxel size, also where voxels are not cubes.
    """

    name = "centre"

    def draw(self, batch: Batch) -> Tensor:
        """Return the Gaussian [B, 1, *S], 1 at the centroid."""
        foreground = batch.foreground
        exponent = torch.zeros_like(batch.images, dtype=torch.float64)
        axes = range(2, foreground.ndim)
        for axis in axes:
            others = [other for other in axes if other != axis]
            share = foreground.sum(others, keepdim=True, dtype=torch.float64)
            share = share / share.sum(axis, keepdim=True)
            pixel = torch.arange(foreground.shape[axis], device=share.device, dtype=torch.float64)
            pixel = pixel.view([-1 if other == axis else 1 for other in range(foreground.ndim)])
            distance = pixel - (share * pixel).sum(axis, keepdim=True)
            variance = (share * distance**2).sum(axis, keepdim=True)
            exponent = exponent - distance**2 / (2 * variance.clamp_min(_SMALLEST_SIGMA**2))
        return exponent.exp()


class Intensity(Control):
    """The image itself."""

    name = "intensity"

    def draw(self, batch: Batch) -> Tensor:
        """Return a copy of the images [B, 1, *S]."""
        return batch.images.clone()


class Sobel(Control):
    """Edge magnitude: the norm over axes of the Sobel derivative.

    Along its axis the derivative is [−1, 0, 1], along every other axis it is smoothed by [1, 2, 1].
    The rim pixels are repeated outwards, so that the border of the image is no edge.
    """

    name = "sobel"

    def draw(self, batch: Batch) -> Tensor:
        """Return the magnitude [B, 1, *S], in intensity times the kernel's gain."""
        images = batch.images
        squares = torch.zeros_like(images)
        axes = range(2, images.ndim)
        for axis in axes:
            slope = images
            for other in axes:
                slope = _stencil(slope, other, _DERIVATIVE if other == axis else _SMOOTHING)
            squares = squares + slope**2
        return squares.sqrt()


class Oracle(Control):
    """The truth: the regions where the groups are known to differ."""

    name = "oracle"

    def supports_cohort(self, has_truth: bool) -> str | None:
        """Return the reason where the cohort knows no truth."""
        return None if has_truth else "the cohort does not know where the truth lies"

    def draw(self, batch: Batch) -> Tensor:
        """Return the truth as 0 and 1, [B, 1, *S].

        Raises:
            UnsupportedError: If the cohort knows none.
        """
        if batch.truth is None:
            raise UnsupportedError(f"Control {self.name!r} needs a cohort that knows the truth.")
        return batch.truth.to(torch.float32)


def _stencil(images: Tensor, axis: int, weights: tuple[float, float, float]) -> Tensor:
    """Return images correlated with three weights along an axis, the rim repeated outwards."""
    length = images.shape[axis]
    first, last = images.narrow(axis, 0, 1), images.narrow(axis, length - 1, 1)
    padded = torch.cat([first, images, last], axis)
    before, centre, after = (padded.narrow(axis, start, length) for start in range(3))
    return weights[0] * before + weights[1] * centre + weights[2] * after
