"""Recipes and results of training on a cohort: a head alone, the last stage, or all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Regime = Literal["probe", "last_stage", "full"]
Monitor = Literal["auroc", "loss"]

REGIMES: tuple[Regime, ...] = ("probe", "last_stage", "full")
MOST_EPOCHS: dict[Regime, int] = {"probe": 60, "last_stage": 40, "full": 40}


@dataclass(frozen=True)
class RegimeRecipe:
    """Settings of training on a cohort; every one is part of the identity of the weights.

    Attributes:
        regime: Which parts are trained: the head alone (``"probe"``), the last stage of the trunk
            that has weights too (``"last_stage"``), or everything (``"full"``).
        head_rate: Learning rate of the head.
        encoder_rate: Learning rate of what is trained of the trunk.
        weight_decay: Weight decay of AdamW.
        class_weights: Whether classes weigh N / (2 N_k) in the loss.
        monitor: What decides on the best epoch on the validation split.
        patience: Number of epochs without a gain after which training stops.
        smallest_gain: Change of the monitored value that counts as a gain.
        epochs: Largest number of epochs; 60 for a probe and 40 otherwise where it is None.
        batch_size: Number of images per step.
        shift: Largest number of pixels that images are moved by along each axis.
        mirror: Whether images are flipped left–right half of the time; only right where the disease
            has no side.
        copies: Number of augmented copies of the training split whose embeddings a probe sees.
        refit: 0 for every training subject once; r > 0 names another head, another order, other
            augmentation, and a bootstrap of the training subjects within their groups.
    """

    regime: Regime = "probe"
    head_rate: float = 1e-3
    encoder_rate: float = 1e-4
    weight_decay: float = 1e-4
    class_weights: bool = True
    monitor: Monitor = "auroc"
    patience: int = 5
    smallest_gain: float = 1e-4
    epochs: int | None = None
    batch_size: int = 16
    shift: int = 2
    mirror: bool = False
    copies: int = 4
    refit: int = 0

    @property
    def most_epochs(self) -> int:
        """Largest number of epochs."""
        return MOST_EPOCHS[self.regime] if self.epochs is None else self.epochs


@dataclass(frozen=True)
class Epoch:
    """Course of one epoch.

    Attributes:
        number: Number of the epoch, from 1.
        loss: Mean loss over the training images of the epoch.
        validation_loss: Mean cross-entropy over the validation split.
        validation_auroc: AUROC on the validation split.
        seconds: Time that the epoch took.
    """

    number: int
    loss: float
    validation_loss: float
    validation_auroc: float
    seconds: float
