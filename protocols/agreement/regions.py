"""The foreground cut into compact regions, and what removing each of them does to a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.seeding import stream
from benchmark.trial import Trial, remembered
from benchmark.trial.memory import kept_or
from benchmark.trial.removal import imputers, respond

_LLOYD_STEPS = 8
_OUTSIDE = -1


def cut(
    foreground: BoolArray, count: int, generator: np.random.Generator, spacing: Sequence[float]
) -> npt.NDArray[np.int64]:
    """Return which region each pixel belongs to, [*S]; −1 outside the foreground.

    Voronoi cells of random pixels, moved to the middle of their cells a few times (Lloyd 1982), so
    that cells are compact in the world, for voxels of a spacing in mm, and of similar size. Every
    cell holds a pixel, so there are fewer where the foreground has fewer pixels.
    """
    pixels = np.argwhere(foreground) * np.asarray(spacing)
    centres = pixels[generator.choice(len(pixels), min(count, len(pixels)), replace=False)]
    owners = cKDTree(centres).query(pixels)[1]
    for _ in range(_LLOYD_STEPS):
        sizes = np.bincount(owners, minlength=len(centres))
        sums = [np.bincount(owners, weights=axis, minlength=len(centres)) for axis in pixels.T]
        moved = np.stack(sums, axis=1) / np.maximum(sizes, 1)[:, None]
        centres = np.where((sizes > 0)[:, None], moved, centres)
        owners = cKDTree(centres).query(pixels)[1]
    regions = np.full(foreground.shape, _OUTSIDE, dtype=np.int64)
    regions[foreground] = np.unique(owners, return_inverse=True)[1]
    return regions


@remembered()
def regions_of(trial: Trial, rows: Rows, count: int) -> npt.NDArray[np.int64]:
    """Return the regions of test images, [n, *S]; the same for every explainer and model."""
    test, spacing, cuts = trial.test, trial.cohort.geometry.spacing, []
    for row in rows:
        generator = stream(trial.runtime.suite, "regions", test.keys[row])
        cuts.append(cut(test.anatomy.foreground[row, 0], count, generator, spacing))
    return np.stack(cuts)


@remembered(by_model=True)
def effects_of(trial: Trial, rows: Rows, count: int) -> FloatArray:
    """Return the drop of s·φ in units of T without each region alone, [n, count].

    The imputer is the cohort's default.
    """
    regions, imputer = regions_of(trial, rows, count), next(iter(imputers(trial).values()))

    def compute() -> dict[str, npt.NDArray[np.generic]]:
        numbers = torch.arange(count).view(1, -1, *[1] * (regions.ndim - 1))

        def masks(chunk: slice) -> torch.Tensor:
            return torch.from_numpy(regions[chunk])[:, None] == numbers

        return {"drops": respond(trial, rows, masks, imputer).drops}

    identity = "\n".join(
        (
            f"region effects of {count} under {imputer.name} in {trial.runtime.suite}",
            trial.cohort.fingerprint,
            trial.model_identity,
            *(trial.test.keys[row] for row in rows),
        )
    )
    return kept_or(trial.runtime.archive, identity, compute)["drops"].astype(np.float64)


def masses(importance: FloatArray, regions: npt.NDArray[np.int64]) -> FloatArray:
    """Return the sum of importance [*S] in each region of a cut [*S]."""
    inside = regions != _OUTSIDE
    return np.bincount(regions[inside], weights=importance[inside]).astype(np.float64)
