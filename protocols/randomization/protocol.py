"""`randomization`: does the map depend on what the model has learned?

A map that stays as it is when the model forgets shows the image, not the model (Adebayo et al.
2018). But noise changes too (Binder et al. 2023), and maps of two well-trained networks do not
agree fully either. So the similarity to randomised copies is read against the similarity to a twin:
the same network trained from another seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from benchmark.classifier import PassCounter
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.explainer import importance
from benchmark.maps.similarity import entropy, spearman
from benchmark.protocol import Badge, Drawing, Exhibit, ProtocolConfig, SanityProtocol
from benchmark.reading import Condition, Plot, Reading, Statistic, Verdict, find, summarise
from benchmark.seeding import stream
from benchmark.target import own_margin
from benchmark.training import memorise, permuted, train_from_scratch, training_accuracy
from benchmark.training.relatives import Relative
from benchmark.trial import RANDOM_COPIES, Trial
from benchmark.trial.removal import masking_rows
from protocols.randomization.likeness import SPEARMAN, Lens, Likeness
from protocols.randomization.walks import CASCADE, altered, steps

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TWIN, MEMORISED = "twin", "memorised"
_TWIN_SEED, _LABEL_SEED = 1, 2
_MEMORISED = 0.95
_NEEDED = 0.5
_NO_TWIN = "no twin, since the cohort has no training split"


class RandomizationConfig(ProtocolConfig):
    """Settings of `randomization`.

    Attributes:
        subjects: Images explained on the twin, on the copies, and on the model that memorised
            permuted labels; as many of each group.
        walk_subjects: Images, among these, explained at every step of the walks.
        seeds: Copies that each step is averaged over, at most three.
        smooth_subjects: Images, among these, whose maps are averaged over noise.
        smooth_noises: Noisy versions of each.
        smooth_sigma: Standard deviation of the noise, in units of intensity.
        smooth_passes: Methods whose map costs more passes than this are not averaged over noise.
        quantile: Share of the foreground that is compared as the top of two maps.
    """

    subjects: int = Field(64, ge=4)
    walk_subjects: int = Field(8, ge=2)
    seeds: int = Field(3, ge=1, le=RANDOM_COPIES)
    smooth_subjects: int = Field(16, ge=2)
    smooth_noises: int = Field(50, ge=2)
    smooth_sigma: float = Field(0.05, gt=0)
    smooth_passes: int = Field(8, ge=0)
    quantile: float = Field(0.1, gt=0, lt=1)


class Randomization(SanityProtocol[RandomizationConfig]):
    """The map on randomised copies of the model, against the map on its twin."""

    name = "randomization"
    version = "1.0"
    title = "Does the map depend on what the model has learned?"
    primary = "learned_share"
    chance = "twin"
    margin = 0.02
    truth_leads = False
    gate = True
    tolerance = 1e-5
    Config = RandomizationConfig
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic(
            "learned_share",
            "share of what twins' maps have in common that randomised copies lose",
            "higher",
            "ratio",
        ),
        Statistic("twin", "similarity of the map to that on the model's twin", "higher"),
        Statistic("full", "similarity of the map to that on fully randomised copies", "lower"),
        Statistic("contrast", "twin minus full", "higher"),
        Statistic("last_layer", "similarity when the head alone is randomised", "lower"),
        Statistic(
            "similarity",
            "similarity to the trained model's map, step by step",
            "none",
            plot=Plot("curve", "depth", ("walk",), None, "Spearman with the trained map"),
        ),
        Statistic("structure", "the same by the other measures of similarity", "none"),
        Statistic(
            "data_share",
            "share of what twins' maps have in common that a model of permuted labels lacks",
            "higher",
            "ratio",
        ),
        Statistic("memorised", "similarity to the map on a model of permuted labels", "lower"),
        Statistic("smooth_full", "full, of maps averaged over noisy images", "lower"),
        Statistic("entropy_rise", "rise of the map's entropy on copies, as a share", "higher"),
        Statistic("covered", "share of parameters that randomising changes", "none", "constant"),
        Statistic("training_accuracy", "of permuted labels, memorised", "none", "constant"),
    )

    def readings(self, trial: Trial) -> list[Reading]:
        """Measure; see the base class."""
        study = _Study(trial, self.config)
        study.twins()
        study.walk()
        study.labels()
        study.smooth()
        study.exhibit()
        return study.readings()

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if twins' maps agree, and most of that agreement is learned."""
        twin, share = find(readings, "twin"), find(readings, "learned_share")
        if twin is None or share is None or _NO_TWIN in twin.reasons.values():
            return Verdict("not assessable", None, _NO_TWIN)
        if not summarise(twin).low > 0:
            return Verdict("scored", False, "the maps of twins do not agree")
        if not summarise(share, "ratio").low > _NEEDED:
            reason = "no more than half of what is reproducible in the map was learned"
            return Verdict("scored", False, reason)
        return Verdict("scored", True)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say whether the map notices the last layer, and labels without meaning."""
        badges = []
        last, twin = find(readings, "last_layer"), find(readings, "twin")
        if last is not None and twin is not None:
            here, ceiling = summarise(last), summarise(twin)
            told = f"similarity {here.estimate:.2f}, of twins {ceiling.estimate:.2f}"
            badges.append(Badge("notices the last layer", here.high < 1 - 1e-6, told))
        share = find(readings, "data_share")
        if share is not None:
            found = summarise(share, "ratio")
            known = bool(np.isfinite(found.low))
            told = (
                f"share {found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]"
                if known
                else next(iter(share.reasons.values()), "not known")
            )
            badges.append(Badge("notices the labels", found.low > 0 if known else None, told))
        return tuple(badges)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say which share of the parameters was changed, and whether labels were memorised."""
        covered, known = find(readings, "covered"), find(readings, "training_accuracy")
        told = "" if covered is None else f"randomising changed {covered.values[0]:.1%} of weights"
        if known is not None:
            told += f"; permuted labels memorised to {known.values[0]:.2f}"
        return told or None

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show one subject's cascade, and the similarity under its ceiling."""
        from protocols.randomization.figures import cascade_drawings

        return cascade_drawings(exhibits, readings)

    def relatives(self, trial: Trial) -> Iterator[Relative]:
        """Yield the twin, and the model that memorised permuted labels."""
        yield twin_of(trial)
        yield memorised_by(trial)

    def cost(self, trial: Trial) -> PassCounter:
        """Return the passes of all maps and of batch norm."""
        config, (forward, backward) = self.config, trial.explainer.passes
        models = {step.stages for step in steps(trial.classifier)}
        walked = (len(models) - 1) * config.seeds
        maps = trial.filled(config.subjects) * (3 + RANDOM_COPIES)
        lane = config.walk_subjects // 2
        maps += walked * trial.filled(config.walk_subjects, lane=lane)
        if forward + backward <= config.smooth_passes:
            maps += 2 * trial.filled(config.smooth_subjects * config.smooth_noises)
        images = len(trial.reestimation_images())
        return PassCounter(maps * forward + walked * images, maps * backward)


def twin_of(trial: Trial) -> Relative:
    """Return the twin: the same recipe from another seed."""
    recipe = trial.peers.recipe
    return Relative(
        TWIN,
        {"recipe": asdict(recipe), "seed": _TWIN_SEED},
        lambda: train_from_scratch(trial.classifier, trial.cohort, recipe, _TWIN_SEED),
    )


def memorised_by(trial: Trial) -> Relative:
    """Return the network that knows permuted labels by heart."""
    recipe = trial.peers.recipe
    return Relative(
        MEMORISED,
        {"recipe": asdict(recipe), "seed": _LABEL_SEED, "accuracy": _MEMORISED},
        lambda: memorise(trial.classifier, trial.cohort, recipe, _LABEL_SEED, _MEMORISED),
    )


class _Study:
    """Collects readings of one explainer."""

    def __init__(self, trial: Trial, config: RandomizationConfig) -> None:
        self._trial, self._config = trial, config
        self._rows = masking_rows(trial, config.subjects)
        self._walk_rows = masking_rows(trial, config.walk_subjects)
        self._found: list[Reading] = []
        self._cascade: list[Tensor] = []
        self._twin: dict[str, FloatArray] = {}
        self._bases: dict[str, Likeness] = {}
        try:
            _ = trial.train
            self._has_train = True
        except CohortError:
            self._has_train = False

    def twins(self) -> None:
        """Compare with the twin and with fully randomised copies."""
        trial, rows = self._trial, self._rows
        base, seen = trial.maps(rows), self._base(rows)
        copies = [trial.randomised(copy).maps(rows) for copy in range(RANDOM_COPIES)]
        full = _mean([seen.to(self._look(one, rows)) for one in copies])
        nothing = np.full(len(rows), np.nan)
        twin = dict.fromkeys(full, nothing)
        if self._has_train:
            twin = seen.to(self._look(trial.relative(twin_of(trial)).maps(rows), rows))
        self._twin = twin
        why = {} if self._has_train else dict.fromkeys(trial.sample(rows).keys, _NO_TWIN)
        for measure, values in full.items():
            contrast = twin[measure] - values
            where = _where(measure)
            self._add("learned_share", contrast, rows, where, why, twin[measure])
            self._add("twin", twin[measure], rows, where, why)
            self._add("full", values, rows, where)
            self._add("contrast", contrast, rows, where, why)
        trained = entropy(self._ranked(base), self._foreground(rows)).numpy()
        rises = [
            entropy(self._ranked(one), self._foreground(rows)).numpy() / trained - 1
            for one in copies
        ]
        self._add("entropy_rise", np.where(trained > 0, np.mean(rises, axis=0), np.nan), rows)
        self._constant("covered", self._covered())

    def walk(self) -> None:
        """Compare step by step, and with the class that the randomised model predicts."""
        trial, rows, config = self._trial, self._walk_rows, self._config
        base, lane = self._base(rows), config.walk_subjects // 2
        found: dict[frozenset[int], dict[str, FloatArray]] = {}
        everything = frozenset(range(len(trial.classifier.stages)))
        for step in steps(trial.classifier):
            if step.stages not in found:
                maps = [
                    altered(trial, step.stages, copy).maps(rows)
                    if step.stages == everything
                    else altered(trial, step.stages, copy).draw(rows, lane=lane)
                    for copy in range(config.seeds)
                ]
                found[step.stages] = _mean([base.to(self._look(one, rows)) for one in maps])
                if step.walk == CASCADE:
                    self._cascade.append(maps[0][:1])
            self._step(step.walk, step.depth, found[step.stages])
            if step.walk == CASCADE and step.depth == 1:
                for measure, values in found[step.stages].items():
                    self._add("last_layer", values, rows, _where(measure))
        places = np.searchsorted(self._rows, rows)
        for depth in (1, len(everything)):
            self._step(TWIN, depth, {key: one[places] for key, one in self._twin.items()})
        again = [self._predicted(copy, rows, lane) for copy in range(config.seeds)]
        predicted = _mean([base.to(self._look(maps, rows)) for maps in again])
        for measure, values in predicted.items():
            self._add("full", values, rows, {**_where(measure), "target": "re-predicted"})

    def labels(self) -> None:
        """Compare with a model that memorised permuted labels."""
        trial, rows = self._trial, self._rows
        reasons: dict[str, str] = {}
        values = dict.fromkeys(self._twin, np.full(len(rows), np.nan))
        if self._has_train:
            other = trial.relative(memorised_by(trial))
            accuracy = other.once(
                ("training accuracy", other.model_identity),
                lambda: training_accuracy(other.classifier, permuted(trial.cohort, _LABEL_SEED)),
            )
            self._constant("training_accuracy", accuracy)
            if accuracy >= _MEMORISED:
                values = self._base(rows).to(self._look(other.maps(rows), rows))
            else:
                reasons = dict.fromkeys(trial.sample(rows).keys, "labels not memorised")
        else:
            reasons = dict.fromkeys(trial.sample(rows).keys, _NO_TWIN)
        for measure, one in values.items():
            where, twin = _where(measure), self._twin[measure]
            self._add("memorised", one, rows, where, reasons)
            self._add("data_share", twin - one, rows, where, reasons, twin)

    def smooth(self) -> None:
        """Compare maps averaged over noise (sMPRT, Hedström et al. 2024)."""
        trial, config = self._trial, self._config
        rows = masking_rows(trial, config.smooth_subjects)
        passes = sum(trial.explainer.passes)
        if passes > config.smooth_passes:
            needed = passes * config.smooth_noises
            why = f"smoothing would take {needed} passes an image and model"
            nothing = np.full(len(rows), np.nan)
            reasons = dict.fromkeys(trial.sample(rows).keys, why)
            self._add("smooth_full", nothing, rows, None, reasons)
            return
        noisy = trial.once(("noisy", str(config)), lambda: self._noisy(rows))
        averaged = []
        for one in (trial, trial.randomised(0)):
            there = one.on(cohort=noisy)
            maps = there.draw(np.arange(len(noisy)))
            averaged.append(maps.view(len(rows), config.smooth_noises, *maps.shape[1:]).mean(1))
        first, second = (self._ranked(one) for one in averaged)
        values = spearman(first, second, self._foreground(rows))
        self._add("smooth_full", values.numpy(), rows)

    def exhibit(self) -> None:
        """Keep one subject's cascade for the report."""
        trial, row = self._trial, self._walk_rows[:1]
        polarity = trial.explainer.polarity
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "image": trial.test.images[row],
            "foreground": trial.test.anatomy.foreground[row],
            "trained": importance(trial.maps(row), polarity).numpy(),
            "cascade": torch.cat([importance(one, polarity) for one in self._cascade]).numpy(),
            "stages": np.array([stage.name for stage in trial.classifier.stages]),
        }
        if self._has_train:
            twin = trial.relative(twin_of(trial)).maps(row)
            arrays["twin"] = importance(twin, polarity).numpy()
            memorised = trial.relative(memorised_by(trial)).draw(row)
            arrays["memorised"] = importance(memorised, polarity).numpy()
        trial.exhibit(Randomization.name, arrays)

    def readings(self) -> list[Reading]:
        """Return what was measured."""
        return self._found

    def _noisy(self, rows: Rows) -> Cohort:
        """Return the test rows, each as often as there are noises, with noise of their own."""
        test, config = self._trial.test, self._config
        cohort = test.take(np.repeat(rows, config.smooth_noises))
        noise = np.concatenate(
            [
                stream(self._trial.runtime.suite, "smoothing", test.keys[row]).normal(
                    0, config.smooth_sigma, (config.smooth_noises, *test.images.shape[1:])
                )
                for row in rows
            ]
        )
        names = [f"{test.keys[row]}~{n}" for row in rows for n in range(config.smooth_noises)]
        images = np.clip(cohort.images + noise, 0, 1).astype(np.float32)
        people = cohort.participants.assign(subject=names)
        return replace(cohort, name=f"{cohort.name}~", images=images, participants=people)

    def _predicted(self, copy: int, rows: Rows, lane: int) -> Tensor:
        """Return the maps on a full copy of the class that the copy itself predicts."""
        trial = self._trial.randomised(copy)
        logits = trial.embed_in_lanes(trial.test.batch(rows).images)[0]
        predicted = logits.argmax(1)
        maps = trial.maps(rows)
        other = np.flatnonzero(predicted != trial.test.groups[rows])
        if len(other):
            targets = [own_margin(int(predicted[place])) for place in other]
            maps = maps.clone()
            maps[torch.from_numpy(other)] = trial.draw(rows[other], targets, lane)
        return maps

    def _base(self, rows: Rows) -> Likeness:
        """Return the maps on the trained model, seen once for all that they are compared with."""
        if str(rows.tolist()) not in self._bases:
            self._bases[str(rows.tolist())] = self._see(self._trial.maps(rows), rows)
        return self._bases[str(rows.tolist())]

    def _look(self, maps: Tensor, rows: Rows) -> Likeness:
        """Return maps ready for comparison; a map that no model moves is ready already."""
        if torch.equal(maps, self._trial.maps(rows)):
            return self._base(rows)
        return self._see(maps, rows)

    def _see(self, maps: Tensor, rows: Rows) -> Likeness:
        keys, suite = self._trial.sample(rows).keys, self._trial.runtime.suite
        lens = Lens(
            self._foreground(rows),
            self._trial.explainer.polarity,
            self._config.quantile,
            [(suite, "randomization", key) for key in keys],
        )
        return Likeness(maps, lens)

    def _ranked(self, maps: Tensor) -> Tensor:
        return importance(maps, self._trial.explainer.polarity)

    def _foreground(self, rows: Rows) -> Tensor:
        return torch.from_numpy(self._trial.test.anatomy.foreground[rows])

    def _covered(self) -> float:
        """Return the share of weights that differ on the first full copy."""
        own = dict(self._trial.classifier.named_parameters())
        other = dict(self._trial.randomised(0).classifier.named_parameters())
        changed = sum(int((own[name] != other[name]).sum()) for name in own)
        return changed / sum(one.numel() for one in own.values())

    def _step(self, walk: str, depth: int, values: Mapping[str, FloatArray]) -> None:
        where: dict[str, Condition] = {"walk": walk, "depth": depth}
        for measure, one in values.items():
            if measure == SPEARMAN:
                self._add("similarity", one, self._walk_rows, where)
            else:
                self._add("structure", one, self._walk_rows, {**where, "measure": measure})

    def _add(
        self,
        statistic: str,
        values: FloatArray,
        rows: Rows,
        where: Mapping[str, Condition] | None = None,
        reasons: Mapping[str, str] | None = None,
        denominators: FloatArray | None = None,
    ) -> None:
        sample = self._trial.sample(rows)
        told = dict(reasons or {})
        if not told and np.isnan(values).any():
            missing = np.flatnonzero(np.isnan(values))
            told = {sample.keys[place]: "constant or non-finite map" for place in missing}
        self._found.append(Reading(statistic, sample, values, where or {}, told, denominators))

    def _constant(self, statistic: str, value: float) -> None:
        sample = self._trial.sample(self._rows)
        self._found.append(Reading(statistic, sample, np.full(len(sample), value)))


def _where(measure: str) -> dict[str, Condition]:
    return {} if measure == SPEARMAN else {"measure": measure}


def _mean(values: Sequence[Mapping[str, FloatArray]]) -> dict[str, FloatArray]:
    return {key: np.mean([one[key] for one in values], axis=0) for key in values[0]}
