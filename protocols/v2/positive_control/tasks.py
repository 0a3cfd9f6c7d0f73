"""Test images with marks, and the networks that are asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.cohort import Anatomy, Cohort
from benchmark.reading import Sample
from benchmark.trial import Trial, remembered
from protocols.v2.positive_control.marks import Mark, MarkedImages, Marking
from protocols.v2.positive_control.networks import TunedToMark

Marks = tuple[Mark, Mark]

PRESENCES = ((False, False), (True, False), (False, True), (True, True))
GROUP_NAMES = ("absent", "present")


@dataclass(frozen=True)
class Task:
    """One network that was taught to see one mark, on the test images with and without marks.

    Attributes:
        mark: Name of the mark.
        trial: Trial on the network and 4N images: N without marks, then N with the first, N with
            the second and N with both, at the same sites. The groups say whether the mark is there.
    """

    mark: str
    trial: Trial

    @property
    def subjects(self) -> int:
        """Number N of test images."""
        return len(self.trial.test) // len(PRESENCES)

    def rows(self, rows: Rows) -> Rows:
        """Return the rows of the trial that hold these test images with both marks."""
        both: Rows = (len(PRESENCES) - 1) * self.subjects + rows
        return both

    def margins(self) -> FloatArray:
        """Return the logit of present minus that of absent of all images, [4N]."""
        logits = self.trial.evaluation.logits
        margins: FloatArray = logits[:, 1] - logits[:, 0]
        return margins


def tasks(trial: Trial, marks: Marks) -> tuple[Task, Task]:
    """Return both marks' networks with the test images that they are asked about."""
    first, second = (
        Task(
            mark.name,
            TunedToMark(marks, number).on(trial).on(cohort=_marked_cohort(trial, marks, number)),
        )
        for number, mark in enumerate(marks)
    )
    return first, second


def on_main(trial: Trial, marks: Marks) -> Trial:
    """Return the trial on the network before tuning, with both marks in its own task's images."""
    return trial.on(cohort=_main_cohort(trial, marks))


def presences_of(trial: Trial, marks: Marks, mark: int) -> Sample:
    """Return who all 4N images are, the groups saying whether a mark is there."""
    cohort = _marked_cohort(trial, marks, mark)
    groups = tuple(cohort.groups.tolist())
    return Sample(cohort.keys, trial.sample().subjects * len(PRESENCES), groups)


@remembered()
def truths(trial: Trial, marks: Marks) -> tuple[BoolArray, BoolArray]:
    """Return where each mark lies in the test images with both, each [N, 1, *S]."""
    window, both = _marking(trial, marks).window, _with_both(trial, marks)
    return both.truth(0, window), both.truth(1, window)


@remembered()
def _marking(trial: Trial, marks: Marks) -> Marking:
    return Marking(trial.test, marks)


@remembered()
def _marked(trial: Trial, marks: Marks) -> MarkedImages:
    """Return the 4N images: the N test images with each of ``PRESENCES`` in turn."""
    draw = partial(_marking(trial, marks).draw, "test", trial.runtime.suite)
    count = len(trial.test)
    images = np.empty((len(PRESENCES) * count, *trial.test.images.shape[1:]), dtype=np.float32)
    presences, sites = [], []
    for number, present in enumerate(PRESENCES):
        part = draw(present=present)
        images[number * count : (number + 1) * count] = part.images
        presences.append(part.present)
        sites.append(part.sites)
    return MarkedImages(images, np.concatenate(presences), np.concatenate(sites))


@remembered()
def _marked_images(trial: Trial, marks: Marks) -> Cohort:
    """Return the 4N images as a cohort of one group, with the region of each mark."""
    test, regions = trial.test, truths(trial, marks)
    people = test.participants[["subject", "split"]]
    parts = [people.assign(subject=_named(test, marks, present), group=0) for present in PRESENCES]
    times = (len(PRESENCES), *[1] * (test.images.ndim - 1))
    return replace(
        test,
        name=f"{test.name}+{'+'.join(mark.name for mark in marks)}",
        images=_marked(trial, marks).images,
        participants=pd.concat(parts, ignore_index=True),
        anatomy=Anatomy(
            foreground=np.tile(test.anatomy.foreground, times),
            rois={
                mark.name: np.tile(region, times)
                for mark, region in zip(marks, regions, strict=True)
            },
        ),
        geometry=test.geometry.take(np.tile(np.arange(len(test)), len(PRESENCES))),
        group_names=GROUP_NAMES,
        partners=None,
        normals=None,
        sources={},
    )


@remembered()
def _marked_cohort(trial: Trial, marks: Marks, mark: int) -> Cohort:
    """Return the 4N images in the groups of one mark, whose region is the truth."""
    images = _marked_images(trial, marks)
    groups = np.repeat([present[mark] for present in PRESENCES], len(trial.test)).astype(np.int64)
    return replace(
        images,
        participants=images.participants.assign(group=groups),
        anatomy=replace(images.anatomy, truth=(marks[mark].name,)),
    )


@remembered()
def _main_cohort(trial: Trial, marks: Marks) -> Cohort:
    """Return the N images with both marks in the groups of the cohort itself."""
    test, both = trial.test, PRESENCES[-1]
    return replace(
        test,
        name=f"{test.name}+marks",
        images=_with_both(trial, marks).images,
        participants=test.participants.assign(subject=_named(test, marks, both)),
        partners=None,
        normals=None,
        sources={},
    )


def _with_both(trial: Trial, marks: Marks) -> MarkedImages:
    """Return those of the 4N images that carry both marks, which share their memory."""
    return _marked(trial, marks).take(slice((len(PRESENCES) - 1) * len(trial.test), None))


def _named(cohort: Cohort, marks: Marks, present: Sequence[bool]) -> list[str]:
    """Return the keys of marked images, each a subject of its own."""
    there = [mark.name for mark, is_there in zip(marks, present, strict=True) if is_there]
    ending = "+".join(there) or "unmarked"
    return [f"{key}+{ending}" for key in cohort.keys]
