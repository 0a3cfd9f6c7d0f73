"""Signals planted into images: where, how strong, and how much of an edge they leave.

A signal blurs and darkens a round window with a smooth rim, so that nothing but the signal itself
tells an altered image from a clean one::

    x' = x + α · v · (β · (G_σ ∗ x) − x)

with v a raised cosine, 1 in the core and 0 at the rim, where its slope is 0 too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from benchmark.arrays import BoolArray, FloatArray, ImageArray
from benchmark.cohort import Anatomy, Cohort
from benchmark.maps import alteration
from benchmark.seeding import stream

CLEAN, PLANTED = 0, 1
SITE = "site"
_DIAMETER = 1 / 3  # of the shortest side
_CORE = 1 / 3  # of the radius
_PLANTED_AT_ONCE = 16


class Strength(BaseModel):
    """How strong a planted signal is.

    Attributes:
        name: Name of the strength, such as ``mild``.
        sigma: Standard deviation of the blur in pixels.
        attenuation: 1 − β, the share of intensity that is taken away.
        alpha: Share of the alteration that is applied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    sigma: float = Field(ge=0)
    attenuation: float = Field(ge=0, le=1)
    alpha: float = Field(default=1.0, gt=0, le=1)


def radius_of(shape: Sequence[int]) -> float:
    """Return the radius of the window in pixels: half of a third of the shortest side."""
    return min(shape) * _DIAMETER / 2


def allowed_sites(foreground: BoolArray) -> list[npt.NDArray[np.int16]]:
    """Return for each image the pixels [K, len(S)] whose window lies in the foreground [N, 1, *S].

    The foreground eroded by the radius; where nothing is left of it, the pixels that lie deepest.
    """
    radius, allowed = radius_of(foreground.shape[2:]), []
    for inside in foreground[:, 0]:
        depth = alteration.depth_inside(inside)
        # A quarter of the memory, since there are as many places as voxels.
        allowed.append(np.argwhere(depth >= min(radius, depth.max())).astype(np.int16))
    return allowed


def draw_sites(
    allowed: Sequence[npt.NDArray[np.int16]], keys: Sequence[str], suite: str, purpose: str = "site"
) -> npt.NDArray[np.int64]:
    """Return one of the allowed places for each image, all with the same probability, [N, len(S)].

    Another purpose gives other sites of the same distribution.
    """
    streams = [stream(suite, "planting", purpose, key) for key in keys]
    pairs = zip(allowed, streams, strict=True)
    drawn = [places[generator.integers(len(places))] for places, generator in pairs]
    return np.array(drawn, dtype=np.int64)


def windows(sites: npt.NDArray[np.int64], shape: Sequence[int]) -> ImageArray:
    """Return v, the raised cosine around each site, [N, 1, *S] in [0, 1]."""
    radius = radius_of(shape)
    along = np.clip((_distances(sites, shape) - _CORE * radius) / ((1 - _CORE) * radius), 0, 1)
    window: ImageArray = (0.5 * (1 + np.cos(np.float32(np.pi) * along))).astype(np.float32)
    # Rounding leaves the cosine of π a little above −1.
    return np.where(along < 1, window, np.float32(0))


def truths(sites: npt.NDArray[np.int64], shape: Sequence[int]) -> BoolArray:
    """Return where v exceeds a half, [N, 1, *S]."""
    middle = (1 + _CORE) / 2 * radius_of(shape)
    return _distances(sites, shape) < middle


def _distances(sites: npt.NDArray[np.int64], shape: Sequence[int]) -> ImageArray:
    """Return the distance of every pixel to each site in pixels, [N, 1, *S]."""
    squares = np.zeros((len(sites), 1, *[1] * len(shape)), dtype=np.float32)
    for axis, length in enumerate(shape):
        offset = np.arange(length, dtype=np.float32)[None] - sites[:, axis, None]
        sides = [-1 if other == axis else 1 for other in range(len(shape))]
        squares = squares + (offset**2).astype(np.float32).reshape(len(sites), 1, *sides)
    return np.sqrt(squares)


def alter(images: ImageArray, window: ImageArray, strength: Strength) -> ImageArray:
    """Return images [N, 1, *S] with the signal planted in each window; untouched outside of it."""
    sigma = (strength.sigma,) * (images.ndim - 2)
    return alteration.alter(images, window, sigma, strength.attenuation, strength.alpha)


def zero_out(images: ImageArray, sites: npt.NDArray[np.int64]) -> tuple[ImageArray, BoolArray]:
    """Return images with a square of the window's width set to 0, and the squares [N, 1, *S].

    The control of old, kept for comparison: its hard edge is a signal of its own.
    """
    shape, inside = images.shape[2:], np.ones(images.shape, dtype=np.bool_)
    for axis, length in enumerate(shape):
        near = np.abs(np.arange(length)[None] - sites[:, axis, None]) < radius_of(shape)
        sides = [length if other == axis else 1 for other in range(len(shape))]
        inside &= near.reshape(len(sites), 1, *sides)
    return np.where(inside, np.float32(0), images), inside


def edge_artefact(
    images: ImageArray, altered: ImageArray, truth: BoolArray, foreground: BoolArray
) -> FloatArray:
    """Return how much of an edge an alteration leaves on the rim of its truth, [N].

    Mean gradient magnitude of altered − clean on the rim (truth pixels with a neighbour outside,
    and those neighbours) over mean gradient magnitude of the clean image in the foreground.
    """
    index = []
    for row in range(len(images)):
        inside = truth[row, 0]
        rim = ndimage.binary_dilation(inside) & ~ndimage.binary_erosion(inside)
        change = gradient_magnitude(altered[row, 0] - images[row, 0])
        usual = gradient_magnitude(images[row, 0])[foreground[row, 0]].mean()
        index.append(change[rim].mean() / usual)
    return np.array(index)


def gradient_magnitude(image: ImageArray) -> FloatArray:
    """Return the length of the central-difference gradient of an image [*S]."""
    slopes = np.gradient(image.astype(np.float64))
    magnitude: FloatArray = np.sqrt(np.sum(np.square(slopes), axis=0))
    return magnitude


def _plant(
    images: ImageArray, sites: npt.NDArray[np.int64], strength: Strength | None
) -> tuple[ImageArray, BoolArray]:
    """Return images with the signal planted and where it is; without a strength, zeros."""
    if strength is None:
        return zero_out(images, sites)
    shape = images.shape[2:]
    return alter(images, windows(sites, shape), strength), truths(sites, shape)


def planted_cohort(
    cohort: Cohort, strength: Strength | None, sites: npt.NDArray[np.int64]
) -> Cohort:
    """Return each image twice: clean in group 0, and with the signal planted in group 1.

    Clean images come first, in the order of the cohort; planted ones follow in the same order.
    The site is known as the truth in both. Without a strength the signal is the square of zeros.
    Subjects are named by image and strength, so names hold on machines whose last bits differ.
    """
    foreground, count = cohort.anatomy.foreground, len(cohort)
    name = "zero" if strength is None else strength.name
    images = np.concatenate([cohort.images, cohort.images])
    truth = np.empty((2 * count, 1, *cohort.shape), dtype=np.bool_)
    # A few at a time, since the windows and what leads to them take several times the images.
    for start in range(0, count, _PLANTED_AT_ONCE):
        part = slice(start, start + _PLANTED_AT_ONCE)
        images[count:][part], truth[:count][part] = _plant(
            cohort.images[part], sites[part], strength
        )
    truth[count:] = truth[:count]
    people = cohort.participants[["subject", "split"]]
    clean = people.assign(subject=list(cohort.keys), group=CLEAN)
    planted = people.assign(subject=[f"{key}+{name}" for key in cohort.keys], group=PLANTED)
    return replace(
        cohort,
        name=f"{cohort.name}+{name}",
        images=images,
        participants=pd.concat([clean, planted], ignore_index=True),
        anatomy=Anatomy(
            foreground=np.concatenate([foreground, foreground]), rois={SITE: truth}, truth=(SITE,)
        ),
        geometry=cohort.geometry.take(np.tile(np.arange(len(cohort)), 2)),
        group_names=("clean", "planted"),
        partners=None,
        normals=None,
        sources={},
    )
