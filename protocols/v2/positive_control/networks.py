"""The networks of the marks: the model on trial, tuned to see one of two marks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from benchmark.arrays import ImageArray, Rows
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.training import fine_tune
from benchmark.training.relatives import Relative
from benchmark.trial import Need, Trial
from protocols.v2.positive_control.marks import Mark, Marking

TUNING_EPOCHS = 20
_TUNING_SEED = 0


@dataclass(frozen=True)
class TunedToMark(Need):
    """The model fine-tuned, every parameter free, to say whether an image carries one mark.

    In each epoch every training image carries each of the marks with probability ½, at new sites.
    So the label says nothing of the other mark, and no site is learned by heart.

    Attributes:
        marks: Both kinds of mark.
        own: Index of the mark that the network is taught to see.
    """

    marks: tuple[Mark, Mark]
    own: int

    @property
    def mark(self) -> Mark:
        """The mark that the network is taught to see."""
        return self.marks[self.own]

    def relative(self, trial: Trial) -> Relative:
        """Return how the network is named and trained."""
        recipe = replace(trial.peers.recipe, epochs=TUNING_EPOCHS)
        settings = {
            "marks": [mark.model_dump() for mark in self.marks],
            "own": self.mark.name,
            "recipe": asdict(recipe),
            "seed": _TUNING_SEED,
        }

        def fit() -> Classifier:
            marking: list[Marking] = []

            def examples(train: Cohort, epoch: int) -> tuple[ImageArray, Rows]:
                if not marking:
                    marking.append(Marking(train, self.marks))
                drawn = marking[0].draw("train", _TUNING_SEED, epoch)
                return drawn.images, drawn.present[:, self.own].astype(np.int64)

            return fine_tune(trial.classifier, trial.train, recipe, _TUNING_SEED, examples=examples)

        description = f"the network that is tuned to the mark {self.mark.name}"
        return Relative(f"mark-{self.mark.name}", settings, fit, description)
