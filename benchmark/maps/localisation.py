"""How well a map finds the truth: the measures of localisation.

Every measure takes a batch: importance [B, 1, *S] float, truth and foreground [B, 1, *S] bool, all
on one device, for any number of spatial axes, and returns [B] float64 on that device. Pixels are
ranked inside the foreground only. A map that is constant or not finite there gives NaN, never 0 and
never a hit, and so does a truth without a pixel in the foreground. A ``ranking`` of the same
importance saves sorting it again.

Counts are int64: sums of int32 overflow on tied 96³ volumes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.errors import InputError
from benchmark.maps.ranking import (
    Ranking,
    a_few_each,
    are_many_slices,
    flatten,
    is_many,
    rank_pixels,
    where_rankable,
)


def average_precision(
    importance: Tensor, truth: Tensor, foreground: Tensor, ranking: Ranking | None = None
) -> Tensor:
    """Return Σ (recall_n − recall_{n−1}) precision_n over falling thresholds.

    Tied pixels pass a threshold together, as in scikit-learn. Chance lies near the prevalence.
    """
    if ranking is None and are_many_slices(importance):
        parts = a_few_each(importance, truth, foreground)
        return torch.cat([average_precision(few, site, inside) for few, site, inside in parts])
    ranking = rank_pixels(importance, foreground) if ranking is None else ranking
    is_true = (truth & foreground).flatten(1).gather(1, ranking.order)
    precision = is_true.cumsum(1).gather(1, ranking.last).double() / (ranking.last + 1)
    # Each true pixel is worth the precision at the threshold that lets it pass.
    area = torch.where(is_true, precision, 0.0).sum(1) / is_true.sum(1)
    return ranking.where_rankable(area)


def mass(importance: Tensor, truth: Tensor, foreground: Tensor) -> Tensor:
    """Return the share of a non-negative map's sum over the foreground that lies on the truth."""
    if are_many_slices(importance):
        return torch.cat([mass(*part) for part in a_few_each(importance, truth, foreground)])
    values, inside = flatten(importance, foreground)
    region = truth.flatten(1) & inside
    share = _sum_where(region, values) / _sum_where(inside, values)
    share = torch.where(region.any(1), share, math.nan)
    return where_rankable(share, importance, foreground)


def lift(importance: Tensor, truth: Tensor, foreground: Tensor) -> Tensor:
    """Return the mass on the truth over the truth's share of the foreground; 1 if spread evenly."""
    inside = foreground.flatten(1)
    area = (truth.flatten(1) & inside).sum(1).double() / inside.sum(1)
    return mass(importance, truth, foreground) / area


def leakage(importance: Tensor, foreground: Tensor) -> Tensor:
    """Return the share of a non-negative map's sum that lies outside the foreground."""
    if are_many_slices(importance):
        return torch.cat([leakage(*part) for part in a_few_each(importance, foreground)])
    values, inside = flatten(importance, foreground)
    share = _sum_where(~inside, values) / values.sum(1)
    return where_rankable(share, importance, foreground)


def rank_accuracy(
    importance: Tensor, truth: Tensor, foreground: Tensor, ranking: Ranking | None = None
) -> Tensor:
    """Return |top-|truth| ∩ truth| / |truth|; ties as in ``hits``."""
    size = (truth & foreground).flatten(1).sum(1)
    return hits(importance, truth, foreground, size, ranking) / size


def hits(
    importance: Tensor,
    truth: Tensor,
    foreground: Tensor,
    counts: Tensor,
    ranking: Ranking | None = None,
) -> Tensor:
    """Return how many of the ``counts`` [B] foremost pixels of each map lie on the truth.

    Where pixels tie at the cut, each is taken with the same probability, and the expectation over
    these draws is returned: exact, and free of index order and of any seed.
    """
    ranking = rank_pixels(importance, foreground) if ranking is None else ranking
    is_true = functional.pad((truth & foreground).flatten(1).gather(1, ranking.order), (1, 0))
    sums = is_true.long().cumsum(1)  # sums[:, n] true pixels among the first n
    n_taken = counts[:, None]
    cut = (n_taken - 1).clamp_min(0)
    first, end = ranking.first.gather(1, cut), ranking.last.gather(1, cut) + 1
    above, tied = sums.gather(1, first), sums.gather(1, end) - sums.gather(1, first)
    expected = above + tied * ((n_taken - first).double() / (end - first))
    expected = torch.where(sums[:, -1:] > 0, expected, math.nan)
    return ranking.where_rankable(expected[:, 0])


def top_overlap(
    importance: Tensor,
    truth: Tensor,
    foreground: Tensor,
    counts: Tensor,
    ranking: Ranking | None = None,
) -> Tensor:
    """Return |top ∩ truth| / |top ∪ truth| of the foremost ``counts`` [B] pixels; as ``hits``."""
    size = (truth & foreground).flatten(1).sum(1)
    common = hits(importance, truth, foreground, counts, ranking)
    return common / (counts + size - common)


def expected_average_precision(truth: Tensor, foreground: Tensor) -> Tensor:
    """Return the expectation of average precision over random rankings without ties, [B] float64.

    It lies above the prevalence: with k true of n pixels the pixel at rank i is true with
    probability k/n, and then the precision there is (1 + (i − 1)(k − 1)/(n − 1))/i on average.
    """
    if is_many(truth):  # counts of bools go through whole numbers of eight bytes
        parts = a_few_each(truth, foreground)
        return torch.cat([expected_average_precision(*few) for few in parts])
    pixels = foreground.flatten(1).sum(1).tolist()
    positives = (truth & foreground).flatten(1).sum(1).tolist()
    return torch.tensor(list(map(_expected_ap, positives, pixels)), dtype=torch.float64)


def pointing(
    importance: Tensor,
    truth: Tensor,
    foreground: Tensor,
    tolerance_mm: float,
    spacing: Sequence[float],
) -> Tensor:
    """Return whether the largest value lies on or near the truth; a tie counts by its share.

    Distances are between the centres of voxels, and the spacing is in mm along each axis.
    """
    values, inside = flatten(importance, foreground)
    region = truth & foreground
    near = dilate(region, tolerance_mm, spacing).flatten(1)
    ranked = torch.where(inside, values, -math.inf)
    largest = inside & (ranked == ranked.amax(1, keepdim=True))
    share = (largest & near).sum(1).double() / largest.sum(1)
    share = torch.where(region.flatten(1).any(1), share, math.nan)
    return where_rankable(share, importance, foreground)


def dilate(masks: Tensor, radius_mm: float, spacing: Sequence[float]) -> Tensor:
    """Return every voxel whose centre lies within a Euclidean distance of a mask's voxel centre.

    Raises:
        InputError: If the spacing has another number of axes, or a length is negative.
    """
    shape = masks.shape[2:]
    if len(spacing) != len(shape) or min(spacing) <= 0 or radius_mm < 0:
        raise InputError(
            f"Expected a radius of at least 0 mm and {len(shape)} positive voxel sizes in mm "
            f"but got {radius_mm} and {tuple(spacing)}."
        )
    # A distance that equals the radius but for rounding, such as 2 × 1.5 mm and 3 mm, is within.
    limit = radius_mm * (1 + 1e-9)
    axes = zip(spacing, shape, strict=True)
    reach = [min(int(limit / size), length - 1) for size, length in axes]
    dilated = masks.clone()
    for offset in itertools.product(*(range(-farthest, farthest + 1) for farthest in reach)):
        if math.hypot(*(step * size for step, size in zip(offset, spacing, strict=True))) <= limit:
            steps = list(zip(offset, shape, strict=True))
            targets = [slice(max(0, step), length + min(0, step)) for step, length in steps]
            sources = [slice(max(0, -step), length - max(0, step)) for step, length in steps]
            dilated[:, :, *targets] |= masks[:, :, *sources]
    return dilated


def _sum_where(mask: Tensor, values: Tensor) -> Tensor:
    """Return the sum over a mask of values [B, P], [B]."""
    return torch.where(mask, values, 0.0).sum(1)


@lru_cache(maxsize=256)
def _expected_ap(positives: int, pixels: int) -> float:
    if positives == 0 or pixels < 2:
        return math.nan
    rank = torch.arange(1, pixels + 1, dtype=torch.float64)
    return float(((1 + (rank - 1) * (positives - 1) / (pixels - 1)) / rank).mean())
