"""The plausible subspace: the directions in which real subjects' images differ from each other.

An edit that may do anything finds where a network can be fooled. One that is a sum of differences
which occur between the training images finds where subjects differ in a way that moves the network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, ImageArray, Rows
from benchmark.cohort import Cohort
from benchmark.errors import CohortError, NotAssessableError
from benchmark.maps.poses import common_mask, in_common_space, on_own_grids
from benchmark.trial.memory import kept_or
from benchmark.trial.trial import Trial

NO_TRAINING_SPLIT = "no plausible edits, since the cohort has no training split"
NOT_REGISTERED = "cohort not registered"
_SEEN = 0.999  # of what a voxel is read from, that lies on the image's own grid


@dataclass(frozen=True)
class PlausibleSubspace:
    """Principal components of what training images hold beside their common mean.

    Attributes:
        components: [K, 1, *S] float32 components times their standard deviations, where a voxel
            means the same place in every subject; 0 outside of the common foreground.
        explained: Share of the variance of the training images around their mean that they hold.
    """

    components: ImageArray
    explained: float

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the components."""
        return hashlib.sha256(self.components.tobytes()).hexdigest()

    @cached_property
    def spread(self) -> ImageArray:
        """Standard deviation of each voxel over plausible images, [1, 1, *S]."""
        variance = np.sum(np.square(self.components, dtype=np.float64), axis=0, keepdims=True)
        spread: ImageArray = np.sqrt(variance).astype(np.float32)
        return spread

    def on_grid_of(self, cohort: Cohort, row: int) -> Tensor:
        """Return the components on the grid of one image of a cohort, [K, *S]."""
        return torch.from_numpy(_carried(self.components, cohort, row)[:, 0])


def plausible_subspace(trial: Trial, count: int, fewest_images: int) -> PlausibleSubspace:
    """Return the plausible subspace of a cohort, made once for all models and explainers.

    Each training image, in the common space of the poses where there are some, leaves a residual
    beside its least-squares fit a + b · mean in the common foreground. The components are those of
    the residuals, in float64; of each the voxel of largest magnitude is positive.

    Args:
        trial: Trial on the cohort.
        count: Number K of components.
        fewest_images: Training images below which there is no subspace.

    Raises:
        NotAssessableError: If the cohort is not registered or has too few training images.
    """
    train = _training_split(trial, max(count + 1, fewest_images))
    identity = f"plausible subspace of {count} components\n{train.fingerprint}"

    def compute() -> dict[str, npt.NDArray[np.generic]]:
        components, explained = _fit(train, count)
        return {"components": components, "explained": np.array(explained)}

    def read() -> PlausibleSubspace:
        kept = kept_or(trial.runtime.archive, identity, compute)
        components = kept["components"].astype(np.float32, copy=False)
        return PlausibleSubspace(components, float(kept["explained"]))

    return trial.once(("plausible subspace", count), read)


def spread_on_grids(subspace: PlausibleSubspace, cohort: Cohort, rows: Rows) -> Tensor:
    """Return the plausible spread on the grids of rows, [n, 1, *S]: it knows no model."""
    return torch.from_numpy(
        np.concatenate([_carried(subspace.spread, cohort, row) for row in rows.tolist()])
    )


def _training_split(trial: Trial, fewest: int) -> Cohort:
    """Return the training split, after refusing a cohort that gives no plausible edits."""
    geometry = trial.cohort.geometry
    if not geometry.registered and geometry.poses is None:
        raise NotAssessableError(NOT_REGISTERED)
    try:
        train = trial.train
    except CohortError:
        raise NotAssessableError(NO_TRAINING_SPLIT) from None
    if len(train) < fewest:
        raise NotAssessableError(
            f"no plausible edits from {len(train)} training images, fewer than {fewest}"
        )
    return train


def _fit(train: Cohort, count: int) -> tuple[ImageArray, float]:
    inside = common_mask(train.anatomy.foreground, train.geometry)
    order = np.argsort(np.array(train.keys))  # sums depend on the order in their last bits
    shape = train.images.shape[2:]
    images = _inside(train.images, train, inside)[order].astype(np.float64)
    # An image does not know what lies beyond its grid, and differs there from no other.
    is_inside = _inside(np.ones_like(train.images), train, inside)[order] > _SEEN
    count_seen = np.maximum(is_inside.sum(0), 1)
    mean = np.where(is_inside, images, 0.0).sum(0) / count_seen
    values = np.where(is_inside, images, mean)
    ahead = mean - mean.mean()
    centred = values - values.mean(1, keepdims=True)
    slopes = centred @ ahead / max(float(ahead @ ahead), np.finfo(np.float64).tiny)
    residuals = np.where(is_inside, centred - slopes[:, None] * ahead, 0.0)
    residuals -= residuals.mean(0)
    # Of N images, N is far below the number of voxels: their Gram matrix is the small one.
    variances, vectors = np.linalg.eigh(residuals @ residuals.T)
    largest = np.argsort(-variances)[:count]
    scaled: FloatArray = vectors[:, largest].T @ residuals / np.sqrt(len(values) - 1)
    peaks = np.abs(scaled).argmax(1)
    scaled *= np.sign(scaled[np.arange(len(scaled)), peaks])[:, None]
    components = np.zeros((count, 1, *shape), dtype=np.float32)
    components[:, 0, inside] = scaled
    return components, float(variances[largest].sum() / variances.sum())


def _inside(images: ImageArray, train: Cohort, inside: BoolArray) -> ImageArray:
    """Return images [N, 1, *S] where a voxel means the same place, in a common mask alone."""
    moved: ImageArray = np.asarray(in_common_space(images, train.geometry))[:, 0][:, inside]
    return moved


def _carried(values: ImageArray, cohort: Cohort, row: int) -> ImageArray:
    """Return what lies in the common space, [K, 1, *S], on the grid of one image."""
    geometry = cohort.geometry
    if geometry.poses is None:
        return values
    return on_own_grids(values, geometry.take(np.full(len(values), row)))
