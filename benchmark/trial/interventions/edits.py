"""Edits of images that move the model towards the other group, inside given masks.

An edit is δ = M̃ ⊙ Σ_k z_k P_k: a plausible change P z of the whole image (see ``plausible``), held
inside a mask M whose edge is feathered, so that no seam appears. Its size is ‖z‖ ≤ ρ standard
deviations, and x + δ is clipped to [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.arrays import FloatArray, Rows
from benchmark.classifier import Classifier
from benchmark.trial.interventions.plausible import PlausibleSubspace
from benchmark.trial.models import side_by_side
from benchmark.trial.projection import GroupAxis, group_axis
from benchmark.trial.trial import Trial

_MOMENTUM, _LATER_STEPS = 0.5, 0.5
_LARGEST_BATCH = 2**20  # pixels of a batch; gradients keep every layer's output

MasksOf = Callable[[slice], Tensor]


@dataclass(frozen=True)
class Budget:
    """How far an edit may go.

    Attributes:
        radius: ρ, largest norm of z, in standard deviations of plausible images.
        steps: Gradient steps.
    """

    radius: float = 4.0
    steps: int = 8


@dataclass(frozen=True)
class Edits:
    """What the best edit of each of M masks does to n images.

    Attributes:
        reach: [n, M] fall of s·φ, in units of T; never below 0.
        elsewhere: [n, M] fall of s·φ of other networks by the same edits, in units of the T of
            each, by name.
        coordinates: [n, M, K] z of the edits.
    """

    reach: FloatArray
    elsewhere: dict[str, FloatArray]
    coordinates: FloatArray


@dataclass(frozen=True)
class Editor:
    """Finds edits of test images on one network.

    Attributes:
        trial: Model and cohort.
        subspace: Plausible changes.
        budget: Limit of an edit.
        others: Trials on other networks that are shown the same edits, by name.
    """

    trial: Trial
    subspace: PlausibleSubspace
    budget: Budget = field(default_factory=Budget)
    others: dict[str, Trial] = field(default_factory=dict)

    def edits(self, rows: Rows, masks: MasksOf) -> Edits:
        """Return the best edits of test rows [n] inside masks.

        Args:
            rows: [n] test rows.
            masks: Function that returns the masks [k, M, *S] bool of a slice of the rows.
        """
        axis = group_axis(self.trial)
        networks = {name: (other, group_axis(other)) for name, other in self.others.items()}
        _ = [model.models.streamlined for model in (self.trial, *self.others.values())]

        def search(position: int) -> tuple[FloatArray, dict[str, FloatArray], FloatArray]:
            row = int(rows[position])
            own = masks(slice(position, position + 1))[0]
            image = _Image.of(self, row, own)
            objective = Objective.of(self.trial, axis, row)
            reach, z = _descend(image, objective, self.budget)
            elsewhere = {
                name: Objective.of(other, its_axis, row).fall(image, z)
                for name, (other, its_axis) in networks.items()
            }
            return reach, elsewhere, z.double().cpu().numpy()

        device = self.trial.runtime.device
        results = side_by_side(search, range(len(rows)), device)
        return Edits(
            np.stack([reach for reach, _, _ in results]),
            {name: np.stack([other[name] for _, other, _ in results]) for name in networks},
            np.stack([z for _, _, z in results]),
        )

    def edited(self, row: int, masks: Tensor, coordinates: FloatArray) -> Tensor:
        """Return one test image with each of its edits, [M, 1, *S].

        Args:
            row: Test row.
            masks: [M, *S] bool.
            coordinates: [M, K] z of the edits.
        """
        image = _Image.of(self, row, masks)
        z = torch.from_numpy(coordinates).to(image.pixels)
        return torch.cat([image.edited(z, part) for part in image.batches()])


def feathered(masks: Tensor) -> Tensor:
    """Return masks [M, *S] bool as weights, float32, that fall towards the rim inside of them.

    Each is the mean over 3 pixels along every axis, and 0 outside of the mask.
    """
    weights = masks.float()
    for axis in range(1, masks.ndim):
        moved = weights.movedim(axis, -1)
        flat = moved.reshape(-1, 1, moved.shape[-1])
        mean = functional.avg_pool1d(flat, 3, stride=1, padding=1)
        weights = mean.reshape(moved.shape).movedim(-1, axis)
    return weights * masks


@dataclass(frozen=True)
class _Image:
    """One test image, and the changes of it that are plausible inside masks.

    Attributes:
        pixels: [1, *S] the image.
        inside: [P] flat indices of pixels that lie in any mask.
        weights: [M, P] feathered masks there.
        components: [K, P] plausible changes there.
    """

    pixels: Tensor
    inside: Tensor
    weights: Tensor
    components: Tensor

    @classmethod
    def of(cls, editor: Editor, row: int, masks: Tensor) -> _Image:
        trial, device = editor.trial, editor.trial.runtime.device
        pixels = torch.from_numpy(trial.test.images[row]).to(device)
        components = editor.subspace.on_grid_of(trial.test, row).to(device)
        masks = masks.to(device)
        inside = masks.flatten(1).any(0).nonzero()[:, 0]
        return cls(
            pixels, inside, feathered(masks).flatten(1)[:, inside], components.flatten(1)[:, inside]
        )

    def batches(self) -> Sequence[slice]:
        """Return the masks in batches, as even as can be; the image's shape alone decides."""
        count = len(self.weights)
        batches = math.ceil(count * self.pixels.numel() / _LARGEST_BATCH)
        edges = [count * number // batches for number in range(batches + 1)]
        return [slice(*pair) for pair in pairwise(edges)]

    def edited(self, z: Tensor, part: slice) -> Tensor:
        """Return the image with the edits of some of the masks, [m, 1, *S], in [0, 1]."""
        change = self.weights[part] * (z[part] @ self.components)
        flat = self.pixels.flatten().repeat(len(change), 1)
        flat[:, self.inside] = (flat[:, self.inside] + change).clamp(0, 1)
        return flat.view(-1, *self.pixels.shape)

    def slope(self, gradient: Tensor, z: Tensor, part: slice) -> Tensor:
        """Return the gradient with respect to z, [m, K], of that with respect to pixels."""
        change = self.weights[part] * (z[part] @ self.components)
        moved = self.pixels.flatten()[self.inside] + change
        is_free = (moved >= 0) & (moved <= 1)
        of_pixels = gradient.flatten(1)[:, self.inside] * self.weights[part]
        return torch.where(is_free, of_pixels, 0.0) @ self.components.T


@dataclass(frozen=True)
class Objective:
    """s·φ of one test image in units of T, as a network sees it.

    Attributes:
        classifier: Streamlined network.
        direction: [D] s·w/T.
        before: s·φ of the unaltered image in units of T.
    """

    classifier: Classifier
    direction: Tensor
    before: float

    @classmethod
    def of(cls, trial: Trial, axis: GroupAxis, row: int) -> Objective:
        """Return what a trial's network makes of a test row, along a direction of its own."""
        scale = float(trial.evaluation.signs[row]) / axis.separation
        direction = torch.from_numpy(scale * axis.directions[axis.fold[row]])
        return cls(
            trial.models.streamlined,
            direction.to(trial.runtime.device),
            scale * float(axis.values[row]),
        )

    def of_images(self, images: Tensor) -> Tensor:
        """Return the objective of images, [m] float64."""
        _, embedding = self.classifier(images)
        values: Tensor = embedding.double() @ self.direction
        return values

    def with_gradient(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective of images, [m], and its gradient, [m, 1, *S]."""
        leaf = images.requires_grad_()
        values = self.of_images(leaf)
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), gradient

    def fall(self, image: _Image, z: Tensor) -> FloatArray:
        """Return by how much edits lower the objective, [M]."""
        with torch.inference_mode():
            values = [self.of_images(image.edited(z, part)) for part in image.batches()]
        fall: FloatArray = self.before - torch.cat(values).cpu().numpy()
        return fall


def _descend(image: _Image, objective: Objective, budget: Budget) -> tuple[FloatArray, Tensor]:
    """Return the largest fall of the objective that was met, [M], and where, [M, K]."""
    count, width = len(image.weights), len(image.components)
    z = image.pixels.new_zeros(count, width)
    velocity, best_z = torch.zeros_like(z), z.clone()
    # Unedited, all masks see the same image: its gradient is asked for once.
    start, gradient = objective.with_gradient(image.pixels[None].clone())
    best = start.expand(count).clone()
    slope = image.slope(gradient.expand(count, *gradient.shape[1:]), z, slice(None))
    for step in range(budget.steps):
        length = slope.norm(dim=1, keepdim=True)
        unit = torch.where(length > 0, slope / length.clamp_min(torch.finfo(z.dtype).tiny), 0.0)
        velocity = _MOMENTUM * velocity + unit
        share = 1.0 if step == 0 else _LATER_STEPS
        z = z - share * budget.radius * velocity
        norm = z.norm(dim=1, keepdim=True).clamp_min(torch.finfo(z.dtype).tiny)
        z = z * (budget.radius / norm).clamp_max(1)
        is_last = step == budget.steps - 1
        parts = [_ask(image, objective, z, part, is_last) for part in image.batches()]
        values = torch.cat([part for part, _ in parts])
        is_better = values < best
        best, best_z = (
            torch.where(is_better, values, best),
            torch.where(is_better[:, None], z, best_z),
        )
        if not is_last:
            slope = torch.cat([part for _, part in parts])
    return (start - best).cpu().numpy(), best_z


def _ask(
    image: _Image, objective: Objective, z: Tensor, part: slice, is_last: bool
) -> tuple[Tensor, Tensor]:
    """Return the objective under some of the masks' edits, [m], and its slope in z, [m, K]."""
    images = image.edited(z, part)
    if is_last:
        with torch.inference_mode():
            return objective.of_images(images).clone(), z[part]
    values, gradient = objective.with_gradient(images)
    return values, image.slope(gradient, z, part)
