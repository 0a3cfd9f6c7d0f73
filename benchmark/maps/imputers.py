"""Imputers: what to put in the place of removed pixels.

An imputer is prepared on a few images and then fills any number of masks::

    fill = Blur().prepare(images, foreground, subjects)
    altered = fill(masks)  # [B, M, *S] bool -> [B, M, *S] float32

Images are filled one by one where arithmetic runs over a whole image, so that a subject's altered
image does not depend on its neighbours in the batch. Nothing is clipped to [0, 1].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import InputError
from benchmark.maps.blurring import gaussian_blur
from benchmark.maps.masks import dilate_cross
from benchmark.maps.neighbour_system import solve_from_neighbours
from benchmark.seeding import stream

Fill = Callable[[Tensor], Tensor]

_BLUR_SHARE = 1 / 12
_FEATHER_WEIGHT = 0.5
_FLAT_VARIANCE = 1e-12


class Imputer(ABC):
    """A way to remove pixels from an image, with its name in conditions and reports."""

    name: ClassVar[str]

    @abstractmethod
    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Return the function from masks [B, M, *S] bool to images [B, M, *S] with these filled.

        Args:
            images: [B, 1, *S] float32 in [0, 1].
            foreground: [B, 1, *S] bool.
            subjects: Unique name of each image, which names its random streams.
        """


class CohortMean(Imputer):
    """The cohort's mean image, matched to the subject's intensities: a + b · template.

    a and b are fitted by least squares over the subject's foreground. Mask edges are feathered.
    It is fit only for registered cohorts, where a voxel is the same place in everyone.

    Args:
        template: [*S] float32, the mean of the groups' means, so that neither group is favoured.
    """

    name = "cohort_mean"

    def __init__(self, template: Tensor) -> None:
        self._template = template

    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Return the fill by the template, fitted to each image; see the base class.

        Raises:
            InputError: If the template has another shape than the images.
        """
        if self._template.shape != images.shape[2:]:
            raise InputError(
                f"Expected images of the template's shape {list(self._template.shape)} "
                f"but got {list(images.shape[2:])}."
            )
        template = self._template.to(images.device, torch.float64)
        pairs = zip(images[:, 0].double(), foreground[:, 0], strict=True)
        fitted = torch.stack([_fit(template, image, inside) for image, inside in pairs])
        return _feathered(images, fitted[:, None].float())


class Blur(Imputer):
    """A Gaussian blur with σ = 1/12 of the shortest side, mirrored at the border, feathered.

    The blur sees the removed pixels too, so it removes what is finer than σ and no more.
    """

    name = "blur"

    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Return the fill by each image, blurred; see the base class."""
        sigma = _BLUR_SHARE * min(images.shape[2:])
        blurred = [gaussian_blur(image, image.ndim, sigma) for image in images[:, 0].double()]
        return _feathered(images, torch.stack(blurred)[:, None].float())


class NoisyLinear(Imputer):
    """Each removed pixel is the weighted mean of its neighbours, plus noise (ROAD, Rong 2022).

    The removed pixels depend on each other, so a sparse linear system is solved for each mask.
    Weights are proportional to 1/distance², which are the paper's 1/6 (direct) and 1/12 (diagonal)
    in two dimensions, and extend to the 26 neighbours in three. At the image border the mean is
    over the neighbours that exist. The fill is continuous at the mask's edge and not feathered.
    Where a mask covers the whole image nothing is known, and the fill is 0.5 plus noise.

    Deviation from the paper: the noise is one field for each subject, of which a mask shows its
    part. So an image depends on its mask alone and masks are compared under the same noise.

    Args:
        seed: Seed that names the random stream of the noise, together with the subject.
        noise: Standard deviation of the noise, in units of intensity.

    References:
        Rong et al. 2022, "A consistent and efficient evaluation strategy for attribution methods".
    """

    name = "noisy_linear"

    def __init__(self, seed: int, noise: float = 0.01) -> None:
        self._seed, self._noise = seed, noise

    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Return the fill by neighbours and each subject's noise; see the base class."""
        shape = tuple(images.shape[2:])
        streams = [stream("noisy_linear", self._seed, subject) for subject in subjects]
        fields = [generator.standard_normal(shape, dtype=np.float32) for generator in streams]
        noise = self._noise * torch.from_numpy(np.stack(fields)).to(images.device)[:, None]

        def fill(masks: Tensor) -> Tensor:
            smooth = solve_from_neighbours(images[:, 0], masks)
            return torch.where(masks, smooth + noise, smooth)

        return fill


class Exchange(Imputer):
    """Each removed pixel is that of the subject's counterfactual partner.

    The partner is the same subject with the other group's anatomy and all else as it is. Pixels
    that the other anatomy leaves as they are, are exchanged for themselves, so nothing is done to
    them; an image all of whose pixels are exchanged is the partner. There is no rim to feather.

    Args:
        partners_of: Returns the partners [B, 1, *S] of images by their unique names.
    """

    name = "exchange"

    def __init__(self, partners_of: Callable[[Sequence[str]], Tensor]) -> None:
        self._partners_of = partners_of

    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Return the fill by each image's partner; see the base class."""
        partners = self._partners_of(subjects).to(images)

        def fill(masks: Tensor) -> Tensor:
            return torch.where(masks, partners, images)

        return fill


def _feathered(images: Tensor, fills: Tensor) -> Fill:
    """Return the function that blends fills [B, 1, *S] into images, half on a rim of one pixel."""

    def fill(masks: Tensor) -> Tensor:
        rim = dilate_cross(masks, masks.ndim - 2) & ~masks
        halfway = images + _FEATHER_WEIGHT * (fills - images)
        return torch.where(masks, fills, torch.where(rim, halfway, images))

    return fill


def _fit(template: Tensor, image: Tensor, inside: Tensor) -> Tensor:
    """Return a + b · template fitted where ``inside``, all [*S]; b = 0 for a flat template."""
    x, y = template[inside], image[inside]
    centred = x - x.mean()
    variance = centred.square().mean()
    slope = torch.where(variance > _FLAT_VARIANCE, (centred * y).mean() / variance, 0.0)
    fitted: Tensor = y.mean() + slope * (template - x.mean())
    return fitted
