"""The single signal of `positive_control` 1.0, which is read beside the two marks.

Its readings tell how a map answers to the strength of a signal. They enter no score, since a filter
that knows no network finds the signal too.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from benchmark.reading import Reading
from benchmark.trial import Study
from protocols.positive_control.signals import read_signals
from protocols.positive_control.statistics import PositiveControlConfig
from protocols.v2.positive_control.statistics import PositiveControlStatistics

_FOUND = PositiveControlStatistics.found.name
_SINGLE_FOUND = PositiveControlStatistics.single_found.name


def read_single(
    study: Study, config: PositiveControlConfig
) -> tuple[list[Reading], dict[str, npt.NDArray[np.generic]]]:
    """Return what 1.0 reads, under the names of 2.0, and arrays that a report shows of it."""
    notebook = copy(study)
    notebook.readings = []
    _, arrays = read_signals(notebook, config)
    return [_renamed(reading, _FOUND, _SINGLE_FOUND) for reading in notebook.readings], arrays


def as_single(readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings of the single signal under the names of 1.0."""
    others = [reading for reading in readings if reading.statistic != _FOUND]
    return [_renamed(reading, _SINGLE_FOUND, _FOUND) for reading in others]


def _renamed(reading: Reading, old: str, new: str) -> Reading:
    return replace(reading, statistic=new) if reading.statistic == old else reading
