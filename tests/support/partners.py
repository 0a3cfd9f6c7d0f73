"""A small cohort that knows what the other group's anatomy would give."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from trials import cohort_of

from benchmark.cohort import Cohort
from benchmark.plugins.examples import SHAPE_2D, build_cohort


@lru_cache(maxsize=4)
def with_partners(dimensions: int = 2, subjects: int = 48) -> Cohort:
    """Return ``cohort_of`` with, for every image, its regions as dark as the other group's."""
    cohort = cohort_of(dimensions)
    if subjects != 48:
        cohort = build_cohort(SHAPE_2D, subjects)
    assert cohort.truth is not None
    darker = np.where(cohort.groups == 0, -0.35, 0.35)[:, None].reshape(-1, *[1] * (dimensions + 1))
    partners = np.clip(cohort.images + darker * cohort.truth, 0, 1).astype(np.float32)
    return replace(cohort, partners=partners)
