"""How alike two maps of one image are, by five measures."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.maps.masks import descending_order, top_masks
from benchmark.maps.ranking import reason_unrankable
from benchmark.maps.similarity import (
    centred_ranks,
    hog_features,
    iou,
    pearson,
    rank_correlation,
    ssim,
)
from benchmark.trial import Study

SPEARMAN, SIGNED, SSIM, HOG, TOP = "spearman", "spearman_signed", "ssim", "hog", "top"


def measures_in(dimensions: int) -> tuple[str, ...]:
    """Return the names of the measures of images of two or three dimensions."""
    return (SPEARMAN, SIGNED, SSIM, *((HOG,) if dimensions == 2 else ()), TOP)


class Likeness:
    """Some maps as all five measures see them, ready to be compared with many others.

    Args:
        images: Study of the images, whose streams order equal pixels of all maps of an image alike,
            so that equal maps overlap fully.
        maps: Signed maps [n, 1, *S].
        quantile: Share of the foreground whose overlap is compared.
    """

    def __init__(self, images: Study, maps: Tensor, quantile: float) -> None:
        foreground, ranked = images.foreground, images.ranked(maps)
        self._foreground, self._ranked = foreground, ranked
        # Halves of whole numbers, which float32 holds exactly up to 2**23.
        self._ranks = centred_ranks(ranked, foreground).float()
        self._signed = centred_ranks(maps, foreground).float()
        self._hog = hog_features(ranked, foreground) if maps.ndim == 4 else None
        self._reasons = reason_unrankable(ranked, foreground)
        order = descending_order(ranked.nan_to_num(0.0, 0.0, 0.0), foreground, images.streams())
        self._top = top_masks(order, foreground, (quantile,))

    def to(self, other: Likeness) -> dict[str, FloatArray]:
        """Return the similarities to other maps of the same images, [n] by measure.

        Spearman of the importance and of the signed map, SSIM, Pearson of HOG features (two
        dimensions only), and overlap of the top. NaN where a map cannot be ranked.
        """
        similarities = {
            SPEARMAN: rank_correlation(self._ranks.double(), other._ranks.double()),
            SIGNED: rank_correlation(self._signed.double(), other._signed.double()),
            SSIM: ssim(self._ranked, other._ranked, self._foreground),
        }
        if self._hog is not None and other._hog is not None:
            similarities[HOG] = pearson(self._hog, other._hog)
        pairs = zip(self._reasons, other._reasons, strict=True)
        unsound = torch.tensor([own is not None or others is not None for own, others in pairs])
        similarities[TOP] = torch.where(unsound, float("nan"), iou(self._top, other._top))
        return {name: values.numpy() for name, values in similarities.items()}
