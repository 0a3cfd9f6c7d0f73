"""`training_regime`: does a frozen encoder with a linear probe explain better than fine-tuning?

The encoder of the model on trial gets a fresh head, and is trained again by three regimes: the head
alone, the last stage too, and everything, each several times on bootstraps of the training
subjects. Of every regime two things are read: how much more alike a subject's maps are over refits
than maps of different subjects, and what removing the top of the map does. Regimes are compared at
each refit's best epoch and at epochs of matched accuracy.

All probes share one trunk, and that alone makes their maps alike. So every sentence is about this
encoder, unless other encoders of the same recipe are given: then maps are also compared on refits
of different ones, and the claim is about those.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from benchmark.arrays import BoolArray
from benchmark.errors import NotAssessableError, SanityError, StoreError
from benchmark.explainer import Explainer
from benchmark.protocol import Badge, Drawing, Exhibit, SanityProtocol, Table
from benchmark.reading import Reading, Verdict, find
from benchmark.statistics.bootstrap import Interval
from benchmark.training.regimes import REGIMES, Regime
from benchmark.trial import Study, Trial
from benchmark.trial.refits import Refit, refit
from benchmark.trial.study import Conditions
from protocols.training_regime.claim import claim_of
from protocols.training_regime.encoders import checksums_of, other_trials
from protocols.training_regime.exhibits import shown_courses, shown_maps
from protocols.training_regime.gains import gains, is_matched, mean_effect, regimes_in, unlearned
from protocols.training_regime.measures import (
    Answers,
    answers_of,
    known_images,
    likenesses_of,
    log_loss,
    maps_and_reasons,
    maps_on,
    partners_of,
    reasons_of,
)
from protocols.training_regime.over_encoders import stability_gains, untold
from protocols.training_regime.refits import Refits, best_refits, cards_of, matched_refits
from protocols.training_regime.statistics import (
    BEST,
    FULL,
    MATCHED,
    PROBE,
    RANDOMISED,
    SAME_LABELS,
    SEED_ALONE,
    TrainingRegimeConfig,
    TrainingRegimeStatistics,
    traced_point,
)
from protocols.training_regime.tables import regime_tables

NOT_MATCHED = "accuracy cannot be matched"

# Refits with their answers, of each regime at each point, encoder by encoder.
OfEncoders = dict[tuple[str, str], list[list[tuple[Refit, Answers]]]]


class TrainingRegime(TrainingRegimeStatistics, SanityProtocol[TrainingRegimeConfig]):
    """Maps on refits of a frozen encoder against maps on refits that were trained in full."""

    name = "training_regime"
    version = "1.0"
    title = "Does a frozen encoder with a probe explain better than fine-tuning?"
    topic = "training regimes"
    primary = "stability_gain"
    chance = "stability_gain"
    margin = 0.05
    truth_leads = False
    counts = False
    tolerance = 1e-4
    Config = TrainingRegimeConfig

    def settings(self, panel: Mapping[str, Explainer]) -> dict[str, Any]:
        """Return its settings; those of files and folders name what lies in them."""
        settings = super().settings(panel)
        settings["encoders"] = list(checksums_of(self.config.encoders))
        if not self.config.traced:
            del settings["traced"]  # epochs that are not read decide nothing
        if self.config.experiments is not None:
            cards = sorted(str(card.checksum) for card in cards_of(Path(self.config.experiments)))
            settings["experiments"] = hashlib.sha256("".join(cards).encode()).hexdigest()
        return settings

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, images = study.trial, study.balanced(self.config.subjects)
        others = other_trials(trial, self.config.encoders)
        refits = best_refits(trial, self.config)
        best = refits.by_regime
        for regime, reason in refits.left_out.items():
            images.read_missing(self.excess, reason, {"regime": regime, "point": BEST})
        images.constant(self.pretraining, 1.0, {"declared": self.config.pretraining})
        matched = matched_refits(trial, best)
        self._read_training(images, best, BEST)
        self._read_training(images, matched, MATCHED)
        maps: dict[str, npt.NDArray[np.generic]] = {}
        answers: OfEncoders = {}
        for regime in best:
            own = self._read_regime(images, best[regime], {"regime": regime, "point": BEST})
            maps |= shown_maps(images, regime, own)
            answers[regime, BEST], answers[regime, MATCHED] = [list(own.values())], []
            if [run.epoch for run in matched[regime]] == [run.epoch for run in best[regime]]:
                self._repeat(images, regime)
            else:
                where = {"regime": regime, "point": MATCHED}
                own = self._read_regime(images, matched[regime], where, own)
            answers[regime, MATCHED].append(list(own.values()))
        self._read_seeds(images, tuple(best))
        self._read_traced(images, best)
        self._read_null(images)
        self._read_gains(images)
        if others:
            self._read_encoders(images, others, answers)
        images.exhibit({**maps, **shown_courses(images, best, matched)})

    def _read_training(
        self, images: Study, refits: Refits, point: str, encoder: Conditions | None = None
    ) -> None:
        for regime, own in refits.items():
            for run in own:
                where: Conditions = {
                    "regime": regime,
                    "point": point,
                    "refit": run.recipe.refit,
                    **(encoder or {}),
                }
                images.constant(self.validation_auroc, run.auroc, where)
                images.constant(self.epoch, run.epoch, where)

    def _read_regime(
        self,
        images: Study,
        refits: Sequence[Refit],
        where: Conditions,
        known_answers: Mapping[int, tuple[Refit, Answers]] | None = None,
    ) -> dict[int, tuple[Refit, Answers]]:
        """Read everything of one regime at one point, and return the answers by refit."""
        answers: dict[int, tuple[Refit, Answers]] = {}
        for run in refits:
            number = run.recipe.refit
            before = (known_answers or {}).get(number)
            if before is not None and before[0].epoch == run.epoch:
                answers[number] = before
            else:
                answers[number] = run, answers_of(images, run.classifier, self.config)
        for number, (_, answer) in answers.items():
            condition = {**where, "refit": number}
            self._read_network(images, answer, condition)
            images.read(self.delta_t, answer.delta_t, condition, reasons=reasons_of(images, answer))
            if answer.ap is not None:
                images.read(self.ap, answer.ap, condition, reasons=reasons_of(images, answer))
        own = maps_and_reasons([answer for _, answer in answers.values()])
        self._read_stability(images, *own, list(answers), where)
        return answers

    def _read_network(self, images: Study, answer: Answers, where: Conditions) -> None:
        """Read what a network says of all test images."""
        trial, logits = images.trial, answer.logits
        margins, losses = logits[:, 1] - logits[:, 0], log_loss(logits, trial.test.groups)
        images.note(Reading(self.log_odds.name, trial.sample(), margins, where))
        images.note(Reading(self.log_loss.name, trial.sample(), losses, where))

    def _read_stability(
        self,
        images: Study,
        maps: Sequence[Tensor],
        unrankable: Sequence[Sequence[str | None]],
        numbers: Sequence[int],
        where: Conditions,
    ) -> None:
        """Read how alike maps are, over all refits and without each of these numbers."""
        known, reasons = known_images(images, unrankable)
        if not known.any():
            missing = np.full(len(images.rows), np.nan)
            images.read(self.excess, missing, where, reasons=reasons)
            for number in numbers:
                images.read(self.excess, missing, {**where, "without": number}, reasons=reasons)
            return
        partners = partners_of(images, self.config.partners, known)
        alike = likenesses_of(images, maps, partners, self.config.overlap)
        for statistic, values in (
            (self.stability, alike.stability()),
            (self.derangement, alike.derangement()),
            (self.excess, alike.excess()),
        ):
            images.read(statistic, np.where(known, values, np.nan), where, reasons=reasons)
        tops = replace(alike, own=alike.tops).stability()
        images.read(self.top_overlap, np.where(known, tops, np.nan), where, reasons=reasons)
        places = range(len(numbers))
        for left, number in enumerate(numbers):
            rest = alike.excess([other for other in places if other != left])
            values = np.where(known, rest, np.nan)
            images.read(self.excess, values, {**where, "without": number}, reasons=reasons)

    def _repeat(self, images: Study, regime: Regime) -> None:
        """Read once more what a regime has at its best epochs, which are the matched ones too."""
        own = [
            reading
            for reading in images.readings
            if (reading.conditions.get("regime"), reading.conditions.get("point")) == (regime, BEST)
            and reading.statistic not in (self.validation_auroc.name, self.epoch.name)
        ]
        images.note(
            *(
                replace(reading, conditions={**reading.conditions, "point": MATCHED})
                for reading in own
            )
        )

    def _read_seeds(self, images: Study, regimes: Sequence[Regime]) -> None:
        """Read the stability over refits that saw the same subjects, and differ by their seed."""
        if self.config.experiments is not None or self.config.by_seed < 2:
            return
        for regime in regimes:
            recipes = self.config.recipes(regime, self.config.by_seed)
            networks = [
                refit(images.trial, recipe, resampled=False).classifier for recipe in recipes
            ]
            where: Conditions = {"regime": regime, "point": SEED_ALONE}
            self._read_stability(images, *maps_on(images, networks), (), where)

    def _read_traced(self, images: Study, best: Refits) -> None:
        """Read the stability over refits at further epochs, as far as all of a regime got."""
        for regime, own in best.items():
            last = min(len(run.aurocs) for run in own)
            for epoch in (number for number in self.config.traced if number <= last):
                refits = [
                    run if run.epoch == epoch else refit(images.trial, run.recipe, epoch)
                    for run in own
                ]
                point = traced_point(epoch)
                self._read_training(images, {regime: refits}, point)
                maps = maps_on(images, [run.classifier for run in refits])
                numbers = [run.recipe.refit for run in refits]
                self._read_stability(images, *maps, numbers, {"regime": regime, "point": point})

    def _read_null(self, images: Study) -> None:
        """Read the stability of probes on encoders that know nothing."""
        for copy in range(self.config.copies):
            where: Conditions = {"regime": RANDOMISED, "copy": copy}
            try:
                encoder = images.trial.randomised(copy)
                refits = [refit(encoder, recipe) for recipe in self.config.recipes(PROBE)]
                answers = [answers_of(images, run.classifier, self.config) for run in refits]
            except StoreError:
                raise
            except SanityError as error:  # a method may refuse such a network
                images.read_missing(self.excess, str(error), where)
                continue
            numbers = [run.recipe.refit for run in refits]
            self._read_stability(images, *maps_and_reasons(answers), numbers, where)
            precisions = [answer.ap for answer in answers if answer.ap is not None]
            if precisions:
                images.read(self.ap, np.mean(precisions, axis=0), where)

    def _read_gains(self, images: Study) -> None:
        """Read what regimes gain over full training, subject by subject; nothing without signal."""
        readings = images.readings
        reason = unlearned(readings)
        if reason is not None:
            images.read_missing(self.stability_gain, reason)
            return
        for regime in regimes_in(readings):
            for point in (BEST, MATCHED):
                if regime == FULL:
                    continue
                where: Conditions = {"regime": regime, "point": point}
                pair = [
                    find(readings, self.excess, regime=name, point=point) for name in (regime, FULL)
                ]
                if pair[0] is None or pair[1] is None:
                    continue
                reasons = {**pair[1].reasons, **pair[0].reasons}
                gain = pair[0].values - pair[1].values
                images.read(self.stability_gain, gain, where, reasons=reasons)
                if (regime, point) == (PROBE, MATCHED):
                    images.read(self.stability_gain, gain, reasons=reasons)
                effects = [mean_effect(readings, name, point) for name in (regime, FULL)]
                images.read(self.faith_gain, effects[0] - effects[1], where, reasons=reasons)

    def _read_encoders(
        self, images: Study, others: Mapping[str, Trial], answers: OfEncoders
    ) -> None:
        """Read refits of other encoders, and how alike maps are on refits of different ones."""
        numbers = [run.recipe.refit for run, _ in answers[PROBE, BEST][0]]
        for encoder_number, (name, trial) in enumerate(others.items(), 1):
            encoder: Conditions = {"encoder": encoder_number}
            best = best_refits(trial, self.config, (PROBE, FULL)).by_regime
            if any([run.recipe.refit for run in own] != numbers for own in best.values()):
                raise NotAssessableError(f"the refits of encoder {name!r} have other numbers")
            images.constant(self.other_encoder, encoder_number, {**encoder, "name": name})
            matched = matched_refits(trial, best)
            known: dict[Regime, dict[int, tuple[Refit, Answers]]] = {}
            for point, refits in ((BEST, best), (MATCHED, matched)):
                self._read_training(images, refits, point, encoder)
                for regime, own in refits.items():
                    at: Conditions = {"regime": regime, "point": point, **encoder}
                    known[regime] = self._read_regime(images, own, at, known.get(regime))
                    answers[regime, point].append(list(known[regime].values()))
        for regime, point in itertools.product((PROBE, FULL), (BEST, MATCHED)):
            where: Conditions = {"regime": regime, "point": point}
            self._read_over_encoders(images, answers[regime, point], where)
        gain = stability_gains(images.readings, MATCHED)
        if gain is not None:
            images.read(self.stability_gain_over_encoders, gain)

    def _read_over_encoders(
        self, images: Study, answers: Sequence[Sequence[tuple[Refit, Answers]]], where: Conditions
    ) -> None:
        """Read how alike maps are on pairs of refits of different encoders."""
        flat = [answer for of_encoder in answers for _, answer in of_encoder]
        encoders = np.repeat(np.arange(len(answers)), len(answers[0]))
        refits = np.array([run.recipe.refit for of_encoder in answers for run, _ in of_encoder])
        maps, unrankable = maps_and_reasons(flat)
        known, reasons = known_images(images, unrankable)
        left: list[tuple[Conditions, BoolArray]] = [({}, refits > 0)]
        left += [({"without": int(number)}, refits != number) for number in np.unique(refits)]
        if len(answers) > 2:
            left += [
                ({"without encoder": number}, encoders != number) for number in range(len(answers))
            ]
        partners = partners_of(images, self.config.partners, known)
        alike = likenesses_of(images, maps, partners, self.config.overlap) if known.any() else None
        for condition, chosen in left:
            values = np.full(len(known), np.nan)
            if alike is not None:
                rest = alike.excess(np.flatnonzero(chosen).tolist(), encoders)
                values = np.where(known, rest, np.nan)
            images.read(self.excess_over_encoders, values, {**where, **condition}, reasons=reasons)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Say whether the claim is supported; a method neither passes nor fails by it."""
        reason = unlearned(readings)
        if reason is not None:
            return Verdict("not assessable", None, reason)
        if not is_matched(readings):
            return Verdict("not assessable", None, NOT_MATCHED)
        return Verdict("scored", None, claim_of(readings)[1])

    @classmethod
    def score_interval(cls, readings: Sequence[Reading]) -> Interval:
        """Return the gain in stability, with its interval over subjects and refits."""
        return gains(readings)[0]

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say whether a probe explains better, given this encoder or over several."""
        if unlearned(readings) is not None or not is_matched(readings):
            return ()
        held, sentence = claim_of(readings)
        return (Badge("a probe explains better", held, sentence),)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say what the encoder was trained on before, and which regime is left out."""
        remarks = []
        for pretraining in readings:
            if pretraining.statistic == cls.pretraining.name:
                declared = str(pretraining.conditions["declared"])
                marked = ", so a probe already knows them" if declared == SAME_LABELS else ""
                remarks.append(f"pretraining of the encoder: {declared}{marked}")
        if reason := untold(readings):
            remarks.append(f"nothing is told over encoders: {reason}")
        for regime in set(REGIMES) - set(regimes_in(readings)):
            reading = find(readings, cls.excess, regime=regime, point=BEST)
            if reading is not None and reading.reasons:
                remarks.append(f"{regime} left out: {next(iter(reading.reasons.values()))}")
        return "; ".join(remarks) or None

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield each method's regimes, their differences, and the components of variance."""
        return regime_tables(readings)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show what regimes gain, and maps of some subjects over refits."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.training_regime.figures import regime_drawings

        return regime_drawings(exhibits, readings)
