"""`smallvgg`: a plain network of the VGG kind, 0.11 M parameters, without shortcuts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from baselines.models.committed_model import CommittedModel
from benchmark.classifier import Classifier
from benchmark.training import Recipe

WIDTHS = (8, 16, 32, 64)
CELLS = 3
HIDDEN = 64


def build_trunk() -> nn.Sequential:
    """Return the untrained trunk: four stages of two convolutions; 96 × 96 pixels, 12 × 12 cells.

    As in VGG, every ReLU works in place, and stages are divided by max pooling.
    """
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = 1
    for number, outputs in enumerate(WIDTHS, start=1):
        layers: list[nn.Module] = [] if number == 1 else [nn.MaxPool2d(2)]
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
            layers += [nn.ReLU(inplace=True)]
        stages[f"stage{number}"] = nn.Sequential(*layers)
        inputs = outputs
    return nn.Sequential(stages)


class SmallVGG(CommittedModel):
    """A plain convolutional network, fully fine-tuned on `phantom`, with committed weights."""

    name: ClassVar[str] = "smallvgg"
    description: ClassVar[str] = "plain convolutional network, 0.11 M weights, trained on phantom"
    recipe: ClassVar[Recipe] = Recipe(epochs=30, learning_rate=1e-3)

    def assemble(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with fresh weights."""
        trunk, pool = build_trunk(), nn.Sequential(nn.AdaptiveAvgPool2d(CELLS), nn.Flatten())
        # Two linear layers on the cells, not on their mean.
        hidden, last = nn.Linear(CELLS**2 * WIDTHS[-1], HIDDEN), nn.Linear(HIDDEN, 2)
        head = nn.Sequential(hidden, nn.ReLU(inplace=True), last)
        return Classifier(self.name, trunk, head, input_shape, pool)
