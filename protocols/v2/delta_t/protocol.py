"""`delta_t` 2: does altering what the map marks move the group statistic?

Where each subject has a counterfactual partner, the partner's pixels are put where the map marks,
and the effect is the share of what the whole partner would do. Pixels that the other group's
anatomy leaves alone are equal in both, so nothing is out of distribution and there is no imputer.
Where there are none, an imputer removes the pixels, and the effect counts in magnitude: removal
pulls both groups to where neither is, so that with signs one group pays for the other.

The score is what the effect owes to the network: it is read against the same map at random places
(ring permutations) and the maps of networks that know nothing of the task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.errors import NotAssessableError
from benchmark.maps.imputers import Exchange
from benchmark.protocol import SanityProtocol
from benchmark.reading import Condition, Reading, Verdict, find, interval
from benchmark.statistics.studentised import TOO_FEW
from benchmark.trial import LABEL_MODEL, Keeping, NullMaps, Study, null_maps
from benchmark.trial.null_networks import CHANCE, MEMORISED, RANDOMISED, count_abstentions
from benchmark.trial.removal import REMOVAL, scored_substitute, substitutes
from protocols.v2.delta_t.effects import Alteration, MapEffects, full_effect, map_effects
from protocols.v2.delta_t.health import faults, kept_shares, words_of_shares
from protocols.v2.delta_t.statistics import DeltaTConfig, DeltaTStatistics
from protocols.v2.delta_t.yardsticks import (
    ATTAINABLE,
    fewest_shares,
    is_kept,
    scattered_drops,
    yardsticks,
)

_SMALLEST_ATTAINABLE = 0.05  # cells are coarser than smaller shares


class DeltaT(DeltaTStatistics, SanityProtocol[DeltaTConfig]):
    """Alteration of the top of the map, against random places and networks that know nothing."""

    name = "delta_t"
    version = "2.0"
    title = "Does altering what the map marks move the group statistic?"
    topic = "what separates the groups"
    if_passed = "marks what separates the groups"
    if_failed = "marks what separates the groups no better than chance or other networks do"
    primary = "delta_t"
    chance = "delta_t"
    margin = 0.03
    truth_leads = False
    owes_to_network = True
    Config = DeltaTConfig

    memorised = LABEL_MODEL

    @property
    def panel(self) -> tuple[str, ...]:
        """Names of the controls, whose maps are among the yardsticks."""
        return self.config.controls

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        images = study.balanced(self.config.subjects)
        ranked = images.ranked(study.trial.attributions[torch.from_numpy(images.rows)])
        count_abstentions(images, ranked)
        nulls = null_maps(images)
        available = substitutes(study.trial)
        primary = scored_substitute(study.trial)
        for name, imputer in available.items():
            full = None
            if isinstance(imputer, Exchange):
                full = images.shared(
                    "full effect", partial(full_effect, images, imputer), Keeping("1")
                )
                self._read_full(images, full)
            alteration = Alteration(imputer, self.config.quantiles, full)
            self._alter(images, ranked, nulls, alteration, is_primary=name == primary)

    def _read_full(self, images: Study, full: FloatArray) -> None:
        """Read the effect of the whole partner.

        Raises:
            NotAssessableError: If it moves the model to the other group in no more than chance.
        """
        images.read(self.full_effect, full, reasons={})
        limits = interval(images.readings, self.full_effect)
        if np.mean(full) <= 0 or (limits is not None and limits.low <= 0):
            raise NotAssessableError("exchanging images for their partners does not move the model")

    def _alter(
        self,
        images: Study,
        ranked: Tensor,
        nulls: NullMaps,
        alteration: Alteration,
        *,
        is_primary: bool,
    ) -> None:
        """Read the effects of one alteration; of an imputer that is unfit, only why it is."""
        config = self.config
        kept = self._kept(images, alteration)
        if kept.sum() < fewest_shares(config.quantiles):
            if is_primary:
                images.read_missing(self.delta_t, f"{alteration.name} is unfit for the model")
            return
        effects = map_effects(images, ranked, nulls, alteration, config.repeats)
        if is_primary:
            ranks_nothing = np.where(np.isnan(effects.values).any(1), 1.0, 0.0)
            images.read(self.abstained, ranks_nothing, reasons={})
        self._read_score(images, effects, alteration, kept, is_primary=is_primary)
        self._read_curves(images, effects, nulls, alteration)
        if is_primary or alteration.name == REMOVAL:
            self._read_yardsticks(images, effects, alteration, kept)

    def _kept(self, images: Study, alteration: Alteration) -> BoolArray:
        """Return at which shares the alteration is fit, [Q]; a partner is at all of them."""
        quantiles = self.config.quantiles
        if alteration.full is not None:
            return np.ones(len(quantiles), dtype=np.bool_)
        drops = scattered_drops(images, alteration, self.config.repeats)
        signs = images.trial.evaluation.signs[images.rows]
        for q, values in zip(quantiles, drops.T, strict=True):
            where: Mapping[str, Condition] = {"imputer": alteration.name, "q": q}
            images.read(self.scattered_effect_t_w, signs * values, where, reasons={})
        return is_kept(drops, images.groups)

    def _read_score(
        self,
        images: Study,
        effects: MapEffects,
        alteration: Alteration,
        kept: BoolArray,
        *,
        is_primary: bool,
    ) -> None:
        """Read what the effects owe to the network, in all, by share and by group."""
        where, owed = {"imputer": alteration.name}, effects.owed[:, kept].mean(1)
        score = alteration.linearised(owed)
        images.read(self.delta_t, score, where)
        if is_primary:
            images.read(self.delta_t, score)
        for q, values in zip(alteration.quantiles, effects.owed.T, strict=True):
            images.read(self.delta_t, alteration.linearised(values), {**where, "q": q})
        if is_primary:
            images.read_by_group(self.delta_t, owed / alteration.unit)
        signed = np.nan_to_num(effects.above_rings[:, kept].mean(1))
        images.read_by_group(self.signed_effect, signed, where)

    def _read_curves(
        self, images: Study, effects: MapEffects, nulls: NullMaps, alteration: Alteration
    ) -> None:
        """Read the effect of the map and of its nulls over the shares; a map's over chance's."""
        chance = effects.nulls[CHANCE]
        of_map = np.where(np.isnan(effects.values), chance, effects.values)
        arms = {"map": of_map, "random": chance}
        for name in (MEMORISED, RANDOMISED):
            if name in effects.nulls:
                arms[name] = effects.nulls[name]
        for arm, values in arms.items():
            where = {"imputer": alteration.name, "arm": arm}
            heights = values / alteration.unit
            area = images.curve(self.effect, alteration.quantiles, heights, where)
            images.read(self.effect_area, area, where, reasons={})
        for name, reason in nulls.left_out.items():
            where = {"imputer": alteration.name, "arm": name}
            images.read_missing(self.effect_area, reason, where)

    def _read_yardsticks(
        self, images: Study, effects: MapEffects, alteration: Alteration, kept: BoolArray
    ) -> None:
        """Read what maps do that need no explainer, and which part of the best the map reaches."""
        config = self.config
        measured = yardsticks(
            images, alteration, config.controls, config.cells, config.yardstick_repeats
        )
        for name, above in measured.items():
            where = {"imputer": alteration.name, "map": name}
            heights = above / alteration.unit
            images.read(self.yardstick, heights[:, kept].mean(1), where, reasons={})
            for q, values in zip(config.quantiles, heights.T, strict=True):
                images.read(self.yardstick, values, {**where, "q": q}, reasons={})
        coarse = kept & (np.array(config.quantiles) >= _SMALLEST_ATTAINABLE)
        if coarse.any():
            owed = effects.owed[:, coarse].sum(1)
            attainable = measured[ATTAINABLE][:, coarse].sum(1)
            where = {"imputer": alteration.name}
            images.read(self.share_of_attainable, owed, where, over=attainable, reasons={})

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the score's lower bound is above 0, in removal under every fit imputer."""
        shares = kept_shares(readings)
        names = (Exchange.name,) if find(readings, self.full_effect) else tuple(shares)
        unfit = f"{REMOVAL} is unfit: scattered pixels move T_w at too many shares"
        fit = [name for name in names if find(readings, self.delta_t, imputer=name)]
        if Exchange.name not in fit and REMOVAL not in fit:
            return Verdict("not assessable", None, unfit)
        intervals = {name: interval(readings, self.delta_t, imputer=name) for name in fit}
        limits = {name: limit for name, limit in intervals.items() if limit is not None}
        if any(np.isnan(limit.low) for limit in limits.values()):
            return Verdict("scored", None, TOO_FEW)
        short = [name for name, limit in limits.items() if not limit.low > 0]
        reason = f"no more than the strongest null under {', '.join(short)}" if short else None
        return Verdict("scored", not short, reason)

    @classmethod
    def health_faults(cls, readings: Sequence[Reading]) -> tuple[str, ...]:
        """Return what is known to change the images and yet does not lead; see the yardsticks."""
        return faults(readings)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say at which shares each imputer is fit, which nulls are missing, and what is known."""
        return words_of_shares(readings)
