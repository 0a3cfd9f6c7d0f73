"""Memory of the activations before the layers that a walk randomises."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PrefixMemory:
    """Activations of the stages that several copies of a model share, by batch of images.

    Args:
        batches: Number of batches that are kept.
    """

    def __init__(self, batches: int = 16) -> None:
        self._batches = batches
        self._known: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def after(self, count: int, prefix: nn.Module, images: Tensor) -> Tensor:
        """Return the activations after ``prefix``, the first ``count`` stages."""
        known = self._known.setdefault(count, [])
        for batch, activations in known:
            if batch.shape == images.shape and torch.equal(batch, images):
                return activations
        with torch.no_grad():
            fresh: Tensor = prefix(images)
        known.append((images, fresh))
        del known[: -self._batches]
        return fresh
