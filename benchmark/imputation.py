"""What to put in the place of removed pixels.

An imputer is prepared on a few images and then fills any number of masks::

    fill = Blur().prepare(images, foreground, subjects)
    altered = fill(masks)  # [B, M, *S] bool -> [B, M, *S] float32

Images are filled one by one where arithmetic runs over a whole image, so that a subject's altered
image does not depend on its neighbours in the batch. Nothing is clipped to [0, 1].
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from benchmark.errors import InputError
from benchmark.masking import dilate_cross
from benchmark.seeding import stream

Fill = Callable[[Tensor], Tensor]

_BLUR_SHARE = 1 / 12
_FEATHER_WEIGHT = 0.5
_FLAT_VARIANCE = 1e-12
_TOLERANCE = 1e-7
_ROUNDING = 1e-12
_UNKNOWN = 0.5
_CHUNK_PIXELS = 2**22


class Imputer(ABC):
    """A way to remove pixels from an image.

    Attributes:
        name: How the imputer goes by in conditions and reports.
    """

    name: ClassVar[str]

    @abstractmethod
    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Return the function that removes what masks mark.

        Args:
            images: [B, 1, *S] float32 in [0, 1].
            foreground: [B, 1, *S] bool.
            subjects: Unique name of each image; names random streams.

        Returns:
            A function from masks [B, M, *S] bool to images [B, M, *S] float32, on one device.
        """


class CohortMean(Imputer):
    """The cohort's mean image, matched to the subject's intensities: a + b · template.

    a and b are fitted by least squares over the subject's foreground. Mask edges are feathered.
    Fit only for registered cohorts, where a voxel is the same place in everyone.

    Args:
        template: [*S] float32; the mean of the groups' means, so that neither group is favoured.
    """

    name = "cohort_mean"

    def __init__(self, template: Tensor) -> None:
        self._template = template

    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Fit the template to each image; see the base class.

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
        """Blur each image; see the base class."""
        sigma = _BLUR_SHARE * min(images.shape[2:])
        blurred = torch.stack([_blur(image, sigma) for image in images[:, 0].double()])
        return _feathered(images, blurred[:, None].float())


class NoisyLinear(Imputer):
    """Each removed pixel is the weighted mean of its neighbours, plus noise (ROAD, Rong 2022).

    The removed pixels depend on each other, so a sparse linear system is solved for each mask.
    Weights are proportional to 1/distance², which are the paper's 1/6 (direct) and 1/12 (diagonal)
    in two dimensions, and extend to the 26 neighbours in three. At the image border the mean is
    over the neighbours that exist. The fill is continuous at the mask's edge and not feathered.
    Where a mask covers the whole image nothing is known, and the fill is 0.5 plus noise.

    Deviation from the paper: the noise is one field for each subject, of which a mask shows its
    part, so that an image depends on its mask alone and masks are compared under the same noise.

    Args:
        seed: Names the random stream of the noise, together with the subject.
        noise: Standard deviation of the noise, in units of intensity.

    References:
        Rong et al. 2022, "A consistent and efficient evaluation strategy for attribution methods".
    """

    name = "noisy_linear"

    def __init__(self, seed: int, noise: float = 0.01) -> None:
        self._seed, self._noise = seed, noise

    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Draw each subject's noise; see the base class."""
        shape = tuple(images.shape[2:])
        streams = [stream("noisy_linear", self._seed, subject) for subject in subjects]
        fields = np.stack([one.standard_normal(shape, dtype=np.float32) for one in streams])
        noise = self._noise * torch.from_numpy(fields).to(images.device)[:, None]

        def fill(masks: Tensor) -> Tensor:
            smooth = solve_from_neighbours(images[:, 0], masks)
            return torch.where(masks, smooth + noise, smooth)

        return fill


class Zero(Imputer):
    """Flat zero, only to show that it is unfit: the hard edge is itself a signal."""

    name = "zero"

    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Return the zero fill; see the base class."""
        return lambda masks: torch.where(masks, 0.0, images)


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


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Return the image [*S] blurred along each of its axes."""
    for axis, length in enumerate(image.shape):
        smoothing = torch.from_numpy(_smoothing_matrix(length, sigma)).to(image)
        image = (image.movedim(axis, -1) @ smoothing.T).movedim(-1, axis)
    return image


@lru_cache(maxsize=8)
def _smoothing_matrix(length: int, sigma: float) -> np.ndarray:
    """Return the matrix [length, length] that blurs a row of pixels, mirrored at its ends."""
    blurred: np.ndarray = gaussian_filter1d(np.eye(length), sigma, axis=0, mode="reflect")
    return blurred


def solve_from_neighbours(images: Tensor, masks: Tensor) -> Tensor:
    """Return images whose masked pixels are the weighted mean of their neighbours.

    With N(i) the neighbours of pixel i in the image, M the masked pixels, K the known ones and
    w_ij ∝ 1/distance², every masked pixel i obeys
    d_i x_i − Σ_{j ∈ N(i) ∩ M} w_ij x_j = Σ_{j ∈ N(i) ∩ K} w_ij y_j with d_i = Σ_{j ∈ N(i)} w_ij.
    The matrix is symmetric and diagonally dominant, and positive definite as soon as one pixel is
    known, so conjugate gradients converge.

    The systems of all masks are laid end to end, masked pixels only, and iterated together. Sums
    over a system run over its own entries in their own order, and a converged system is frozen,
    so its solution is the same to the bit whoever it is solved with.

    Args:
        images: [B, *S] float32.
        masks: [B, M, *S] bool; a mask that covers a whole image is filled with 0.5.

    Returns:
        [B, M, *S] float32; pixels outside the mask are the image's own.
    """
    flat = masks.flatten(0, 1)
    solved = images[:, None].expand(masks.shape).flatten(0, 1).clone()
    owners = torch.arange(len(images), device=images.device).repeat_interleave(masks.shape[1])
    # Like with like: systems of one chunk iterate until the last of them has converged.
    order = flat.flatten(1).sum(1).argsort(stable=True)
    step = max(1, _CHUNK_PIXELS // max(1, images[0].numel()))
    for some in order.split(step):
        chunk, system = flat[some], _assemble(images, owners[some], flat[some])
        if len(system.sizes):
            filled = solved[some]
            filled[chunk] = _conjugate_gradients(system).float()
            solved[some] = filled
    return solved.view(masks.shape)


@dataclass(frozen=True)
class _System:
    """Several linear systems laid end to end, n entries in all.

    Attributes:
        neighbours: One [n] int32 for each neighbour, with that neighbour's entry, or n where it
            is known or outside the image.
        weights: Weight of each neighbour.
        diagonal: [n] float64.
        right: [n] float64.
        start: [n] float64 first guess.
        sizes: Entries of each system; none is empty.
    """

    neighbours: tuple[Tensor, ...]
    weights: tuple[float, ...]
    diagonal: Tensor
    right: Tensor
    start: Tensor
    sizes: Tensor

    def times(self, vector: Tensor) -> Tensor:
        """Return the matrix times a vector [n]."""
        padded = functional.pad(vector, (0, 1))
        product = self.diagonal * vector
        for weight in dict.fromkeys(self.weights):
            alike = [
                entries
                for entries, one in zip(self.neighbours, self.weights, strict=True)
                if one == weight
            ]
            # Not fused into one operation, whose rounding would depend on the place in the vector.
            total = padded.index_select(0, alike[0])
            for entries in alike[1:]:
                total += padded.index_select(0, entries)
            product -= total.mul_(weight)
        return product

    def dot(self, first: Tensor, second: Tensor) -> Tensor:
        """Return one scalar product for each system."""
        return torch.segment_reduce(first * second, "sum", lengths=self.sizes, unsafe=True)

    def only(self, entries: Tensor, systems: Tensor) -> _System:
        """Return the part with these systems [count] bool, whose ``entries`` are [n] bool."""
        left = int(entries.sum())
        moved = torch.full((len(entries) + 1,), left, dtype=torch.int32, device=entries.device)
        moved[:-1][entries] = torch.arange(left, dtype=torch.int32, device=entries.device)
        return _System(
            tuple(moved.index_select(0, one[entries]) for one in self.neighbours),
            self.weights,
            self.diagonal[entries],
            self.right[entries],
            self.start[entries],
            self.sizes[systems],
        )

    def spread(self, scalars: Tensor) -> Tensor:
        """Return one scalar of each system at each of its entries, [n]."""
        return scalars.repeat_interleave(self.sizes, output_size=len(self.right))


def _neighbourhood(dimensions: int) -> tuple[list[tuple[int, ...]], list[float]]:
    """Return the offsets to the 3^d − 1 neighbours and their weights, which sum to 1."""
    offsets = [one for one in itertools.product((-1, 0, 1), repeat=dimensions) if any(one)]
    raw = [1 / sum(step * step for step in one) for one in offsets]
    return offsets, [weight / sum(raw) for weight in raw]


def _assemble(images: Tensor, owners: Tensor, masks: Tensor) -> _System:
    """Return the systems of masks [N, *S] on images [B, *S], of which ``owners`` [N] says which."""
    dimensions, device = masks.ndim - 1, masks.device
    offsets, weights = _neighbourhood(dimensions)
    margin = (1, 1) * dimensions
    values = functional.pad(images, margin).flatten(1)
    exists = functional.pad(torch.ones_like(images[0]), margin).flatten()
    padded = functional.pad(masks, margin)
    flat = padded.flatten(1)
    row, pixel = flat.nonzero(as_tuple=True)
    entries = torch.full(flat.shape, len(row), dtype=torch.int32, device=device)
    entries[row, pixel] = torch.arange(len(row), dtype=torch.int32, device=device)
    strides = padded[0].stride()
    neighbours = []
    diagonal = right = known = torch.zeros(len(row), dtype=torch.float64, device=device)
    for offset, weight in zip(offsets, weights, strict=True):
        there = pixel + sum(step * stride for step, stride in zip(offset, strides, strict=True))
        neighbours.append(entries[row, there])
        fixed = weight * exists[there].double() * (neighbours[-1] == len(row))
        diagonal = diagonal + weight * exists[there].double()
        right = right + fixed * values[owners[row], there].double()
        known = known + fixed
    sizes = flat.sum(1)
    system = _System(tuple(neighbours), tuple(weights), diagonal, right, right, sizes[sizes > 0])
    one = torch.ones_like(right)
    rim = system.dot(known, one)
    mean = torch.where(rim > 0, system.dot(right, one) / rim, _UNKNOWN)
    return replace(system, start=system.spread(mean))


def _conjugate_gradients(system: _System) -> Tensor:
    """Return the solution of each system, [n] float64; preconditioned by the diagonal.

    A system is frozen as soon as its residual is small. Once the frozen ones are the majority
    they are left behind.
    """
    solution = system.start.clone()
    places = torch.arange(len(solution), device=solution.device)
    estimate, residual = system.start, system.right - system.times(system.start)
    # Rounding alone leaves a residual where the right side is zero, as under a whole-image mask.
    limit = _TOLERANCE**2 * system.dot(system.right, system.right) + _ROUNDING**2
    direction = residual / system.diagonal
    power = system.dot(residual, direction)
    while (active := system.dot(residual, residual) > limit).any():
        if 2 * int(system.sizes[active].sum()) < len(places):
            solution[places] = estimate
            keep = system.spread(active)
            system, places, limit = system.only(keep, active), places[keep], limit[active]
            estimate, residual, direction = estimate[keep], residual[keep], direction[keep]
            power, active = power[active], active[active]
        image = system.times(direction)
        step = system.spread(torch.where(active, power / system.dot(direction, image), 0.0))
        estimate = estimate + step * direction
        residual = residual - image.mul_(step)
        scaled = residual / system.diagonal
        before, power = power, system.dot(residual, scaled)
        turn = system.spread(torch.where(active, power / before, 0.0))
        direction = turn.mul_(direction).add_(scaled)
    solution[places] = estimate
    return solution
