"""What a network makes of the images of a concept, and who the readings of it are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.concept import Concept, ConceptImages
from benchmark.reading import Condition, Reading, Sample, Statistic
from benchmark.trial import Keeping, Trial
from benchmark.trial.memory import kept_for
from benchmark.trial.projection import GroupAxis


@dataclass(frozen=True)
class Outputs:
    """What a network makes of the images without a concept, and then of those with it.

    Attributes:
        present: [n] truth value that says which images show the concept.
        strata: [n] number of each image's stratum.
        towards_cases: [n] −φ/T, which is larger by 1 for a case than for a reference subject.
        margin: [n] logit of the cases minus that of the reference group.
        embeddings: [n, D].
    """

    present: BoolArray
    strata: Rows
    towards_cases: FloatArray
    margin: FloatArray
    embeddings: FloatArray

    @classmethod
    def of(cls, trial: Trial, axis: GroupAxis, concept: Concept) -> Outputs:
        """Return what the trial's network makes of a concept's images."""
        parts = [_embed(trial, images) for images in (concept.absent, concept.present)]
        logits, embeddings = (np.concatenate(part) for part in zip(*parts, strict=True))
        names = [*_strata(concept.absent), *_strata(concept.present)]
        return cls(
            present=np.arange(len(logits)) >= len(concept.absent),
            strata=np.unique(names, return_inverse=True)[1],
            towards_cases=-(embeddings @ mean_direction(axis)) / axis.separation,
            margin=logits[:, 1] - logits[:, 0],
            embeddings=embeddings,
        )

    def differences(self, values: FloatArray) -> FloatArray:
        """Return values [n] with the concept minus those of their partners, [n/2]."""
        return values[self.present] - values[~self.present]


def mean_direction(axis: GroupAxis) -> FloatArray:
    """Return the direction [D] between the groups, the mean where it was fitted on halves.

    No image of a concept is of a test subject, so each half's direction is as good as the other's.
    """
    return np.asarray(axis.directions.mean(axis=0))


def pair_sample(concept: Concept) -> Sample:
    """Return who the pairs of a concept are."""
    images = concept.absent
    return Sample(images.keys, images.subjects, (1,) * len(images))


def set_sample(concept: Concept, rows: Rows) -> Sample:
    """Return who some images are, of those without a concept and then those with it.

    The group says whether an image shows the concept.
    """
    absent = [(f"without {key}", subject, 0) for key, subject in _named(concept.absent)]
    present = [(f"with {key}", subject, 1) for key, subject in _named(concept.present)]
    keys, subjects, groups = zip(*((absent + present)[row] for row in rows.tolist()), strict=True)
    return Sample(keys, subjects, groups)


def constant(
    statistic: Statistic, sample: Sample, value: float, where: Mapping[str, Condition]
) -> Reading:
    """Return the reading of one number, which every image of the sample bears."""
    return Reading(statistic.name, sample, np.full(len(sample.keys), value), where)


def amount_factor(test: Cohort, concept: Concept) -> float | None:
    """Return how much more of a concept cases have, in units of what the images add.

    None where no amount is known, or none was added.
    """
    if concept.added is None or not concept.covariates:
        return None
    table = test.participants[list(concept.covariates)].astype(float)
    amounts, groups = table.sum(axis=1, skipna=False).to_numpy(), test.groups
    means = [float(np.nanmean(amounts[groups == group])) for group in (0, 1)]
    added = float(np.mean(concept.added))
    factor = (means[1] - means[0]) / added if added else float("nan")
    return factor if np.isfinite(factor) else None


def _embed(trial: Trial, images: ConceptImages) -> tuple[FloatArray, FloatArray]:
    """Return logits [n, 2] and embeddings [n, D] of a set, made once for each network."""

    def embed() -> tuple[FloatArray, FloatArray]:
        whole = torch.from_numpy(np.ascontiguousarray(images.images, dtype=np.float32))
        logits, embeddings = trial.models.embed_in_lanes(whole)
        return logits.astype(float), embeddings.astype(float)

    # The hash of a set is that of any order, so the order belongs into the key.
    key = ("images of a concept", images.sha256, images.keys, trial.model_identity)
    return trial.once(key, lambda: kept_for(trial, key, Keeping("1"), embed))


def _strata(images: ConceptImages) -> tuple[str, ...]:
    return images.strata or ("",) * len(images)


def _named(images: ConceptImages) -> list[tuple[str, str]]:
    return list(zip(images.keys, images.subjects, strict=True))
