"""How alike two maps of one image are, by five measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from benchmark.explainer import Polarity, importance
from benchmark.masking import descending_order, top_q
from benchmark.seeding import stream
from benchmark.similarity import iou, reason_unrankable, spearman
from benchmark.structure import hog_correlation, ssim

FloatArray = npt.NDArray[np.float64]

SPEARMAN, SIGNED, SSIM, HOG, TOP = "spearman", "spearman_signed", "ssim", "hog", "top"
MEASURES = (SPEARMAN, SIGNED, SSIM, HOG, TOP)


def compare(
    first: Tensor,
    second: Tensor,
    foreground: Tensor,
    polarity: Polarity,
    quantile: float | None = None,
    ties: Sequence[tuple[str, ...]] | None = None,
) -> dict[str, FloatArray]:
    """Return the similarities of two maps of each image, by measure.

    Args:
        first: Signed maps [n, 1, *S].
        second: Likewise.
        foreground: [n, 1, *S] bool.
        polarity: Which sign marks evidence.
        quantile: Share of the foreground whose overlap is ``top``; without it Spearman alone.
        ties: [n] name of the stream that orders equal pixels; the same for both maps, so that equal
            maps overlap fully.

    Returns:
        [n] by measure: Spearman of the importance and of the signed map, SSIM, Pearson of HOG
        features (two dimensions only), and overlap of the top. NaN where a map cannot be ranked.
    """
    one, other = importance(first, polarity), importance(second, polarity)
    found = {SPEARMAN: spearman(one, other, foreground)}
    if quantile is not None and ties is not None:
        found[SIGNED] = spearman(first, second, foreground)
        found[SSIM] = ssim(one, other, foreground)
        if first.ndim == 4:
            found[HOG] = hog_correlation(one, other, foreground)
        found[TOP] = _overlap([one, other], foreground, quantile, ties)
    return {name: values.numpy() for name, values in found.items()}


def _overlap(
    ranked: Sequence[Tensor], foreground: Tensor, quantile: float, ties: Sequence[tuple[str, ...]]
) -> Tensor:
    tops, reasons = [], []
    for one in ranked:
        why = reason_unrankable(one, foreground)
        reasons.append([reason is not None for reason in why])
        orders = [stream(*name) for name in ties]
        order = descending_order(one.nan_to_num(0.0, 0.0, 0.0), foreground, orders)
        tops.append(top_q(order, foreground, quantile))
    values = iou(tops[0], tops[1])
    values[np.any(reasons, axis=0)] = float("nan")
    return values
