"""Models that a protocol needs beside the one on trial, declared as attributes of its class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass

from benchmark.errors import CohortError
from benchmark.training import memorise, permuted, train_from_scratch, training_accuracy
from benchmark.training.relatives import Relative
from benchmark.trial.memory import Keeping, remembered
from benchmark.trial.trial import Trial

NO_TRAINING_SPLIT = "no twin, since the cohort has no training split"


class Need(ABC):
    """A model that is trained beside the one on trial."""

    @abstractmethod
    def relative(self, trial: Trial) -> Relative:
        """Return how the model is named and trained."""

    def on(self, trial: Trial) -> Trial:
        """Return the trial on that model."""
        return trial.relative(self.relative(trial))

    def missing(self, trial: Trial) -> str | None:
        """Return why the model cannot be had, or None where it can."""
        try:
            _ = trial.train
        except CohortError:
            return NO_TRAINING_SPLIT
        return None


@dataclass(frozen=True)
class Retrained(Need):
    """The twin: a network of the same recipe, trained from another seed.

    Attributes:
        seed: Seed of its initial weights and of the order of its training.
    """

    seed: int

    def relative(self, trial: Trial) -> Relative:
        """Return how the twin is named and trained."""
        recipe = trial.peers.recipe
        return Relative(
            "twin",
            {"recipe": asdict(recipe), "seed": self.seed},
            lambda: train_from_scratch(trial.classifier, trial.cohort, recipe, self.seed),
            "the twin, which is the same network from another seed",
        )


@dataclass(frozen=True)
class Memorised(Need):
    """A network that knows permuted labels by heart.

    Attributes:
        seed: Seed of the permutation, of its initial weights and of the order of its training.
        accuracy: Training accuracy from which on the labels count as memorised.
    """

    seed: int
    accuracy: float

    def relative(self, trial: Trial) -> Relative:
        """Return how the network is named and trained."""
        recipe = trial.peers.recipe
        return Relative(
            "memorised",
            {"recipe": asdict(recipe), "seed": self.seed, "accuracy": self.accuracy},
            lambda: memorise(trial.classifier, trial.cohort, recipe, self.seed, self.accuracy),
            "the network that knows permuted labels by heart",
        )

    def reached(self, trial: Trial) -> float:
        """Return the training accuracy that the network of a trial has reached."""
        return _accuracy(trial, self.seed)


@remembered(by_model=True, keeping=Keeping("1"))
def _accuracy(trial: Trial, seed: int) -> float:
    """Return a network's accuracy on the training images under permuted labels."""
    return training_accuracy(trial.classifier, permuted(trial.cohort, seed))
