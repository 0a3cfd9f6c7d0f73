"""Predictions of a network for every image of a cohort, and the metrics that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmark.arrays import FloatArray, Rows
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError, CohortError
from benchmark.statistics.bootstrap import Interval, SubjectBootstrap
from benchmark.statistics.classification import (
    RESAMPLES,
    Predicted,
    chance_levels,
    intervals_of,
    metric_intervals,
    weighted_metrics,
)
from benchmark.training.findings import Comparison, Metric

COMPARED = ("auroc", "accuracy", "log-loss")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network says of every image of a cohort, in the order of the images' keys.

    Attributes:
        keys: Name of each image.
        subjects: Subject of each image.
        groups: [N] group of each image, 0 reference or 1 case.
        splits: Split of each image.
        logits: [N, 2] logits of the groups.
        embeddings: [N, D] embedding of each image.
    """

    keys: tuple[str, ...]
    subjects: tuple[str, ...]
    groups: Rows
    splits: tuple[str, ...]
    logits: FloatArray
    embeddings: FloatArray

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.keys)

    @property
    def margins(self) -> FloatArray:
        """Logit of the cases minus that of the reference group, [N]."""
        margins: FloatArray = self.logits[:, 1] - self.logits[:, 0]
        return margins

    @property
    def predicted(self) -> Predicted:
        """Groups and margins alone."""
        return Predicted(self.groups, self.margins)

    def take(self, rows: Sequence[int] | Rows) -> Predictions:
        """Return the predictions of these rows, in this order."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            keys=tuple(self.keys[row] for row in index),
            subjects=tuple(self.subjects[row] for row in index),
            groups=self.groups[index],
            splits=tuple(self.splits[row] for row in index),
            logits=self.logits[index],
            embeddings=self.embeddings[index],
        )

    def select(self, split: str) -> Predictions:
        """Return the predictions of one split, which may have none."""
        return self.take([row for row, name in enumerate(self.splits) if name == split])

    def with_margins(self, margins: FloatArray) -> Predictions:
        """Return the same images with the logits (−m/2, m/2) of other margins m [N]."""
        return replace(self, logits=np.stack([-margins, margins], axis=1) / 2)

    def bootstrap(self, resamples: int = RESAMPLES) -> SubjectBootstrap:
        """Return the bootstrap of the subjects within their groups."""
        return SubjectBootstrap(self.subjects, resamples, self.groups)


def predict(classifier: Classifier, cohort: Cohort, batch_size: int = 64) -> Predictions:
    """Return the network's predictions for all images of a cohort, in the order of their keys.

    Args:
        classifier: Network, on the device that it is asked on.
        cohort: Cohort with images of the network's input shape; no split is left out.
        batch_size: Number of images per pass.

    Raises:
        ClassifierError: If a logit or an embedding is not finite.
    """
    order = np.argsort(np.array(cohort.keys), kind="stable")
    logits, embeddings = [], []
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            images = np.ascontiguousarray(cohort.images[order[start : start + batch_size]])
            outputs = classifier(torch.from_numpy(images).to(classifier.device))
            logits.append(outputs[0].double().cpu().numpy())
            embeddings.append(outputs[1].double().cpu().numpy())
    splits = cohort.participants["split"].astype(str).tolist()
    predictions = Predictions(
        keys=tuple(cohort.keys[row] for row in order),
        subjects=tuple(cohort.subjects[row] for row in order),
        groups=cohort.groups[order],
        splits=tuple(splits[row] for row in order),
        logits=np.concatenate(logits),
        embeddings=np.concatenate(embeddings),
    )
    for name, values in (("logits", predictions.logits), ("embedding", predictions.embeddings)):
        broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(broken):
            raise ClassifierError(
                f"Model {classifier.name!r} gives {name} that are not finite for "
                f"{len(broken)} of {len(predictions)} images of cohort {cohort.name!r}, first "
                f"{predictions.keys[broken[0]]!r}; expected finite numbers for every image."
            )
    return predictions


def metrics_of(predictions: Predictions, group_names: tuple[str, str]) -> tuple[Metric, ...]:
    """Return every metric with its interval over subjects, under the names of the groups."""
    intervals = metric_intervals(predictions.predicted, predictions.bootstrap())
    chances = chance_levels(predictions.predicted.prevalence)
    return tuple(
        to_metric(_display_name(name, group_names), interval, chances.get(name))
        for name, interval in intervals.items()
    )


def compare(first: Predictions, second: Predictions) -> Comparison:
    """Return how the second network differs from the first on the test images that both have.

    Both are resampled together, so that what makes a subject easy for both cancels.

    Raises:
        CohortError: If they share no image of the test split, or differ about an image's subject
            or group.
    """
    first, second = _on_shared_images(first, second)
    pair, bootstrap = (first.predicted, second.predicted), first.bootstrap()

    def by_side(weights: FloatArray) -> FloatArray:
        return np.stack([weighted_metrics(side, weights, COMPARED) for side in pair], axis=2)

    estimates = by_side(np.ones((1, len(first))))[0]
    replicates = bootstrap.statistic_replicates(by_side)
    chances = chance_levels(first.predicted.prevalence)
    sides = [
        tuple(
            to_metric(name, interval, chances[name])
            for name, interval in zip(
                COMPARED,
                intervals_of(estimates[:, side], replicates[..., side], bootstrap),
                strict=True,
            )
        )
        for side in (0, 1)
    ]
    differences = intervals_of(
        estimates[:, 1] - estimates[:, 0], replicates[..., 1] - replicates[..., 0], bootstrap
    )
    return Comparison(
        images=len(first),
        subjects=bootstrap.n_subjects,
        first=sides[0],
        second=sides[1],
        differences=tuple(map(to_metric, COMPARED, differences)),
    )


def to_metric(name: str, interval: Interval, chance: float | None = None) -> Metric:
    """Return an interval as a metric; numbers that do not exist are None."""
    numbers = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (None if math.isnan(number) else number for number in numbers)
    return Metric(name, estimate, low, high, chance)


def _display_name(name: str, group_names: tuple[str, str]) -> str:
    metric, _, group = name.partition(" of ")
    return f"{metric} of {group_names[int(group)]}" if group else name


def _on_shared_images(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Return both predictions of the test images that both have, in one order."""
    first, second = first.select("test"), second.select("test")
    rows = [{key: row for row, key in enumerate(side.keys)} for side in (first, second)]
    shared = sorted(set(rows[0]) & set(rows[1]))
    if not shared:
        raise CohortError(
            f"Expected two networks that share images of the test split to compare them, but none "
            f"of the {len(first)} images of the first is among the {len(second)} of the second."
        )
    first, second = (
        side.take([index[key] for key in shared])
        for side, index in zip((first, second), rows, strict=True)
    )
    for row, key in enumerate(first.keys):
        sides = [(side.subjects[row], int(side.groups[row])) for side in (first, second)]
        if sides[0] != sides[1]:
            raise CohortError(
                f"The two networks differ about the test image {key!r}: subject and group are "
                f"{sides[0]} for the first and {sides[1]} for the second."
            )
    return first, second
