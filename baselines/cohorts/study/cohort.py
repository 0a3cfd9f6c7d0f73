"""The images of a longitudinal study: each visit of a subject, its partner, and its normal.

A subject has one anatomy and, at every visit, an age, a decline and a session on the scanner of its
own. The partner of an image has the losses of the other group, the normal no loss at all; the rest,
down to the noise, is as it is.
"""

from __future__ import annotations

import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.cohorts.committed_file import Bytes, CommittedArrays, intensities_of, write_arrays
from baselines.cohorts.generator import SECTORS, SIDES, Person, render
from baselines.cohorts.rendering.scanner import Scan
from baselines.cohorts.study.design import (
    SCANNERS,
    VISITS,
    Participant,
    StudyDesign,
    draw_participants,
    tabulate,
)
from baselines.cohorts.template import coronal_view, load_template
from benchmark.arrays import BoolArray
from benchmark.cohort import Anatomy, Cohort, Geometry
from benchmark.seeding import stream

SUBFIELDS = {f"{name}_{sector}": name for name in SIDES for sector in SECTORS}
"""Region of each sector, by name of the sector."""

_OTHER_GROUP, _NORMAL = "other_group", "normal"


@dataclass(frozen=True)
class Visit:
    """One visit of a subject.

    Attributes:
        person: Person that the subject is at that visit.
        images: The image, its partner and its normal, by name, each [*S] uint8 grey levels.
        masks: Masks by name, each [*S] bool.
    """

    person: Person
    images: dict[str, Bytes]
    masks: dict[str, BoolArray]


def render_visit(design: StudyDesign, participant: Participant, visit: int) -> Visit:
    """Return visit ``visit``, from 1, of a participant."""
    years, scanner = VISITS[visit - 1], SCANNERS[participant.person.scanner]
    view = coronal_view()

    def draw(person: Person) -> tuple[Bytes, dict[str, BoolArray]]:
        name, number = design.name, participant.number
        scan = Scan(scanner, stream(name, design.seed, number, "visit", visit))
        return render(person, view, stream(name, design.seed, number, "anatomy"), scan=scan)

    person = participant.at(years)
    image, masks = draw(person)
    partner, _ = draw(participant.at(years, group=1 - person.group))
    normal, _ = draw(participant.at(years, normal=True))
    return Visit(person, {"image": image, _OTHER_GROUP: partner, _NORMAL: normal}, masks)


def generate_arrays(design: StudyDesign) -> CommittedArrays:
    """Return a study's arrays, in ten seconds.

    A pixel is the same within a grey level on every processor, but for single ones where a voxel of
    a rim is rounded to the other side.
    """
    load_template()  # read before there are several threads to read it
    people, participants = draw_participants(design)
    numbers = range(1, len(VISITS) + 1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        visits = list(
            pool.map(
                lambda participant: [render_visit(design, participant, n) for n in numbers],
                participants,
            )
        )
    images = [visit for own in visits for visit in own]
    table = tabulate(people, [[visit.person for visit in own] for own in visits])

    def stacked(name: str) -> Bytes:
        return np.stack([visit.images[name][None] for visit in images])

    return CommittedArrays(
        images=stacked("image"),
        participants=table,
        masks={
            name: np.stack([visit.masks[name][None] for visit in images])
            for name in images[0].masks
        },
        partners={name: stacked(name) for name in (_OTHER_GROUP, _NORMAL)},
    )


def build_cohort(content: CommittedArrays, name: str = "phantom_study") -> Cohort:
    """Return the cohort of a study's arrays."""
    view, masks = coronal_view(), content.masks
    return Cohort(
        name=name,
        images=intensities_of(content.images),
        participants=content.participants,
        anatomy=Anatomy(
            foreground=masks["foreground"],
            rois={roi: masks[roi] for roi in SIDES},
            control_rois={roi: masks[f"control:{roi}"] for roi in SIDES},
            truth=tuple(SIDES),
            subfields={subfield: masks[subfield] for subfield in SUBFIELDS},
            parents=SUBFIELDS,
        ),
        geometry=Geometry(view.spacing, view.affine, registered=True),
        partners=intensities_of(content.partners[_OTHER_GROUP]),
        normals=intensities_of(content.partners[_NORMAL]),
    )


def write_study(path: Path, design: StudyDesign) -> None:
    """Generate a study and write it as a compressed npz, all of it or nothing."""
    write_arrays(path, generate_arrays(design), zipfile.ZIP_LZMA)
