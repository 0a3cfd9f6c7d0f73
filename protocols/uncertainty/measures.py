"""Uncertainty of predictions, and stability of maps over the members of an ensemble."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.maps.masks import descending_order, top_masks
from benchmark.maps.ranking import reason_unrankable
from benchmark.maps.similarity import centred_ranks, gini, iou, rank_correlation
from benchmark.trial import Study


def entropies(probabilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return entropy and mutual information of members' predictions, each [n], in nats.

    The entropy is that of the mean prediction. The mutual information of prediction and member is
    the entropy minus the members' mean entropy (Houlsby et al. 2011).

    Args:
        probabilities: [M, n, K] probabilities of M members.
    """
    # Sorted, so that the order of the members does not show in the last bit.
    mean = np.sort(probabilities, axis=0).mean(0)
    entropy: FloatArray = special.entr(mean).sum(-1)
    within = np.sort(special.entr(probabilities).sum(-1), axis=0).mean(0)
    return entropy, entropy - within


@dataclass(frozen=True)
class Steadiness:
    """How steady the maps of n images are over members.

    Attributes:
        stability: [n] mean Spearman correlation of pairs of members; NaN where a map of a member
            ranks nothing.
        overlap: [n] mean intersection over union of the tops, likewise.
        contrast: [n] Gini coefficient of the mean map, likewise.
        reasons: Reason why an image has no value, for each of them; None where it has.
    """

    stability: FloatArray
    overlap: FloatArray
    contrast: FloatArray
    reasons: Sequence[str | None]


def steadiness(images: Study, importance: Sequence[Tensor], quantile: float) -> Steadiness:
    """Return how steady maps are.

    Args:
        images: Study of the images; its streams order equal pixels of all maps of an image alike.
        importance: Maps [n, 1, *S] of each member.
        quantile: Share of the foreground whose overlap is compared.
    """
    foreground = images.foreground
    of_members = [reason_unrankable(maps, foreground) for maps in importance]
    reasons = [next(filter(None, own), None) for own in zip(*of_members, strict=True)]
    missing = torch.tensor([reason is not None for reason in reasons], dtype=torch.bool)
    tops = []
    for maps in importance:
        order = descending_order(maps.nan_to_num(0.0, 0.0, 0.0), foreground, images.streams("ties"))
        tops.append(top_masks(order, foreground, (quantile,)))
    ranks = [centred_ranks(maps, foreground) for maps in importance]
    pairs = list(itertools.combinations(range(len(importance)), 2))
    alike = torch.stack([rank_correlation(ranks[a], ranks[b]) for a, b in pairs])
    shared = torch.stack([iou(tops[a], tops[b]) for a, b in pairs])
    mean = torch.stack(list(importance)).double().sort(0).values.mean(0)
    return Steadiness(
        stability=_mean(alike, missing),
        overlap=_mean(shared, missing),
        contrast=torch.where(missing, math.nan, gini(mean, foreground)).numpy(),
        reasons=reasons,
    )


def _mean(of_pairs: Tensor, missing: Tensor) -> FloatArray:
    """Return the mean [n] of values [pairs, n], whatever the order of the pairs."""
    means = of_pairs.sort(0).values.mean(0)
    return torch.where(missing, math.nan, means).numpy()


def deranged(
    first: Tensor, second: Tensor, foreground: Tensor, partners: Sequence[int]
) -> FloatArray:
    """Return the rank correlation of each image's map with another image's on another member, [n].

    Args:
        first: [n, 1, *S] maps of one member.
        second: [n, 1, *S] maps of another member.
        foreground: [n, 1, *S] foregrounds, of which that of ``first`` is compared in.
        partners: Position of each image's partner.
    """
    values = []
    for position, partner in enumerate(partners):
        inside = foreground[position : position + 1]
        own = centred_ranks(first[position : position + 1], inside)
        other = centred_ranks(second[partner : partner + 1], inside)
        values.append(rank_correlation(own, other))
    result: FloatArray = torch.cat(values).numpy() if values else np.empty(0)
    return result
