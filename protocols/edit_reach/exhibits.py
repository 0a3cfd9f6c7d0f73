"""What a report shows of edits: two subjects, where the map marks, and what the edit does there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.trial import Study
from benchmark.trial.interventions.edits import Editor
from benchmark.trial.projection import group_axis
from protocols.edit_reach.reaches import TopReaches

IMAGE, IMPORTANCE, TOP, EDITED = "image", "importance", "top", "edited"
BEFORE, AFTER, SHARE, GROUPS = "before", "after", "share", "groups"


def shown_arrays(
    images: Study, editor: Editor, ranked: Tensor, reaches: TopReaches, quantiles: Sequence[float]
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of one subject of each group under the middle share, and their keys.

    Args:
        images: Study of the images.
        editor: Name of the search that found the edits.
        ranked: Importance of the map, [n, 1, *S].
        reaches: Reaches of the map.
        quantiles: Shares of the foreground that were edited.
    """
    test, axis, column = images.trial.test, group_axis(images.trial), len(quantiles) // 2
    keys, groups = np.array(images.keys), images.groups
    # The first key of each group.
    indices = np.array(
        [min(np.flatnonzero(groups == group).tolist(), key=keys.__getitem__) for group in (0, 1)]
    )
    rows, tops = images.rows[indices], reaches.tops[torch.from_numpy(indices), column]
    edited = [
        editor.edited(row, top[None], coordinates[None])[0].cpu().numpy()
        for row, top, coordinates in zip(
            rows.tolist(), tops, reaches.coordinates[indices, column], strict=True
        )
    ]
    before = (images.trial.evaluation.signs * axis.values / axis.separation)[rows]
    return {
        "keys": keys[indices],
        IMAGE: test.images[rows],
        IMPORTANCE: ranked[torch.from_numpy(indices)].numpy(),
        TOP: tops[:, None].numpy(),
        EDITED: np.stack(edited),
        BEFORE: before,
        AFTER: before - np.nan_to_num(reaches.reach[indices, column]),
        SHARE: np.array(quantiles[column]),
        GROUPS: np.array([images.trial.cohort.group_names[group] for group in (0, 1)]),
    }
