"""What a model makes of planted signals: tuned to find them, and by a probe on it as it is.

All of it belongs to the model and is shared by the explainers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.seeding import stream
from benchmark.training import fine_tune, logistic_regression
from benchmark.training.relatives import Relative
from benchmark.trial import Keeping, Need, Trial, remembered
from protocols.positive_control.planting import (
    CLEAN,
    PLANTED,
    Strength,
    allowed_sites,
    draw_sites,
    planted_cohort,
)
from protocols.positive_control.statistics import PROBE, TUNED

_TUNING_SEED = 0
_FEWEST_AT_ONCE = 16


@dataclass(frozen=True)
class Arm:
    """One model that was taught to tell planted images from clean ones.

    Attributes:
        name: ``tuned`` or ``probe``.
        trial: Trial on the planted test cohort: N clean images, then the same N with the signal.
        margins: [2N] logit of planted minus logit of clean.
    """

    name: str
    trial: Trial
    margins: FloatArray

    @property
    def pairs(self) -> int:
        """Number N of pairs."""
        return len(self.margins) // 2

    @cached_property
    def distances(self) -> FloatArray:
        """wᵀ(f(x) − f(x')) of each pair, [N]; their mean is T."""
        projections = self.trial.evaluation.projections
        return projections[: self.pairs] - projections[self.pairs :]


@dataclass(frozen=True)
class TunedTo(Need):
    """The model fine-tuned to tell images with a signal of this strength from clean ones."""

    strength: Strength

    def relative(self, trial: Trial) -> Relative:
        """Return how the model is named and trained."""
        recipe, strength = trial.peers.recipe, self.strength

        def fit() -> Classifier:
            planted = planted_cohort(trial.train, strength, sites_of(trial, "train"))
            return fine_tune(trial.classifier, planted, recipe, _TUNING_SEED)

        settings = {
            "strength": strength.model_dump(),
            "recipe": asdict(recipe),
            "seed": _TUNING_SEED,
            "sites": trial.runtime.suite,
        }
        description = f"the network that is tuned to the {strength.name} signal"
        return Relative(f"planted-{strength.name}", settings, fit, description)

    def arm(self, trial: Trial) -> Arm:
        """Return the model with its pairs of test images."""
        planted = self.on(trial).on(cohort=_planted_test(trial, self.strength))
        logits = planted.evaluation.logits
        return Arm(TUNED, planted, logits[:, 1] - logits[:, 0])


def probed(trial: Trial, strength: Strength | None) -> Arm:
    """Return the arm of the frozen model with a probe; None for the square of zeros."""
    weight, bias = _probe(trial, strength)
    planted = trial.on(cohort=_planted_test(trial, strength))
    return Arm(PROBE, planted, planted.evaluation.embeddings @ weight + bias)


@remembered(by_model=True, keeping=Keeping("1"))
def _probe(trial: Trial, strength: Strength | None) -> tuple[FloatArray, float]:
    train, sites = trial.train, sites_of(trial, "train")
    # A few at a time: those of a whole split, and what is made of them, take much memory.
    at_once = max(_FEWEST_AT_ONCE, 4 * trial.lane)
    parts = np.split(np.arange(len(train)), range(at_once, len(train), at_once))

    def embed(images: Cohort, rows: Rows) -> FloatArray:
        return trial.models.embed_in_lanes(images.batch(rows).images)[1]

    def embed_planted(rows: Rows) -> FloatArray:
        planted = planted_cohort(train.take(rows), strength, sites[rows])
        return embed(planted, len(rows) + np.arange(len(rows)))

    clean = trial.once(
        ("train embeddings", trial.model_identity),
        lambda: np.concatenate([embed(train, rows) for rows in parts]),
    )
    embeddings = np.concatenate([clean, *map(embed_planted, parts)])
    return logistic_regression(embeddings, np.repeat([CLEAN, PLANTED], len(train)))


def restored_shares(arm: Arm, rows: Rows, common: Rows, masks: Tensor) -> FloatArray:
    """Return which share of T goes when clean pixels are put back into planted images, [n, M].

    Masks [n, M, *S] say which pixels of the rows. w and T are those of the ``common`` rows, so
    restoring their whole windows gives 1 on average.
    """
    trial, test = arm.trial, arm.trial.test
    embeddings = trial.evaluation.embeddings
    difference = (embeddings[common] - embeddings[arm.pairs + common]).mean(0)
    toward_clean = difference / (difference @ difference)

    def restore(chunk: slice) -> Tensor:
        clean = torch.from_numpy(test.images[rows[chunk]])
        planted = torch.from_numpy(test.images[arm.pairs + rows[chunk]])
        return torch.where(masks[chunk], clean, planted)

    after = trial.models.embed_alterations(restore, len(rows))[1]
    shares: FloatArray = (after - embeddings[arm.pairs + rows][:, None]) @ toward_clean
    return shares


def sites_of(trial: Trial, split: str, purpose: str = "site") -> npt.NDArray[np.int64]:
    """Return the sites in a split's images, [N, len(S)]; the same for every strength."""
    cohort = trial.train if split == "train" else trial.test
    allowed = trial.once(("allowed sites", split), lambda: allowed_sites(cohort.anatomy.foreground))
    return draw_sites(allowed, cohort.keys, trial.runtime.suite, purpose)


@remembered(by_model=True, keeping=Keeping("1"))
def null_p_values(trial: Trial, splits: int, permutations: int) -> FloatArray:
    """Return the permutation p-values of T between random halves of the clean test images.

    With nothing planted they are uniform; one lucky split proves nothing.
    """
    order = np.argsort(np.array(trial.test.keys))
    embeddings = trial.evaluation.embeddings[order]
    count, p_values = len(embeddings), np.empty(splits)
    half = count // 2
    signs = np.where(np.arange(count) < half, 1 / half, -1 / (count - half))
    for split in range(splits):
        generator = stream(trial.runtime.suite, "strength 0", split)
        drawn = generator.permuted(np.tile(signs, (1 + permutations, 1)), axis=1)
        distances = np.linalg.norm(drawn @ embeddings, axis=1)
        p_values[split] = (np.sum(distances[1:] >= distances[0]) + 1) / (permutations + 1)
    return p_values


@remembered()
def _planted_test(trial: Trial, strength: Strength | None) -> Cohort:
    planted = planted_cohort(trial.test, strength, sites_of(trial, "test"))
    # The sites are the same at every strength, so all share the masks, which of volumes are large.
    key = "planted masks", strength is None
    return replace(planted, anatomy=trial.once(key, lambda: planted.anatomy))
