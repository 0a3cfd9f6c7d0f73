"""Maps that a method draws for networks that know nothing of the task: its null maps.

They are drawn once for each model and method, are shared by all protocols, and are kept in the
archive. See :mod:`benchmark.statistics.own` for what they are subtracted from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.errors import (
    AttributionError,
    NotAssessableError,
    SanityError,
    StoreError,
    short_message,
)
from benchmark.maps.ranking import reason_unrankable
from benchmark.reading import Reading, Statistic
from benchmark.trial.maps import archived_maps
from benchmark.trial.needs import Memorised
from benchmark.trial.study import Study
from benchmark.trial.trial import Trial

NULL_COPIES = 5
MOST_ABSTENTIONS = 0.1  # share of the images on which a map may rank nothing
LABEL_MODEL = Memorised(seed=2, accuracy=0.95)
NOT_MEMORISED = "labels not memorised"
MEMORISED, RANDOMISED, CHANCE = "memorised", "randomised", "chance"


@dataclass(frozen=True)
class NullMaps:
    """Importance maps of the same images for the null networks.

    Attributes:
        randomised: [n, 1, *S] maps for each fully randomised copy of the network, by its number.
        memorised: [n, 1, *S] maps for the network that knows permuted labels by heart, or None.
        left_out: Reason why a null network has no maps, by its name.
    """

    randomised: Mapping[int, Tensor]
    memorised: Tensor | None
    left_out: Mapping[str, str]

    def measure(
        self, statistic: Callable[[Tensor], FloatArray], chance: FloatArray
    ) -> dict[str, FloatArray]:
        """Return what a statistic is on the null maps and by chance, by the name of the null.

        Args:
            statistic: Function from importance [n, 1, *S] to a value of each image in its first
                axis, NaN where a map ranks nothing; asked once for maps that are equal.
            chance: Value of the statistic by chance; it stands in for a map that ranks nothing.

        Returns:
            ``chance``, ``memorised`` and, in the mean over the copies, ``randomised``; a null
            without any map is left out.
        """
        measured: list[tuple[Tensor, FloatArray]] = []

        def of(maps: Tensor) -> FloatArray:
            for other, values in measured:
                if torch.equal(maps, other):
                    return values
            values = statistic(maps)
            values = np.where(np.isnan(values), chance, values)
            measured.append((maps, values))
            return values

        nulls = {CHANCE: chance}
        if self.memorised is not None:
            nulls[MEMORISED] = of(self.memorised)
        if self.randomised:
            nulls[RANDOMISED] = np.mean([of(maps) for maps in self.randomised.values()], axis=0)
        return nulls


def null_maps(images: Study) -> NullMaps:
    """Return the null maps of a study's explainer on its rows.

    Raises:
        NotAssessableError: If the method draws no map for any of the null networks.
    """
    trial, rows = images.trial, images.rows
    key = ("maps", trial.explainer_identity, "null", trial.model_identity, rows.tobytes())
    return trial.once(key, lambda: _draw(images))


@dataclass(frozen=True)
class RandomisedMaps:
    """Importance maps of the same images for fully randomised copies of the network.

    Attributes:
        maps: [n, 1, *S] maps for each copy, by its number.
        left_out: Reason why a copy has no maps, by its name.
    """

    maps: Mapping[int, Tensor]
    left_out: Mapping[str, str]


def randomised_maps(images: Study, copies: int = NULL_COPIES) -> RandomisedMaps:
    """Return the maps of a study's explainer on its rows, for copies below a number.

    They are those of ``null_maps``, and are drawn once for both.
    """
    maps: dict[int, Tensor] = {}
    left_out: dict[str, str] = {}
    for copy in range(copies):
        drawn = _maps_of(images, images.trial.randomised(copy), f"{RANDOMISED} {copy}", left_out)
        if drawn is not None:
            maps[copy] = drawn
    return RandomisedMaps(maps, left_out)


def read_left_out(images: Study, nulls: NullMaps, statistic: Statistic, condition: str) -> None:
    """Read that a statistic has no value on the null networks without maps, each with its reason.

    Args:
        images: Study of the images.
        nulls: Null maps of the images.
        statistic: Statistic that is read of each null network.
        condition: Condition of its readings that names the network.
    """
    for name, reason in nulls.left_out.items():
        missing, reasons = np.full(len(images.rows), np.nan), dict.fromkeys(images.keys, reason)
        images.read(statistic, missing, {condition: name}, reasons=reasons)


def name_left_out(readings: Sequence[Reading], statistic: Statistic, condition: str) -> list[str]:
    """Return a phrase for each null network without maps; see ``read_left_out``."""
    phrases = [
        f"without the {reading.conditions[condition]} network ({reason})"
        for reading in readings
        if reading.statistic == statistic.name and condition in reading.conditions
        if str(reading.conditions[condition]).startswith((MEMORISED, RANDOMISED))
        for reason in list(reading.reasons.values())[:1]
    ]
    return list(dict.fromkeys(phrases))


def count_abstentions(images: Study, ranked: Tensor) -> int:
    """Return on how many images the importance [n, 1, *S] ranks nothing; these count as chance.

    Raises:
        AttributionError: If it is more than ``MOST_ABSTENTIONS`` of them.
    """
    reasons = [reason for reason in reason_unrankable(ranked, images.foreground) if reason]
    if len(reasons) > MOST_ABSTENTIONS * len(images.rows):
        raise AttributionError(
            f"Explainer {images.trial.explainer.name!r} abstains: {reasons[0]} on {len(reasons)} "
            f"of {len(images.rows)} images, more than {MOST_ABSTENTIONS:.0%}."
        )
    return len(reasons)


def _draw(images: Study) -> NullMaps:
    trial, copies = images.trial, randomised_maps(images)
    randomised, left_out = copies.maps, dict(copies.left_out)
    memorised, missing = None, LABEL_MODEL.missing(trial)
    if missing is None:
        model = LABEL_MODEL.on(trial)
        if LABEL_MODEL.reached(model) < LABEL_MODEL.accuracy:
            missing = NOT_MEMORISED
        else:
            memorised = _maps_of(images, model, MEMORISED, left_out)
    if missing is not None:
        left_out[MEMORISED] = missing
    if not randomised and memorised is None:
        raise NotAssessableError(f"no null: {next(iter(left_out.values()))}")
    return NullMaps(randomised, memorised, left_out)


def _maps_of(images: Study, model: Trial, name: str, left_out: dict[str, str]) -> Tensor | None:
    """Return the importance maps for one null network, or None, with the reason noted."""
    archive = images.trial.runtime.archive
    try:
        maps = archived_maps(model, images.rows, ("maps of a null",), model.maps, archive)
    except (StoreError, torch.OutOfMemoryError):
        raise
    except SanityError as error:
        left_out[name] = str(error)
        return None
    except Exception as error:  # a third party's method may raise anything on such a network
        left_out[name] = short_message(error)
        return None
    return images.ranked(maps)
