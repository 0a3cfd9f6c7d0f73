"""Clean against corrupted images: a positive control of any cohort's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from baselines.cohorts.corruption.controls import control_masks
from baselines.cohorts.corruption.kinds import Corruption
from baselines.cohorts.corruption.sites import Sites
from benchmark.arrays import BoolArray, FloatArray
from benchmark.cohort import SPLITS, Anatomy, Cohort
from benchmark.errors import CohortError, InputError
from benchmark.plugins.cohort_checks import (
    refuse_contradictions,
    refuse_small_groups,
    scored_splits,
)
from benchmark.seeding import seed_of

REGION = "corrupted"
GROUPS = ("clean", "corrupted")
ORIGINAL_GROUP = "original_group"
# What a table of text would read back as something else than text.
_NO_TEXT = frozenset({"n/a", "na", "nan", "true", "false", "inf", "infinity", ""})


@dataclass(frozen=True)
class Corrupted:
    """A corrupted cohort, and what was done to it.

    Attributes:
        cohort: The cohort with the groups ``clean`` and ``corrupted``.
        source: The cohort that it was made of.
        corruption: Corruption that was applied.
        sites: Sites of the corruption.
        seed: Seed of the draw of subjects and of the control regions.
        changed: [N] share of the intensity in the foreground that was changed; 0 where clean.
    """

    cohort: Cohort
    source: Cohort
    corruption: Corruption
    sites: Sites
    seed: int
    changed: FloatArray


def only_group(cohort: Cohort, name: str) -> Cohort:
    """Return the images of one group, by its name.

    Raises:
        InputError: If the cohort has no such group, or nobody is in it.
    """
    if name not in cohort.group_names:
        known = ", ".join(cohort.group_names)
        raise InputError(f"Cohort {cohort.name!r} has no group {name!r}. Its groups: {known}.")
    rows = np.flatnonzero(cohort.groups == cohort.group_names.index(name))
    if not len(rows):
        raise InputError(f"Nobody in cohort {cohort.name!r} is in the group {name!r}.")
    return cohort.take(rows)


def corrupt(cohort: Cohort, sites: Sites, corruption: Corruption, seed: int = 0) -> Corrupted:
    """Corrupt half of a cohort's subjects at known sites.

    In each split, half of the subjects of each group are drawn, with all their images. So whoever
    tells clean from corrupted learned nothing from the old groups, which stay as the covariate
    ``original_group``. The only region of the result is ``corrupted``, which is the truth and
    stands in clean images where they would have been corrupted; the old regions are left out.

    Args:
        cohort: Cohort to corrupt.
        sites: Sites of the corruption, for each of its images.
        corruption: Corruption to apply there.
        seed: Seed of the draw of subjects and of the control regions.

    Raises:
        InputError: If the corruption fits no image, or leaves one as it was.
        CohortError: If the cohort is corrupted already, has too few subjects to draw from, or
            would contradict itself, as where the sites are the whole foreground.
    """
    _check_sites(cohort, sites.masks)
    corruption.check_against(cohort.shape, cohort.geometry.spacing)
    if ORIGINAL_GROUP in cohort.participants:
        raise CohortError(
            f"Cohort {cohort.name!r} has a column {ORIGINAL_GROUP!r}, so it is corrupted already; "
            "corrupt the cohort that it was made of."
        )
    is_corrupted = draw_corrupted(cohort, seed)
    images, changed = np.array(cohort.images), np.zeros(len(cohort))
    for row in np.flatnonzero(is_corrupted):
        image, mask = cohort.images[row, 0], sites.masks[row, 0]
        images[row, 0] = corruption.apply(image, mask, cohort.geometry.spacing)
        difference = np.abs(images[row, 0].astype(float) - image).sum()
        if not difference > 0:
            raise InputError(
                f"The corruption {corruption.name} leaves the image of {cohort.subjects[row]!r} "
                "as it was, so its label would be false; choose a greater strength or other sites."
            )
        changed[row] = difference / image[cohort.anatomy.foreground[row, 0]].sum(dtype=float)
    controls = control_masks(cohort, sites.masks, seed)
    people = cohort.participants.assign(
        group=is_corrupted.astype(np.int64), **{ORIGINAL_GROUP: _original_groups(cohort)}
    )
    result = replace(
        cohort,
        name=f"{cohort.name}+{corruption.name}",
        images=images,
        participants=people,
        anatomy=Anatomy(
            foreground=cohort.anatomy.foreground,
            rois={REGION: sites.masks},
            control_rois={} if controls is None else {REGION: controls},
            truth=(REGION,),
        ),
        group_names=GROUPS,
        # They are images of the clean anatomy, and labels of what is no longer asked.
        partners=None,
        normals=None,
        sources={},
    )
    refuse_contradictions(result)
    for split in scored_splits(result):
        refuse_small_groups(result, split)
    return Corrupted(result, cohort, corruption, sites, seed, changed)


def _check_sites(cohort: Cohort, masks: BoolArray) -> None:
    if masks.shape != cohort.images.shape:
        raise InputError(
            f"Expected masks {list(cohort.images.shape)}, as cohort {cohort.name!r} has images, "
            f"got {list(masks.shape)}."
        )
    for row, subject in enumerate(cohort.subjects):
        mask = masks[row]
        if not mask.any() or (mask & ~cohort.anatomy.foreground[row]).any():
            raise InputError(
                f"The mask of {subject!r} must hold voxels, all of them in the foreground."
            )


def draw_corrupted(cohort: Cohort, seed: int) -> BoolArray:
    """Return which images are corrupted, [N]: half the subjects of each group in each split.

    Where a group is odd in number, the half is rounded up and down in turn. The draw depends on
    the subjects' names and the seed alone. A subject with images of both groups counts to the
    first.

    Raises:
        CohortError: If a group has a single subject in a split.
    """
    people = pd.DataFrame(
        {
            "subject": list(cohort.subjects),
            "group": cohort.groups,
            "split": list(cohort.participants["split"]),
        }
    )
    chosen: set[str] = set()
    is_rounded_up = True
    for split, group, members in _strata(people):
        if len(members) < 2:
            raise CohortError(
                f"Cohort {cohort.name!r} has a single subject of group "
                f"{cohort.group_names[group]!r} in its {split} split, but one is to be corrupted "
                "and one to stay clean."
            )
        members.sort(key=lambda subject: (seed_of("corruption", seed, subject), subject))
        half = len(members) // 2
        if len(members) % 2:
            half, is_rounded_up = half + is_rounded_up, not is_rounded_up
        chosen.update(members[:half])
    return np.array([subject in chosen for subject in cohort.subjects])


def _strata(people: pd.DataFrame) -> Iterator[tuple[str, int, list[str]]]:
    """Yield the subjects of each group in each split."""
    once = people.groupby("subject", sort=True).agg({"group": "min", "split": "first"})
    for split in SPLITS:
        for group in (0, 1):
            members = once.index[(once["split"] == split) & (once["group"] == group)]
            if len(members):
                yield split, group, list(members)


def _original_groups(cohort: Cohort) -> list[str]:
    """Return the name of each image's old group, so that it reads back as text."""
    names = [
        name if re.match(r"[^\W\d]", name) and name.lower() not in _NO_TEXT else f"group {name}"
        for name in cohort.group_names
    ]
    return [names[group] for group in cohort.groups]
