"""`phantom`: 600 coronal slices of a brain whose hippocampi shrink; the cohort of suite v1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from baselines.cohorts.committed_file import (
    FOLDER,
    CommittedArrays,
    read_arrays,
    read_normals,
    write_arrays,
)
from baselines.cohorts.concepts import DATA as CONCEPTS
from baselines.cohorts.concepts import read_concepts
from baselines.cohorts.generator import build_cohort, make_cohort
from baselines.cohorts.rendering.redrawn import TEST, name_subjects, refuse_own_seed, replace_test
from baselines.cohorts.template import coronal_view
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.concept import DeferredConcepts

DATA = FOLDER / "phantom.npz"
NORMALS = FOLDER / "phantom_normals.npz"
"""The same subjects at relative volume 1; see ``rendering/normals.py``."""

# The seed of 0 to 59 whose 600 and whose 200 test subjects both have the intended AUROCs of age
# (0.62) and of volume (0.955); chosen on covariates, before any network saw an image.
SEED = 48
COUNTS = {"train": 300, "validation": 100, "test": 200}


class Phantom(CohortSource):
    """The committed cohort: the same pixels, and so the same fingerprint, on every machine."""

    name: ClassVar[str] = "phantom"
    description: ClassVar[str] = "Coronal ICBM 152 slices with hippocampal atrophy of known place."

    def load(self) -> Cohort:
        """Return the cohort that ships with the package."""
        concepts = DeferredConcepts(lambda: read_concepts(CONCEPTS, self.name))
        return replace(read_phantom(DATA, NORMALS), concepts=concepts)

    def draw(self, seed: int) -> Cohort:
        """Return the cohort with new test subjects, in four seconds; see the base class."""
        refuse_own_seed(seed, (SEED,), self.name)
        content = replace_test(read_arrays(DATA, self.name), draw_test(seed))
        view = coronal_view()
        return build_cohort(self.name, view, content.images, content.participants, content.masks)


def draw_test(seed: int) -> CommittedArrays:
    """Return the arrays of as many test subjects as are published, drawn by another seed."""
    cohort = make_cohort(Phantom.name, coronal_view(), {TEST: COUNTS[TEST]}, seed)
    names = name_subjects(seed, len(cohort))
    return _arrays_of(replace(cohort, participants=cohort.participants.assign(subject=names)))


def generate_phantom() -> Cohort:
    """Return the cohort made anew, in ten seconds; each pixel within a grey level of the file.

    The last bit of a cosine is the platform's own business, so rounding to grey levels can tip
    over; this is why the cohort is committed and not generated on demand.
    """
    return make_cohort(Phantom.name, coronal_view(), COUNTS, SEED)


def read_phantom(path: Path, normals: Path | None = None) -> Cohort:
    """Return the cohort in a file that :func:`write_phantom` wrote.

    Args:
        path: Path of the file.
        normals: Path of the file that holds its subjects at normal volume; None for a cohort that
            does not know them.

    Raises:
        CohortError: If there is no such file or it cannot be read.
    """
    arrays = read_arrays(path, Phantom.name)
    return build_cohort(
        Phantom.name,
        coronal_view(),
        arrays.images,
        arrays.participants,
        arrays.masks,
        None if normals is None else read_normals(normals, Phantom.name, arrays.images),
    )


def write_phantom(path: Path) -> None:
    """Generate the cohort and write it as a compressed npz, all of it or nothing."""
    write_arrays(path, _arrays_of(generate_phantom()))


def _arrays_of(cohort: Cohort) -> CommittedArrays:
    anatomy = cohort.anatomy
    masks = {"foreground": anatomy.foreground, **anatomy.rois}
    masks |= {f"control:{name}": mask for name, mask in anatomy.control_rois.items()}
    images = np.rint(cohort.images * 255).astype(np.uint8)
    return CommittedArrays(images, cohort.participants, masks)
