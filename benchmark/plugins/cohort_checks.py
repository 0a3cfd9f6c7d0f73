"""Contradictions between a cohort's images, groups and regions, looked for once when it is loaded.

``Cohort`` itself checks what is cheap, at every selection of its rows; this walks through all
images and masks. Measured on phantom and phantom3d: no voxel of a region lies outside the
foreground or in a control region.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import chain, combinations

import numpy as np

from benchmark.arrays import BoolArray
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource
from benchmark.errors import CohortError
from benchmark.plugins.entry import Entry
from benchmark.records.toml_file import list_some

FEWEST_SUBJECTS = 2
"""Subjects of each group that a split needs, since one subject has no spread."""

MOST_OUTSIDE = 0.5
"""Share of a region that may lie outside the foreground; what does is never ranked."""

IMAGE = "image"

FileOf = Callable[[str, int], object]
"""File of an image (``"image"``) or a mask (``"region 'left'"``, ``"control of 'left'"``) in a row,
or None where it is not known."""


def load_cohort(entry: Entry[CohortSource]) -> Cohort:
    """Return the cohort of a plugin.

    Raises:
        InputError: If it cannot be loaded, or contradicts itself.
    """
    with entry.loading():
        cohort = entry.create().load()
        refuse_contradictions(cohort)
    return cohort


def refuse_contradictions(cohort: Cohort, file_of: FileOf = lambda title, row: None) -> None:
    """Refuse a cohort whose groups, images or regions contradict each other.

    A subject belongs to one group, and an image occurs once. A region may not share a voxel with
    its control region, and may not be the same as another region or as the foreground. Neither it
    nor a control region may lie with more than half of its voxels outside the foreground.

    Args:
        cohort: Cohort to look at.
        file_of: Returns the file of an image or a mask, for messages.

    Raises:
        CohortError: If there is such; the message names the subjects, and the files where they are
            known.
    """
    subjects = cohort.subjects

    def describe(row: int, *titles: str) -> str:
        files = [str(file) for title in titles if (file := file_of(title, row)) is not None]
        return f"{subjects[row]!r} ({', '.join(files)})" if files else repr(subjects[row])

    faults = (
        _group_faults(cohort),
        _equal_images(cohort, describe),
        _region_faults(cohort, describe),
    )
    for fault in chain.from_iterable(faults):
        raise CohortError(f"Cohort {cohort.name!r}: {fault}.")


def refuse_small_groups(cohort: Cohort, split: str) -> None:
    """Refuse a cohort whose split has fewer than two subjects of a group.

    Raises:
        CohortError: If it has; the message counts the subjects of each group, and names one that is
            alone.
    """
    if fault := small_group(cohort, split):
        raise CohortError(f"Cohort {cohort.name!r}: {fault}.")


def scored_splits(cohort: Cohort) -> tuple[str, ...]:
    """Return the splits in which a score needs both groups: test, and train where there is one.

    A network that was trained elsewhere can be scored on a cohort that is all test.
    """
    has_train = (cohort.participants["split"] == "train").any()
    return ("train", "test") if has_train else ("test",)


def small_group(cohort: Cohort, split: str) -> str | None:
    """Return a clause about a group with fewer than two subjects in a split, or None."""
    people = cohort.participants[cohort.participants["split"] == split]
    members = [sorted(set(people["subject"][people["group"] == group])) for group in (0, 1)]
    for name, subjects in zip(cohort.group_names, members, strict=True):
        if len(subjects) < FEWEST_SUBJECTS:
            alone = f" ({subjects[0]!r})" if subjects else ""
            return (
                f"the {split} split has {len(subjects)} of {name}{alone}, but needs at least "
                f"{FEWEST_SUBJECTS} subjects of each group, since one subject has no spread; it "
                f"has {len(members[0])} of {cohort.group_names[0]} and {len(members[1])} of "
                f"{cohort.group_names[1]}"
            )
    return None


def remark_on(cohort: Cohort) -> list[str]:
    """Return sentences about control regions that may be meant, but control little."""
    remarks = []
    controls = cohort.anatomy.control_rois
    for name, other in combinations(controls, 2):
        if np.array_equal(controls[name], controls[other]):
            remarks.append(f"The regions {name!r} and {other!r} have the same control region.")
    for name, control in controls.items():
        for other, region in cohort.anatomy.rois.items():
            if other != name and (count := int((control & region).sum())):
                remarks.append(
                    f"The control of {name!r} shares {count} voxels with the region {other!r}."
                )
    return remarks


def _masks(cohort: Cohort) -> dict[str, BoolArray]:
    """Return regions, their parts and control regions by their titles."""
    anatomy = cohort.anatomy
    masks = {f"region {name!r}": mask for name, mask in anatomy.rois.items()}
    masks |= {f"subfield {name!r}": mask for name, mask in anatomy.subfields.items()}
    return masks | {f"control of {name!r}": mask for name, mask in anatomy.control_rois.items()}


def _outside(mask: BoolArray, whole: BoolArray) -> float:
    """Return the share of a mask that lies outside another; 0 where the mask is empty."""
    size = int(mask.sum())
    return int((mask & ~whole).sum()) / size if size else 0.0


def _group_faults(cohort: Cohort) -> Iterator[str]:
    """Yield whether a subject is in both groups.

    Not asked of every ``Cohort``: where labels are permuted, a subject's images part.
    """
    groups = cohort.participants.groupby("subject")["group"].nunique()
    if torn := [repr(str(subject)) for subject in groups.index[groups > 1]]:
        yield (
            f"{list_some(torn, 3)} {'is' if len(torn) == 1 else 'are'} in both groups; groups are "
            "compared as independent, so a subject must stay in one"
        )


def _equal_images(cohort: Cohort, describe: Callable[..., str]) -> Iterator[str]:
    rows: dict[bytes, int] = {}
    splits = cohort.participants["split"].astype(str).tolist()
    for row, image in enumerate(cohort.images):
        first = rows.setdefault(hashlib.sha256(np.ascontiguousarray(image).data).digest(), row)
        if first == row:
            continue
        names = describe(first, IMAGE), describe(row, IMAGE)
        if cohort.subjects[first] == cohort.subjects[row]:
            yield (
                f"two images of subject {names[0]} and {names[1]} are the same; each visit needs "
                "an image of its own"
            )
        else:
            where = f"({splits[first]} split and {splits[row]} split)"
            yield (
                f"the subjects {names[0]} and {names[1]} have the same image {where}; an image may "
                "belong to one subject only, or what is learned from one is tested on the other"
            )


def _region_faults(cohort: Cohort, describe: Callable[..., str]) -> Iterator[str]:
    anatomy = cohort.anatomy
    for name, control in anatomy.control_rois.items():
        titles = f"region {name!r}", f"control of {name!r}"
        shared = _counts(anatomy.rois[name], control)
        if rows := np.flatnonzero(shared).tolist():
            is_same = np.array_equal(anatomy.rois[name], control)
            what = "is the region itself" if is_same else "overlaps it"
            yield (
                f"the control region of {name!r} {what}: they share {shared[rows[0]]} voxels in "
                f"{describe(rows[0], *titles)}{_others(cohort, rows)}; a control region lies where "
                "the disease changes nothing"
            )
    for name, other in combinations(anatomy.rois, 2):
        if np.array_equal(anatomy.rois[name], anatomy.rois[other]):
            files = describe(0, f"region {name!r}", f"region {other!r}")
            yield f"the regions {name!r} and {other!r} are the same in every image, as in {files}"
    for name, region in anatomy.rois.items():
        same = [
            row
            for row in range(len(cohort))
            if np.array_equal(region[row], anatomy.foreground[row])
        ]
        if same:
            yield (
                f"the region {name!r} is the whole foreground in "
                f"{describe(same[0], f'region {name!r}', 'foreground')}{_others(cohort, same)}, so "
                "that every map would point at it"
            )
    for title, mask in _masks(cohort).items():
        shares = list(map(_outside, mask, anatomy.foreground))
        if rows := [row for row, share in enumerate(shares) if share > MOST_OUTSIDE]:
            yield (
                f"{shares[rows[0]]:.0%} of the {title} lies outside the foreground in "
                f"{describe(rows[0], title, 'foreground')}{_others(cohort, rows)}; only the "
                f"foreground is ranked, and at most {MOST_OUTSIDE:.0%} of a region may lie outside"
            )
    for name, mask in anatomy.subfields.items():
        parent = anatomy.parents[name]
        shares = list(map(_outside, mask, anatomy.rois[parent]))
        if rows := [row for row, share in enumerate(shares) if share > MOST_OUTSIDE]:
            yield (
                f"{shares[rows[0]]:.0%} of the subfield {name!r} lies outside its parent "
                f"{parent!r} in {describe(rows[0], f'subfield {name!r}', f'region {parent!r}')}"
                f"{_others(cohort, rows)}; a subfield is a part of its parent"
            )


def _counts(mask: BoolArray, other: BoolArray) -> list[int]:
    """Return the number of voxels that two masks share in each image."""
    return [int((mask[row] & other[row]).sum()) for row in range(len(mask))]


def _others(cohort: Cohort, rows: list[int]) -> str:
    """Return how many further images have the same fault, and whose they are."""
    if len(rows) < 2:
        return ""
    names = list_some((repr(cohort.subjects[row]) for row in rows[1:]), 3)
    return f" and in {len(rows) - 1} more images, of {names}"
