"""What a signal of known place does to an image, and how deep a pixel lies inside a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from benchmark.arrays import BoolArray, FloatArray, ImageArray


def alter(
    images: ImageArray,
    window: ImageArray,
    sigma: Sequence[float],
    attenuation: float,
    alpha: float = 1.0,
) -> ImageArray:
    """Return images blurred and darkened in a window, and untouched outside of it.

    x' = x + α · v · (β · (G_σ ∗ x) − x). The blur sees the whole image, so what lies beside the
    window flows into it.

    Args:
        images: [N, 1, *S] float32 in [0, 1].
        window: v, [N, 1, *S] float32 in [0, 1].
        sigma: Standard deviation of the blur in pixels along each axis of ``*S``; 0 for none.
        attenuation: 1 − β, the share of intensity that is taken away.
        alpha: Share of the alteration that is applied.

    Returns:
        [N, 1, *S] float32 in [0, 1].
    """
    altered = np.empty_like(images)
    # One by one, since the volumes of a whole split in float64 fill a memory.
    for row, (image, weight) in enumerate(zip(images[:, 0], window[:, 0], strict=True)):
        smooth = ndimage.gaussian_filter(image.astype(np.float64), sigma, mode="reflect")
        change = alpha * weight * ((1 - attenuation) * smooth - image)
        changed = np.clip(image + change, 0, 1).astype(np.float32)
        altered[row, 0] = np.where(weight > 0, changed, image)
    return altered


def depth_inside(mask: BoolArray, spacing: Sequence[float] | None = None) -> FloatArray:
    """Return how far each pixel of a mask [*S] lies from the nearest one outside, [*S].

    What lies beyond the border of the image counts as outside.

    Args:
        mask: [*S] bool.
        spacing: Size of a pixel along each axis, which sets the unit; pixels unless given.
    """
    padded = np.pad(mask, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=spacing)
    inner: FloatArray = depth[(slice(1, -1),) * mask.ndim]
    return inner
