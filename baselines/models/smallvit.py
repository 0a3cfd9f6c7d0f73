"""`smallvit`: a vision transformer of 0.17 M parameters with a class token."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.models.committed_model import CommittedModel
from baselines.models.torchvision_network import ClassToken
from benchmark.classifier import Classifier
from benchmark.training import Recipe

WIDTH, HEADS, HIDDEN, DEPTH = 64, 4, 128, 3
_STRIDE = 8


class Tokens(nn.Module):
    """Images to tokens: a small convolutional stem, a class token before, positions added.

    Convolutions before the first block let a transformer learn from few images (Xiao et al. 2021,
    "Early convolutions help transformers see better").
    """

    def __init__(self, input_shape: Sequence[int]) -> None:
        super().__init__()
        widths = (1, 16, 32, WIDTH)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs)]
            layers += [nn.ReLU()]
        # Tokens of one scale: without it training finds the regions on few seeds.
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTH)]
        self.embed = nn.Sequential(*layers)
        count = math.prod(-(-length // _STRIDE) for length in input_shape)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.position = nn.Parameter(torch.empty(1, 1 + count, WIDTH).normal_(std=0.02))

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens [B, 1 + cells, WIDTH], the class token first."""
        cells = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(images.shape[0], -1, -1), cells], 1)
        result: Tensor = tokens + self.position
        return result


def build_trunk(input_shape: Sequence[int]) -> nn.Sequential:
    """Return the untrained trunk: tokens, blocks and the class token as its output."""
    # Slow, and whoever runs another network need not wait for it.
    from torchvision.models.vision_transformer import EncoderBlock

    stages: OrderedDict[str, nn.Module] = OrderedDict(tokens=Tokens(input_shape))
    for number in range(1, DEPTH + 1):
        stages[f"block{number}"] = EncoderBlock(
            HEADS, WIDTH, HIDDEN, 0.0, 0.0, partial(nn.LayerNorm, eps=1e-6)
        )
    stages["readout"] = ClassToken(nn.LayerNorm(WIDTH))
    return nn.Sequential(stages)


class SmallViT(CommittedModel):
    """A vision transformer, trained from the start on `phantom`, with committed weights."""

    name: ClassVar[str] = "smallvit"
    description: ClassVar[str] = "vision transformer, 0.17 M parameters, trained on phantom"
    recipe: ClassVar[Recipe] = Recipe(epochs=40, learning_rate=2e-3)

    def assemble(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with fresh weights."""
        return Classifier(self.name, build_trunk(input_shape), nn.Linear(WIDTH, 2), input_shape)
