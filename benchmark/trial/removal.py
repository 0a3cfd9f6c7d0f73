"""What happens to a model's reading of an image when parts of the image are taken away.

Shared by every protocol that removes something: which subjects, which imputers, and what removing
the cohort's own regions does, which is measured once per model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.maps.imputers import Blur, CohortMean, Imputer, NoisyLinear
from benchmark.seeding import seed_of
from benchmark.trial.memory import remembered
from benchmark.trial.side_by_side import side_by_side
from benchmark.trial.trial import Trial

_SUBJECTS_AT_ONCE = 4


@dataclass(frozen=True)
class Response:
    """A model's output on altered images, M alterations of each of n images.

    Attributes:
        projections: [n, M] signed projection s·φ in units of T: up is more like the own group.
        margins: [n, M] own group's logit minus the other's.
        probabilities: [n, M] probability of the own group.
        embeddings: [n, M, D].
    """

    projections: FloatArray
    margins: FloatArray
    probabilities: FloatArray
    embeddings: FloatArray


def masking_rows(trial: Trial, subjects: int) -> Rows:
    """Return the test rows that images are masked on: as many of each group, by seeded order.

    Args:
        trial: Its test split is drawn from.
        subjects: How many in all; fewer where a group has fewer.
    """
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
    train = trial.train
    linear, blur = NoisyLinear(seed_of(trial.runtime.suite, "noise")), Blur()
    if not trial.cohort.geometry.registered:
        return {linear.name: linear, blur.name: blur}
    # In float64, where the order of the rows leaves no trace in the float32 result.
    means = [train.images[train.groups == group].mean(0, dtype=np.float64)[0] for group in (0, 1)]
    mean = CohortMean(torch.from_numpy(np.mean(means, axis=0)).float())
    return {mean.name: mean, linear.name: linear, blur.name: blur}


def respond(trial: Trial, rows: Rows, masks: Tensor, imputer: Imputer) -> Response:
    """Remove each mask from each image and ask the model again.

    Args:
        trial: Model, cohort and device.
        rows: [n] test rows.
        masks: [n, M, *S] bool; what to remove.
        imputer: What to put in its place.
    """
    evaluation, device, models = trial.evaluation, trial.runtime.device, trial.models
    _ = models.streamlined  # made once, before there are several threads to make it

    def remove(chunk: slice) -> tuple[FloatArray, FloatArray]:
        batch = trial.test.batch(rows[chunk], device)
        fill = imputer.prepare(batch.images, batch.foreground, batch.keys)
        altered = fill(masks[chunk].to(device))
        return models.embed(altered.flatten(0, 1).unsqueeze(1))

    starts = range(0, len(rows), _SUBJECTS_AT_ONCE)
    chunks = [slice(start, start + _SUBJECTS_AT_ONCE) for start in starts]
    parts = side_by_side(remove, chunks, device)
    logits = np.concatenate([part[0] for part in parts]).reshape(*masks.shape[:2], 2)
    embeddings = np.concatenate([part[1] for part in parts]).reshape(*masks.shape[:2], -1)
    signs = evaluation.signs[rows][:, None]
    margins = signs * (logits[..., 0] - logits[..., 1])
    return Response(
        projections=signs * (embeddings @ evaluation.direction) / evaluation.group_distance,
        margins=margins,
        probabilities=1 / (1 + np.exp(-margins)),
        embeddings=embeddings,
    )


def unaltered_projections(trial: Trial, rows: Rows) -> FloatArray:
    """Return s·φ of the unaltered images in units of T, [n]."""
    evaluation = trial.evaluation
    signed: FloatArray = evaluation.signs[rows] * evaluation.projections[rows]
    return signed / evaluation.group_distance
