"""What altering the top of a map does to a model, and what maps that know nothing do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.maps.imputers import Exchange, Imputer
from benchmark.maps.ranking import reason_unrankable
from benchmark.statistics.own import of_mean, own
from benchmark.trial import NullMaps, Study
from benchmark.trial.removal import respond


@dataclass(frozen=True)
class Alteration:
    """How images are altered, and how a model's answers count.

    Attributes:
        imputer: Imputer that fills in pixels.
        quantiles: Q shares of the foreground that are altered.
        full: [n] drop of s·φ in units of T when the image becomes its partner, in units of whose
            mean an effect counts; None under an imputer, where units of T are.
    """

    imputer: Imputer
    quantiles: tuple[float, ...]
    full: FloatArray | None = None

    @property
    def name(self) -> str:
        """Name in readings' conditions."""
        return self.imputer.name

    @property
    def unit(self) -> float:
        """Mean of the full effect, or 1."""
        return 1.0 if self.full is None else float(np.mean(self.full))

    def effects(self, drops: FloatArray) -> FloatArray:
        """Return what drops of s·φ in units of T count, in units of T.

        A partner pulls an image towards the other group. An imputer pulls either group to where
        neither is, so that effects of opposite sign would cancel: they count in magnitude.
        """
        return np.abs(drops) if self.full is None else drops

    def linearised(self, values: FloatArray) -> FloatArray:
        """Return values [n] in units of T whose mean is the score in units of the full effect."""
        return values if self.full is None else of_mean(values, self.full)


@dataclass(frozen=True)
class MapEffects:
    """What altering the top of a map and of its nulls does, in units of T.

    Attributes:
        above_rings: [n, Q] drop of s·φ minus the mean drop at random places, with its sign; NaN
            where the map ranks nothing.
        values: [n, Q] effect; NaN where the map ranks nothing.
        nulls: [n, Q] effect of each null by name, chance at random places first.
    """

    above_rings: FloatArray
    values: FloatArray
    nulls: Mapping[str, FloatArray]

    @cached_property
    def owed(self) -> FloatArray:
        """What the effects owe to the network, [n, Q]; see ``own`` for a map that ranks nothing.

        The null is chosen at each share by its mean: edges hold less of an effect than random
        places at small shares and more at large ones, and owe nothing to the network at either.
        """
        columns = range(self.values.shape[1])
        return np.column_stack([own(self.values[:, q], self._nulls_at(q)).values for q in columns])

    def _nulls_at(self, column: int) -> dict[str, FloatArray]:
        return {name: null[:, column] for name, null in self.nulls.items()}


def map_effects(
    images: Study, ranked: Tensor, null_maps: NullMaps, alteration: Alteration, repeats: int
) -> MapEffects:
    """Return what altering the top of a map, of its permutations and of null maps does.

    Args:
        images: Study of the images.
        ranked: Importance of the map on trial, [n, 1, *S].
        null_maps: Maps that the same method draws for networks that know nothing of the task.
        alteration: Alteration of the images.
        repeats: Ring permutations of each image.
    """
    drops, turned = drops_of(images, ranked, alteration, repeats)
    effects = alteration.effects(drops)

    def measure(maps: Tensor) -> FloatArray:
        # A blind method draws the same map for every network.
        if torch.equal(maps, ranked):
            return effects
        return alteration.effects(drops_of(images, maps, alteration)[0])

    chance = alteration.effects(turned).mean(2)
    # What is not known of a map that ranks nothing is what it is on the other images.
    chance = np.where(np.isnan(chance), np.nanmean(chance, axis=0), chance)
    nulls = null_maps.measure(measure, chance)
    return MapEffects(drops - turned.mean(2), effects, nulls)


def drops_of(
    images: Study, ranked: Tensor, alteration: Alteration, repeats: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Return the drops of s·φ in units of T when tops of maps are altered, [n, Q] and [n, Q, R].

    The second are those of the R ring permutations of the same tops. Both are NaN where a map
    ranks nothing.
    """
    reasons = reason_unrankable(ranked, images.foreground)
    is_sound = np.array([reason is None for reason in reasons])
    count = len(alteration.quantiles)
    drops = np.full((len(images.rows), count, 1 + repeats), np.nan)
    if not is_sound.any():
        return drops[..., 0], drops[..., 1:]
    known, sound = images.only(images.rows[is_sound]), ranked[torch.from_numpy(is_sound)]

    def masks(chunk: slice) -> Tensor:
        few = known.only(known.rows[chunk])
        tops = few.tops(sound[chunk], alteration.quantiles)[:, :, 0]
        return few.with_rings(tops, repeats, slice(None)) if repeats else tops

    response = respond(images.trial, known.rows, masks, alteration.imputer)
    drops[is_sound] = response.drops.reshape(len(known.rows), count, 1 + repeats)
    return drops[..., 0], drops[..., 1:]


def full_effect(images: Study, exchange: Exchange) -> FloatArray:
    """Return the drop of s·φ in units of T when each image becomes its partner, [n]."""
    shape = images.trial.cohort.shape

    def masks(chunk: slice) -> Tensor:
        return torch.ones(len(images.rows[chunk]), 1, *shape, dtype=torch.bool)

    return respond(images.trial, images.rows, masks, exchange).drops[:, 0]


def moves_of_t_w(drops: FloatArray, groups: Rows) -> FloatArray:
    """Return by how much drops [n, Q] of s·φ in units of T lower T_w, [Q], in units of T."""
    moves: FloatArray = drops[groups == 0].mean(0) + drops[groups == 1].mean(0)
    return moves
