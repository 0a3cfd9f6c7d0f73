"""`smallresnet`: the reference network of suite v1, a residual network of 0.18 M parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from baselines.models.committed_model import CommittedModel
from benchmark.classifier import Classifier
from benchmark.training import Recipe

WIDTHS = (12, 24, 48, 96)
STRIDES = (1, 2, 2, 1)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut.

    Every ReLU is a module of its own and out of place, so that methods which hook or replace
    activations see each one once.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the feature maps [B, outputs, H / stride, W / stride]."""
        branch = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(maps)))))
        result: Tensor = self.relu2(branch + self.shortcut(maps))
        return result


def build_trunk() -> nn.Sequential:
    """Return the untrained trunk: stem and four blocks; 96 × 96 pixels become 12 × 12 cells."""
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    stages["stem"] = nn.Sequential(
        nn.Conv2d(1, WIDTHS[0], 5, 2, 2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
    )
    inputs = WIDTHS[0]
    for number, (outputs, stride) in enumerate(zip(WIDTHS, STRIDES, strict=True), start=1):
        stages[f"block{number}"] = ResidualBlock(inputs, outputs, stride)
        inputs = outputs
    return nn.Sequential(stages)


class SmallResNet(CommittedModel):
    """The reference network, fully fine-tuned on `phantom`, with committed weights."""

    name: ClassVar[str] = "smallresnet"
    description: ClassVar[str] = "residual network, 0.18 M parameters, trained on phantom"
    recipe: ClassVar[Recipe] = Recipe()

    def assemble(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with fresh weights."""
        return Classifier(self.name, build_trunk(), nn.Linear(WIDTHS[-1], 2), input_shape)
