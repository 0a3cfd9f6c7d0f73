"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a network is fine-tuned; kept beside its weights.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Images per step.
        learning_rate: Peak of the one-cycle schedule of AdamW.
        weight_decay: Of AdamW.
        shift: Images are moved by up to this many pixels along each axis.
        mirror: Whether images are flipped left–right half of the time.
    """

    epochs: int = 15
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    shift: int = 2
    mirror: bool = True
