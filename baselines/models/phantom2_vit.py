"""`phantom2_vit`: the vision transformer `smallvit`, trained on `phantom2`."""

from __future__ import annotations

from typing import ClassVar

from baselines.models.smallvit import SmallViT
from benchmark.training import Recipe


class Phantom2ViT(SmallViT):
    """The vision transformer, trained from the start on `phantom2`, with committed weights."""

    name: ClassVar[str] = "phantom2_vit"
    description: ClassVar[str] = "vision transformer, 0.17 M parameters, trained on phantom2"
    recipe: ClassVar[Recipe] = Recipe(epochs=40, learning_rate=2e-3)
