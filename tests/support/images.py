"""Images that show nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.plugins.examples import SHAPE_2D


def build_images(count: int, shape: Sequence[int] = SHAPE_2D, seed: int = 0) -> Tensor:
    """Return images of uniform noise, [count, 1, *shape] float32 in [0, 1]."""
    return torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(seed))
