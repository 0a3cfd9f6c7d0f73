"""How often the tests of `concepts` call random sets a concept, on a real network's embeddings.

Run it as ``python tests/support/concepts_acceptance.py``; docs/concepts.md shows what it prints. It
takes minutes, nearly all of them for fits of directions.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from baselines.cohorts.phantom import Phantom
from baselines.models.smallresnet import SmallResNet
from benchmark.arrays import FloatArray
from benchmark.explainer import NoExplainer
from benchmark.running.device import reproducible
from benchmark.seeding import stream
from benchmark.trial import Runtime, Trial
from benchmark.trial.projection import group_axis
from protocols.concepts.measures import alignment_p, label_p, permuted_labels
from protocols.concepts.outputs import Outputs, mean_direction

TRIALS, PERMUTATIONS, DIRECTIONS = 200, 999, 99
REPETITIONS = (10, 20, 40)


def describe(name: str, p_values: FloatArray) -> str:
    """Return a line on the p-values of a test."""
    uniform = stats.kstest(p_values, "uniform").pvalue
    rate = float((p_values <= 0.05).mean())
    return f"{name}: {rate:.3f} of {len(p_values)} at 0.05, KS against uniform p {uniform:.2f}"


def main() -> list[str]:
    """Return lines on the false alarms of each test."""
    cohort = Phantom().load()
    with reproducible():
        classifier = SmallResNet().load(cohort.shape)
        runtime = Runtime(torch.device("cpu"), suite="v1#0")
        trial = Trial(NoExplainer(), classifier, cohort, runtime)
        axis = group_axis(trial)
        concept = next(iter(cohort.concepts.values())).in_key_order
        outputs = Outputs.of(trial, axis, concept)
    pool = np.flatnonzero(~outputs.present)
    half = len(pool) // 2
    present, strata = np.arange(2 * half) < half, np.zeros(2 * half, dtype=np.int64)
    towards = -mean_direction(axis)
    shifts, alignments, repeated = [], [], []
    for number in range(TRIALS):
        rng = stream("concepts acceptance", number)
        rows = rng.permutation(pool)[: 2 * half]
        values = outputs.towards_cases[rows]
        again = [
            label_p(values, present, strata, PERMUTATIONS, stream("again", number, repetition))
            for repetition in range(max(REPETITIONS))
        ]
        shifts.append(again[0])
        repeated.append(again)
        labels = permuted_labels(present, strata, DIRECTIONS, rng)
        alignments.append(alignment_p(outputs.embeddings[rows], labels, present, towards)[1])
    lines = [describe("shift", np.array(shifts)), describe("alignment", np.array(alignments))]
    for count in REPETITIONS:
        median = np.median(np.array(repeated)[:, :count], axis=1)
        lines.append(f"shift, median of {count} repetitions: {(median <= 0.05).mean():.3f}")
    return lines


if __name__ == "__main__":
    print("\n".join(main()))  # noqa: T201
