"""A model whose maps are known in closed form."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from benchmark.classifier import Classifier


def linear(shape: tuple[int, ...]) -> tuple[Classifier, Tensor]:
    """Return a model whose margin is linear in the pixels, and its slope [*S]."""
    head = nn.Linear(int(np.prod(shape)), 2)
    slope = (head.weight[0] - head.weight[1]).detach().view(shape)
    return Classifier("linear", nn.Flatten(), head, shape), slope
