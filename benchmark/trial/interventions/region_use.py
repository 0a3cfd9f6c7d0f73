"""Whether a model uses a region, asked with one mask for everybody.

A subject's own mask may carry the label in its size or shape, so that removing it tells what the
mask knew and not what the model used. So the mask is common to all: where more than half of the
training masks lie, carried to each subject by its pose. Beside it stands the same mask at other
places of the organ, by ring permutations. All changes are in units of T, the distance of the
groups' mean embeddings.

A mask larger than a tenth of the organ overlaps itself at other places, and what is beside the
region tells the group as well. There the question is not whether the region matters more than
elsewhere but whether it matters: its content is interchanged between subjects
(:mod:`benchmark.trial.interventions.interchange`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from benchmark.arrays import BoolArray, FloatArray
from benchmark.maps.poses import carried, common_mask
from benchmark.reading import Reading, find, interval, statistic
from benchmark.statistics.bootstrap import Interval
from benchmark.trial.interventions.interchange import interchange
from benchmark.trial.memory import Keeping
from benchmark.trial.removal import REMOVAL, imputers, respond
from benchmark.trial.study import Study

LEAST_AUROC = 0.6
LEAST_MAGNITUDE = 0.1
"""Change beyond that of the mask elsewhere, in units of T, that counts as use."""

LEAST_RATIO = 3.0
LARGEST_SHARE = 0.1
"""Share of the foreground beyond which turned masks overlap the region too much to say much."""

Answer = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class RegionUse:
    """What the model makes of an image without a mask that is common to all.

    Attributes:
        drops: [n] drop of s·φ, in units of T, without the mask.
        elsewhere: [n, R] the same without the mask at other places.
        share: [n] the mask's share of the foreground.
        interchange: [n] share of s·φ that goes with the region's content, in units of T; None of a
            mask that is judged by removal.
    """

    drops: FloatArray
    elsewhere: FloatArray
    share: FloatArray
    interchange: FloatArray | None

    @property
    def effect(self) -> FloatArray:
        """Magnitude of the change, [n]."""
        magnitude: FloatArray = np.abs(self.drops)
        return magnitude

    @property
    def null(self) -> FloatArray:
        """Mean magnitude of the change at other places, [n]."""
        mean: FloatArray = np.abs(self.elsewhere).mean(1)
        return mean

    @property
    def separation(self) -> FloatArray:
        """Drop of s·φ beyond that at other places, [n]."""
        excess: FloatArray = self.drops - self.elsewhere.mean(1)
        return excess


@dataclass(frozen=True)
class Gate:
    """Whether a model uses a region.

    Attributes:
        answer: ``no`` only where the intervals leave nothing that would count as use.
        reason: Words with the numbers.
    """

    answer: Answer
    reason: str


class RegionUseStatistics:
    """Statistics of whether a model uses the regions, for a protocol to inherit."""

    model_auroc = statistic("AUROC of the model's margin between the groups", aggregate="auroc")
    region_effect = statistic("change of φ without the common mask, in units of T")
    region_effect_null = statistic("change of φ without the common mask at other places, in T")
    region_magnitude = statistic(
        "how much more φ changes without the common mask than without it at other places, in T",
        "higher",
        "studentised",
    )
    region_separation = statistic(
        "how much more T_w falls without the common mask than without it at other places, in T",
        "higher",
        "studentised",
    )
    region_interchange = statistic(
        "how much of the distance of the groups goes with the content of the region, in T",
        "higher",
        "studentised",
    )
    region_share = statistic("share of the foreground that the common mask covers")


def region_use(
    images: Study, masks: Mapping[str, tuple[BoolArray, BoolArray]], repeats: int
) -> Mapping[str, RegionUse]:
    """Return what removing common masks does to the model, by name of the mask.

    Args:
        images: Study of the rows.
        masks: Masks of the training and of the test split, by name, each [N, 1, *S].
        repeats: Number R of other places.
    """

    def measure() -> dict[str, RegionUse]:
        trial, rows = images.trial, images.rows
        geometry, foreground = trial.test.geometry.take(rows), images.foreground
        shared = [common_mask(train, trial.train.geometry) for train, _ in masks.values()]
        on_grid = [np.broadcast_to(carried(mask, geometry), foreground.shape) for mask in shared]
        common = torch.from_numpy(np.concatenate(on_grid, axis=1)) & foreground

        def removed(chunk: slice) -> torch.Tensor:
            return images.with_rings(common, repeats, chunk)

        drops = respond(trial, rows, removed, imputers(trial)[REMOVAL]).drops
        drops = drops.reshape(len(rows), len(masks), 1 + repeats)
        # NumPy counts a few pixels at a time, where torch makes whole numbers of all.
        counts = [
            torch.from_numpy(np.count_nonzero(mask.flatten(2).numpy(), axis=2))
            for mask in (common, foreground)
        ]
        shares = counts[0] / counts[1]
        uses = {}
        for k, name in enumerate(masks):
            share = shares[:, k].double().numpy()
            is_large = float(share.mean()) > LARGEST_SHARE
            content = interchange(images, common[:, k : k + 1])[:, 0] if is_large else None
            uses[name] = RegionUse(drops[:, k, 0], drops[:, k, 1:], share, content)
        return uses

    purpose = ("region use", repeats, tuple(masks))
    return images.shared(purpose, measure, Keeping("1", (RegionUse,)))


def read(study: Study, images: Study, uses: Mapping[str, RegionUse], main: str) -> None:
    """Read whether the model uses regions; the ``main`` one bears no name in its conditions.

    ``study`` is that of all test images, ``images`` that of those without masks.
    """
    statistics, logits = RegionUseStatistics, study.trial.evaluation.logits
    study.read(statistics.model_auroc, logits[:, 1] - logits[:, 0], reasons={})
    # So that the plain mean is that of both groups' means, also where one has fewer images.
    counts = np.bincount(images.groups, minlength=2)
    weights = len(images.rows) / (2 * counts[images.groups])
    for name, use in uses.items():
        where = {"imputer": REMOVAL} if name == main else {"imputer": REMOVAL, "roi": name}
        images.read(statistics.region_effect, use.effect * weights, where, reasons={})
        images.read(statistics.region_effect_null, use.null * weights, where, reasons={})
        magnitude = (use.effect - use.null) * weights
        images.read(statistics.region_magnitude, magnitude, where, reasons={})
        images.read(statistics.region_separation, use.separation * weights, where, reasons={})
        images.read(statistics.region_share, use.share, where, reasons={})
        if use.interchange is not None:
            images.read(statistics.region_interchange, use.interchange * weights, where, reasons={})


def judge(readings: Sequence[Reading], roi: str | None = None) -> Gate:
    """Return whether the model uses the region that a score asks for, or the region ``roi`` alone.

    Magnitude finds use of any kind, and separation use that tells the groups apart; each is asked
    at 97.5 %, so both together err on 5 %. A common mask larger than a tenth of the foreground is
    judged by the interchange of its content alone.
    """
    auroc = interval(readings, RegionUseStatistics.model_auroc)
    if auroc is None or not auroc.low > LEAST_AUROC:
        low = "not known" if auroc is None else f"{auroc.low:.2f}"
        return Gate("no", f"it hardly tells the groups apart: lower bound of its AUROC {low}")
    where = {"imputer": REMOVAL} if roi is None else {"imputer": REMOVAL, "roi": roi}
    share = _mean(readings, "region_share", where)
    if not share > 0:
        return Gate("unknown", "the training masks have no place in common")
    return _judge_large(readings, where) if share > LARGEST_SHARE else _judge_small(readings, where)


def _judge_large(readings: Sequence[Reading], where: Mapping[str, str]) -> Gate:
    content = interval(readings, RegionUseStatistics.region_interchange, **where)
    if content is None:
        return Gate("unknown", "it was not asked")
    reason = f"{_words(content)} of T goes with the content of the region"
    if content.low > 0:
        return Gate("yes", reason)
    return Gate("no" if content.high < LEAST_MAGNITUDE else "unknown", reason)


def _judge_small(readings: Sequence[Reading], where: Mapping[str, str]) -> Gate:
    magnitude = interval(readings, RegionUseStatistics.region_magnitude, **where)
    separation = interval(readings, RegionUseStatistics.region_separation, **where)
    if magnitude is None or separation is None:
        return Gate("unknown", "it was not asked")
    null = _mean(readings, "region_effect_null", where)
    ratio = _mean(readings, "region_effect", where) / null if null > 0 else math.inf
    reason = (
        f"without the region φ changes by {_words(magnitude)} T more than without as much "
        f"elsewhere, {ratio:.1f} times as much, and T_w falls by {_words(separation)} T more"
    )
    if (magnitude.low > LEAST_MAGNITUDE and ratio >= LEAST_RATIO) or separation.low > 0:
        return Gate("yes", reason)
    is_little = magnitude.high < LEAST_MAGNITUDE and separation.high < LEAST_MAGNITUDE
    return Gate("no" if is_little else "unknown", reason)


def _words(limits: Interval) -> str:
    words = f"{limits.estimate:.2f} [{limits.low:.2f}, {limits.high:.2f}]"
    return words.replace("-", "−").replace("[nan, nan]", "[no interval]")


def _mean(readings: Sequence[Reading], name: str, where: Mapping[str, str]) -> float:
    reading = find(readings, name, **where)
    return math.nan if reading is None else float(np.mean(reading.values))
