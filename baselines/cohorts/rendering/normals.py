"""The subjects of `phantom` and `phantom2` at normal volume: as if no hippocampus had changed.

They are rendered with the subject's own stream, so that deformation, scanner, bias field and noise
stay as they are. They lie in a file beside the cohort's own, since no score depends on them but
that of the control `true_deviation`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from baselines.cohorts import phantom, phantom2
from baselines.cohorts.committed_file import Bytes, read_arrays, write_normals
from baselines.cohorts.generator import SIDES, Person, draw_person, render, subject_stream
from baselines.cohorts.template import View, coronal_view, load_template
from benchmark.arrays import Rows


def normal_of(person: Person) -> Person:
    """Return the same subject with both hippocampi at relative volume 1."""
    return replace(person, volumes=dict.fromkeys(SIDES, 1.0))


def render_normal(number: int, group: int, view: View) -> Bytes:
    """Return subject ``number``, from 1, of `phantom` at normal volume in a view, [*S]."""
    rng = subject_stream(number, phantom.SEED)
    return render(normal_of(draw_person(rng, group)), view, rng)[0]


def moved_view(number: int) -> View:
    """Return the view that `phantom2` takes of subject ``number``, from 1."""
    return coronal_view().moved(phantom2.motion_of(number))


def write_all_normals() -> None:
    """Render the normals of both cohorts and write each file, in ten seconds."""
    images = read_arrays(phantom.DATA, phantom.Phantom.name)
    groups = images.participants["group"].to_numpy()
    normals = _render_all(groups, lambda number: coronal_view())
    write_normals(phantom.NORMALS, normals, images.images)
    images = read_arrays(phantom2.DATA, phantom2.Phantom2.name)
    write_normals(phantom2.NORMALS, _render_all(groups, moved_view), images.images)


def _render_all(groups: Rows, view_of: Callable[[int], View]) -> Bytes:
    load_template()  # read before there are several threads to read it
    numbers = range(1, len(groups) + 1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = pool.map(lambda n: render_normal(n, int(groups[n - 1]), view_of(n)), numbers)
        return np.stack([image[None] for image in images])
