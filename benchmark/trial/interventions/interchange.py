"""What a region of one subject does in the image of another (an interchange intervention).

A region's pixels are taken from a subject of the own group, and from one of the other group. Seams
are the same in both, so what differs is what the region's content tells the model of the group; a
region that tells it nothing gives 0 in expectation, whatever its size.

References:
    Geiger et al. 2021, "Causal abstractions of neural networks".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, ImageArray
from benchmark.maps.imputers import Exchange
from benchmark.maps.poses import laid_over
from benchmark.seeding import stream
from benchmark.trial.removal import respond
from benchmark.trial.study import Study

DONORS = 8


def interchange(images: Study, masks: Tensor) -> FloatArray:
    """Return how much of s·φ goes with the content of regions, in units of T, [n, K].

    It is the mean of s·φ with the region of a donor of the own group, minus that with the region of
    a donor of the other group. It is taken over ``DONORS`` pairs of donors from the study's rows.

    Args:
        images: Study of the rows.
        masks: [n, K, *S] bool, common to all subjects.
    """
    difference: FloatArray = np.zeros(masks.shape[:2])
    for number in range(DONORS):
        own, other = (_projections(images, masks, number, is_own) for is_own in (True, False))
        difference += (own - other) / DONORS
    return difference


def _projections(images: Study, masks: Tensor, number: int, is_own: bool) -> FloatArray:
    """Return s·φ with each region of a donor, of the own or of the other group, [n, K]."""
    trial = images.trial
    donors = [_donor(images, row, number, is_own) for row in images.rows.tolist()]
    donor_of = dict(zip(images.keys, zip(images.rows.tolist(), donors, strict=True), strict=True))

    def donors_of(keys: Sequence[str]) -> Tensor:
        return torch.from_numpy(np.stack([_on_grid(images, *donor_of[key]) for key in keys]))

    return respond(trial, images.rows, masks, Exchange(donors_of)).projections


def _donor(images: Study, row: int, number: int, is_own: bool) -> int:
    """Return the row of another subject of the own or of the other group, by seeded draw."""
    test = images.trial.test
    group = test.groups[row] if is_own else 1 - test.groups[row]
    others = [
        other
        for other in images.rows[images.groups == group].tolist()
        if test.subjects[other] != test.subjects[row]
    ]
    others.sort(key=lambda other: test.keys[other])
    if not others:  # the only subject of its group is its own donor
        return row
    rng = stream(images.trial.runtime.suite, "interchange", test.keys[row], number, int(is_own))
    return int(others[rng.integers(len(others))])


def _on_grid(images: Study, row: int, donor: int) -> ImageArray:
    """Return the donor's image [1, *S], on the grid of the row's where poses are known."""
    test = images.trial.test
    image, poses = test.images[donor], test.geometry.poses
    if poses is None or donor == row:
        return np.asarray(image)
    laid = laid_over(image[0].astype(np.float64), poses[donor], poses[row])
    return laid[None].astype(np.float32)
