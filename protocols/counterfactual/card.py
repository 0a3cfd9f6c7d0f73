"""What a card says of an edit: what it does to the model and its twin, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.maps.localisation import average_precision, mass
from benchmark.trial import Study, Trial
from benchmark.trial.projection import group_axis

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
_CLOSE = 0.05  # methods that stop at the boundary stop a little before or beyond it


@dataclass(frozen=True)
class Effect:
    """What edits do to a network.

    Attributes:
        before: [n] s·φ of the images in units of T.
        after: [n, t] s·φ with the edit at each strength.
        own_margin_before: [n] own group's logit minus the other's.
        own_margin: [n] the same after the whole edit.
        middle: [n] s·φ of the middle between the groups, in units of T.
    """

    before: FloatArray
    after: FloatArray
    own_margin_before: FloatArray
    own_margin: FloatArray
    middle: FloatArray

    @property
    def fall(self) -> FloatArray:
        """Fall of s·φ by the whole edit in units of T, [n]."""
        fall: FloatArray = self.before - self.after[:, -1]
        return fall

    @property
    def reaches_boundary(self) -> BoolArray:
        """Whether the margin reaches 0, or all but a twentieth of the way to it, [n]."""
        reaches: BoolArray = self.own_margin <= _CLOSE * self.own_margin_before
        return reaches

    @property
    def is_monotone(self) -> BoolArray:
        """Whether s·φ falls with each step of strength, [n]."""
        heights = np.column_stack([self.before, self.after])
        monotone: BoolArray = (np.diff(heights, axis=1) <= 0).all(1) & (self.fall > 0)
        return monotone


def effect_on(trial: Trial, images: Study, pixels: Tensor, edited: Tensor) -> Effect:
    """Return what edits do to a network.

    Args:
        trial: Network.
        images: Study of the images.
        pixels: [n, 1, *S] the images.
        edited: [n, 1, *S] the images with the whole edit.
    """
    axis, evaluation, rows = group_axis(trial), trial.evaluation, images.rows
    signs, scale = evaluation.signs[rows], axis.separation
    means = [axis.values[axis.groups == group].mean() for group in (0, 1)]
    after, logits = [], np.empty((0, 2))
    for strength in STRENGTHS:
        logits, embeddings = trial.models.embed_in_lanes(pixels + strength * (edited - pixels))
        after.append(signs * axis.values_of(embeddings, rows) / scale)
    return Effect(
        before=signs * axis.values[rows] / scale,
        after=np.column_stack(after),
        own_margin_before=evaluation.own_margin[rows],
        own_margin=signs * (logits[:, 0] - logits[:, 1]),
        middle=signs * np.mean(means) / scale,
    )


@dataclass(frozen=True)
class Looks:
    """What changes look like; NaN where nothing was changed, [n] each.

    Attributes:
        size: Root mean square in the foreground.
        largest: Largest change of a pixel.
        roughness: Total variation over the sum.
        inside: Share that lies in the foreground.
        ap: Average precision on the truth, or None where it is not known.
        mass: Share of it in the truth, or None.
    """

    size: FloatArray
    largest: FloatArray
    roughness: FloatArray
    inside: FloatArray
    ap: FloatArray | None
    mass: FloatArray | None


def looks_of(images: Study, change: Tensor) -> Looks:
    """Return what changes [n, 1, *S] of a study's images look like."""
    magnitude, foreground = change.abs().double(), images.foreground
    total = magnitude.flatten(1).sum(1)
    known = torch.where(total > 0, total, torch.nan)
    within = torch.where(foreground, magnitude, 0.0).flatten(1)
    squares = (within**2).sum(1) / foreground.flatten(1).sum(1)
    variation = sum(
        (change.double().diff(dim=axis).abs().flatten(1).sum(1) for axis in range(2, change.ndim)),
        start=torch.zeros_like(total),
    )
    truth = images.trial.test.truth
    ap = of_truth = None
    if truth is not None:
        regions = torch.from_numpy(truth[images.rows])
        ap = average_precision(magnitude, regions, foreground).numpy()
        of_truth = mass(magnitude, regions, foreground).numpy()
    return Looks(
        size=squares.sqrt().numpy(),
        largest=magnitude.flatten(1).amax(1).numpy(),
        roughness=(variation / known).numpy(),
        inside=(within.sum(1) / known).numpy(),
        ap=ap,
        mass=of_truth,
    )
