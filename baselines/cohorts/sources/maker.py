"""Cohorts of further sources, such as those that a board's maintainers keep to themselves.

A map that offers a few published structures and lets the network choose among them follows the
network there, and shows nothing elsewhere. So the maintainers make a cohort of other structures,
run submissions on it, and publish neither its images nor what the structures are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from baselines.cohorts.sources.cohort import (
    SourceDesign,
    draw_sizes,
    read_sources,
    size_column,
    write_sources,
)
from baselines.cohorts.sources.walls import FluidWall
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.records.files import write_atomically

__all__ = ["EXAMPLE", "make_source_cohort"]

LARGEST_CORRELATION = 0.12
"""Between the sizes of two sources, above which a network can follow one by the other."""

AREA_AUROCS = (0.35, 0.65)
"""Within which the area of no region may tell a label."""

OWN_SHARE, OTHER_SHARE = 0.45, 0.01
"""Least share of a source's change inside its own region, and most inside another's."""

_PLUGIN = '''"""Cohort of sources that are not published; keep this folder to yourself."""

from pathlib import Path

from baselines.cohorts.sources.cohort import SourceDesign, read_sources
from baselines.cohorts.sources.walls import FluidWall
from benchmark.cohort import Cohort
from benchmark.cohort_source import CohortSource

DESIGN = {design!r}


class {title}(CohortSource):
    """Read from the file beside this one."""

    name = DESIGN.name
    model = "phantom2_resnet"

    def load(self) -> Cohort:
        """Return the cohort of this folder."""
        return read_sources(Path(__file__).with_name("sources.npz"), DESIGN)
'''

EXAMPLE = SourceDesign(
    name="lateral_ventricles",
    seed=0,
    walls={
        f"lateral_{side}": FluidWall(
            f"lateral_ventricle_{side}",
            point=(sign * 15.0, -21.0, 25.0),
            low=(min(sign * 3.0, sign * 30.0), -30.0, 14.0),
            high=(max(sign * 3.0, sign * 30.0), -10.0, 32.0),
        )
        for side, sign in (("left", -1), ("right", 1))
    },
    hippocampi=(),
)
"""A public example of a design: the two lateral ventricles, whose walls move independently."""

CLASS_NAME = "OtherSources"
"""Name of the class in the file that :func:`make_source_cohort` writes."""


def make_source_cohort(design: SourceDesign, folder: Path) -> str:
    """Write a cohort of a design's sources, and return its name for ``--cohort``.

    Args:
        design: Design of the cohort; at least two sources.
        folder: Folder for ``sources.npz`` and ``sources.py``, which is made.

    Raises:
        CohortError: If there are fewer than two sources, a structure is not in the template, or
            the sources cannot be told apart; the message says by what, and often another seed
            helps.
    """
    if len(design.rois) < 2:
        raise CohortError(
            f"Cohort {design.name!r} needs at least two sources, but has "
            f"{', '.join(design.rois) or 'none'}."
        )
    # Before any image is made, which takes half a minute.
    for wall in design.walls.values():
        wall.region(np.zeros((1, 3)))
    for fault in _correlations(design):
        raise CohortError(f"Cohort {design.name!r}: {fault}; choose another seed.")
    folder.mkdir(parents=True, exist_ok=True)
    data, plugin = folder / "sources.npz", folder / "sources.py"
    write_sources(data, design)
    for fault in source_faults(read_sources(data, design)):
        data.unlink()
        raise CohortError(f"Cohort {design.name!r}: {fault}; choose other structures or a seed.")
    content = _PLUGIN.format(design=design, title=CLASS_NAME)
    write_atomically(plugin, content.encode())
    return f"{plugin}:{CLASS_NAME}"


def source_faults(cohort: Cohort) -> Iterator[str]:
    """Yield what makes the sources of a cohort with partners hard to tell apart."""
    regions = {name: cohort.anatomy.rois[each.rois[0]] for name, each in cohort.sources.items()}
    low, high = AREA_AUROCS
    for name, source in cohort.sources.items():
        for other, region in regions.items():
            area = roc_auc_score(source.labels, region.sum(axis=tuple(range(1, region.ndim))))
            if not low <= area <= high:
                yield f"the area of the region of {other!r} tells {name!r} at AUROC {area:.2f}"
        if source.partners is None:
            continue
        change = np.abs(cohort.images - source.partners)
        for other, region in regions.items():
            share = float((change * region).sum() / change.sum())
            if other == name and share < OWN_SHARE:
                yield f"{name!r} holds {share:.0%} of its change, below {OWN_SHARE:.0%}"
            elif other != name and share > OTHER_SHARE:
                yield f"{other!r} holds {share:.1%} of the change of {name!r}"


def _correlations(design: SourceDesign) -> Iterator[str]:
    sizes = draw_sizes(design)
    for first, second in combinations(design.rois.items(), 2):
        columns = [size_column(roi) for _, roi in (first, second)]
        correlation = float(np.corrcoef(sizes[columns].to_numpy().T)[0, 1])
        if abs(correlation) >= LARGEST_CORRELATION:
            yield f"the sizes of {first[0]!r} and {second[0]!r} correlate at {correlation:.2f}"
