"""Controls: maps that look at no model, and that a method must beat.

Each is drawn on the device of the batch, and for every image by itself.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from benchmark.cohort import Batch
from benchmark.errors import UnsupportedError
from benchmark.explainer import Control
from benchmark.seeding import stream

_DERIVATIVE = (-1.0, 0.0, 1.0)
_SMOOTHING = (1.0, 2.0, 1.0)
_SMALLEST_SIGMA = 0.5
_NOISE_SIGMA = 2.0


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


class SmoothNoise(Control):
    """The noise of `random` under a Gaussian of σ = 2 pixels: blobs at places of no meaning.

    Methods draw blobs rather than pixels, so this is the chance level of a map of their grain. It
    is redrawn for each network as `random` is: it must not owe anything to a network by chance, and
    the same blobs on two networks would pass for agreement.
    """

    name = "smooth_noise"
    redrawn = True

    def draw(self, batch: Batch) -> Tensor:
        """Return the noise [B, 1, *S]; the same for an image in any batch and on any device."""
        shape = batch.images.shape[2:]
        noise = [
            ndimage.gaussian_filter(stream("smooth_noise", key).random(shape), _NOISE_SIGMA)
            for key in batch.keys
        ]
        maps = torch.from_numpy(np.stack(noise).astype(np.float32))
        return maps[:, None].to(batch.images.device)


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


class Atlas(Control):
    """A fixed atlas: how often a pixel belongs to a region in the training images.

    It stays on the grid as it is, whatever the pose of the image: the map of someone who knows the
    anatomy, and has seen neither the image nor the model.
    """

    name = "atlas"

    @property
    def needs_references(self) -> bool:
        """Whether a batch must bring the training split: its masks."""
        return True

    def supports_cohort(self, has_truth: bool) -> str | None:
        """Return the reason where the cohort declares no region."""
        return None if has_truth else "the cohort declares no region to make an atlas of"

    def draw(self, batch: Batch) -> Tensor:
        """Return the share of masks at each pixel, [B, 1, *S], the same for every image.

        Raises:
            UnsupportedError: If the batch brings no regions of the training split.
        """
        if batch.references is None or batch.references.regions is None:
            raise UnsupportedError(f"Control {self.name!r} needs a cohort that declares regions.")
        return batch.references.regions.expand(batch.images.shape).clone()


class Oracle(Control):
    """The truth: the regions where the groups are known to differ.

    Where no truth is known but regions are declared, as in real patients' images, it draws their
    union: the places where an expert expects the difference, which is no claim that it is there.
    """

    name = "oracle"

    def supports_cohort(self, has_truth: bool) -> str | None:
        """Return the reason where the cohort declares no region."""
        return None if has_truth else "the cohort does not know where the truth lies"

    def draw(self, batch: Batch) -> Tensor:
        """Return the truth as 0 and 1, [B, 1, *S].

        Raises:
            UnsupportedError: If the cohort declares no region.
        """
        mask = batch.regions if batch.truth is None else batch.truth
        if mask is None:
            raise UnsupportedError(f"Control {self.name!r} needs a cohort that knows the truth.")
        return mask.to(torch.float32)


class TrueChange(Control):
    """The graded truth |x − x̃|: what the other group's anatomy changes in this very image.

    It is known where a cohort brings partners, and the control is unsupported elsewhere.
    """

    name = "true_change"

    def draw(self, batch: Batch) -> Tensor:
        """Return the change in units of intensity, [B, 1, *S].

        Raises:
            UnsupportedError: If the cohort brings no partners.
        """
        if batch.change is None:
            raise UnsupportedError(f"Control {self.name!r} needs images that have partners.")
        return batch.change.clone()


class TrueDeviation(Control):
    """The signed truth x − x₁: the image minus the same subject at relative volume 1.

    It says of this very image how far its regions are from normal, and in which direction; that of
    a subject with normal volume is 0 everywhere. It is known where a cohort brings normals, and the
    control is unsupported elsewhere.
    """

    name = "true_deviation"
    polarity = "absolute"
    needs_normals = True

    def draw(self, batch: Batch) -> Tensor:
        """Return the deviation in units of intensity, signed, [B, 1, *S].

        Raises:
            UnsupportedError: If the cohort brings no normals.
        """
        if batch.deviation is None:
            reason = "needs each subject's image at normal volume, which the cohort does not know"
            raise UnsupportedError(f"Control {self.name!r} {reason}.")
        return batch.deviation.clone()


def _stencil(images: Tensor, axis: int, weights: tuple[float, float, float]) -> Tensor:
    """Return images correlated with three weights along an axis, the rim repeated outwards."""
    length = images.shape[axis]
    first, last = images.narrow(axis, 0, 1), images.narrow(axis, length - 1, 1)
    padded = torch.cat([first, images, last], axis)
    before, centre, after = (padded.narrow(axis, start, length) for start in range(3))
    return weights[0] * before + weights[1] * centre + weights[2] * after
