"""What speaks against a cohort: parts that contradict each other, and values out of range."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.concept import DeferredConcepts

if TYPE_CHECKING:
    from benchmark.cohort import Cohort

SPLITS = ("train", "validation", "test")
OWN_COLUMNS = ("subject", "group", "split")

_LARGEST_VOLUME = 1e12  # mm³, a cube of ten metres


def faults_of(cohort: Cohort) -> Iterator[str]:
    """Yield a clause about each fault, to follow the cohort's name."""
    yield from chain(
        _participant_faults(cohort),
        _array_faults(cohort),
        _image_faults(cohort),
        _volume_faults(cohort),
        _counterfactual_faults(cohort),
        _concept_faults(cohort),
    )


def _participant_faults(cohort: Cohort) -> Iterator[str]:
    people = cohort.participants
    if missing := [column for column in OWN_COLUMNS if column not in people.columns]:
        present = ", ".join(map(str, people.columns)) or "none"
        yield f" lacks the participants column(s) {', '.join(missing)}; it has {present}"
    if len(people) != len(cohort.images):
        yield f" has {len(cohort.images)} images but {len(people)} rows of participants"
    if unknown := sorted(set(people["split"].astype(str)) - set(SPLITS)):
        yield f" has the unknown split(s) {', '.join(unknown)}; known: {', '.join(SPLITS)}"
    if not (groups := set(people["group"])) <= {0, 1}:
        yield f" must hold groups 0 and 1 only, but got {sorted(groups)}"
    splits = people.groupby("subject")["split"].nunique()
    if torn := [str(subject) for subject in splits.index[splits > 1]]:
        rule = "a subject must stay in one, or scores leak"
        yield f" has subject {torn[0]!r} in more than one split; {rule}"


def _array_faults(cohort: Cohort) -> Iterator[str]:
    anatomy, images = cohort.anatomy, cohort.images
    if images.dtype != np.float32 or images.ndim not in (4, 5) or images.shape[1] != 1:
        expected = "images [N, 1, H, W] or [N, 1, D, H, W] float32"
        yield f" needs {expected}, but got {list(images.shape)} {images.dtype}"
    masks = {"foreground": anatomy.foreground, **anatomy.rois}
    masks |= {f"control of {name}": mask for name, mask in anatomy.control_rois.items()}
    masks |= {f"subfield {name}": mask for name, mask in anatomy.subfields.items()}
    for name, mask in masks.items():
        if mask.shape != images.shape or mask.dtype != np.bool_:
            expected = f"the mask {name!r} as {list(images.shape)} bool"
            yield f" needs {expected}, but got {list(mask.shape)} {mask.dtype}"
    known = f"but its regions are {', '.join(sorted(anatomy.rois)) or 'none'}"
    if unknown := sorted(set(anatomy.truth) - set(anatomy.rois)):
        yield f" names {unknown[0]!r} as truth, {known}"
    if unknown := sorted(set(anatomy.control_rois) - set(anatomy.rois)):
        yield f" has a control region for {unknown[0]!r}, {known}"
    if clash := sorted(set(anatomy.subfields) & set(anatomy.rois)):
        yield f" calls {clash[0]!r} a region and a subfield; a part needs a name of its own"
    for name in anatomy.subfields:
        if anatomy.parents.get(name) not in anatomy.rois:
            yield f" has the subfield {name!r} in {anatomy.parents.get(name)!r}, {known}"
    for name, sign in anatomy.volume_signs.items():
        if name not in {**anatomy.rois, **anatomy.subfields}:
            yield f" has a volume_sign for {name!r}, {known}"
        if sign not in (1, -1):
            yield f" needs 1 or -1 as the volume_sign of {name!r}, but got {sign!r}"
    if (spacings := len(cohort.geometry.spacing)) != images.ndim - 2:
        yield f" needs {images.ndim - 2} spacings in mm, but got {spacings}"
    affines = cohort.geometry.affines
    if affines is not None and affines.shape != (len(images), 4, 4):
        yield f" needs affines [{len(images)}, 4, 4], but got {list(affines.shape)}"
    if affines is not None and cohort.geometry.registered:
        yield " is called registered, but its images lie on grids of their own"
    poses = cohort.geometry.poses
    if poses is not None and poses.shape != (len(images), 4, 4):
        yield f" needs poses [{len(images)}, 4, 4], but got {list(poses.shape)}"
    if poses is not None and not (np.isfinite(poses).all() and np.linalg.det(poses).all()):
        yield " has a pose that cannot be inverted, so that no common region can be carried by it"
    if poses is not None and cohort.geometry.registered:
        yield " is called registered, but its images have poses of their own"


def _image_faults(cohort: Cohort) -> Iterator[str]:
    for row, subject in enumerate(cohort.subjects):
        image, foreground = cohort.images[row], cohort.anatomy.foreground[row]
        if not foreground.any():
            yield f": the foreground of {subject!r} is empty"
        low, high = float(image.min()), float(image.max())
        if not np.isfinite(low + high) or low < 0 or high > 1:
            span = f"[{low:.4g}, {high:.4g}]"
            yield f": the image of {subject!r} must lie in [0, 1], but spans {span}"
        if not (foreground & (image != image.flat[foreground.argmax()])).any():
            yield f": the image of {subject!r} is constant on its foreground"


def _volume_faults(cohort: Cohort) -> Iterator[str]:
    """Yield what is no volume among those of regions and subfields; NaN where it is not known."""
    for name in (*cohort.anatomy.rois, *cohort.anatomy.subfields):
        column = f"{name}_volume"
        if column not in cohort.participants.columns:
            continue
        cells = cohort.participants[column]
        volumes = pd.to_numeric(cells, errors="coerce")
        wrong = (volumes.isna() & cells.notna()) | (volumes < 0) | (volumes > _LARGEST_VOLUME)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            rule = "a volume in mm³ is a number from 0 on, or missing"
            yield f" has the {column} {cells.tolist()[row]!r} for {cohort.subjects[row]!r}; {rule}"


def _concept_faults(cohort: Cohort) -> Iterator[str]:
    if isinstance(cohort.concepts, DeferredConcepts):
        return
    people = cohort.participants
    tested = set(people["subject"][people["split"] == "test"].astype(str))
    for name, concept in cohort.concepts.items():
        sets = {"with": concept.present, "without": concept.absent}
        for which, images in sets.items():
            what = f"the images {which} the concept {name!r}"
            if len(images) and images.images.shape[1:] != cohort.images.shape[1:]:
                wanted, got = list(cohort.images.shape[1:]), list(images.images.shape[1:])
                yield f" needs {what} as {wanted}, but got {got}"
            if len(images.subjects) != len(images) or len(images.strata) not in (0, len(images)):
                count = f"{len(images.subjects)} subjects and {len(images.strata)} strata"
                yield f" has {len(images)} of {what}, but {count}"
            low, high = images.span if len(images) else (0.0, 1.0)
            if not np.isfinite(low + high):
                yield f" has a value that is NaN or infinite in {what}"
            elif low < 0 or high > 1:
                yield f" needs {what} in [0, 1], but they span [{low:.4g}, {high:.4g}]"
            if shared := sorted(tested & set(images.subjects)):
                rule = "a concept is shown by subjects that are not tested on"
                yield f" has the test subject {shared[0]!r} among {what}; {rule}"
        if concept.paired and concept.present.subjects != concept.absent.subjects:
            rule = "but its two sets are not of the same subjects"
            yield f" calls the concept {name!r} paired, {rule}"
        if concept.added is not None and len(concept.added) != len(concept.present):
            count = f"{len(concept.present)} images but {len(concept.added)} amounts"
            yield f" has {count} of the concept {name!r}"
        if unknown := [each for each in concept.covariates if each not in people.columns]:
            known = ", ".join(map(str, cohort.covariates.columns)) or "none"
            yield (
                f" measures the concept {name!r} by {unknown[0]!r}, but its covariates are {known}"
            )


def _counterfactual_faults(cohort: Cohort) -> Iterator[str]:
    shape, count = cohort.images.shape, len(cohort.images)
    partners = {"partners": cohort.partners, "normals": cohort.normals}
    partners |= {
        f"partners of source {name!r}": source.partners for name, source in cohort.sources.items()
    }
    for name, images in partners.items():
        if images is None:
            continue
        if images.shape != shape or images.dtype != np.float32:
            got = f"{list(images.shape)} {images.dtype}"
            yield f" needs {name} {list(shape)} float32, but got {got}"
        low, high = float(images.min()), float(images.max())
        if not np.isfinite(low + high) or low < 0 or high > 1:
            yield f" needs {name} in [0, 1], but they span [{low:.4g}, {high:.4g}]"
    for name, source in cohort.sources.items():
        if source.labels.shape != (count,) or not set(np.unique(source.labels)) <= {0, 1}:
            yield f" needs labels [{count}] of 0 and 1 for the source {name!r}"
        if unknown := sorted(set(source.rois) - set(cohort.anatomy.rois)):
            known = ", ".join(sorted(cohort.anatomy.rois)) or "none"
            yield f" has the source {name!r} in {unknown[0]!r}, but its regions are {known}"
        if not source.rois:
            yield f" names no region of the source {name!r}"
