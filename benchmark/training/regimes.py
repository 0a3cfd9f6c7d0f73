"""Recipes of training on a cohort, and when a training stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from benchmark.errors import InputError

Regime = Literal["probe", "last_stage", "full"]
Monitor = Literal["auroc", "loss"]

REGIMES: tuple[Regime, ...] = ("probe", "last_stage", "full")
MOST_EPOCHS: dict[Regime, int] = {"probe": 60, "last_stage": 40, "full": 40}

_LONGEST = 120  # of a value in a message

_Rate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=10_000)]


@dataclass(frozen=True)
class RegimeRecipe:
    """Settings of training on a cohort; every one is part of the identity of the weights.

    Attributes:
        regime: Name of the parts that are trained: the head alone (``"probe"``), the last stage of
            the trunk that has weights too (``"last_stage"``), or everything (``"full"``).
        head_rate: Learning rate of the head.
        encoder_rate: Learning rate of what is trained of the trunk.
        weight_decay: Weight decay of AdamW.
        class_weights: Whether classes weigh N / (2 N_k) in the loss.
        monitor: Metric that decides on the best epoch on the validation split.
        patience: Number of epochs without a gain after which training stops.
        smallest_gain: Change of the monitored value that counts as a gain.
        epochs: Largest number of epochs; 60 for a probe and 40 otherwise where it is None.
        batch_size: Number of images per step.
        shift: Largest number of pixels that images are moved by along each axis.
        mirror: Whether images are flipped left–right half of the time; only right where the disease
            has no side.
        copies: Number of augmented copies of the training split whose embeddings a probe sees, and
            whose activations the last stage sees.
        refit: 0 for every training subject once; r > 0 names another head, another order, other
            augmentation, and a bootstrap of the training subjects within their groups.

    Raises:
        InputError: If a setting is of another type, or out of range.
    """

    regime: Regime = "probe"
    head_rate: _Rate = 1e-3
    encoder_rate: _Rate = 1e-4
    weight_decay: _Share = 1e-4
    class_weights: bool = True
    monitor: Monitor = "auroc"
    patience: _Count = 5
    smallest_gain: _Share = 1e-4
    epochs: _Count | None = None
    batch_size: Annotated[int, Field(ge=2, le=4096)] = 16
    shift: Annotated[int, Field(ge=0, le=256)] = 2
    mirror: bool = False
    copies: Annotated[int, Field(ge=0, le=64)] = 4
    refit: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def __post_init__(self) -> None:
        """Refuse a setting that no training can follow."""
        hints = get_type_hints(type(self), include_extras=True)
        for setting in fields(self):
            value = getattr(self, setting.name)
            try:
                TypeAdapter(hints[setting.name]).validate_python(value, strict=True)
            except ValidationError as error:
                message = error.errors(include_url=False)[0]["msg"]
                raise InputError(
                    f"The recipe's {setting.name!r} is {repr(value)[:_LONGEST]}, "
                    f"but: {message[:1].lower()}{message[1:]}."
                ) from error

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
        validation_loss: Cross-entropy over the validation split, with the classes weighted as in
            training.
        validation_auroc: AUROC on the validation split.
        seconds: Time that the epoch took.
    """

    number: int
    loss: float
    validation_loss: float
    validation_auroc: float
    seconds: float


def best_epoch(epochs: Sequence[Epoch], recipe: RegimeRecipe) -> int:
    """Return the number of the best epoch, the first of equals; 0 where there is none yet.

    An epoch is better if it gains more than ``recipe.smallest_gain`` on the best before it. An
    AUROC of 1 cannot be exceeded, so from there on the loss decides: on an easy cohort the first
    epoch ranks everyone rightly, and its head is sure of nobody yet.
    """
    best: Epoch | None = None
    for epoch in epochs:
        if best is None or _gain(epoch, best, recipe) > recipe.smallest_gain:
            best = epoch
    return 0 if best is None else best.number


def _gain(epoch: Epoch, best: Epoch, recipe: RegimeRecipe) -> float:
    """Return how much an epoch is better than the best before it."""
    if recipe.monitor == "auroc" and min(epoch.validation_auroc, best.validation_auroc) < 1:
        return epoch.validation_auroc - best.validation_auroc
    return best.validation_loss - epoch.validation_loss


def has_stopped(epochs: Sequence[Epoch], recipe: RegimeRecipe) -> bool:
    """Return whether ``recipe.patience`` epochs have passed since the best one.

    Where AUROC decides they count from the first epoch that is better than guessing. A fresh head
    may begin on the wrong side, and where the groups are far apart AUROC is then 0 for a while,
    however quickly the loss falls.
    """
    number = best_epoch(epochs, recipe)
    if not number or (recipe.monitor == "auroc" and epochs[number - 1].validation_auroc <= 0.5):
        return False
    return len(epochs) - number >= recipe.patience
