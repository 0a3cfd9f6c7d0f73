"""The scalar that an explanation explains.

A target is called with logits and embedding, never with probabilities, and never picks the largest
class by itself: a softmax saturates, and an argmax would let the explained class change under the
protocol's hands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

__all__ = ["ClassLogit", "Margin", "Projection", "Target", "own_margin"]


class Target(ABC):
    """A scalar of the model's output, the same function for every image of a batch."""

    @abstractmethod
    def __call__(self, logits: Tensor, embedding: Tensor) -> Tensor:
        """Return the scalar of each image.

        Args:
            logits: [B, K] output of the head.
            embedding: [B, D] pooled output of the trunk.

        Returns:
            [B], differentiable.
        """


@dataclass(frozen=True)
class ClassLogit(Target):
    """The logit z_k of one class."""

    index: int

    def __call__(self, logits: Tensor, embedding: Tensor) -> Tensor:
        """Return z_k, [B]."""
        return logits[:, self.index]


@dataclass(frozen=True)
class Margin(Target):
    """The difference z_k − z_j of two logits."""

    index: int
    other: int

    def __call__(self, logits: Tensor, embedding: Tensor) -> Tensor:
        """Return z_k − z_j, [B]."""
        return logits[:, self.index] - logits[:, self.other]


@dataclass(frozen=True, eq=False)
class Projection(Target):
    """The signed projection s·wᵀf of the embedding on a direction.

    Attributes:
        direction: [D] direction w.
        sign: Sign s, +1 for the reference group and −1 for the cases, so that up is more like the
            own group.
    """

    direction: Tensor
    sign: int = 1

    def __call__(self, logits: Tensor, embedding: Tensor) -> Tensor:
        """Return s·wᵀf, [B]."""
        return self.sign * (embedding @ self.direction.to(embedding))


def own_margin(group: int) -> Margin:
    """Return the target of suite v1: own group's logit minus the other's."""
    return Margin(group, 1 - group)
