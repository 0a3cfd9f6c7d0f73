"""Refits of the model on trial: its encoder with a fresh head, trained once more by a regime.

They are trained by ``benchmark.training.trainer`` and kept as other relatives are, in memory and in
the store, so that all methods and protocols share them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from benchmark.arrays import Arrays, FloatArray
from benchmark.classifier import Classifier, PassCounter
from benchmark.errors import ClassifierError, CohortError, NotAssessableError, UnsupportedError
from benchmark.training.probe import with_head
from benchmark.training.regimes import Epoch, RegimeRecipe
from benchmark.training.relatives import Relative, relation, to_arrays
from benchmark.training.threads import torch_threads
from benchmark.training.trainer import TrainingState, train
from benchmark.training.trainer.material import draw_rows
from benchmark.trial.memory import kept_or
from benchmark.trial.needs import NO_TRAINING_SPLIT
from benchmark.trial.trial import Trial


@dataclass(frozen=True)
class Refit:
    """A network that was trained from the encoder of another.

    Attributes:
        recipe: Recipe that it was trained by.
        classifier: Network, frozen.
        aurocs: AUROC on the validation split after each epoch, from the first.
        epoch: Number of the epoch whose weights the network has.
    """

    recipe: RegimeRecipe
    classifier: Classifier
    aurocs: FloatArray
    epoch: int

    @property
    def auroc(self) -> float:
        """AUROC of the network on the validation split."""
        return float(self.aurocs[self.epoch - 1])


def refit(
    trial: Trial, recipe: RegimeRecipe, epoch: int | None = None, resampled: bool = True
) -> Refit:
    """Return a refit of a trial's model, with the weights of its best epoch or of another one.

    Weights of another epoch come from training up to it, from the same start in the same order.

    Args:
        trial: Trial with the model and the cohort.
        recipe: Recipe to train by, whose ``refit`` names all that is drawn.
        epoch: Number of the epoch, or None for the best one.
        resampled: Whether the training subjects are a bootstrap too. Without, every one is there
            once, and refits differ by their seed alone.

    Raises:
        NotAssessableError: If the cohort lacks images of a group to train or to validate on.
        UnsupportedError: If the network cannot be trained by the regime.
    """
    settings: dict[str, object] = {"recipe": asdict(recipe), "epoch": epoch}
    if not resampled:
        settings["resampled"] = False
    related = Relative(
        f"refit-{recipe.regime}-{recipe.refit}",
        settings,
        lambda: trial.classifier,  # what is kept of a refit is more than a network
    )
    name = f"refit {relation(related, trial.cohort, trial.model_identity)}"

    def build() -> Refit:
        archive = trial.runtime.archive
        kept = dict(kept_or(archive, name, lambda: _train(trial, recipe, epoch, resampled)))
        aurocs, number = kept.pop("aurocs").astype(np.float64), int(kept.pop("epoch"))
        classifier = assemble(trial.classifier, kept, related.name)
        return Refit(recipe, classifier, aurocs, number)

    return trial.once(("refit", name), build)


def _train(
    trial: Trial, recipe: RegimeRecipe, epoch: int | None, resampled: bool
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the tensors that training changed by name, the curve, and the epoch they are of."""
    if not (trial.cohort.participants["split"] == "train").any():
        raise NotAssessableError(NO_TRAINING_SPLIT.replace("twin", "refits"))
    last: list[TrainingState] = []

    def listen(done: Epoch, state: TrainingState) -> None:
        last[:] = [state]

    base = trial.classifier.copy()
    base.passes = PassCounter()  # training is no pass of a score
    trial.runtime.say(f"training refit {recipe.refit} of the regime {recipe.regime}")
    steps = recipe if epoch is None else replace(recipe, epochs=epoch)
    try:
        draw = draw_rows(trial.cohort, steps if resampled else replace(steps, refit=0))
        with torch_threads(1):  # so that a refit is the same on every machine
            trained = train(base, trial.cohort, steps, listener=listen, draw=draw)
    except CohortError as error:
        raise NotAssessableError(f"the model cannot be trained again: {error}") from error
    except ClassifierError as error:
        raise UnsupportedError(str(error)) from error
    weights = dict(to_arrays(trained.classifier))
    if epoch is not None:
        weights |= {name: np.array(array) for name, array in last[0].weights.items()}
    before = to_arrays(trial.classifier)
    changed: dict[str, npt.NDArray[np.generic]] = {
        name: array
        for name, array in weights.items()
        if name.startswith("head.") or not np.array_equal(array, before[name], equal_nan=True)
    }
    curve = np.array([done.validation_auroc for done in trained.epochs])
    number = trained.best_epoch if epoch is None else epoch
    return {**changed, "aurocs": curve, "epoch": np.array(number)}


def assemble(classifier: Classifier, kept: Arrays, name: str) -> Classifier:
    """Return a network with these tensors by name; where only its head differs, trunks are shared.

    Args:
        classifier: Network that the others come from.
        kept: Tensors that differ, a linear head's ``head.weight`` and ``head.bias`` among them.
        name: Name of the relation, which is added to the network's.
    """
    weight, bias = (np.array(kept[f"head.{part}"]) for part in ("weight", "bias"))
    others = {key: array for key, array in kept.items() if not key.startswith("head.")}
    base = classifier.copy() if others else classifier
    member = with_head(base, torch.from_numpy(weight), torch.from_numpy(bias))
    member.name = f"{classifier.name}-{name}"
    tensors = {key: torch.from_numpy(np.array(array)) for key, array in others.items()}
    member.load_state_dict(tensors, strict=False)
    return member
