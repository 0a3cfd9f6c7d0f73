"""A cohort: noise in which cases have a darker disc."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmark.cohort import Anatomy, Cohort, Geometry, split_by_subject
from benchmark.cohort_source import CohortSource

_SIZE, _SUBJECTS = 32, 120


class Discs(CohortSource):
    """120 images of noise; half of them have a darker disc on the left."""

    description = "120 images of noise, half of them with a darker disc"

    def load(self) -> Cohort:
        """Return the cohort."""
        generator = np.random.default_rng(0)
        rows, columns = np.indices((_SIZE, _SIZE))
        left = (rows - 16) ** 2 + (columns - 9) ** 2 <= 9
        right = left[:, ::-1]
        groups = np.arange(_SUBJECTS) % 2
        images = 0.6 + 0.05 * generator.standard_normal((_SUBJECTS, 1, _SIZE, _SIZE))
        images[groups == 1] -= 0.3 * left
        subjects = [f"disc{number:03d}" for number in range(_SUBJECTS)]
        participants = pd.DataFrame(
            {
                "subject": subjects,
                "group": groups,
                "split": split_by_subject(subjects, groups.tolist()),
            }
        )
        everyone = images.shape
        anatomy = Anatomy(
            foreground=np.ones(everyone, dtype=bool),
            rois={"disc": np.broadcast_to(left, everyone).copy()},
            control_rois={"disc": np.broadcast_to(right, everyone).copy()},
            truth=("disc",),
        )
        geometry = Geometry((1.0, 1.0), np.eye(4), registered=True)
        grey = np.clip(images, 0, 1).astype(np.float32)
        return Cohort("example_discs", grey, participants, anatomy, geometry)
