"""What a report shows of two marks: some subjects' images, and each network's map of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from benchmark.trial import Study
from protocols.positive_control.readings import shown_rows
from protocols.v2.positive_control.marks import Mark
from protocols.v2.positive_control.tasks import Task, truths

UNMARKED, MARKED = "unmarked", "marked"


def region_array(mark: str) -> str:
    """Return the name of the array that says where a mark lies."""
    return f"mark {mark}"


def map_array(network: str) -> str:
    """Return the name of the array that holds a network's maps."""
    return f"network {network}"


def marked_arrays(
    images: Study,
    few: Study,
    marks: tuple[Mark, Mark],
    networks: Sequence[Task],
    maps: Mapping[str, Tensor],
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of two subjects, each [2, 1, *S], and their keys.

    Args:
        images: Study of the images that were explained.
        few: Study of those among them that the subjects are taken from.
        marks: Both kinds of mark.
        networks: Networks of the marks, with the marked images.
        maps: Importance [n, 1, *S] by network.
    """
    test, rows = images.trial.test, shown_rows(few)
    positions = np.searchsorted(images.rows, rows)
    task = networks[0]
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "keys": np.array([test.keys[row] for row in rows]),
        UNMARKED: test.images[rows],
        MARKED: task.trial.test.images[task.rows(rows)],
    }
    for mark, region in zip(marks, truths(images.trial, marks), strict=True):
        arrays[region_array(mark.name)] = region[rows]
    for network, ranked in maps.items():
        arrays[map_array(network)] = ranked[positions].numpy()
    return arrays
