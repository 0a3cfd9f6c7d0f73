"""Chest X-rays of children as a cohort: real images whose groups differ in more than the lungs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from paths import DATA

from benchmark.cohort import Anatomy, Cohort, Geometry, split_by_subject
from benchmark.cohort_source import CohortSource

IMAGES = DATA / "realdata" / "chest_xrays.npz"


class ChestXrays(CohortSource):
    """100 normal chest X-rays and 100 with pneumonia; see the notice beside them."""

    name: ClassVar[str] = "chest_xrays"
    description: ClassVar[str] = "Chest X-rays of children with and without pneumonia."

    def load(self) -> Cohort:
        """Return the committed X-rays."""
        return read_chest_xrays(IMAGES)


def read_chest_xrays(path: Path) -> Cohort:
    """Return the cohort in a file of ``images``, ``group`` and ``patient``.

    No mask comes with the images, so all of an image is foreground; the size of a pixel is not
    known either, and counts as 1 mm.
    """
    with np.load(path, allow_pickle=False) as arrays:
        images, names, patients = arrays["images"], arrays["group"], arrays["patient"]
    groups = [int(name == "pneumonia") for name in names]
    subjects = [str(patient) for patient in patients]
    people = pd.DataFrame(
        {"subject": subjects, "group": groups, "split": split_by_subject(subjects, groups)}
    )
    pixels = images[:, None].astype(np.float32) / np.float32(255)
    return Cohort(
        name=ChestXrays.name,
        images=pixels,
        participants=people,
        anatomy=Anatomy(foreground=np.ones(pixels.shape, dtype=np.bool_)),
        geometry=Geometry(spacing=(1.0, 1.0), affine=np.eye(4)),
        group_names=("normal", "pneumonia"),
    )
