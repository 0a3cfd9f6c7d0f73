"""Slices in which several structures vary independently, each of which labels the images.

Every structure has a size of its own: a hippocampus a relative volume, uniform in [0.55, 1.25], a
fluid space a displacement of its wall, uniform in [−2.2, 2.2] mm. Sizes are independent of each
other, of age, sex, head size, scanner and pose. A structure's label is 1 in the half of all
subjects in which it is smaller; its partner has the size mirrored about the median, and every
other draw, down to the noise, as it is.
"""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from baselines.cohorts.committed_file import (
    Bytes,
    CommittedArrays,
    intensities_of,
    read_arrays,
    write_arrays,
)
from baselines.cohorts.generator import ELLIPSOID_VOLUME, draw_person, render
from baselines.cohorts.posed import PosedSubject, draw_motion, gather
from baselines.cohorts.rendering.redrawn import name_subjects, refuse_own_seed, replace_test
from baselines.cohorts.sources.walls import FluidWall
from baselines.cohorts.template import coronal_view
from benchmark.arrays import BoolArray, Rows
from benchmark.cohort import Anatomy, Cohort, Geometry, Source
from benchmark.errors import CohortError
from benchmark.seeding import stream

VOLUMES = (0.55, 1.25)
"""Smallest and largest relative volume of a hippocampus."""

DISPLACEMENT = 2.2
"""Largest displacement of a wall, inwards and outwards, in mm."""

HIPPOCAMPI: Mapping[str, str] = MappingProxyType(
    {"left": "hippocampus_left", "right": "hippocampus_right"}
)
"""Region of each hippocampus, by name of its source."""


@dataclass(frozen=True)
class SourceDesign:
    """What a cohort of sources is made of.

    Attributes:
        name: Name of the cohort; its random streams are named by it.
        seed: Seed of everything random in it.
        walls: Fluid spaces that are sources beside the hippocampi, by name of the source.
        hippocampi: Names of the hippocampi that are sources, of ``left`` and ``right``. The others
            vary as well, without a label.
        train, test: Number of subjects in each split. There is no validation split.
    """

    name: str
    seed: int
    walls: Mapping[str, FluidWall]
    hippocampi: tuple[str, ...] = tuple(HIPPOCAMPI)
    train: int = 320
    test: int = 100

    @property
    def rois(self) -> dict[str, str]:
        """Name of the region of each source, by name of the source."""
        hippocampi = {side: HIPPOCAMPI[side] for side in self.hippocampi}
        return hippocampi | {name: wall.name for name, wall in self.walls.items()}


def draw_sizes(design: SourceDesign) -> pd.DataFrame:
    """Return the size of each structure, one row a subject, as the cohort's table records it.

    A hippocampus has the column of its volume in mm³ at the template's head size, as in `phantom`,
    a wall that of its displacement in mm; columns are named in the order of the streams.
    """
    rows = []
    for number in range(1, design.train + design.test + 1):
        rng = stream(design.name, design.seed, number, "sizes")
        volumes = {name: rng.uniform(*VOLUMES) for name in HIPPOCAMPI.values()}
        sizes = {
            size_column(name): round(volume * ELLIPSOID_VOLUME, 1)
            for name, volume in volumes.items()
        }
        for wall in design.walls.values():
            sizes[size_column(wall.name)] = round(rng.uniform(-DISPLACEMENT, DISPLACEMENT), 4)
        rows.append(sizes)
    return pd.DataFrame(rows)


def labels_of(sizes: pd.Series[float], median: float | None = None) -> Rows:
    """Return 1 for each size below the median, that of all where none is given, else 0, [N]."""
    return np.asarray(sizes < (sizes.median() if median is None else median), dtype=np.int64)


def medians_of(design: SourceDesign, sizes: pd.DataFrame) -> dict[str, float]:
    """Return the size of each source, by name, below which its label is 1."""
    return {source: float(sizes[size_column(roi)].median()) for source, roi in design.rois.items()}


def generate_arrays(
    design: SourceDesign, medians: Mapping[str, float] | None = None
) -> CommittedArrays:
    """Return a cohort's arrays, in 7 seconds; each pixel is the same within a grey level anywhere.

    The group of a subject is its label by the design's first source. Where ``medians`` are given,
    labels and partners are told by them instead of those of the subjects themselves.
    """
    sizes = draw_sizes(design)
    columns = {source: size_column(roi) for source, roi in design.rois.items()}
    own, middles = _records(sizes), medians or medians_of(design, sizes)
    mirrored = {
        source: _records(sizes.assign(**{column: 2 * middles[source] - sizes[column]}))
        for source, column in columns.items()
    }
    first = next(iter(columns))
    groups = labels_of(sizes[columns[first]], middles[first])

    def make(row: int) -> PosedSubject:
        changed = {source: records[row] for source, records in mirrored.items()}
        return make_subject(design, row + 1, own[row], changed)

    splits = ["train"] * design.train + ["test"] * design.test
    names = [f"sub-{number:04d}" for number in range(1, len(splits) + 1)]
    people = pd.DataFrame({"subject": names, "group": groups, "split": splits})
    content = gather(people, make)
    walls = [size_column(wall.name) for wall in design.walls.values()]
    return replace(content, participants=pd.concat([content.participants, sizes[walls]], axis=1))


def make_subject(
    design: SourceDesign,
    number: int,
    sizes: Mapping[str, float],
    changed: Mapping[str, Mapping[str, float]],
) -> PosedSubject:
    """Return subject ``number``, from 1, of a design.

    Args:
        design: Design of the cohort.
        number: Number of the subject; names its streams.
        sizes: Sizes of its structures, by the columns of :func:`draw_sizes`.
        changed: Sizes of its partners, by name of the source.
    """
    rng = stream(design.name, design.seed, number)
    person = draw_person(rng, 0)
    motion = draw_motion(stream(design.name, design.seed, number, "pose"))
    view = coronal_view().moved(motion)

    def render_with(own_sizes: Mapping[str, float]) -> tuple[Bytes, dict[str, BoolArray]]:
        resized = replace(person, volumes=_volumes(own_sizes))
        walls = [(wall, own_sizes[size_column(wall.name)]) for wall in design.walls.values()]
        return render(resized, view, copy.deepcopy(rng), walls)

    image, masks = render_with(sizes)
    return PosedSubject(
        person=replace(person, volumes=_volumes(sizes)),
        pose=view.affine,
        image=image,
        partners={source: render_with(other)[0] for source, other in changed.items()},
        masks={name: masks[name] for name in ("foreground", *design.rois.values())},
    )


def build_cohort(
    design: SourceDesign, content: CommittedArrays, medians: Mapping[str, float] | None = None
) -> Cohort:
    """Return the cohort of a design's arrays, whose groups are the labels of its first source."""
    view = coronal_view()
    middles = medians or medians_of(design, content.participants)
    sources = {
        source: Source(
            labels=labels_of(content.participants[size_column(roi)], middles[source]),
            rois=(roi,),
            partners=intensities_of(content.partners[source]),
        )
        for source, roi in design.rois.items()
    }
    first = next(iter(sources.values()))
    return Cohort(
        name=design.name,
        images=intensities_of(content.images),
        participants=content.participants,
        anatomy=Anatomy(
            foreground=content.masks["foreground"],
            rois={roi: content.masks[roi] for roi in design.rois.values()},
            truth=first.rois,
        ),
        geometry=Geometry(view.spacing, view.affine, poses=content.poses),
        group_names=("large", "small"),
        partners=first.partners,
        sources=sources,
    )


def read_sources(path: Path, design: SourceDesign) -> Cohort:
    """Return the cohort in a file that :func:`write_sources` wrote.

    Raises:
        CohortError: If there is no such file, it cannot be read, or is that of another design.
    """
    return build_cohort(design, _read(path, design))


def redraw_sources(path: Path, design: SourceDesign, seed: int) -> Cohort:
    """Return the cohort in a file with new test subjects, labelled by the sizes that split the old.

    Raises:
        CohortError: As :func:`read_sources` does, or if the seed is the design's own.
    """
    refuse_own_seed(seed, (design.seed,), design.name)
    content = _read(path, design)
    medians = medians_of(design, content.participants)
    fresh = generate_arrays(replace(design, seed=seed, train=0), medians)
    people = fresh.participants.assign(subject=name_subjects(seed, design.test))
    content = replace_test(content, replace(fresh, participants=people))
    return build_cohort(design, content, medians)


def _read(path: Path, design: SourceDesign) -> CommittedArrays:
    content = read_arrays(path, design.name)
    expected = {size_column(roi) for roi in design.rois.values()}
    if missing := sorted(expected - set(content.participants.columns)):
        raise CohortError(
            f"The data {path} of cohort {design.name!r} lack the size {missing[0]!r}; "
            "they were made for other structures."
        )
    return content


def write_sources(path: Path, design: SourceDesign) -> None:
    """Generate a cohort and write it as a compressed npz, all of it or nothing."""
    write_arrays(path, generate_arrays(design), zipfile.ZIP_LZMA)


def _records(sizes: pd.DataFrame) -> list[dict[str, float]]:
    """Return the sizes of each subject, by column."""
    return [{str(name): float(size) for name, size in row.items()} for _, row in sizes.iterrows()]


def _volumes(sizes: Mapping[str, float]) -> dict[str, float]:
    """Return the relative volume of each hippocampus, by name of its region."""
    return {roi: sizes[size_column(roi)] / ELLIPSOID_VOLUME for roi in HIPPOCAMPI.values()}


def size_column(roi: str) -> str:
    """Return the column of the table that holds the size of a region."""
    return f"{roi}_volume" if roi in HIPPOCAMPI.values() else f"{roi}_displacement"
