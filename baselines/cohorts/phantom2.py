"""`phantom2`: the subjects of `phantom`, each in a pose of its own; the cohort of suite v2.

Every slice is shifted by up to 12 mm along both of its axes and turned by up to 6°. So a map that
marks the same pixels in everybody is wrong in most. 3 % of the foreground leaves the field of
view, and no region does. For each image the cohort knows the one that the same subject would give
with the other group's hippocampi: volumes 0.28 smaller or larger, and every other draw, down to
the noise, as it is.
"""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from baselines.cohorts.committed_file import (
    FOLDER,
    CommittedArrays,
    intensities_of,
    read_arrays,
    read_normals,
    write_arrays,
)
from baselines.cohorts.concepts import POSED_DATA as CONCEPTS
from baselines.cohorts.concepts import read_concepts
from baselines.cohorts.generator import (
    SIDES,
    counterpart,
    draw_groups,
    draw_person,
    render,
    subject_stream,
)
from baselines.cohorts.phantom import COUNTS, SEED
from baselines.cohorts.posed import PosedSubject, draw_motion, gather
from baselines.cohorts.rendering.redrawn import TEST, name_subjects, refuse_own_seed, replace_test
from baselines.cohorts.template import coronal_view
from benchmark.arrays import FloatArray, ImageArray
from benchmark.cohort import Anatomy, Cohort, Geometry
from benchmark.cohort_source import CohortSource
from benchmark.concept import DeferredConcepts
from benchmark.seeding import stream

DATA = FOLDER / "phantom2.npz"
NORMALS = FOLDER / "phantom2_normals.npz"
"""The same subjects at relative volume 1; see ``rendering/normals.py``."""

OTHER_GROUP = "other_group"
"""Name of the partners in the committed file."""


class Phantom2(CohortSource):
    """The committed cohort: the same pixels, and so the same fingerprint, on every machine."""

    name: ClassVar[str] = "phantom2"
    description: ClassVar[str] = "The phantom in a pose of each subject's own, with partners."
    model: ClassVar[str | None] = "phantom2_resnet"

    def load(self) -> Cohort:
        """Return the cohort that ships with the package."""
        content = read_arrays(DATA, self.name)
        normals = read_normals(NORMALS, self.name, content.images)
        concepts = DeferredConcepts(lambda: read_concepts(CONCEPTS, self.name))
        return replace(build_cohort(self.name, content, normals), concepts=concepts)

    def draw(self, seed: int) -> Cohort:
        """Return the cohort with new test subjects, in two seconds; see the base class."""
        refuse_own_seed(seed, (SEED,), self.name)
        fresh = generate_arrays({TEST: COUNTS[TEST]}, seed)
        people = fresh.participants.assign(subject=name_subjects(seed, len(fresh.participants)))
        fresh = replace(fresh, participants=people)
        return build_cohort(self.name, replace_test(read_arrays(DATA, self.name), fresh))


def motion_of(number: int, seed: int = SEED) -> FloatArray:
    """Return the rigid motion [4, 4] in mm of subject ``number``, from 1."""
    return draw_motion(stream(Phantom2.name, seed, number, "pose"))


def make_subject(number: int, group: int, motion: FloatArray, seed: int = SEED) -> PosedSubject:
    """Return subject ``number``, from 1, of ``phantom`` after a rigid motion [4, 4] in mm."""
    rng = subject_stream(number, seed)
    person = draw_person(rng, group)
    view = coronal_view().moved(motion)
    same_draws = copy.deepcopy(rng)
    image, masks = render(person, view, rng)
    partner, _ = render(counterpart(person), view, same_draws)
    return PosedSubject(person, view.affine, image, {OTHER_GROUP: partner}, masks)


def generate_arrays(counts: Mapping[str, int], seed: int) -> CommittedArrays:
    """Return subjects made anew, 600 in five seconds; pixels within a grey level of the file."""
    people = draw_groups(counts, seed)
    groups = people["group"].tolist()

    def make(row: int) -> PosedSubject:
        return make_subject(row + 1, groups[row], motion_of(row + 1, seed), seed)

    return gather(people, make)


def build_cohort(name: str, content: CommittedArrays, normals: ImageArray | None = None) -> Cohort:
    """Return the cohort of a phantom's arrays with poses, partners and, where given, normals."""
    masks, view = content.masks, coronal_view()
    return Cohort(
        name=name,
        images=intensities_of(content.images),
        participants=content.participants,
        anatomy=Anatomy(
            foreground=masks["foreground"],
            rois={roi: masks[roi] for roi in SIDES},
            control_rois={roi: masks[f"control:{roi}"] for roi in SIDES},
            truth=tuple(SIDES),
        ),
        geometry=Geometry(view.spacing, view.affine, poses=content.poses),
        partners=intensities_of(content.partners[OTHER_GROUP]),
        normals=normals,
    )


def write_phantom2(path: Path) -> None:
    """Generate the cohort and write it as a compressed npz, all of it or nothing."""
    write_arrays(path, generate_arrays(COUNTS, SEED), zipfile.ZIP_LZMA)
