"""`phantom2_vgg`: the plain network of the VGG kind, `smallvgg`, trained on `phantom2`."""

from __future__ import annotations

from typing import ClassVar

from baselines.models.smallvgg import SmallVGG
from benchmark.training import Recipe


class Phantom2VGG(SmallVGG):
    """The plain convolutional network, trained on `phantom2`, with committed weights."""

    name: ClassVar[str] = "phantom2_vgg"
    description: ClassVar[str] = "plain convolutional network, 0.11 M weights, trained on phantom2"
    recipe: ClassVar[Recipe] = Recipe(epochs=30, learning_rate=1e-3)
