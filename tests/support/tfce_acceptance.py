"""What TFCE costs on volumes, and how often it is wrong; prints what docs/group_maps.md tells.

``python tests/support/tfce_acceptance.py cost 10`` asks for ten permutations of maps of 100 + 100
subjects on the grid of `phantom3d`, whose cost grows with their number; ``alarms`` shuffles groups.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

# Processor time is that of a single core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from baselines.cohorts.phantom3d import Phantom3D
from benchmark.arrays import BoolArray, FloatArray
from benchmark.records.provenance import peak_memory
from benchmark.seeding import stream
from benchmark.statistics.linear import (
    draw_permutations,
    enhanced_test,
    nuisance_design,
    voxelwise_test,
)

LEVEL, RUNS, ORDERS = 0.05, 100, 19
SUBJECTS = 200  # for the cost
FEW = 40  # for the false alarms
SIGMA = 4.5 / 2.3548 / 1.5  # voxels: 4.5 mm of full width at half maximum


def cost(permutations: int) -> Iterator[str]:
    """Yield processor time and memory of the two tests of voxels."""
    inside = Phantom3D(10).load().anatomy.foreground.mean(0)[0] >= 0.8
    groups = np.arange(SUBJECTS) % 2
    for columns in (0, 6):
        ages = stream("tfce_acceptance", "covariates").normal(size=(SUBJECTS, columns))
        names = [f"covariate {number}" for number in range(columns)]
        design = nuisance_design(pd.DataFrame(ages, columns=names), covariates=names)
        maps = _noise(inside, SUBJECTS, "cost")
        orders = draw_permutations(SUBJECTS, permutations, "tfce_acceptance")
        before, start = peak_memory(), time.process_time()
        voxelwise_test(maps, groups, design, orders)
        between, middle = peak_memory(), time.process_time()
        enhanced_test(maps, groups, design, inside, permutations, 0)
        after, end = peak_memory(), time.process_time()
        peaks = ", ".join(f"{(peak or 0) / 2**20:.0f}" for peak in (before, between, after))
        yield (
            f"{inside.sum()} voxels of {inside.shape}, {SUBJECTS} subjects, {columns} columns, "
            f"{permutations} permutations: max-T {middle - start:.1f} s, "
            f"TFCE {end - middle:.1f} s; peaks {peaks} MB"
        )


def alarms() -> Iterator[str]:
    """Yield how often any voxel of smooth noise differs between shuffled groups."""
    inside = np.zeros((12, 14, 16), dtype=np.bool_)
    inside[1:-1, 1:-1, 1:-1] = True
    found = {"TFCE": 0, "max-T": 0}
    for run in range(RUNS):
        maps = _noise(inside, FEW, run)
        generator = stream("tfce_acceptance", "groups", run)
        groups = generator.permutation(np.arange(FEW) % 2)
        table = pd.DataFrame({"age": generator.normal(70, 8, FEW) + 5 * groups})
        design = nuisance_design(table)
        p = enhanced_test(maps, groups, design, inside, ORDERS, run)
        test = voxelwise_test(maps, groups, design, draw_permutations(FEW, ORDERS, run))
        found["TFCE"] += bool((p <= LEVEL).any())
        found["max-T"] += bool((test.p_fwe <= LEVEL).any())
    for name, count in found.items():
        yield f"groups shuffled, given age, {RUNS} runs: any voxel by {name} {count / RUNS:.3f}"


def _noise(inside: BoolArray, subjects: int, name: str | int) -> FloatArray:
    """Return smooth noise [n, V]."""
    generator = stream("tfce_acceptance", "maps", name)
    maps = np.empty((subjects, int(inside.sum())))
    for row in maps:
        row[:] = gaussian_filter(generator.normal(size=inside.shape), SIGMA)[inside]
    return maps


if __name__ == "__main__":
    asked = cost(int(sys.argv[2])) if sys.argv[1] == "cost" else alarms()
    for line in asked:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
