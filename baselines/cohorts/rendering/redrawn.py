"""Puts new test subjects in the place of a cohort's own; the other splits stay as they are.

Networks that were trained on the other splits are then asked about people whom nobody has seen,
and are themselves the same.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from baselines.cohorts.committed_file import CommittedArrays
from benchmark.errors import CohortError

TEST = "test"


def refuse_own_seed(seed: int, own: Collection[int], cohort: str) -> None:
    """Refuse a seed that published subjects were drawn by.

    Raises:
        CohortError: If it is one.
    """
    if seed in own:
        raise CohortError(
            f"The seed {seed} is that of the published subjects of {cohort!r}; draw by another."
        )


def name_subjects(seed: int, count: int) -> list[str]:
    """Return names that no published subject has, since random streams are named by subjects."""
    return [f"draw-{seed}-{number:04d}" for number in range(1, count + 1)]


def replace_test(content: CommittedArrays, fresh: CommittedArrays) -> CommittedArrays:
    """Return a cohort's arrays with the rows of ``fresh`` instead of its test split."""
    kept = np.flatnonzero((content.participants["split"] != TEST).to_numpy())
    poses = None
    if content.poses is not None and fresh.poses is not None:
        poses = np.concatenate([content.poses[kept], fresh.poses])
    people = pd.concat(
        [content.participants.iloc[kept], fresh.participants[content.participants.columns]],
        ignore_index=True,
    )
    return CommittedArrays(
        images=np.concatenate([content.images[kept], fresh.images]),
        participants=people,
        masks={
            name: np.concatenate([mask[kept], fresh.masks[name]])
            for name, mask in content.masks.items()
        },
        partners={
            name: np.concatenate([images[kept], fresh.partners[name]])
            for name, images in content.partners.items()
        },
        poses=poses,
    )
