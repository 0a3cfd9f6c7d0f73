"""Passes through a network: how many images made them, and activations that need no second one."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock

import torch
from torch import Tensor, nn

from benchmark.classifier.side_effects import version


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
    """Activations after the first stages of a trunk, which several copies of a model share.

    Those of the last ``batches`` are kept; what lies longest unused goes first.

    Args:
        batches: Number of batches.
        size: Bytes that all activations together may take.
    """

    def __init__(self, batches: int = 16, size: int = 2**28) -> None:
        self._most, self._size = batches, size
        # Beside each tensor stands how often it was written into, since stages may work in place.
        self._batches: OrderedDict[int, tuple[Tensor, int]] = OrderedDict()
        self._known: OrderedDict[_Key, tuple[Tensor, int]] = OrderedDict()
        self._numbers = itertools.count()

    def after(
        self,
        count: int,
        prefix: nn.Module,
        images: Tensor,
        of: Hashable = None,
        step: Callable[[nn.Module, Tensor], Tensor] = lambda stage, values: stage(values),
    ) -> Tensor:
        """Return the activations after ``prefix``, the first ``count`` stages.

        Args:
            count: Number of stages.
            prefix: Stages to pass, or a sequence of more.
            images: Input [B, C, *S] of the first stage.
            of: Network whose stages they are; the memory keeps what it knows of others.
            step: Function that applies a stage.
        """
        batch = self._number_of(images)
        stages: list[tuple[int, nn.Module]] = [(count, prefix)]
        if isinstance(prefix, nn.Sequential):
            stages = list(enumerate(prefix[:count], start=1))
        values, ahead = images, len(stages)
        while ahead:
            known = self._look_up((of, batch, stages[ahead - 1][0]))
            if known is not None:
                values = known
                break
            ahead -= 1
        with torch.no_grad():
            for number, stage in stages[ahead:]:
                values = step(stage, values)
                self._keep((of, batch, number), values)
        return values

    def clear(self) -> None:
        """Forget everything."""
        self._batches.clear()
        self._known.clear()

    def _number_of(self, images: Tensor) -> int:
        for number, (batch, writes) in self._batches.items():
            is_same = batch.shape == images.shape and version(batch) == writes
            if is_same and torch.equal(batch, images):
                self._batches.move_to_end(number)
                return number
        number = next(self._numbers)
        self._batches[number] = images, version(images)
        if len(self._batches) > self._most:
            oldest, _ = self._batches.popitem(last=False)
            for key in [key for key in self._known if key[1] == oldest]:
                del self._known[key]
        return number

    def _look_up(self, key: _Key) -> Tensor | None:
        values, writes = self._known.get(key, (None, 0))
        if values is None or version(values) != writes:
            return None
        self._known.move_to_end(key)
        return values

    def _keep(self, key: _Key, values: Tensor) -> None:
        if values.is_inference():  # of no use to a pass that is asked for gradients
            return
        self._known[key] = values, version(values)
        held = sum(kept.nbytes for kept, _ in self._known.values())
        while held > self._size:
            _, (dropped, _) = self._known.popitem(last=False)
            held -= dropped.nbytes


# Whose stages, the number of the batch, and how many stages it went through.
_Key = tuple[Hashable, int, int]
