"""A fill that no protocol may trust, to show that an unfit imputer is noticed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.maps.imputers import Fill, Imputer


class Zero(Imputer):
    """Flat zero: its hard edge is itself a signal."""

    name = "zero"

    def prepare(self, images: Tensor, foreground: Tensor, subjects: Sequence[str]) -> Fill:
        """Return the zero fill; see the base class."""
        return lambda masks: torch.where(masks, 0.0, images)
