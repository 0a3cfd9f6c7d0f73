"""The refits of every regime: trained here, or taken from a folder of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from benchmark.errors import NotAssessableError, StoreError, UnsupportedError
from benchmark.records.experiment import ENDED, ExperimentCard
from benchmark.records.registry import read_registry
from benchmark.training.regimes import REGIMES, Regime
from benchmark.trial import Trial
from benchmark.trial.refits import Refit, assemble, refit
from protocols.training_regime.statistics import FULL, PROBE, TrainingRegimeConfig

FEWEST_REFITS = 3
_WEIGHTS = "weights.safetensors"

Refits = Mapping[Regime, Sequence[Refit]]


@dataclass(frozen=True)
class BestRefits:
    """Refits at their best epochs.

    Attributes:
        by_regime: Refits of each regime, the same bootstraps in the same order in each.
        left_out: Reason why a regime has none.
    """

    by_regime: Refits
    left_out: Mapping[Regime, str]


def best_refits(
    trial: Trial, config: TrainingRegimeConfig, regimes: Sequence[Regime] = REGIMES
) -> BestRefits:
    """Return the refits of every regime at their best epochs.

    The last stage is left out where the trunk has no stages; the others cannot be.

    Raises:
        NotAssessableError: If there is no training split, or too few experiments.
        UnsupportedError: If the network cannot be trained.
        StoreError: If the folder of experiments cannot be read.
    """
    if config.experiments is not None:
        return _of_experiments(trial, Path(config.experiments), regimes)
    by_regime: dict[Regime, Sequence[Refit]] = {}
    left_out: dict[Regime, str] = {}
    for regime in regimes:
        try:
            by_regime[regime] = [refit(trial, recipe) for recipe in config.recipes(regime)]
        except UnsupportedError as error:
            if regime in (PROBE, FULL):
                raise
            left_out[regime] = str(error)
    return BestRefits(by_regime, left_out)


def matched_refits(trial: Trial, best: Refits) -> dict[Regime, list[Refit]]:
    """Return each refit at the epoch whose validation AUROC is nearest to the weakest regime's.

    That is the lowest of the regimes' median AUROCs at the best epochs. The best epoch is taken
    where none is nearer, else the first of equals.
    """
    target = min(float(np.median([run.auroc for run in refits])) for refits in best.values())
    matched: dict[Regime, list[Refit]] = {}
    for regime, refits in best.items():
        matched[regime] = []
        for run in refits:
            distances = np.abs(run.aurocs - target)
            epoch = int(distances.argmin()) + 1
            is_best = distances[run.epoch - 1] <= distances.min() + 1e-12
            matched[regime].append(run if is_best else refit(trial, run.recipe, epoch))
    return matched


def cards_of(folder: Path) -> tuple[ExperimentCard, ...]:
    """Return the cards of a folder of experiments that ended well."""
    return tuple(card for card in read_registry(folder).cards if card.status in ENDED)


def _of_experiments(trial: Trial, folder: Path, regimes: Sequence[Regime]) -> BestRefits:
    # Here, since it imports all that trains an experiment.
    from benchmark.running.experiment import encoder_sha256

    encoder, fingerprint = encoder_sha256(trial.classifier), trial.cohort.fingerprint
    cards: dict[Regime, dict[int, ExperimentCard]] = {}
    for card in cards_of(folder):
        fits = card.model.encoder_sha256 == encoder and card.cohort.fingerprint == fingerprint
        if fits and card.recipe.refit:
            cards.setdefault(card.recipe.regime, {}).setdefault(card.recipe.refit, card)
    # Refits are paired: the same number draws the same subjects in every regime.
    needed = [cards.get(regime, {}) for regime in (PROBE, FULL)]
    shared = set(needed[0]) & set(needed[1])
    if len(shared) < FEWEST_REFITS:
        counts = f"{len(needed[0])} of 'probe' and {len(needed[1])} of 'full'"
        raise NotAssessableError(
            f"{folder} has {counts} that fit this encoder and cohort, {len(shared)} of them with "
            f"the same refit from 1 on, but {FEWEST_REFITS} are needed"
        )
    left_out: dict[Regime, str] = {}
    if not shared <= set(cards.get("last_stage", {})):
        left_out["last_stage"] = f"{folder} lacks experiments of it with the same refits"
    by_regime: dict[Regime, Sequence[Refit]] = {
        regime: [_load(trial, folder, cards[regime][number]) for number in sorted(shared)]
        for regime in regimes
        if regime not in left_out
    }
    return BestRefits(by_regime, left_out)


def _load(trial: Trial, folder: Path, card: ExperimentCard) -> Refit:
    path = folder / card.id / _WEIGHTS
    if card.course is None or card.course.best is None:
        raise StoreError(f"The card of {folder / card.id} has no best epoch, though it ended.")
    try:
        kept = safetensors.numpy.load(path.read_bytes())
        network = assemble(trial.classifier, kept, f"refit-{card.recipe.regime}-{card.id}")
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise StoreError(f"{path} cannot be read as the weights of its card: {error}.") from error
    if network.weights_sha256 != card.model.weights_sha256:
        raise StoreError(f"{path} holds other weights than its card names.")
    aurocs = np.array([epoch.validation_auroc for epoch in card.course.epochs])
    return Refit(card.recipe, network, aurocs, card.course.best)
