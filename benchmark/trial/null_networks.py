"""Maps that a method draws for networks that know nothing of the task: its null maps.

They are drawn once for each model and method, are shared by all protocols, and are kept in the
archive. See :mod:`benchmark.statistics.own` for what they are subtracted from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
from benchmark.explainer import Polarity, importance
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


class Ranked(Mapping[int, Tensor]):
    """Importance maps [n, 1, *S] by number, made of signed maps each time that they are looked up.

    Signed maps are kept for other protocols, and their importance would take as much memory again.

    Args:
        signed: Signed maps [n, 1, *S] by number.
        polarity: Polarity of the explainer that drew them.
    """

    def __init__(self, signed: Mapping[int, Tensor], polarity: Polarity) -> None:
        self._signed, self._polarity = signed, polarity

    def __getitem__(self, number: int) -> Tensor:
        """Return the importance of the maps of that number."""
        return importance(self._signed[number], self._polarity)

    def __iter__(self) -> Iterator[int]:
        """Return the numbers."""
        return iter(self._signed)

    def __len__(self) -> int:
        """Return how many sets of maps there are."""
        return len(self._signed)


@dataclass(frozen=True)
class NullMaps:
    """Importance maps of the same images for the null networks.

    Attributes:
        randomised: [n, 1, *S] maps for each fully randomised copy of the network, by its number.
        of_memorised: Maps of the same shape for the network that knows permuted labels by heart;
            empty where there is none.
        left_out: Reason why a null network has no maps, by its name.
    """

    randomised: Mapping[int, Tensor]
    of_memorised: Mapping[int, Tensor]
    left_out: Mapping[str, str]

    @property
    def memorised(self) -> Tensor | None:
        """Maps for the network that knows permuted labels by heart, [n, 1, *S], or None."""
        return next(iter(self.of_memorised.values()), None)

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
        measured: list[tuple[Callable[[], Tensor], FloatArray]] = []

        def of(look_up: Callable[[], Tensor]) -> FloatArray:
            maps = look_up()
            for other, values in measured:
                if torch.equal(maps, other()):
                    return values
            values = statistic(maps)
            values = np.where(np.isnan(values), chance, values)
            measured.append((look_up, values))
            return values

        nulls = {CHANCE: chance}
        for number in self.of_memorised:
            nulls[MEMORISED] = of(partial(self.of_memorised.__getitem__, number))
        if self.randomised:
            copies = [of(partial(self.randomised.__getitem__, copy)) for copy in self.randomised]
            nulls[RANDOMISED] = np.mean(copies, axis=0)
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
    return RandomisedMaps(Ranked(maps, images.trial.explainer.polarity), left_out)


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
    memorised: dict[int, Tensor] = {}
    missing = LABEL_MODEL.missing(trial)
    if missing is None:
        model = LABEL_MODEL.on(trial)
        if LABEL_MODEL.reached(model) < LABEL_MODEL.accuracy:
            missing = NOT_MEMORISED
        else:
            drawn = _maps_of(images, model, MEMORISED, left_out)
            if drawn is not None:
                memorised[LABEL_MODEL.seed] = drawn
    if missing is not None:
        left_out[MEMORISED] = missing
    if not randomised and not memorised:
        raise NotAssessableError(f"no null: {next(iter(left_out.values()))}")
    return NullMaps(randomised, Ranked(memorised, trial.explainer.polarity), left_out)


def _maps_of(images: Study, model: Trial, name: str, left_out: dict[str, str]) -> Tensor | None:
    """Return the signed maps for one null network, or None, with the reason noted."""
    archive = images.trial.runtime.archive
    try:
        maps = archived_maps(model, images.rows, ("maps of a null",), model.maps, archive)
        model.keep_maps(images.rows, maps)
    except (StoreError, torch.OutOfMemoryError):
        raise
    except SanityError as error:
        left_out[name] = str(error)
        return None
    except Exception as error:  # a third party's method may raise anything on such a network
        left_out[name] = short_message(error)
        return None
    return maps
