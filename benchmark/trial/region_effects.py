"""Measures what removing the cohort's own regions does to the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.maps.masks import PackedMasks, shape_matched
from benchmark.seeding import stream
from benchmark.trial.memory import Keeping, remembered
from benchmark.trial.removal import imputers, respond
from benchmark.trial.trial import Trial

_FALLBACK_SHARE = 0.02


@dataclass(frozen=True)
class RegionEffects:
    """What removing regions that no explainer chose does under one imputer, in units of T.

    Attributes:
        roi: [n] drop of s·φ when the cohort's regions are removed; NaN where it declares none.
        random: [n] mean drop over the same regions moved to random places.
        before: [n] φ/T of the unaltered images, unsigned.
        after: [n, R] φ/T when one and the same random mask is removed from every image.
    """

    roi: FloatArray
    random: FloatArray
    before: FloatArray
    after: FloatArray


@remembered(by_model=True, keeping=Keeping("1", (RegionEffects,)))
def region_effects(trial: Trial, rows: Rows, repeats: int) -> Mapping[str, RegionEffects]:
    """Return, for each imputer, what removing the cohort's regions and random ones does.

    There are as many ``repeats`` of random places per image as of masks common to all images.
    """
    test, suite = trial.test, trial.runtime.suite
    foreground = torch.from_numpy(test.anatomy.foreground[rows])
    regions, declared = _regions(trial, rows)
    generators = [stream(suite, "region effects", test.keys[row]) for row in rows]

    def move(few: slice) -> Tensor:
        return shape_matched(regions[few], foreground[few], generators[few], repeats)[:, 0]

    moved = PackedMasks(len(rows), move)
    common = foreground.all(0, keepdim=True)
    first = int(np.argmin([test.keys[row] for row in rows]))
    common_region = regions[first : first + 1] & common
    shared = shape_matched(common_region, common, [stream(suite, "common masks")], repeats)[:, 0]

    def masks(chunk: slice) -> Tensor:
        own = regions[chunk]
        return torch.cat([own, moved[chunk], shared.expand(len(own), *shared.shape[1:])], dim=1)

    signs, effects = trial.evaluation.signs[rows], {}
    for name, imputer in imputers(trial).items():
        response = respond(trial, rows, masks, imputer)
        before, drops = response.before, response.drops
        effects[name] = RegionEffects(
            roi=drops[:, 0] if declared else np.full(len(rows), np.nan),
            random=drops[:, 1 : 1 + repeats].mean(1),
            before=signs * before[:, 0],
            after=signs[:, None] * (before - drops)[:, 1 + repeats :],
        )
    return effects


def _regions(trial: Trial, rows: Rows) -> tuple[Tensor, bool]:
    """Return the union of the declared regions [n, 1, *S], or a ball where none is declared."""
    anatomy, foreground = trial.test.anatomy, trial.test.anatomy.foreground[rows]
    if anatomy.rois:
        union = np.any(list(anatomy.rois.values()), axis=0)[rows]
        return torch.from_numpy(union & foreground), True
    axes = np.indices(trial.cohort.shape)
    balls = np.zeros_like(foreground)
    for image, inside in enumerate(foreground[:, 0]):
        centre = np.argwhere(inside).mean(0).reshape(-1, *[1] * inside.ndim)
        distance = np.where(inside, ((axes - centre) ** 2).sum(0), np.inf)
        count = max(1, round(_FALLBACK_SHARE * int(inside.sum())))
        nearest = np.argsort(distance, axis=None, kind="stable")[:count]
        balls[image, 0].flat[nearest] = True
    return torch.from_numpy(balls), False
