"""Settings and statistics of `training_regime`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from benchmark.protocol import ProtocolConfig, RisingShares
from benchmark.reading import statistic
from benchmark.training.regimes import REGIMES, Regime, RegimeRecipe

RANDOMISED = "probe on randomised encoder"
BEST, MATCHED = "best", "matched"
SEED_ALONE = "seed alone"
PROBE: Regime = "probe"
FULL: Regime = "full"
SAME_LABELS = "same labels"

Pretraining = Literal[
    "undeclared", "none", "self-supervised", "other label", "other cohort", "same labels"
]


class TrainingRegimeConfig(ProtocolConfig):
    """Settings of `training_regime`.

    Attributes:
        refits: Number of trainings of each regime, of different bootstraps of the training
            subjects; three at least, since their spread is part of every interval.
        subjects: Number of test images that are explained on each, as many of each group.
        epochs: Largest number of epochs; 60 for a probe and 40 otherwise unless given.
        mirror: Whether images are flipped left–right half of the time in training.
        quantiles: Shares of the foreground that are removed, rising.
        repeats: Shape-matched random masks per image and share.
        partners: Other subjects of the group that a map is compared with.
        copies: Randomised encoders whose probes are the null; at most 3.
        by_seed: Refits of each regime that differ by their seed alone, whose stability stands
            beside; fewer than two, or ``experiments``, give none.
        overlap: Share of the foreground whose overlap is compared.
        experiments: Folder of experiments that are taken as refits instead of training some, or
            None: their cards must be of the model's encoder and the cohort.
        encoders: Model files (``model.toml``) of other encoders of the same recipe, trained from
            other seeds or subjects; probe and full training are then compared over encoders.
        pretraining: Name of what the encoder was trained on before, which is shown with the result.
        traced: Numbers of further epochs, rising, at which stability is read too; training starts
            anew for each, so none is by default.
    """

    refits: int = Field(5, ge=3, le=50)
    subjects: int = Field(64, ge=4)
    epochs: int | None = Field(None, ge=1, le=1000)
    mirror: bool = False
    quantiles: RisingShares = (0.01, 0.02, 0.05, 0.10, 0.20)
    repeats: int = Field(2, ge=1)
    partners: int = Field(4, ge=1)
    copies: int = Field(3, ge=0, le=3)
    by_seed: int = Field(3, ge=0, le=50)
    overlap: float = Field(0.1, gt=0, lt=1)
    experiments: str | None = None
    encoders: tuple[str, ...] = ()
    pretraining: Pretraining = "undeclared"
    traced: tuple[PositiveInt, ...] = ()

    @field_validator("traced")
    @classmethod
    def _rising(cls, epochs: tuple[int, ...]) -> tuple[int, ...]:
        if any(first >= second for first, second in pairwise(epochs)):
            raise ValueError("rising numbers of epochs were expected")
        return epochs

    def recipes(self, regime: Regime, count: int | None = None) -> list[RegimeRecipe]:
        """Return the recipe of each refit of a regime, of as many as ``refits`` unless given."""
        recipe = RegimeRecipe(regime, epochs=self.epochs, mirror=self.mirror)
        numbers = range(1, (self.refits if count is None else count) + 1)
        return [replace(recipe, refit=number) for number in numbers]


class TrainingRegimeStatistics:
    """Everything that `training_regime` reads.

    Conditions are the ``regime``, the ``point`` (each refit's ``best`` epoch, or the one of
    ``matched`` accuracy), the ``refit``, and the refit that is left out (``without``). Refits that
    differ by their seed alone are at the point ``seed alone``, those at another epoch at the point
    ``epoch N``. Readings on another encoder have its
    number (``encoder``, from 1).
    """

    stability_gain = statistic(
        "stability of maps beyond that of other subjects' maps, of probes minus that of networks "
        "trained in full, at matched accuracy and given this encoder"
    )
    stability_gain_over_encoders = statistic(
        "the same on pairs of refits of different encoders of one recipe"
    )
    faith_gain = statistic(
        "how much more removing what the map marks changes the group difference, of probes minus "
        "that of networks trained in full, in units of T"
    )
    excess = statistic("stability of a subject's maps over refits, minus that of other subjects'")
    excess_over_encoders = statistic(
        "stability of a subject's maps on pairs of refits of different encoders, minus that of "
        "other subjects'"
    )
    stability = statistic("mean rank correlation of a subject's maps on pairs of refits")
    derangement = statistic("the same with the map of another subject of the group")
    top_overlap = statistic("mean intersection over union of the tops on pairs of refits")
    delta_t = statistic(
        "how much more the group difference changes than when equally large random areas are "
        "removed, in units of T"
    )
    ap = statistic("average precision of the map on the regions of the cohort")
    log_odds = statistic("logit of the cases minus that of the reference group", aggregate="auroc")
    log_loss = statistic("cross-entropy of the true group, in nats", "lower")
    validation_auroc = statistic("AUROC on the validation split", "higher", "constant")
    pretraining = statistic(
        "1 under the condition that says what the encoder was declared to be trained on before",
        aggregate="constant",
    )
    other_encoder = statistic(
        "number of another encoder, under the condition that names it", aggregate="constant"
    )
    epoch = statistic("number of the epoch whose weights are taken", aggregate="constant")


def traced_point(epoch: int) -> str:
    """Return the point of a traced epoch."""
    return f"epoch {epoch}"


def regimes_of(names: set[str]) -> tuple[Regime, ...]:
    """Return the regimes among some names, in their usual order."""
    return tuple(regime for regime in REGIMES if regime in names)
