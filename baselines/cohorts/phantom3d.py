"""`phantom3d`: the phantom as volumes, a box round both hippocampi; generated on demand."""

from __future__ import annotations

from typing import ClassVar

from baselines.cohorts.generator import make_cohort
from baselines.cohorts.template import crop_view
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import CohortError

# The seed of 0 to 99 whose 240 and whose 48 test subjects come closest to the intended AUROCs of
# age (0.62) and of volume (0.955); chosen on covariates, before any network saw an image.
SEED = 15


class Phantom3D(CohortSource):
    """Boxes of 48 × 48 × 96 voxels [z, y, x] at 1.5 mm round (0, −21, −14) mm.

    Args:
        subjects: Number of subjects, even and at least 10: 60 % train, 20 % validation and 20 %
            test, each rounded to an even number. Memory: 1.8 MB a subject.

    Raises:
        CohortError: If ``subjects`` is odd or below 10.
    """

    name: ClassVar[str] = "phantom3d"
    description: ClassVar[str] = "The phantom as volumes round the hippocampi, generated on demand."
    model: ClassVar[str] = "smallresnet3d"

    def __init__(self, subjects: int = 240) -> None:
        if subjects < 10 or subjects % 2:
            raise CohortError(
                f"Cohort {self.name!r} needs an even number of at least 10 subjects, "
                f"but got {subjects}."
            )
        held_out = 2 * round(subjects / 10)
        self._counts = {"train": subjects - 2 * held_out, "validation": held_out, "test": held_out}

    def load(self) -> Cohort:
        """Return the cohort, generated; the default takes 26 seconds on a single core."""
        return make_cohort(self.name, crop_view(), self._counts, SEED)
