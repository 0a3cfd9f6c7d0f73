"""Passes through a network: how many images made them, and activations that need no second one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import torch
from torch import Tensor, nn


@dataclass
class PassCounter:
    """Image passes through a trunk; an image that goes through once counts 1.

    Attributes:
        forward: Passes from images to feature maps.
        backward: Passes from feature maps to the gradient of the images.
        listener: Function that is called with each number of passes as they happen, such as a
            progress bar's.
    """

    forward: int = 0
    backward: int = 0
    listener: Callable[[int], None] | None = field(default=None, repr=False, compare=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    def add_forward(self, images: int) -> None:
        """Count ``images`` forward passes."""
        with self._lock:
            self.forward += images
            if self.listener is not None:
                self.listener(images)

    def add_backward(self, images: int) -> None:
        """Count ``images`` backward passes."""
        with self._lock:
            self.backward += images
            if self.listener is not None:
                self.listener(images)

    def __reduce__(self) -> tuple[type[PassCounter], tuple[int, int]]:
        # A lock cannot be copied or pickled, and whoever copies a model is counted afresh.
        return PassCounter, (self.forward, self.backward)

    def snapshot(self) -> PassCounter:
        """Return a copy of the counts as they are now."""
        return PassCounter(self.forward, self.backward)

    def since(self, earlier: PassCounter) -> PassCounter:
        """Return what was counted after ``earlier``."""
        return PassCounter(self.forward - earlier.forward, self.backward - earlier.backward)


class PrefixMemory:
    """Activations of the stages that several copies of a model share, of the last ``batches``."""

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
