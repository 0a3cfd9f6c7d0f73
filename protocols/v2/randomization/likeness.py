"""How alike two importance maps of one image are: in their ranks, their tops and their structure.

A map that ranks nothing is like no other: its similarity is that of independent maps, 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.maps.masks import descending_order, top_masks
from benchmark.maps.ranking import a_few_each, are_many_slices, reason_unrankable
from benchmark.maps.similarity import (
    centred_ranks,
    hog_features,
    iou,
    pearson,
    rank_correlation,
    ssim,
)
from benchmark.trial import Study
from benchmark.trial.study import Conditions


@dataclass(frozen=True)
class Measure:
    """How two maps are compared.

    Attributes:
        name: ``spearman``, ``ssim``, ``hog`` or ``top``.
        q: Share of the foreground, of ``top``.
    """

    name: str
    q: float | None = None

    @property
    def conditions(self) -> Conditions:
        """Conditions of a reading by this measure."""
        return {"measure": self.name} if self.q is None else {"measure": self.name, "q": self.q}


SPEARMAN, SSIM, HOG = Measure("spearman"), Measure("ssim"), Measure("hog")

# As many as the suites ask about, so that theirs are ranked once.
_COMPARED_AT_ONCE = 64


def measures_in(dimensions: int, quantiles: Sequence[float]) -> list[Measure]:
    """Return how maps of two or three dimensions are compared."""
    structure = [SSIM, HOG] if dimensions == 2 else [SSIM]
    return [SPEARMAN, *structure, *(Measure("top", q) for q in quantiles)]


class Likeness:
    """Importance maps of some images, ready to be compared with many others.

    Args:
        images: Study of the images; its streams order equal pixels of all maps of an image alike,
            so that equal maps overlap fully.
        importance: [n, 1, *S] maps.
        quantiles: Shares of the foreground whose overlap is compared.

    Attributes:
        importance: The maps.
        is_ranking: [n] whether each map ranks pixels.
    """

    def __init__(self, images: Study, importance: Tensor, quantiles: Sequence[float]) -> None:
        foreground = images.foreground
        self._foreground, self._quantiles, self.importance = foreground, quantiles, importance
        reasons = reason_unrankable(importance, foreground)
        self.is_ranking: BoolArray = np.array([reason is None for reason in reasons], dtype=bool)
        self._hog = hog_features(importance, foreground) if importance.ndim == 4 else None
        ranks, tops = [], []
        # A few images at a time, since orders take several times the memory of maps.
        rows = torch.from_numpy(images.rows)
        for maps, inside, some in a_few_each(importance, foreground, rows):
            # Halves of whole numbers, which float32 holds exactly up to 2**23.
            ranks.append(centred_ranks(maps, inside).float())
            jitter = images.only(some.numpy()).streams()
            order = descending_order(maps.nan_to_num(0.0, 0.0, 0.0), inside, jitter)
            tops.append(top_masks(order, inside, quantiles))
        self._ranks, self._tops = torch.cat(ranks), torch.cat(tops)

    def to(self, other: Likeness) -> dict[Measure, FloatArray]:
        """Return the similarities to other maps of the same images, [n] by measure.

        HOG features are compared in two dimensions alone.
        """
        similarities = {
            SPEARMAN: _rank_correlation(self._ranks, other._ranks),
            SSIM: ssim(self.importance, other.importance, self._foreground),
        }
        if self._hog is not None and other._hog is not None:
            similarities[HOG] = pearson(self._hog, other._hog)
        for column, q in enumerate(self._quantiles):
            overlap = iou(self._tops[:, column], other._tops[:, column])
            chance = q / (2 - q)
            similarities[Measure("top", q)] = (overlap - chance) / (1 - chance)
        either = ~torch.from_numpy(self.is_ranking & other.is_ranking)
        return {
            measure: torch.where(either, 0.0, values).nan_to_num(0.0).numpy()
            for measure, values in similarities.items()
        }


def similarities_to(
    images: Study,
    importance: Tensor,
    others: Sequence[Callable[[], Tensor]],
    quantiles: Sequence[float],
) -> list[dict[Measure, FloatArray]]:
    """Return the similarities of maps to each of several others, [n] by measure.

    What is made of a map to compare it takes several times its memory, so maps are made ready for
    so many images at a time.

    Args:
        images: Study of the images.
        importance: [n, 1, *S] maps.
        others: Functions that return other maps [n, 1, *S] of the same images.
        quantiles: Shares of the foreground whose overlap is compared.
    """
    parts: list[list[dict[Measure, FloatArray]]] = []
    for start in range(0, len(images.rows), _COMPARED_AT_ONCE):
        part = slice(start, start + _COMPARED_AT_ONCE)
        some, own_maps = images.only(images.rows[part]), importance[part]
        own = Likeness(some, own_maps, quantiles)

        def likeness_of(maps: Tensor, some: Study = some, own: Likeness = own) -> Likeness:
            # Maps that no network moves are ready already.
            is_same = torch.equal(maps, own.importance)
            return own if is_same else Likeness(some, maps, quantiles)

        parts.append([own.to(likeness_of(look_up()[part])) for look_up in others])
    return [
        {measure: np.concatenate([some[measure] for some in of_other]) for measure in of_other[0]}
        for of_other in zip(*parts, strict=True)
    ]


def _rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return the correlation of float32 ranks, which are multiplied in float64, [n]."""
    if are_many_slices(first):
        return torch.cat([_rank_correlation(*pair) for pair in a_few_each(first, second)])
    return rank_correlation(first.double(), second.double())
