"""`delta_t`: does removing what the map marks move the group statistic?

δ(q) = s[φ(x) − φ(x without the top q)] − mean_R s[φ(x) − φ(x without a random mask of its shape)],
in units of T. Pixels are never set to zero or a flat value, whose hard edges a network responds to
by themselves. Which imputers are fit for the model is measured, shown, and part of the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.maps.masks import Masks, PackedMasks
from benchmark.protocol import ProtocolConfig, RisingShares, SanityProtocol
from benchmark.reading import Direction, Plot, Reading, Statistic, Verdict, interval, statistic
from benchmark.statistics.bootstrap import jackknife_distance
from benchmark.trial import Keeping, Study, imputer_health
from benchmark.trial.imputer_health import ImputerHealth
from benchmark.trial.removal import Response


def _balanced(
    description: str, direction: Direction = "higher", plot: Plot | None = None, name: str = ""
) -> Statistic:
    """Return a statistic balanced by group: removal pulls both groups to the middle."""
    return statistic(description, direction, "balanced_mean", plot, name)


class DeltaTConfig(ProtocolConfig):
    """Settings of `delta_t`.

    Attributes:
        quantiles: Shares of the foreground that are removed, rising.
        repeats: Shape-matched random masks per image and share.
        secondary_repeats: Random masks in insertion, and independent ones in deletion.
        subjects: Images that are masked, as many of each group.
    """

    quantiles: RisingShares = (0.01, 0.02, 0.05, 0.10, 0.20)
    repeats: int = Field(8, ge=1)
    secondary_repeats: int = Field(2, ge=1)
    subjects: int = Field(64, ge=4)


def _curve(label: str, panel: str | None = None) -> Plot:
    return Plot("curve", "q", ("arm",), panel, label)


class DeltaT(ImputerHealth, SanityProtocol[DeltaTConfig]):
    """Removal of the top of the map against removal of equally shaped random masks."""

    name = "delta_t"
    version = "1.0"
    title = "Does removing what the map marks move the group statistic?"
    topic = "what separates the groups"
    if_passed = "marks what separates the groups"
    if_failed = "marks what separates the groups no better than random areas do"
    primary = "delta_t"
    chance = "delta_t"
    margin = 0.02
    Config = DeltaTConfig

    delta_t = _balanced(
        "how much more the group difference changes than when equally large random areas are "
        "removed, in units of T"
    )
    deletion = _balanced(
        "drop of the group projection without the pixels, in units of T",
        plot=_curve("drop of the projection (T)", "imputer"),
    )
    deletion_area = _balanced("mean height of the deletion curve")
    delta_t_w = statistic(
        "drop of the difference of the groups' mean projections, in units of T",
        "higher",
        "group_difference",
    )
    group_distance = statistic("T without the pixels, by the jackknife, in units of T", "lower")
    insertion = _balanced(
        "gain of the projection when only the pixels are kept, over keeping none",
        plot=_curve("gain of the projection (T)"),
    )
    insertion_area = _balanced("mean height of the insertion curve")
    margin_curve = _balanced(
        "own group's logit minus the other's", "lower", plot=_curve("margin (logit)"), name="margin"
    )
    probability = _balanced("probability of the own group", "lower", plot=_curve("probability"))
    probability_area = _balanced("mean height of the probability curve", "lower")

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        everyone = study.balanced(self.config.subjects)
        maps = study.trial.attributions[torch.from_numpy(everyone.rows)]
        images, ranked = everyone.rankable(everyone.ranked(maps))
        if len(images.rows):
            self._remove(images, ranked)
        else:
            for where in ({}, *({"imputer": name} for name in images.imputers())):
                images.read(self.delta_t, np.empty(0), where)
        imputer_health.read(study.balanced(self.config.subjects), self.config.repeats)

    def _remove(self, images: Study, ranked: Tensor) -> None:
        """Measure under every imputer; all secondary curves come from the default one."""
        quantiles = self.config.quantiles
        tops = images.packed_tops(ranked, quantiles)
        random = images.packed_shape_matched(tops, self.config.repeats)
        for number, imputer in enumerate(images.imputers()):
            answers = images.ask({"map": tops, "random": random}, imputer)
            drops = {arm: answer.drops.mean(2) for arm, answer in answers.items()}
            self._score(images, drops["map"] - drops["random"], imputer, default=number == 0)
            if number == 0:
                ask = partial(self._scattered_drops, images, tops, imputer)
                drops["iid"] = images.shared(("iid", self.config), ask, Keeping("1"))
                self._read_other_outputs(images, answers)
                self._insert(images, tops, random, imputer)
            for arm, drop in drops.items():
                where = {"imputer": imputer, "arm": arm}
                area = images.curve(self.deletion, quantiles, drop, where)
                images.read(self.deletion_area, area, where)
            signs = images.trial.evaluation.signs[images.rows]
            for column, q in enumerate(quantiles):
                for arm in answers:
                    drop = signs * drops[arm][:, column]
                    images.read(self.delta_t_w, drop, {"imputer": imputer, "arm": arm, "q": q})

    def _scattered_drops(self, images: Study, tops: Masks, imputer: str) -> FloatArray:
        """Return the drop of s·φ without as many scattered pixels as in tops, in T, [n, Q].

        They are the same for all explainers, since every top of a share has as many pixels.
        """
        scattered = images.packed_scattered(tops, self.config.secondary_repeats)
        drops: FloatArray = images.ask({"iid": scattered}, imputer)["iid"].drops.mean(2)
        return drops

    def _score(self, images: Study, excess: FloatArray, imputer: str, *, default: bool) -> None:
        """Read the score from drops [n, Q] in excess of those of random masks."""
        score = excess.mean(1)
        if default:
            images.read(self.delta_t, score)
        images.read(self.delta_t, score, {"imputer": imputer})
        for q, values in zip(self.config.quantiles, excess.T, strict=True):
            images.read(self.delta_t, values, {"imputer": imputer, "q": q})
        for group, name in enumerate(images.trial.cohort.group_names):
            of_group = np.where(images.groups == group, score, np.nan)
            images.read(self.delta_t, of_group, {"imputer": imputer, "group": name})

    def _read_other_outputs(self, images: Study, answers: Mapping[str, Response]) -> None:
        """Read margin, probability and T, whose curves begin at the unaltered images."""
        evaluation, quantiles = images.trial.evaluation, self.config.quantiles
        start = evaluation.own_margin[images.rows]
        for arm, answer in answers.items():
            margins = answer.margins.mean(2)
            images.curve(self.margin_curve, quantiles, margins, {"arm": arm}, start=start)
        start = evaluation.own_probability[images.rows]
        for arm, answer in answers.items():
            curve = answer.probabilities.mean(2)
            area = images.curve(self.probability, quantiles, curve, {"arm": arm}, start=start)
            images.read(self.probability_area, area, {"arm": arm})
        for column, q in enumerate(quantiles):
            for arm, answer in answers.items():
                masked = answer.embeddings[:, column].swapaxes(0, 1)
                distances = [jackknife_distance(repeat, images.groups) for repeat in masked]
                distance = np.mean(distances, axis=0) / evaluation.group_distance
                images.read(self.group_distance, distance, {"arm": arm, "q": q})

    def _insert(self, images: Study, tops: Masks, random: Masks, imputer: str) -> None:
        """Keep only the top of the map; everything else in the foreground is imputed."""
        inside, repeats = images.foreground[:, :, None], self.config.secondary_repeats

        def remove_others(kept: Masks) -> PackedMasks:
            return PackedMasks(
                len(images.rows), lambda few: inside[few] & ~kept[few][:, :, :repeats]
            )

        removed = {arm: remove_others(kept) for arm, kept in (("map", tops), ("random", random))}
        answers = images.ask({"none": inside, **removed}, imputer)
        for arm in removed:
            gain = (answers[arm].projections - answers["none"].projections).mean(2)
            area = images.curve(self.insertion, self.config.quantiles, gain, {"arm": arm})
            images.read(self.insertion_area, area, {"arm": arm})

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the score's lower bound lies above 0 under every fit imputer."""
        unfit = imputer_health.unfit_imputers(readings)
        fit = [name for name, reason in unfit.items() if reason is None]
        if not fit:
            return Verdict("not assessable", None, "no imputer is fit for this model")
        intervals = {name: interval(readings, self.delta_t, imputer=name) for name in fit}
        scores = {name: score for name, score in intervals.items() if score is not None}
        if len({np.sign(score.estimate) for score in scores.values()}) > 1:
            return Verdict("scored", False, "imputers disagree")
        short = [name for name, score in scores.items() if not score.low > 0]
        reason = f"no more than random masks under {', '.join(short)}" if short else None
        return Verdict("scored", not short, reason)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say which imputers are fit for the model, and why the others are not."""
        unfit = imputer_health.unfit_imputers(readings)
        judged = [f"{name} {f'unfit ({why})' if why else 'fit'}" for name, why in unfit.items()]
        return f"imputers: {', '.join(judged)}"
