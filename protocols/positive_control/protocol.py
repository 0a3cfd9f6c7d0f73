"""`positive_control`: does the map find a signal that was planted?

The signal is a smooth blur with a site, a strength and a model that is known to use it, so the
truth is known to the pixel. Three arms are read: the model tuned to the signal (the score), the
frozen model with a probe, and on the frozen model the difference between the maps of an image with
and without the signal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator
from torch import Tensor

from benchmark.classifier import PassCounter
from benchmark.explainer import importance
from benchmark.maps import ranking
from benchmark.protocol import Badge, Drawing, Exhibit, ProtocolConfig, SanityProtocol
from benchmark.reading import (
    Condition,
    Plot,
    Reading,
    Sample,
    Statistic,
    Verdict,
    find,
    subject_means,
    summarise,
)
from benchmark.seeding import stream
from benchmark.statistics.significance import holm, sign_flip_p, swap_p
from benchmark.target import Projection
from benchmark.training.relatives import Relative
from benchmark.trial import Trial
from benchmark.trial.removal import masking_rows
from protocols.positive_control.arms import (
    PROBE,
    TUNED,
    ZERO,
    Arm,
    null_p_values,
    permutation_seed,
    probed,
    relatives,
    restored_shares,
    sites_of,
    tuned,
    uniformity_p,
)
from protocols.positive_control.dose_response import dose_badges
from protocols.positive_control.planting import SITE, Strength, edge_artefact, truths
from protocols.positive_control.site_scores import above_decoys, restoring_masks, site_scores

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

CONTRAST = "contrast"
NONE = "none"
_GATE = 0.6
_LEVEL = 0.025  # one-sided, as the lower limit of a 95 % interval
_SHOWN = 2
_ROUNDING = 1e-5  # of a map's largest value, and below it a difference is none


class PositiveControlConfig(ProtocolConfig):
    """Settings of `positive_control`.

    Attributes:
        strengths: From the weakest to the strongest; the verdict rests on all but the weakest.
        subjects: Images that are explained on the tuned models, as many of each group.
        probe_subjects: Images, among these, that are explained on the frozen model.
        decoys: Sites without a signal that each map is scored against as well.
        quantiles: Shares of the foreground that are restored, beside the truth's own size.
        repeats: Shape-matched random masks per image and share.
        permutations: For the p-value of T.
        splits: Random halves of clean images that the p-value is checked on.
        null_permutations: For each of their p-values.
    """

    strengths: tuple[Strength, ...] = (
        Strength(name="mild", sigma=0.9, attenuation=0),
        Strength(name="medium", sigma=2, attenuation=0.05),
        Strength(name="strong", sigma=3, attenuation=0.08),
    )
    subjects: int = Field(64, ge=4)
    probe_subjects: int = Field(32, ge=4)
    decoys: int = Field(8, ge=1)
    quantiles: tuple[float, ...] = (0.05, 0.10, 0.20)
    repeats: int = Field(4, ge=1)
    permutations: int = Field(1000, ge=19)
    splits: int = Field(200, ge=20)
    null_permutations: int = Field(199, ge=19)

    @field_validator("strengths")
    @classmethod
    def _different(cls, strengths: tuple[Strength, ...]) -> tuple[Strength, ...]:
        names = [one.name for one in strengths]
        if len(names) < 3 or len(set(names)) < len(names) or {ZERO, NONE} & set(names):
            raise ValueError(f"at least three strengths of different names, not {ZERO} or {NONE}")
        return strengths


def _by_strength(label: str, *series: str) -> Plot:
    return Plot("bars", "strength", series or ("arm",), None, label)


class PositiveControl(SanityProtocol[PositiveControlConfig]):
    """The map against a planted signal, on a model that is known to use it."""

    name = "positive_control"
    version = "1.0"
    title = "Does the map find a signal that was planted?"
    primary = "found"
    chance = "found"
    margin = 0.02
    tolerance = 1e-5  # a probe's margins move a little with the rounding of its embeddings
    Config = PositiveControlConfig
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic(
            "found",
            "average precision of the map against the site, 0 for noise and 1 for the truth",
            "higher",
            plot=_by_strength("found (0 = noise, 1 = truth)"),
        ),
        Statistic(
            "ap",
            "average precision of the map against the site",
            "higher",
            plot=_by_strength("average precision"),
        ),
        Statistic("ap_above_decoys", "ap minus that against sites without a signal", "higher"),
        Statistic("iou", "overlap of the top of the map, as large as the site, with it", "higher"),
        Statistic("iou_at_q", "overlap of the top q of the map with the site", "higher"),
        Statistic("pointing", "whether the largest value lies on the site", "higher"),
        Statistic("mass", "share of the map that lies on the site", "higher"),
        Statistic("lift", "mass over the site's share of the foreground", "higher"),
        Statistic(
            "restored",
            "share of T that goes when the top of the map is put back to clean",
            "higher",
            plot=Plot("bars", "strength", ("arm",), None, "share of T restored"),
        ),
        Statistic("restored_above_random", "the same minus shape-matched random masks", "higher"),
        Statistic("auroc", "AUROC of planted against clean test images", "none", "auroc"),
        Statistic("accuracy", "share of test images told right", "none"),
        Statistic("group_distance", "T between clean and planted test images", "none"),
        Statistic("group_distance_squared", "T²", "none", "constant"),
        Statistic("permutation_p", "p of T, labels swapped within pairs", "none", "constant"),
        Statistic(
            "edge_artefact", "gradient of the alteration on its rim over the image's own", "none"
        ),
        Statistic(
            "uniformity_p", "KS p of permutation p-values with no signal", "none", "constant"
        ),
    )

    def readings(self, trial: Trial) -> list[Reading]:
        """Measure; see the base class."""
        study = _Study(trial, self.config)
        arms = [(tuned(trial, one), probed(trial, one)) for one in self.config.strengths]
        for strength, (learned, frozen) in zip(self.config.strengths, arms, strict=True):
            study.describe(strength.name, learned, permutation_seed(trial, TUNED, strength))
            study.describe(strength.name, frozen, permutation_seed(trial, PROBE, strength))
            study.artefact(strength.name, frozen)
        study.describe(ZERO, probed(trial, None), None)
        study.artefact(ZERO, probed(trial, None))
        study.nothing_planted()
        for strength, (learned, frozen) in zip(self.config.strengths, arms, strict=True):
            study.explain_tuned(strength.name, learned)
            study.explain_frozen(strength.name, frozen, last=strength is self.config.strengths[-1])
        study.exhibit([learned for learned, _ in arms])
        return study.readings()

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the map beats noise, and itself at sites without a signal, where it can."""
        assessable = assessable_strengths(readings)
        if not assessable:
            return Verdict("not assessable", None, "signal not learned")
        judged = [one for one in _strengths(readings)[1:] if one in assessable]
        if not judged:
            return Verdict("not assessable", None, "signal learned at the weakest strength only")
        short, p_values = [], {}
        for strength in judged:
            for statistic, what in (("found", "noise"), ("ap_above_decoys", "other places")):
                reading = find(readings, statistic, arm=TUNED, strength=strength)
                if reading is None or not summarise(reading).low > 0:
                    short.append(f"no better than {what} at {strength}")
                else:
                    p_values[f"{what} at {strength}"] = sign_flip_p(subject_means(reading))
        adjusted = holm(list(p_values.values()))
        short += [
            f"no better than {name} after Holm"
            for name, p in zip(p_values, adjusted, strict=True)
            if not p <= _LEVEL
        ]
        return Verdict("scored", not short, "; ".join(short) or None)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say what rises with the dose, and the weakest strength that is found."""
        return dose_badges(readings, _strengths(readings))

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say how well the model learned each strength, and that nothing is found in nothing."""
        told = []
        for strength in _strengths(readings):
            reading = find(readings, "auroc", arm=TUNED, strength=strength)
            if reading is not None:
                told.append(f"{strength} {summarise(reading, 'auroc').estimate:.2f}")
        uniform = find(readings, "uniformity_p")
        flat = "" if uniform is None else f"; at strength 0, KS p {uniform.values[0]:.2f}"
        return f"AUROC of the tuned models: {', '.join(told)}{flat}"

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show planted images beside the zeroed one, and the dose–response curves."""
        from protocols.positive_control.figures import planted_drawings

        return planted_drawings(exhibits, readings)

    def relatives(self, trial: Trial) -> Iterator[Relative]:
        """Yield the tuned models."""
        return relatives(trial, self.config.strengths)

    def cost(self, trial: Trial) -> PassCounter:
        """Return the passes of all arms, of their maps and of restoring."""
        config, strengths = self.config, len(self.config.strengths)
        images, train = len(trial.test), len(trial.train)
        rows = len(masking_rows(trial, config.subjects))
        probe = len(masking_rows(trial, config.probe_subjects))
        models = images + (2 * strengths + 1) * 2 * images + train * (strengths + 2)
        restoring = rows * strengths * (1 + len(config.quantiles)) * (1 + config.repeats)
        maps = strengths * (trial.filled(rows, 1) + trial.filled(2 * probe, 1))
        forward, backward = trial.explainer.passes
        return PassCounter(models + restoring + maps * forward, maps * backward)


def assessable_strengths(readings: Sequence[Reading]) -> list[str]:
    """Return the strengths that the tuned model has learned: lower bound of its AUROC over 0.6."""
    return [
        one
        for one in _strengths(readings)
        if (reading := find(readings, "auroc", arm=TUNED, strength=one)) is not None
        and summarise(reading, "auroc").low > _GATE
    ]


class _Study:
    """Collects readings of one explainer on all arms."""

    def __init__(self, trial: Trial, config: PositiveControlConfig) -> None:
        self._trial, self._config = trial, config
        self._rows = masking_rows(trial, config.subjects)
        self._probe_rows = masking_rows(trial, config.probe_subjects)
        self._found: list[Reading] = []
        self._shown: dict[str, Tensor] = {}
        self._reasons: dict[str, str] = {}

    def describe(self, strength: str, arm: Arm, seed: int | None) -> None:
        """Read how well an arm tells planted from clean; without a p-value where no seed is."""
        people, where = self._trial.sample(), {"arm": arm.name, "strength": strength}
        both = Sample(
            keys=tuple(arm.trial.test.keys),
            subjects=people.subjects * 2,
            groups=(0,) * arm.pairs + (1,) * arm.pairs,
        )
        self._found.append(Reading("auroc", both, arm.margins, where))
        right = ((arm.margins > 0) == np.array(both.groups, dtype=bool)).astype(float)
        self._found.append(Reading("accuracy", both, right, where))
        self._found.append(Reading("group_distance", people, arm.distances, where))
        distance = arm.trial.evaluation.group_distance
        self._constant("group_distance_squared", distance**2, where)
        if seed is not None:
            embeddings = arm.trial.evaluation.embeddings
            p = swap_p(
                embeddings[: arm.pairs],
                embeddings[arm.pairs :],
                people.keys,
                permutations=self._config.permutations,
                seed=seed,
            )
            self._constant("permutation_p", p, where)

    def artefact(self, strength: str, arm: Arm) -> None:
        """Read how much of an edge the alteration leaves."""

        def compute() -> FloatArray:
            images, anatomy = arm.trial.test.images, arm.trial.test.anatomy
            rows, planted = self._rows, arm.pairs + self._rows
            truth, foreground = anatomy.rois[SITE][rows], anatomy.foreground[rows]
            return edge_artefact(images[rows], images[planted], truth, foreground)

        values = arm.trial.once(("edge artefact", str(len(self._rows))), compute)
        sample = self._trial.sample(self._rows)
        self._found.append(Reading("edge_artefact", sample, values, {"strength": strength}))

    def nothing_planted(self) -> None:
        """Read whether p-values are uniform where there is no signal."""
        p = null_p_values(self._trial, self._config.splits, self._config.null_permutations)
        self._constant("uniformity_p", uniformity_p(p), {})

    def explain_tuned(self, strength: str, arm: Arm) -> None:
        """Score the maps of planted images on the model tuned to them."""
        maps = arm.trial.draw(arm.pairs + self._rows)
        ranked = importance(maps, self._trial.explainer.polarity)
        self._shown[strength] = ranked
        self._score(ranked, self._rows, arm, {"arm": TUNED, "strength": strength})
        self._restore(ranked, strength, arm)

    def explain_frozen(self, strength: str, arm: Arm, *, last: bool) -> None:
        """Score maps of the group projection on the frozen model, and their paired contrast."""
        rows, polarity = self._probe_rows, self._trial.explainer.polarity
        direction = torch.from_numpy(arm.trial.evaluation.direction).float()
        toward_planted = Projection(direction, sign=-1)
        maps = arm.trial.draw(
            np.concatenate([rows, arm.pairs + rows]), [toward_planted] * (2 * len(rows))
        )
        clean, planted = maps[: len(rows)], maps[len(rows) :]
        difference = planted - clean
        # Where the signal changes nothing, rounding is left, and would be ranked like a map.
        largest = torch.maximum(planted.abs(), clean.abs()).flatten(1).amax(1)
        floor = _ROUNDING * largest.view(-1, *[1] * (maps.ndim - 1))
        contrast = torch.where(difference.abs() > floor, difference, 0.0)
        for name, one in ((PROBE, planted), (CONTRAST, contrast)):
            self._score(importance(one, polarity), rows, arm, {"arm": name, "strength": strength})
        if last:
            where: dict[str, Condition] = {"arm": PROBE, "strength": NONE}
            self._score(importance(clean, polarity), rows, arm, where)

    def exhibit(self, arms: Sequence[Arm]) -> None:
        """Keep two subjects' images and maps for the report."""
        rows = self._rows[:: max(1, len(self._rows) // _SHOWN)][:_SHOWN]
        places = np.searchsorted(self._rows, rows)
        zero = probed(self._trial, None)
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "clean": self._trial.test.images[rows],
            ZERO: zero.trial.test.images[zero.pairs + rows],
            "truth": arms[0].trial.test.anatomy.rois[SITE][rows],
        }
        for strength, arm in zip(self._config.strengths, arms, strict=True):
            arrays[f"image {strength.name}"] = arm.trial.test.images[arm.pairs + rows]
            arrays[f"map {strength.name}"] = self._shown[strength.name][places].numpy()
        self._trial.exhibit(PositiveControl.name, arrays)

    def readings(self) -> list[Reading]:
        """Return the score first, then everything."""
        assessable = assessable_strengths(self._found) or _strengths(self._found)
        found = [find(self._found, "found", arm=TUNED, strength=one) for one in assessable]
        values = np.mean([one.values for one in found if one is not None], axis=0)
        score = Reading("found", self._trial.sample(self._rows), values, {}, self._reasons)
        return [score, *self._found]

    def _score(self, ranked: Tensor, rows: Rows, arm: Arm, where: Mapping[str, Condition]) -> None:
        """Score importance [n, 1, *S] against the sites of the test rows."""
        test = arm.trial.test
        truth = torch.from_numpy(test.anatomy.rois[SITE][rows])
        foreground = torch.from_numpy(test.anatomy.foreground[rows])
        keys = self._trial.sample(rows).keys
        why = ranking.reason_unrankable(ranked, foreground)
        reasons = {key: one for key, one in zip(keys, why, strict=True) if one}
        if where["arm"] == TUNED:
            self._reasons |= reasons

        def add(statistic: str, values: FloatArray, more: Mapping[str, Condition]) -> None:
            sample = self._trial.sample(rows)
            self._found.append(Reading(statistic, sample, values, {**where, **more}, reasons))

        above = above_decoys(ranked, truth, self._decoys(rows), foreground)
        add("ap_above_decoys", above, {})
        if where["strength"] != NONE:
            spacing, quantiles = self._trial.cohort.geometry.spacing, self._config.quantiles
            for score in site_scores(ranked, truth, foreground, quantiles, spacing):
                add(*score)

    def _decoys(self, rows: Rows) -> list[Tensor]:
        """Return sites drawn as the true ones, with no signal there, each [n, 1, *S] bool."""

        def draw() -> list[Tensor]:
            shape, purposes = self._trial.cohort.shape, range(self._config.decoys)
            places = [sites_of(self._trial, "test", f"decoy {one}")[rows] for one in purposes]
            return [torch.from_numpy(truths(sites, shape)) for sites in places]

        key = ("decoys", str(rows.tolist()), str(self._config.decoys))
        return self._trial.once(key, draw)

    def _restore(self, ranked: Tensor, strength: str, arm: Arm) -> None:
        """Put clean pixels back at the top of the map, and read which share of T goes."""
        test, suite, config = arm.trial.test, self._trial.runtime.suite, self._config
        foreground = torch.from_numpy(test.anatomy.foreground[self._rows])
        rankable = np.array([one is None for one in ranking.reason_unrankable(ranked, foreground)])
        rows, keep = self._rows[rankable], torch.from_numpy(rankable)
        if not len(rows):
            return
        names = [(suite, "positive_control", strength, test.keys[row]) for row in rows]
        tops, random = restoring_masks(
            ranked[keep],
            torch.from_numpy(test.anatomy.rois[SITE][rows]),
            foreground[keep],
            config.quantiles,
            [(stream(*name, "ties"), stream(*name, "restored")) for name in names],
            config.repeats,
        )
        masks = torch.cat([tops, random.flatten(1, 2)], dim=1)
        shares = restored_shares(arm, rows, self._rows, masks)
        steps = tops.shape[1]
        by_random = shares[:, steps:].reshape(-1, steps, config.repeats).mean(2)
        labels: tuple[Condition, ...] = (SITE, *config.quantiles)
        above = shares[:, :steps] - by_random
        for name, values in (("map", shares[:, :steps]), ("random", by_random)):
            where: dict[str, Condition] = {"strength": strength, "arm": name}
            self._add_where(rankable, "restored", values.mean(1), where)
        for place, q in enumerate(labels):
            at_q: dict[str, Condition] = {"strength": strength, "q": q}
            for name, values in (("map", shares[:, place]), ("random", by_random[:, place])):
                self._add_where(rankable, "restored", values, {**at_q, "arm": name})
            self._add_where(rankable, "restored_above_random", above[:, place], at_q)
        self._add_where(rankable, "restored_above_random", above.mean(1), {"strength": strength})

    def _add_where(
        self,
        rankable: npt.NDArray[np.bool_],
        statistic: str,
        values: FloatArray,
        where: Mapping[str, Condition],
    ) -> None:
        full = np.full(len(self._rows), np.nan)
        full[rankable] = values
        sample = self._trial.sample(self._rows)
        self._found.append(Reading(statistic, sample, full, where, self._reasons))

    def _constant(self, statistic: str, value: float, where: Mapping[str, Condition]) -> None:
        sample = self._trial.sample()
        self._found.append(Reading(statistic, sample, np.full(len(sample), value), where))


def _strengths(readings: Sequence[Reading]) -> list[str]:
    """Return the strengths of the tuned arm, the weakest first."""
    learned = [
        one for one in readings if one.statistic == "auroc" and one.conditions["arm"] == TUNED
    ]
    return [str(one.conditions["strength"]) for one in learned]
