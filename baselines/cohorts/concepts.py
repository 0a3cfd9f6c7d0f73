"""The concepts of the phantoms: the same subjects with one thing changed, rendered in pairs.

Sixty subjects that no split holds are rendered once as they are, and once with each concept, from
their own random stream, so that nothing else differs. All were scanned on scanner 1, whose gamma
and noise two of the concepts exchange.
"""

from __future__ import annotations

import copy
import os
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from baselines.cohorts.committed_file import (
    FOLDER,
    Bytes,
    CommittedArrays,
    intensities_of,
    read_arrays,
    write_arrays,
)
from baselines.cohorts.generator import (
    CSF,
    SIDES,
    Person,
    covariates,
    draw_groups,
    draw_person,
    render,
    subject_stream,
)
from baselines.cohorts.posed import draw_motion
from baselines.cohorts.rendering.scanner import SCANNERS, Scan, Scanner
from baselines.cohorts.template import coronal_view, load_template
from benchmark.concept import Concept, ConceptImages
from benchmark.seeding import stream

DATA = FOLDER / "phantom_concepts.npz"
POSED_DATA = FOLDER / "phantom2_concepts.npz"
SEED, SUBJECTS = 10_012, 60
_OWN_SCANNER = "scanner1"
_SCANNER = SCANNERS[_OWN_SCANNER]


@dataclass(frozen=True)
class Change:
    """What a concept changes in a subject.

    Attributes:
        description: One sentence for tables.
        volume: Factor of the hippocampal volumes.
        years: Years that the subject is older.
        head: Intracranial volume in mL that the head is larger by.
        horn: Intensity of what fills the temporal horn.
        scanner: Scanner instead of the subject's own.
        nuisance: Whether a network should not look at it.
        covariates: Columns whose sum is the amount of the concept.
    """

    description: str
    volume: float = 1.0
    years: float = 0.0
    head: float = 0.0
    horn: float = CSF
    scanner: Scanner | None = None
    nuisance: bool = False
    covariates: tuple[str, ...] = ()

    def of(self, person: Person) -> Person:
        """Return the subject with the concept added."""
        return replace(
            person,
            age=person.age + self.years,
            tiv=person.tiv + self.head,
            volumes={name: self.volume * own for name, own in person.volumes.items()},
        )


CHANGES: Mapping[str, Change] = {
    "smaller_hippocampus": Change(
        "hippocampi of 0.78 times the volume, with a wider horn",
        volume=0.78,
        covariates=tuple(f"{name}_volume" for name in SIDES),
    ),
    "horn_filled": Change("the same volume, the horn filled with tissue", horn=0.62),
    "ventricles_older": Change("ventricles of 15 more years", years=15.0, covariates=("age",)),
    "scanner_gamma": Change(
        "the scanner's gamma of 1.08", scanner=replace(_SCANNER, gamma=1.08), nuisance=True
    ),
    "scanner_noise": Change(
        "the scanner's noise of 0.045", scanner=replace(_SCANNER, noise=0.045), nuisance=True
    ),
    "larger_head": Change("a head larger by 150 mL", head=150.0, covariates=("tiv",)),
}
"""What each concept changes, by its name."""

_NOTHING = Change("the subject as it is")


def read_concepts(path: Path, cohort: str) -> dict[str, Concept]:
    """Return the concepts in a file that :func:`write_concepts` wrote, by name.

    Args:
        path: Path of the ``.npz`` file.
        cohort: Name of the cohort that offers them, for the error.

    Raises:
        CohortError: If there is no such file or it cannot be read.
    """
    arrays = read_arrays(path, cohort)
    people = arrays.participants
    subjects = tuple(people["subject"])
    absent = ConceptImages(intensities_of(arrays.images), subjects)
    concepts = {}
    for name, change in CHANGES.items():
        columns = [f"{name}:{column}" for column in change.covariates]
        added = people[columns].sum(axis=1).to_numpy(dtype=float) if columns else None
        concepts[name] = Concept(
            present=ConceptImages(intensities_of(arrays.partners[name]), subjects),
            absent=absent,
            paired=True,
            description=change.description,
            nuisance=change.nuisance,
            covariates=change.covariates,
            added=added,
        )
    return concepts


def generate_concepts(posed: bool = False) -> CommittedArrays:
    """Return the images made anew, in twenty seconds; each pixel within a grey level of the file.

    Args:
        posed: Whether each subject has a pose of its own, as in ``phantom2``.
    """
    people = draw_groups({"train": SUBJECTS}, SEED)
    people["subject"] = [f"concept-{number:04d}" for number in range(1, SUBJECTS + 1)]
    groups = people["group"].tolist()

    def make(row: int) -> tuple[Person, dict[str, Bytes]]:
        rng = subject_stream(row + 1, SEED)
        person = replace(draw_person(rng, groups[row]), scanner=_OWN_SCANNER)
        view = coronal_view()
        if posed:
            view = view.moved(draw_motion(stream("concepts", SEED, row + 1, "pose")))
        images = {}
        for name, change in {"": _NOTHING, **CHANGES}.items():
            # No draw depends on who the subject is, so a copy of the stream keeps all else.
            own = copy.deepcopy(rng)
            scan = Scan(change.scanner or _SCANNER, own)
            images[name] = render(change.of(person), view, own, scan=scan, horn=change.horn)[0]
        return person, images

    load_template()  # read before there are several threads to read it
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(make, range(SUBJECTS)))
    before = covariates([person for person, _ in made])
    for name, change in CHANGES.items():
        after = covariates([change.of(person) for person, _ in made])
        for column in change.covariates:
            people[f"{name}:{column}"] = (after[column] - before[column]).round(1)

    def stacked(name: str) -> Bytes:
        return np.stack([images[name][None] for _, images in made])

    return CommittedArrays(stacked(""), people, {}, {name: stacked(name) for name in CHANGES})


def write_concepts(path: Path, posed: bool = False) -> None:
    """Generate the images and write them as a compressed npz, all of it or nothing."""
    write_arrays(path, generate_concepts(posed), zipfile.ZIP_LZMA)
