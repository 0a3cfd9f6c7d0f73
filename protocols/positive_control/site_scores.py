"""How well a map finds a site that is known to the pixel, and which pixels it would restore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.maps import localisation
from benchmark.maps.masks import descending_order, shape_matched, top_masks
from benchmark.maps.ranking import Ranking
from benchmark.reading import Condition, Statistic
from protocols.positive_control.statistics import PositiveControlStatistics


def site_scores(
    ranked: Tensor,
    truth: Tensor,
    foreground: Tensor,
    quantiles: Sequence[float],
    spacing: Sequence[float],
    order: Ranking,
) -> Iterator[tuple[Statistic, FloatArray, Mapping[str, Condition]]]:
    """Yield statistic, values [n] and conditions of every score of maps against their sites.

    Importance, truth and foreground are [n, 1, *S]; the spacing of voxels is in mm. ``order`` is
    the ranking of the importance.
    """
    measured = PositiveControlStatistics
    pixels, size = foreground.flatten(1).sum(1), (truth & foreground).flatten(1).sum(1)
    ap = localisation.average_precision(ranked, truth, foreground, order).numpy()
    chance = localisation.expected_average_precision(truth, foreground).numpy()
    yield measured.found, (ap - chance) / (1 - chance), {}
    yield measured.ap, ap, {}
    yield measured.iou, localisation.top_overlap(ranked, truth, foreground, size, order).numpy(), {}
    for q in quantiles:
        counts = (q * pixels.double()).round(decimals=6).ceil().long()
        overlap = localisation.top_overlap(ranked, truth, foreground, counts, order)
        yield measured.iou_at_q, overlap.numpy(), {"q": q}
    pointing = localisation.pointing(ranked, truth, foreground, 0.0, spacing).numpy()
    yield measured.pointing, pointing, {}
    mass = localisation.mass(ranked, truth, foreground).numpy()
    yield measured.mass, mass, {}
    yield measured.lift, mass * (pixels.double() / size).numpy(), {}


def above_decoys(
    ranked: Tensor, truth: Tensor, decoys: Sequence[Tensor], foreground: Tensor, order: Ranking
) -> FloatArray:
    """Return average precision at the site minus its mean at sites without a signal, [n]."""
    precisions = [
        localisation.average_precision(ranked, site, foreground, order).numpy()
        for site in (truth, *decoys)
    ]
    difference: FloatArray = precisions[0] - np.mean(precisions[1:], axis=0)
    return difference


def restoring_masks(
    ranked: Tensor,
    truth: Tensor,
    foreground: Tensor,
    quantiles: Sequence[float],
    streams: Sequence[tuple[np.random.Generator, np.random.Generator]],
    repeats: int,
) -> tuple[Tensor, Tensor]:
    """Return tops of maps [n, 1 + Q, *S] and random masks of their shape [n, 1 + Q, R, *S].

    The first top is as large as the site, the others are shares of the foreground. Each image has
    two generators, one for ties and one for the places of its R ``repeats``.
    """
    order = descending_order(ranked, foreground, [ties for ties, _ in streams])
    inside = (truth & foreground).flatten(1).sum(1).tolist()
    pixels = foreground.flatten(1).sum(1).tolist()
    own = [
        top_masks(order[n : n + 1], foreground[n : n + 1], [size / total])
        for n, (size, total) in enumerate(zip(inside, pixels, strict=True))
    ]
    tops = torch.cat([torch.cat(own), top_masks(order, foreground, quantiles)], dim=1)
    return tops, shape_matched(tops, foreground, [moves for _, moves in streams], repeats)
