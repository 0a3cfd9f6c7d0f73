"""How alike two maps are: in ranks, in top pixels, in structure; and how spread out one is.

Unless said otherwise a function takes maps [B, 1, *S] float and foreground [B, 1, *S] bool on one
device and returns [B] float64. A map that is constant or not finite in the foreground gives NaN.
Measures of structure, and the entropy of a single map, scale each map to [0, 1] over its
foreground.

Ranks are float64: sums of int32 ranks overflow on tied 96³ volumes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.maps.blurring import gaussian_blur
from benchmark.maps.ranking import (
    a_few_each,
    are_many_slices,
    is_many,
    ranks,
    reason_unrankable,
    sort_stably,
    where_rankable,
)

_WIDTHS = {2: 11, 3: 7}
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_CELL = 8
_BLOCK = 3
_BINS = 9
_CLIP, _EPSILON = 0.2, 1e-5


def spearman(first: Tensor, second: Tensor, foreground: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two maps over the foreground, ties averaged."""
    return rank_correlation(centred_ranks(first, foreground), centred_ranks(second, foreground))


def centred_ranks(values: Tensor, foreground: Tensor) -> Tensor:
    """Return ranks minus their mean, [B, P] float64, to be correlated with those of many maps.

    0 outside the foreground, and NaN throughout where a map cannot be ranked.
    """
    if is_many(values):
        return torch.cat([centred_ranks(*pair) for pair in a_few_each(values, foreground)])
    inside = foreground.flatten(1)
    mean_rank = (inside.sum(1, keepdim=True).double() + 1) / 2
    centred = torch.where(inside, ranks(values, foreground).flatten(1) - mean_rank, 0.0)
    zero_or_nan = where_rankable(mean_rank[:, 0] * 0, values, foreground)
    return centred + zero_or_nan[:, None]


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's correlation of maps whose ``centred_ranks`` these are, [B]."""
    variances = first.square().sum(1) * second.square().sum(1)
    return ((first * second).sum(1) / variances.sqrt()).clamp(-1, 1)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return |A ∩ B| / |A ∪ B| of masks [B, 1, *S] bool; NaN where both are empty."""
    if is_many(first):  # counts of bools go through whole numbers of eight bytes
        return torch.cat([iou(*pair) for pair in a_few_each(first, second)])
    a, b = first.flatten(1), second.flatten(1)
    return (a & b).sum(1).double() / (a | b).sum(1)


def ssim(first: Tensor, second: Tensor, foreground: Tensor) -> Tensor:
    """Return the mean structural similarity over the foreground (Wang et al. 2004).

    The window is a Gaussian of σ = 1.5 pixels, 11 wide in two dimensions and 7 in three; at the
    border of the image maps are mirrored. A few images are compared at a time, to fit into memory.
    """
    if is_many(first):
        return torch.cat([ssim(*images) for images in a_few_each(first, second, foreground)])
    x, y = _scaled(first, foreground), _scaled(second, foreground)
    dimensions = x.ndim - 2
    mean_x, mean_y, square_x, square_y, product = (
        gaussian_blur(values, dimensions, _SIGMA, _WIDTHS[dimensions] // 2)
        for values in (x, y, x * x, y * y, x * y)
    )
    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2))
    inside = foreground.flatten(1)
    summed = torch.where(inside, similarity.flatten(1), 0.0).sum(1)
    # NaN where a map was, though the foreground's sum left it out.
    return summed / inside.sum(1) + 0 * (x + y).flatten(1).sum(1)


def hog_features(maps: Tensor, foreground: Tensor) -> Tensor:
    """Return the maps' HOG features [B, F] float64; two dimensions only.

    Outside the foreground maps count as 0, so the organ's outline is no feature of one map alone.
    """
    if is_many(maps):
        return torch.cat([hog_features(*pair) for pair in a_few_each(maps, foreground)])
    scaled = torch.where(foreground, _scaled(maps, foreground), 0.0)
    missing = scaled.isnan().flatten(1).any(1, keepdim=True)
    return torch.where(missing, math.nan, hog(scaled.nan_to_num(0.0)))


def hog(images: Tensor) -> Tensor:
    """Return histograms [B, F] of oriented gradients (Dalal & Triggs 2005) of [B, 1, H, W].

    Nine unsigned orientations in cells of 8 pixels, in blocks of 3 × 3 cells normalised by L2-Hys;
    fewer where an image is smaller.
    """
    values = images[:, 0].double()
    down, right = torch.zeros_like(values), torch.zeros_like(values)
    down[:, 1:-1] = values[:, 2:] - values[:, :-2]
    right[:, :, 1:-1] = values[:, :, 2:] - values[:, :, :-2]
    magnitude = torch.hypot(down, right)
    angle = torch.rad2deg(torch.atan2(down, right)) % 180
    orientations = (angle / (180 / _BINS)).long().clamp_max(_BINS - 1)
    cell = min(_CELL, *values.shape[1:])
    rows, columns = values.shape[1] // cell, values.shape[2] // cell
    block = min(_BLOCK, rows, columns)
    votes = torch.zeros(len(values), _BINS, *values.shape[1:], dtype=torch.float64)
    votes = votes.to(values.device).scatter_(1, orientations[:, None], magnitude[:, None])
    cells = functional.avg_pool2d(votes[:, :, : rows * cell, : columns * cell], cell)
    blocks = cells.unfold(2, block, 1).unfold(3, block, 1)  # [B, bins, r, c, block, block]
    blocks = blocks.permute(0, 2, 3, 4, 5, 1).flatten(3)
    blocks = blocks / (blocks.square().sum(-1, keepdim=True) + _EPSILON**2).sqrt()
    blocks = blocks.clamp_max(_CLIP)
    blocks = blocks / (blocks.square().sum(-1, keepdim=True) + _EPSILON**2).sqrt()
    return blocks.flatten(1)


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Return Pearson's correlation of each row of features [B, F], [B]."""
    if are_many_slices(first):
        return torch.cat([pearson(*pair) for pair in a_few_each(first, second)])
    x, y = (features - features.mean(1, keepdim=True) for features in (first, second))
    return (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()


def entropy(importance: Tensor, foreground: Tensor, bins: int = 100) -> Tensor:
    """Return the entropy in bits of each map's histogram over the foreground.

    Bins are of equal width between a map's smallest and largest value.
    """
    if is_many(importance):
        pairs = a_few_each(importance, foreground)
        return torch.cat([entropy(values, inside, bins) for values, inside in pairs])
    scaled, inside = _scaled(importance, foreground).flatten(1), foreground.flatten(1)
    bin_indices = (scaled.nan_to_num(0.0) * bins).long().clamp(0, bins - 1)
    counts = torch.zeros(len(scaled), bins, dtype=torch.float64, device=scaled.device)
    counts.scatter_add_(1, bin_indices, inside.double())
    shares = counts / counts.sum(1, keepdim=True)
    bits = -torch.where(shares > 0, shares * shares.log2(), 0.0).sum(1)
    return torch.where(torch.where(inside, scaled, 0.0).isfinite().all(1), bits, math.nan)


def gini(importance: Tensor, foreground: Tensor) -> Tensor:
    """Return the Gini index of maps of at least 0 over the foreground, [B].

    It is 0 for a flat map, 1/3 for uniform noise, and 1 − 1/n for one of n pixels. Pixels of the
    background are left out before anything is summed, so padding changes no bit.
    """
    values = importance.new_full((len(importance),), math.nan, dtype=torch.float64)
    for row, reason in enumerate(reason_unrankable(importance, foreground)):
        if reason is None:
            values[row] = gini_of_shares(rising_shares(importance[row], foreground[row]))
    return values


def gini_of_shares(shares: Tensor) -> Tensor:
    """Return the Gini index of the ``rising_shares`` [n] of one map, []."""
    count = len(shares)
    weights = 2 * torch.arange(1, count + 1, device=shares.device).double() - count - 1
    return (weights * shares).sum() / count


def rising_shares(importance: Tensor, foreground: Tensor) -> Tensor:
    """Return the share of the sum that each pixel of the foreground holds, rising, [n]."""
    ordered, _ = sort_stably(importance[foreground][None])  # as they are: doubles sort slowly
    inside = ordered[0].double()
    # By the largest first, so that no sum overflows and tiny maps keep their digits.
    inside = inside / inside[-1]
    return inside / inside.sum()


def _scaled(maps: Tensor, foreground: Tensor) -> Tensor:
    """Return the maps as float64, 0 at the foreground's smallest value and 1 at its largest."""
    values = maps.double()
    axes = tuple(range(1, maps.ndim))
    low = torch.where(foreground, values, math.inf).amin(axes, keepdim=True)
    high = torch.where(foreground, values, -math.inf).amax(axes, keepdim=True)
    width = torch.where(high > low, high - low, math.nan)
    return ((values - low) / width).clamp(0, 1)
