"""How far edits reach inside the tops of maps, of their permutations and of null maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.maps.ranking import reason_unrankable
from benchmark.statistics.own import own
from benchmark.trial import NullMaps, Study
from benchmark.trial.interventions.edits import Editor
from benchmark.trial.null_networks import CHANCE
from protocols.edit_reach.statistics import EditReachConfig

TWIN = "twin"


@dataclass(frozen=True)
class TopReaches:
    """How far edits reach inside the tops of maps; NaN where a map ranks nothing.

    Attributes:
        tops: [n, Q, *S] bool, the tops.
        reach: [n, Q] reach in units of T.
        rings: [n, Q, R] the same inside ring permutations of the tops.
        on_twin: [n, Q, 1 + R] fall on the twin under the same edits, in units of its T; None
            without a twin.
        coordinates: [n, Q, K] position of the edits inside the tops in the plausible subspace.
    """

    tops: Tensor
    reach: FloatArray
    rings: FloatArray
    on_twin: FloatArray | None
    coordinates: FloatArray

    @cached_property
    def above_rings(self) -> FloatArray:
        """Reach above the mean of the permutations, [n, Q]."""
        difference: FloatArray = self.reach - self.rings.mean(2)
        return difference


@dataclass(frozen=True)
class MapReaches:
    """How far edits reach inside the top of the map on trial, and inside its nulls.

    Attributes:
        own: The map's.
        nulls: [n, Q] reach of each null by name, chance at random places first.
    """

    own: TopReaches
    nulls: Mapping[str, FloatArray]

    @cached_property
    def owed(self) -> FloatArray:
        """What the reach owes to the network, [n, Q]; see ``own`` for a map that ranks nothing."""
        values = self.own.reach
        return np.column_stack(
            [
                own(values[:, q], {name: null[:, q] for name, null in self.nulls.items()}).values
                for q in range(values.shape[1])
            ]
        )

    def above(self, null: str) -> FloatArray:
        """Return the reach above that of one null, [n, Q]; 0 where the map ranks nothing."""
        difference = self.own.reach - self.nulls[null]
        return np.where(np.isnan(difference), 0.0, difference)

    @cached_property
    def of_map(self) -> FloatArray:
        """Reach of the map, [n, Q], with that of chance where it ranks nothing."""
        return np.where(np.isnan(self.own.reach), self.nulls[CHANCE], self.own.reach)


def top_reaches(
    images: Study, editor: Editor, ranked: Tensor, quantiles: Sequence[float], repeats: int
) -> TopReaches:
    """Return how far edits reach inside the top of a map [n, 1, *S] and of its permutations."""
    tops, is_sound = _tops(images, ranked, quantiles)
    size = (len(images.rows), len(quantiles), 1 + repeats)

    def masks(chunk: slice) -> Tensor:
        return images.with_rings(tops, repeats, chunk)

    edits = editor.edits(images.rows, masks)
    reach = _where(is_sound, edits.reach.reshape(size))
    twin = edits.elsewhere.get(TWIN)
    coordinates = edits.coordinates.reshape(*size, -1)[:, :, 0]
    return TopReaches(
        tops,
        reach[..., 0],
        reach[..., 1:],
        None if twin is None else _where(is_sound, twin.reshape(size)),
        coordinates,
    )


def map_reaches(
    images: Study, editor: Editor, ranked: Tensor, null_maps: NullMaps, config: EditReachConfig
) -> MapReaches:
    """Return how far edits reach inside the top of a map and inside its nulls.

    Args:
        images: Study of the images.
        editor: Finds the edits.
        ranked: Importance of the map on trial, [n, 1, *S].
        null_maps: Maps that the same method draws for networks that know nothing of the task.
        config: Settings of the protocol.
    """
    quantiles = config.quantiles
    own_reaches = top_reaches(images, editor, ranked, quantiles, config.repeats)
    # A blind method draws the same map for every network.
    others = [maps for maps in _distinct(null_maps) if not torch.equal(maps, ranked)]
    measured: list[tuple[Tensor, FloatArray]] = [(ranked, own_reaches.reach)]
    if others:
        tops_of_others = [_tops(images, maps, quantiles) for maps in others]
        masks = torch.cat([tops for tops, _ in tops_of_others], dim=1)
        edits = replace(editor, others={}).edits(images.rows, lambda chunk: masks[chunk])
        parts = np.split(edits.reach, len(others), axis=1)
        for maps, (_, is_sound), reach in zip(others, tops_of_others, parts, strict=True):
            measured.append((maps, _where(is_sound, reach)))

    def measure(maps: Tensor) -> FloatArray:
        # A map that holds NaN equals not even itself.
        return next(reach for other, reach in measured if other is maps or torch.equal(other, maps))

    chance = own_reaches.rings.mean(2)
    # What is not known of a map that ranks nothing is what it is on the other images.
    chance = np.where(np.isnan(chance), np.nanmean(chance, axis=0), chance)
    return MapReaches(own_reaches, null_maps.measure(measure, chance))


def _distinct(null_maps: NullMaps) -> list[Tensor]:
    """Return the null maps, equal ones once."""
    distinct: list[Tensor] = []
    memorised = [] if null_maps.memorised is None else [null_maps.memorised]
    for maps in (*memorised, *null_maps.randomised.values()):
        if not any(torch.equal(maps, other) for other in distinct):
            distinct.append(maps)
    return distinct


def _tops(images: Study, ranked: Tensor, quantiles: Sequence[float]) -> tuple[Tensor, BoolArray]:
    """Return the tops of a map, [n, Q, *S], and whether it ranks pixels, [n]."""
    reasons = reason_unrankable(ranked, images.foreground)
    is_sound = np.array([reason is None for reason in reasons])
    tops = images.tops(ranked.nan_to_num(0, 0, 0), quantiles)[:, :, 0]
    return tops, is_sound


def _where(is_sound: BoolArray, values: FloatArray) -> FloatArray:
    """Return values [n, ...] with NaN for images whose map ranks nothing."""
    return np.where(is_sound.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)
