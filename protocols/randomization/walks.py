"""Partly randomised copies of a model: how far from the head, or from the stem, it has forgotten.

Three walks over the stages: ``cascade`` from the head downwards, ``bottom_up`` from the stem
upwards, both cumulative, and ``independent``, one stage at a time (Adebayo et al. 2018). Steps that
redraw the same stages are one copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from benchmark.classifier import Classifier, PrefixMemory
from benchmark.classifier.exchange import Statistics
from benchmark.trial import Trial, remembered

CASCADE, BOTTOM_UP, INDEPENDENT = "cascade", "bottom_up", "independent"


@dataclass(frozen=True)
class Step:
    """One step of a walk.

    Attributes:
        walk: Name of the walk.
        depth: Depth from 1; of a cumulative walk the number of stages redrawn, of ``independent``
            the stage's number from the head.
        stages: Numbers of the stages that are redrawn, from 0 at the head.
    """

    walk: str
    depth: int
    stages: frozenset[int]


def steps(classifier: Classifier) -> Iterator[Step]:
    """Yield every step of the three walks."""
    count = len(classifier.stages)
    for depth in range(1, count + 1):
        yield Step(CASCADE, depth, frozenset(range(depth)))
        yield Step(BOTTOM_UP, depth, frozenset(range(count - depth, count)))
        yield Step(INDEPENDENT, depth, frozenset({depth - 1}))


def altered(trial: Trial, stages: frozenset[int], copy: int) -> Trial:
    """Return the trial on a copy with these stages redrawn; shared by all explainers.

    Where all are redrawn it is the fully randomised copy. Where the first stages are left, or all
    of them redrawn, passes that need no gradient of the images take their activations from a
    memory.
    """
    if len(stages) == len(trial.classifier.stages):
        return trial.randomised(copy)
    return trial.on(classifier=_redrawn(trial, copy)[stages])


def forget_activations(trial: Trial) -> None:
    """Forget the activations that copies of a model share, which take much memory."""
    _activations(trial).clear()


def _activations(trial: Trial) -> PrefixMemory:
    """Return the memory of activations: of images, and of what statistics are taken from."""
    return trial.once(("prefixes", trial.model_identity), PrefixMemory)


@remembered(by_model=True)
def _redrawn(trial: Trial, copy: int) -> dict[frozenset[int], Classifier]:
    """Return all partly randomised copies of the walks that one fully randomised copy gives to."""
    model, donor = trial.classifier, trial.randomised(copy).classifier
    stages, activations = model.stages, _activations(trial)
    chosen = dict.fromkeys(tuple(sorted(step.stages)) for step in steps(model))
    parts = [numbers for numbers in chosen if len(numbers) < len(stages)]

    def make(numbers: tuple[int, ...], images: Tensor | Statistics) -> Classifier:
        return model.partly(donor, [stages[number] for number in numbers], images, activations)

    copies = trial.models.copies(f"walks {copy}", parts, make) if parts else []
    return {frozenset(numbers): other for numbers, other in zip(parts, copies, strict=True)}
