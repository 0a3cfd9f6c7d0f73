"""Networks that do something which an explanation cannot bear, or that a copy gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier

SIZE = (16, 16)
WIDTH = 8


class Through(nn.Module):
    """A convolution, and a function of its maps or of its images."""

    def __init__(
        self,
        after: Callable[[nn.Module, Tensor], Any] = lambda _, maps: maps,
        before: Callable[[nn.Module, Tensor], Tensor] = lambda _, images: images,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, WIDTH, 3, 2, 1)
        self.register_buffer("count", torch.zeros(()))
        self.calls = 0
        self.before, self.after = before, after

    def forward(self, images: Tensor) -> Any:
        """Return whatever the function makes of the maps."""
        self.calls += 1
        return self.after(self, self.conv(self.before(self, images)))


class Applied(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Any:
        """Return what the function gives."""
        return self.function(values)


def build_odd(trunk: nn.Module | None = None, **parts: Any) -> Classifier:
    head = parts.pop("head", None) or nn.Linear(WIDTH, 2)
    return Classifier("mine", trunk or Through(), head, parts.pop("shape", SIZE), **parts)


def informed(norm: nn.Module) -> nn.Module:
    """Return a norm with statistics that leave nothing as it was."""
    norm.running_mean.uniform_(-0.2, 0.2)
    norm.running_var.uniform_(0.02, 0.5)
    return norm


def norm_of(dimensions: int = 2) -> nn.Module:
    return informed({2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dimensions](WIDTH))


class Half(nn.Module):
    """Half precision within, float32 outside."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.inner, self.dtype = inner.to(dtype), dtype

    def forward(self, values: Tensor) -> Tensor:
        """Return values in float32."""
        return self.inner(values.to(self.dtype)).float()
