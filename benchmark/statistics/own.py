"""What a value owes to the network: its mean above the strongest null, subject by subject.

A map may score well without following the network: by anatomy that lies where it always lies, or by
a filter that the image alone feeds. So a statistic v of the map of a network is read a second time
on maps that the same method draws for networks that know nothing of the task. Beside it stands what
chance gives. What is left above the largest of these means is the network's own.

Every result is a value per subject whose mean is the score, so that intervals, differences and
ranks are made from it as from any other reading. Where a score is a ratio of means, the values are
those of its linearisation: the score plus the subject's influence on it (Davison & Hinkley 1997,
§2.7). Their mean is the ratio itself, and their spread that of the ratio to first order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.errors import InputError


@dataclass(frozen=True)
class Own:
    """What a value owes to the network.

    Attributes:
        values: [n] the value minus that of the strongest null; where a map ranks nothing, chance
            minus that null, and never more than 0.
        null: Name of the null that was subtracted, the one of the largest mean.
        subtracted: [n] values of the null that was subtracted.
    """

    values: FloatArray
    null: str
    subtracted: FloatArray


def own(
    values: FloatArray, nulls: Mapping[str, FloatArray], chance: FloatArray | None = None
) -> Own:
    """Return what values owe to the network.

    The null is chosen once, by its mean over all subjects, and not subject by subject. There noise
    would always choose the larger, and a score would fall with the number of its null draws.

    Args:
        values: [n] a statistic of the maps, larger is better; NaN where a map ranks nothing, which
            counts as chance, against the null that every other subject is measured from. A method
            that owed nothing there instead would rise by giving no map where its null is stronger.
        nulls: Values of the statistic without knowledge, by name, each [n]: chance itself, and the
            maps of networks that know nothing of the task. A NaN there counts as chance.
        chance: [n] chance, where it is not among the nulls: a map that the image alone decides
            then owes exactly nothing, also where it does worse than chance.

    Raises:
        InputError: If chance is not known.
    """
    if chance is None:
        if "chance" not in nulls:
            names = ", ".join(nulls) or "none"
            raise InputError(f"Expected 'chance' among the nulls but got {names}.")
        chance = nulls["chance"]
    known = {name: np.where(np.isnan(null), chance, null) for name, null in nulls.items()}
    # The first of equals, so that the order of the nulls decides and not rounding.
    strongest = max(known, key=lambda name: float(np.mean(known[name])) if len(chance) else 0.0)
    subtracted = known[strongest]
    without_map = np.minimum(0.0, chance - subtracted)
    owed = np.where(np.isnan(values), without_map, values - subtracted)
    return Own(owed, strongest, subtracted)


def of_mean(values: FloatArray, denominators: FloatArray) -> FloatArray:
    """Return values [n] whose mean is mean(values)/mean(denominators), with its influences."""
    bottom = float(np.mean(denominators))
    ratio = float(np.mean(values)) / bottom
    linear: FloatArray = values / bottom - ratio * (denominators / bottom - 1)
    return linear
