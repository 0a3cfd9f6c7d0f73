"""A Gaussian blur along any number of axes, on the device of what is blurred."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor


def gaussian_blur(
    values: Tensor, dimensions: int, sigma: float, radius: int | None = None
) -> Tensor:
    """Return values blurred along their last axes, mirrored at the border.

    The window reaches 4σ, unless a radius in pixels is given.
    """
    for axis in range(-dimensions, 0):
        smoothing = _smoothing_matrix(values.shape[axis], sigma, radius).to(values)
        values = (values.movedim(axis, -1) @ smoothing.T).movedim(-1, axis)
    return values


@lru_cache(maxsize=16)
def _smoothing_matrix(length: int, sigma: float, radius: int | None) -> Tensor:
    """Return the matrix [length, length] that blurs a row of pixels."""
    blurred = gaussian_filter1d(np.eye(length), sigma, axis=0, mode="reflect", radius=radius)
    return torch.from_numpy(np.ascontiguousarray(blurred))
