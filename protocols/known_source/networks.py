"""The networks of the sources: the model on trial, tuned to each source's labels in turn."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.training import fine_tune
from benchmark.training.relatives import Relative
from benchmark.trial import Need, Trial, remembered

_TUNING_SEED = 0


@dataclass(frozen=True)
class TunedToSource(Need):
    """The model fine-tuned, every parameter free, to tell the labels of one source apart.

    It starts from the weights of the model on trial, since from scratch a source on one side is
    learned much later. Images are not mirrored in training, which would exchange the sides.

    Attributes:
        source: Name of the source in ``Cohort.sources``.
    """

    source: str

    def relative(self, trial: Trial) -> Relative:
        """Return how the network is named and trained."""
        recipe = replace(trial.peers.recipe, mirror=False)

        def fit() -> Classifier:
            return fine_tune(trial.classifier, labelled(trial, self.source), recipe, _TUNING_SEED)

        settings = {"recipe": asdict(recipe), "seed": _TUNING_SEED}
        description = f"the network that is tuned to the source {self.source}"
        return Relative(f"source-{self.source}", settings, fit, description)

    def task(self, trial: Trial) -> Trial:
        """Return the trial on that network and the cohort with the source's labels and truth.

        References of a group are those of the source's own labels.
        """
        task = self.on(trial).on(cohort=labelled(trial, self.source))
        return replace(task, peers=replace(task.peers, references=None))


@remembered()
def labelled(trial: Trial, source: str) -> Cohort:
    """Return the trial's cohort with the labels, truth and partners of one source."""
    return trial.cohort.labelled_by(source)
