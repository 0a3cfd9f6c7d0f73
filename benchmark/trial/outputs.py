"""What a model makes of the test images, and the group statistic that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from benchmark.arrays import FloatArray
from benchmark.errors import NotAssessableError


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of the test images.

    Attributes:
        logits: [N, 2] float64.
        embeddings: [N, D] float64.
        groups: [N].
    """

    logits: FloatArray
    embeddings: FloatArray
    groups: npt.NDArray[np.int64]

    @cached_property
    def probabilities(self) -> FloatArray:
        """Softmax of the logits, [N, 2]."""
        shifted = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        normalised: FloatArray = shifted / shifted.sum(axis=1, keepdims=True)
        return normalised

    @cached_property
    def own_margin(self) -> FloatArray:
        """Own group's logit minus the other's, [N]."""
        return self.signs * (self.logits[:, 0] - self.logits[:, 1])

    @cached_property
    def own_probability(self) -> FloatArray:
        """Probability of the own group, [N]."""
        return self.probabilities[np.arange(len(self.groups)), self.groups]

    @property
    def signs(self) -> npt.NDArray[np.int64]:
        """s_i: +1 in the reference group, −1 in the cases, [N]."""
        return 1 - 2 * self.groups

    @cached_property
    def group_distance(self) -> float:
        """T = ‖μ_A − μ_B‖₂."""
        return float(np.linalg.norm(self._mean_difference))

    @cached_property
    def direction(self) -> FloatArray:
        """Unit vector w = (μ_A − μ_B)/T, [D].

        Raises:
            NotAssessableError: If the groups have the same mean embedding.
        """
        if self.group_distance == 0:
            raise NotAssessableError("the model embeds both groups alike")
        return self._mean_difference / self.group_distance

    @cached_property
    def projections(self) -> FloatArray:
        """φ(x) = wᵀf(x), [N], unsigned."""
        return self.embeddings @ self.direction

    @cached_property
    def _mean_difference(self) -> FloatArray:
        in_a, in_b = self.groups == 0, self.groups == 1
        if not in_a.any() or not in_b.any():
            raise NotAssessableError("the test split holds only one of the two groups")
        difference: FloatArray = self.embeddings[in_a].mean(0) - self.embeddings[in_b].mean(0)
        return difference
