"""`hippocampus3d`: MRI volumes round large and small hippocampi, from real patients."""

from __future__ import annotations

from typing import ClassVar

from baselines.cohorts.committed_file import read_arrays
from baselines.cohorts.hippocampus import DATA, build_cohort, volume_affine
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource


class Hippocampus3D(CohortSource):
    """Boxes of 26 × 40 × 27 voxels [z, y, x] at 1 mm, of which `hippocampus` shows one slice.

    What is to know of the images stands in :mod:`baselines.cohorts.hippocampus`.
    """

    name: ClassVar[str] = "hippocampus3d"
    description: ClassVar[str] = "MRI volumes round large and small hippocampi (CC BY-SA 4.0)."
    model: ClassVar[str | None] = "hippocampus_resnet3d"

    def load(self) -> Cohort:
        """Return the cohort that ships with the package."""
        return build_cohort(self.name, read_arrays(DATA, self.name), volume_affine())
