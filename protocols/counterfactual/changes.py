"""The edits that are set beside a method's own: plausible, adversarial, blind and real."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import Rows
from benchmark.seeding import stream
from benchmark.trial import Study, Trial
from benchmark.trial.interventions.edits import Budget, Editor, Objective
from benchmark.trial.interventions.plausible import plausible_subspace
from benchmark.trial.models import side_by_side
from benchmark.trial.projection import group_axis
from protocols.counterfactual.statistics import (
    ADVERSARIAL,
    NOISE,
    OTHER_IMAGE,
    CounterfactualConfig,
    plausible_name,
)

_ADVERSARIAL_STEPS = 10
_STEP = 4  # steps in which an adversarial edit could reach its largest change


def own_edit(images: Study) -> Tensor:
    """Return the images with the method's own edit, [n, 1, *S]: its map is minus the change."""
    maps = images.trial.maps(images.rows)
    return (pixels_of(images) - maps).clamp(0, 1)


def other_edits(images: Study, config: CounterfactualConfig) -> Iterator[tuple[str, Tensor]]:
    """Yield the images with each other edit, [n, 1, *S], by its name."""
    for radius in config.radii:
        yield plausible_name(radius), _plausible(images, radius, config)
    yield ADVERSARIAL, adversarial(images.trial, images.rows, config.adversarial)
    yield NOISE, _noisy(images, config.noise)
    yield OTHER_IMAGE, _of_other_group(images)


def pixels_of(images: Study) -> Tensor:
    """Return the unaltered images of the rows, [n, 1, *S]."""
    return torch.from_numpy(images.trial.test.images[images.rows])


def adversarial(trial: Trial, rows: Rows, largest: float) -> Tensor:
    """Return images with the change of every pixel that fools the model, [n, 1, *S].

    It follows the sign of the gradient, as projected gradient descent does (Madry et al. 2018), and
    knows no other limit than the size of the change in the foreground.
    """
    axis, test, device = group_axis(trial), trial.test, trial.runtime.device
    _ = trial.models.streamlined  # made once, before there are several threads to make it

    def search(row: int) -> Tensor:
        objective = Objective.of(trial, axis, row)
        image = torch.from_numpy(test.images[row : row + 1]).to(device)
        inside = torch.from_numpy(test.anatomy.foreground[row : row + 1]).to(device)
        change = torch.zeros_like(image)
        for _ in range(_ADVERSARIAL_STEPS):
            _, gradient = objective.with_gradient((image + change).clone())
            change = change - largest / _STEP * gradient.sign()
            change = torch.where(inside, change.clamp(-largest, largest), 0.0)
            change = (image + change).clamp(0, 1) - image
        return (image + change).cpu()

    return torch.cat(side_by_side(search, rows.tolist(), device))


def _plausible(images: Study, radius: float, config: CounterfactualConfig) -> Tensor:
    """Return images with a plausible edit of the whole foreground, [n, 1, *S]."""
    trial = images.trial
    subspace = plausible_subspace(trial, config.components, config.fewest_images)
    editor, foreground = Editor(trial, subspace, Budget(radius, config.steps)), images.foreground
    edits = editor.edits(images.rows, lambda chunk: foreground[chunk])
    edited = [
        editor.edited(row, mask, z)
        for row, mask, z in zip(images.rows.tolist(), foreground, edits.coordinates, strict=True)
    ]
    return torch.cat(edited).cpu()


def _noisy(images: Study, sigma: float) -> Tensor:
    """Return images under white noise in the foreground, [n, 1, *S]."""
    shape = images.trial.test.images.shape[1:]
    noise = np.stack([generator.normal(0, sigma, shape) for generator in images.streams("noise")])
    change = torch.from_numpy(noise.astype(np.float32)) * images.foreground
    return (pixels_of(images) + change).clamp(0, 1)


def _of_other_group(images: Study) -> Tensor:
    """Return for each image a real one of the other group, by seeded draw, [n, 1, *S]."""
    test, suite, donors = images.trial.test, images.trial.runtime.suite, []
    for key, group in zip(images.keys, images.groups, strict=True):
        others = sorted(np.flatnonzero(test.groups != group).tolist(), key=test.keys.__getitem__)
        donors.append(others[stream(suite, "other group", key).integers(len(others))])
    return torch.from_numpy(test.images[donors])
