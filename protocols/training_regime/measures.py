"""What is measured of one explainer on the refits of a regime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.classifier import Classifier
from benchmark.maps.localisation import average_precision
from benchmark.maps.masks import descending_order, top_masks
from benchmark.maps.ranking import reason_unrankable
from benchmark.maps.similarity import centred_ranks
from benchmark.seeding import seed_of
from benchmark.trial import Study, Trial
from benchmark.trial.removal import imputers
from protocols.training_regime.statistics import TrainingRegimeConfig


@dataclass(frozen=True)
class Answers:
    """What one network and its maps say of n images.

    Attributes:
        importance: [n, 1, *S] maps.
        reasons: Reason why a map ranks nothing, or None, for each image.
        logits: [N, 2] logits of all test images.
        delta_t: [n] effect of removing the top beyond random masks, in units of T; NaN where a map
            ranks nothing.
        ap: [n] average precision on the cohort's regions, likewise; None where it has none.
    """

    importance: Tensor
    reasons: Sequence[str | None]
    logits: FloatArray
    delta_t: FloatArray
    ap: FloatArray | None


def answers_of(images: Study, network: Classifier, config: TrainingRegimeConfig) -> Answers:
    """Return what a network and its maps say of the images of a study."""
    own, importance = maps_of(images, network)
    reasons = reason_unrankable(importance, own.foreground)
    known = np.array([reason is None for reason in reasons], dtype=bool)
    delta_t = np.full(len(known), np.nan)
    if known.any():
        some, ranked = own.only(own.rows[known]), importance[torch.from_numpy(known)]
        tops = some.packed_tops(ranked, config.quantiles)
        arms = {"map": tops, "random": some.packed_shape_matched(tops, config.repeats)}
        responses = some.ask(arms, some.imputers()[0])
        drops = {arm: response.drops.mean(2) for arm, response in responses.items()}
        delta_t[known] = (drops["map"] - drops["random"]).mean(1)
    logits = own.trial.evaluation.logits
    return Answers(importance, reasons, logits, delta_t, _precision(own, importance, known))


def maps_of(images: Study, network: Classifier) -> tuple[Study, Tensor]:
    """Return the study of a network on the same images, and its maps [n, 1, *S]."""
    trial = _trial_on(images.trial, network)
    own = Study(trial, images.protocol).of(images.rows)
    return own, own.ranked(trial.draw(images.rows))


def maps_on(
    images: Study, networks: Sequence[Classifier]
) -> tuple[list[Tensor], list[Sequence[str | None]]]:
    """Return the maps of the images on each network, and why some of them rank nothing."""
    maps = [maps_of(images, network)[1] for network in networks]
    return maps, [reason_unrankable(importance, images.foreground) for importance in maps]


def _trial_on(trial: Trial, network: Classifier) -> Trial:
    """Return the trial on a network, in a memory that goes with it.

    Dozens of networks are asked, and none of their streamlined copies is needed again.
    """
    _ = trial.test, imputers(trial)  # made once, for all of them
    return replace(trial.on(classifier=network), memory=trial.memory.copy())


def _precision(images: Study, importance: Tensor, known: BoolArray) -> FloatArray | None:
    rois = images.trial.test.anatomy.rois
    if not rois:
        return None
    union = torch.from_numpy(np.any([mask[images.rows] for mask in rois.values()], axis=0))
    values = average_precision(importance.nan_to_num(0.0, 0.0, 0.0), union, images.foreground)
    precision: FloatArray = np.where(known, values.numpy(), np.nan)
    return precision


def maps_and_reasons(answers: Sequence[Answers]) -> tuple[list[Tensor], list[Sequence[str | None]]]:
    """Return the maps of networks, and why some of them rank nothing."""
    return [answer.importance for answer in answers], [answer.reasons for answer in answers]


def known_images(
    images: Study, unrankable: Sequence[Sequence[str | None]]
) -> tuple[BoolArray, dict[str, str]]:
    """Return which images have maps that rank pixels on every network, and why others have not."""
    reasons = [next(filter(None, own), None) for own in zip(*unrankable, strict=True)]
    pairs = zip(images.keys, reasons, strict=True)
    known = np.array([reason is None for reason in reasons], dtype=bool)
    return known, {key: reason for key, reason in pairs if reason}


def reasons_of(images: Study, answer: Answers) -> dict[str, str]:
    """Return why maps of one network rank nothing, by image."""
    return known_images(images, [answer.reasons])[1]


@dataclass(frozen=True)
class Likenesses:
    """How alike the maps of R refits are, of n images.

    Attributes:
        own: [n, R, R] rank correlations of an image's maps.
        other: [n, R, R] mean rank correlation of an image's map on one refit with maps of other
            subjects of its group on another, in the foreground of the image.
        tops: [n, R, R] intersection over union of the tops of an image's maps.
    """

    own: FloatArray
    other: FloatArray
    tops: FloatArray

    def stability(self, refits: Sequence[int] | None = None) -> FloatArray:
        """Return the mean over pairs of some refits, all unless given, [n]."""
        return _over_pairs(self.own, refits)

    def derangement(self, refits: Sequence[int] | None = None) -> FloatArray:
        """Return the same for maps of other subjects, [n]."""
        return _over_pairs(self.other, refits)

    def excess(
        self, refits: Sequence[int] | None = None, encoders: Rows | None = None
    ) -> FloatArray:
        """Return stability minus derangement, [n].

        Args:
            refits: Places of the refits, all unless given.
            encoders: [R] encoder of each refit; pairs of the same one are then left out.
        """
        own, other = (_over_pairs(part, refits, encoders) for part in (self.own, self.other))
        return own - other


def _over_pairs(
    table: FloatArray, refits: Sequence[int] | None, encoders: Rows | None = None
) -> FloatArray:
    """Return the mean of tables [n, R, R] over pairs of different refits, or encoders."""
    chosen = np.arange(table.shape[1]) if refits is None else np.asarray(refits)
    some = table[:, chosen][:, :, chosen]
    labels = chosen if encoders is None else encoders[chosen]
    different = labels[:, None] != labels
    means: FloatArray = some[:, different].mean(1)
    return means


def likenesses_of(
    images: Study, importance: Sequence[Tensor], partners: Sequence[Sequence[int]], share: float
) -> Likenesses:
    """Return how alike maps are over refits.

    Args:
        images: Study of n images.
        importance: Maps [n, 1, *S] of each refit.
        partners: Positions of other images, for each image.
        share: Share of the foreground whose overlap is compared.
    """
    foreground, count, refits = images.foreground, len(images.rows), len(importance)
    tables = np.full((3, count, refits, refits), np.nan)
    for image in range(count):
        inside = foreground[image : image + 1].expand(refits, *foreground.shape[1:])
        maps = torch.stack([of_refit[image] for of_refit in importance])
        own = _normalised(maps, inside)
        tables[0, image] = (own @ own.T).numpy()
        others = [
            own @ _normalised(torch.stack([of_refit[partner] for of_refit in importance]), inside).T
            for partner in partners[image]
        ]
        if others:
            tables[1, image] = torch.stack(others).mean(0).numpy()
        # One order for equal pixels of all maps of an image, so that equal maps overlap fully.
        alone = images.only(images.rows[image : image + 1])
        jitter = [alone.streams("ties")[0] for _ in importance]
        tables[2, image] = _overlaps(maps, inside, share, jitter)
    return Likenesses(*tables)


def _normalised(maps: Tensor, inside: Tensor) -> Tensor:
    """Return centred ranks [R, P] of unit length; NaN where a map ranks nothing."""
    ranks = centred_ranks(maps, inside)
    return ranks / ranks.square().sum(1, keepdim=True).sqrt()


def _overlaps(
    maps: Tensor, inside: Tensor, share: float, jitter: Sequence[np.random.Generator]
) -> FloatArray:
    order = descending_order(maps.nan_to_num(0.0, 0.0, 0.0), inside, jitter)
    tops = top_masks(order, inside, (share,)).flatten(1).double()
    both = tops @ tops.T
    sizes = tops.sum(1)
    overlap: FloatArray = (both / (sizes[:, None] + sizes - both)).numpy()
    return overlap


def partners_of(images: Study, count: int, known: BoolArray) -> list[list[int]]:
    """Return positions of other subjects of the group, for each image, fewer where there are fewer.

    They follow each image in a seeded order of the group; who has no map to rank is passed over.
    """
    suite, keys, groups = images.trial.runtime.suite, images.keys, images.groups
    subjects = [images.trial.test.subjects[row] for row in images.rows]
    order = sorted(
        np.flatnonzero(known).tolist(),
        key=lambda image: seed_of(suite, images.protocol, "order", keys[image]),
    )
    partners: list[list[int]] = [[] for _ in keys]
    for image in order:
        start = order.index(image)
        following = order[start + 1 :] + order[:start]
        partners[image] = [
            other
            for other in following
            if groups[other] == groups[image] and subjects[other] != subjects[image]
        ][:count]
    return partners


def log_loss(logits: FloatArray, groups: Rows) -> FloatArray:
    """Return the cross-entropy of the true groups [N] under logits [N, 2], in nats."""
    margins = (logits[:, 1] - logits[:, 0]) * (1.0 - 2.0 * groups)
    losses: FloatArray = np.logaddexp(0.0, margins)
    return losses
