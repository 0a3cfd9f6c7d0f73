"""`phantom` with the other group's anatomy, which the committed cohort does not bring."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from paths import ROOT

from baselines.cohorts.committed_file import Bytes, read_normals, write_normals
from baselines.cohorts.generator import counterpart, draw_person, render, subject_stream
from baselines.cohorts.phantom import SEED, Phantom
from baselines.cohorts.template import coronal_view
from benchmark.cohort import Cohort

PARTNERS = ROOT / "tests/data/phantom_partners.npz"
"""Partners of the test images, as a difference to the images."""


@lru_cache(maxsize=1)
def phantom_with_partners() -> Cohort:
    """Return `phantom` with partners of its test images.

    An image of another split is its own partner: nothing asks for the change of a training image.
    """
    cohort = Phantom().load()
    test = (cohort.participants["split"] == "test").to_numpy()
    partners = cohort.images.copy()
    partners[test] = read_normals(PARTNERS, "phantom", _grey_levels(cohort)[test])
    return replace(cohort, partners=partners)


def render_partner(row: int, group: int) -> Bytes:
    """Return the image [*S] that a subject of `phantom` would give in the other group."""
    rng = subject_stream(row + 1, SEED)
    person = draw_person(rng, group)
    return render(counterpart(person), coronal_view(), rng)[0]


def write_partners(path: Path = PARTNERS) -> None:
    """Render the partners of the test images and write them."""
    cohort = Phantom().load()
    rows = np.flatnonzero((cohort.participants["split"] == "test").to_numpy())
    partners = np.stack([render_partner(int(row), int(cohort.groups[row]))[None] for row in rows])
    write_normals(path, partners, _grey_levels(cohort)[rows])


def _grey_levels(cohort: Cohort) -> Bytes:
    return np.rint(cohort.images * 255).astype(np.uint8)
