"""The recipe that a network is trained by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Settings of fine-tuning, kept beside the weights.

    Attributes:
        epochs: Number of passes over the training split.
        batch_size: Number of images per step.
        learning_rate: Peak learning rate of the one-cycle schedule of AdamW.
        weight_decay: Weight decay of AdamW.
        shift: Largest number of pixels that images are moved by along each axis.
        mirror: Whether images are flipped left–right half of the time.
    """

    epochs: int = 15
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    shift: int = 2
    mirror: bool = True
