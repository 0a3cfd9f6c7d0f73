"""How often a draw errs, on the scores that real methods have on suite v1.

The published scores of all methods stand for the population: subjects are drawn from it with
replacement, with all of their scores, once as the published subjects and once as fresh ones. A
lookup lifts the published scores: it shows the truth of some subjects, so that these have the best
score that there is, as many as give the stated rise of the mean.

Run as a script, it prints the table of ``docs/submit.md``, in about three minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TextIO

import numpy as np
import numpy.typing as npt
from paths import ROOT

from benchmark.reading import Reading, Sample
from benchmark.seeding import stream
from leaderboard.published.folder import load_folder
from leaderboard.submission.draw.bounds import DrawnCell, Pair, compare
from leaderboard.submission.draw.references import REFERENCES

Array = npt.NDArray[np.float64]
Cell = tuple[str, str]  # model and protocol

RECORDS = ROOT / "leaderboard" / "v1" / "records"
# Those on which every method can be scored.
MODELS = ("smallresnet", "smallvgg")
PROTOCOLS = ("roi_pointing", "positive_control")
METHODS = ("gradcam", "lrp_composite", "occlusion", "rise", "input_x_gradient")
SUBJECTS = 64
BEST = 1.0


@dataclass(frozen=True)
class Population:
    """Scores of all methods by cell and method, [n] of the same subjects everywhere."""

    scores: dict[Cell, dict[str, Array]]

    @property
    def methods(self) -> list[str]:
        """Methods with a score in every cell that are no reference, and vary in some cell."""
        everywhere = set.intersection(*(set(methods) for methods in self.scores.values()))
        return sorted(everywhere - set(REFERENCES))

    @property
    def size(self) -> int:
        """Number of subjects."""
        return len(next(iter(next(iter(self.scores.values())).values())))


@cache
def population() -> Population:
    """Return the scores of suite v1's board, of the subjects that every cell has."""
    records = [
        record
        for record in load_folder(RECORDS)
        if record.names.protocol in PROTOCOLS and record.names.model in MODELS and record.scores
    ]
    common = set.intersection(*({row[0] for row in record.scores} for record in records))
    scores: dict[Cell, dict[str, Array]] = {}
    for record in records:
        cell = record.names.model, record.names.protocol
        values = [row[3] for row in record.scores if row[0] in common]
        assert None not in values
        scores.setdefault(cell, {})[record.names.explainer] = np.array(values, dtype=np.float64)
    return Population(scores)


def share_beyond(
    method: str, rise: float, draws: int, resamples: int, lifted: int = 0, seed: int = 0
) -> float:
    """Return in which share of draws a submission lies outside of its bounds.

    Args:
        method: Honest method that it is, but for what it looks up.
        rise: How much looking up lifts the mean.
        draws: Number of draws.
        resamples: Number of bootstrap replicates of each.
        lifted: Number of cells in which it looks up; 0 for all.
        seed: Seed of the draws.
    """
    name = ("draw simulation", method, str(rise), lifted)
    generator = stream(*name, seed) if seed else stream(*name)
    people = population()
    cells = sorted(people.scores)
    beyond = 0
    for _ in range(draws):
        sides = [generator.integers(people.size, size=SUBJECTS) for _ in range(2)]
        drawn = [
            _cell(people.scores[cell], method, sides, _rise_of(number, rise, lifted), generator)
            for number, cell in enumerate(cells)
        ]
        beyond += any(difference.is_beyond for difference in compare(drawn, resamples))
    return beyond / draws


def _rise_of(number: int, rise: float, lifted: int) -> float:
    return rise if not lifted or number < lifted else 0.0


def _cell(
    scores: dict[str, Array],
    method: str,
    sides: list[npt.NDArray[np.int64]],
    rise: float,
    generator: np.random.Generator,
) -> DrawnCell:
    published, fresh = (scores[method][rows] for rows in sides)
    if rise:
        share = min(1.0, rise / max(BEST - scores[method].mean(), 1e-9))
        published = np.where(generator.random(len(published)) < share, BEST, published)
    references = tuple(
        Pair(*(_reading(scores[name][rows], side) for side, rows in enumerate(sides)))
        for name in REFERENCES
    )
    return DrawnCell(
        "", "", "phantom", Pair(_reading(published, 0), _reading(fresh, 1)), references
    )


def _reading(values: Array, side: int) -> Reading:
    names = tuple(f"{side}-{number:04d}" for number in range(len(values)))
    groups = tuple(number % 2 for number in range(len(values)))
    return Reading("score", Sample(names, names, groups), values)


def print_table(
    out: TextIO, methods: Sequence[str], seed: int, draws: int = 500, resamples: int = 1000
) -> None:
    """Print the shares of draws in which methods lie outside of their bounds."""
    out.write("| method | honest | .1 everywhere | .2 | .4 | .1 in one cell | .2 | .4 |\n")
    out.write("|---|---|---|---|---|---|---|---|\n")
    for method in methods:
        shares = [share_beyond(method, 0.0, draws, resamples, seed=seed)]
        for lifted in (0, 1):
            shares += [
                share_beyond(method, rise, draws, resamples, lifted, seed)
                for rise in (0.1, 0.2, 0.4)
            ]
        out.write(f"| `{method}` | " + " | ".join(f"{share:.3f}" for share in shares) + " |\n")
        out.flush()


def main() -> None:
    """Print the table of some methods, or of those that ``docs/submit.md`` names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", metavar="METHOD", default=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=500)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.methods) - set(population().methods))
    if unknown:
        parser.error(f"unknown {unknown[0]!r}; known: {', '.join(population().methods)}")
    print_table(sys.stdout, arguments.methods, arguments.seed, arguments.draws)


if __name__ == "__main__":
    main()
