"""What happens to a model's reading of an image when parts of the image are taken away.

Shared by every protocol that removes something: which subjects, which imputers, and what removing
the cohort's own regions does, which is measured once per model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.maps.imputers import Blur, CohortMean, Exchange, Imputer, NoisyLinear
from benchmark.seeding import seed_of
from benchmark.trial.memory import remembered
from benchmark.trial.trial import Trial

REMOVAL = NoisyLinear.name
"""What is put in the place of pixels where scores of suite v2 remove some; it fits every cohort."""


@dataclass(frozen=True)
class Response:
    """A model's output on altered images, M alterations of each of n images.

    A study cuts them into arms, where [n, Q, R] stands for [n, M].

    Attributes:
        before: [n, M] signed projection s·φ of the unaltered images in units of T: up is more like
            the own group.
        projections: [n, M] the same of the altered images.
        margins: [n, M] own group's logit minus the other's.
        probabilities: [n, M] probability of the own group.
        embeddings: [n, M, D].
    """

    before: FloatArray
    projections: FloatArray
    margins: FloatArray
    probabilities: FloatArray
    embeddings: FloatArray

    @property
    def drops(self) -> FloatArray:
        """Drop of s·φ in units of T, [n, M]."""
        return self.before - self.projections


def masking_rows(trial: Trial, subjects: int) -> Rows:
    """Return test rows, as many of each group by seeded order; fewer where a group has fewer."""
    test, suite = trial.test, trial.runtime.suite
    chosen: list[int] = []
    for group in (0, 1):
        members: list[int] = np.flatnonzero(test.groups == group).tolist()
        members.sort(key=lambda row: seed_of(suite, "masking rows", test.keys[row]))
        chosen.extend(members[: subjects // 2])
    return np.array(sorted(chosen), dtype=np.int64)


@remembered()
def imputers(trial: Trial) -> dict[str, Imputer]:
    """Return the imputers that apply to the cohort, the default one first."""
    linear, blur = NoisyLinear(seed_of(trial.runtime.suite, "noise")), Blur()
    if not trial.cohort.geometry.registered:
        return {linear.name: linear, blur.name: blur}
    train = trial.train
    # In float64, where the order of the rows leaves no trace in the float32 result.
    means = [train.images[train.groups == group].mean(0, dtype=np.float64)[0] for group in (0, 1)]
    mean = CohortMean(torch.from_numpy(np.mean(means, axis=0)).float())
    return {mean.name: mean, linear.name: linear, blur.name: blur}


@remembered()
def substitutes(trial: Trial) -> dict[str, Imputer]:
    """Return all that can be put in the place of pixels: partners where known, then imputers."""
    test, partners = trial.test, trial.test.partners
    if partners is None:
        return imputers(trial)
    row_of = {key: row for row, key in enumerate(test.keys)}

    def partners_of(keys: Sequence[str]) -> Tensor:
        return torch.from_numpy(partners[np.array([row_of[key] for key in keys])])

    return {Exchange.name: Exchange(partners_of), **imputers(trial)}


def scored_substitute(trial: Trial) -> str:
    """Return the name of the substitute whose effects are scored: the partner's pixels if known."""
    return REMOVAL if trial.test.partners is None else Exchange.name


def respond(
    trial: Trial, rows: Rows, masks: Tensor | Callable[[slice], Tensor], imputer: Imputer
) -> Response:
    """Remove each of M masks from each image of n test rows and ask the model again.

    Args:
        trial: Model and cohort.
        rows: [n] test rows.
        masks: [n, M, *S] bool, or a function that returns those of a slice of the rows; of volumes
            a few hundred masks fill a memory.
        imputer: Imputer that fills in what is removed.
    """
    evaluation, device = trial.evaluation, trial.runtime.device

    def remove(chunk: slice) -> Tensor:
        batch = trial.test.batch(rows[chunk], device)
        fill = imputer.prepare(batch.images, batch.foreground, batch.keys)
        return fill((masks[chunk] if isinstance(masks, Tensor) else masks(chunk)).to(device))

    logits, embeddings = trial.models.embed_alterations(remove, len(rows))
    signs, distance = evaluation.signs[rows][:, None], evaluation.group_distance
    before = signs * evaluation.projections[rows][:, None] / distance
    margins = signs * (logits[..., 0] - logits[..., 1])
    return Response(
        before=np.broadcast_to(before, margins.shape),
        projections=signs * (embeddings @ evaluation.direction) / distance,
        margins=margins,
        probabilities=1 / (1 + np.exp(-margins)),
        embeddings=embeddings,
    )
