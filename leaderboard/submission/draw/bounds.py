"""Decides whether claimed scores can be those of a method that knew nothing of its images.

Claimed scores are of the published subjects, fresh ones of others that the same generator drew.
Both are random samples of one population unless the method knew the published subjects, so the
means of a score may differ by sampling alone::

    d = (x̄ − ȳ) − β · (r̄ − s̄)

with x and y the method's scores of published and of fresh subjects, and r and s those of methods of
which everything is known. These tell how much harder the drawn images are than the published ones;
β is the slope of the method's scores on theirs within both samples, as in an analysis of
covariance. So methods that have nothing in common with it change nothing. All cells are
judged together: each by how rare its studentised difference is among its own resamples, and the
rarest by how rare that is (min-p). A submission that knew nothing exceeds the limit in one of
twenty draws at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.reading import Reading
from benchmark.statistics.simultaneous import RESAMPLES, simultaneous_widths
from leaderboard.board.totals import Part, make_blocks
from leaderboard.published.fault import Fault
from leaderboard.published.record import PublishedRecord

# Skewed scores of 64 subjects lie beyond such bounds more often than in 2.5 of 100 draws; in
# simulations, in 5 at most.
LEVEL = 0.975


@dataclass(frozen=True)
class Pair:
    """Scores of one method in one cell, of the published subjects and of fresh ones."""

    published: Reading
    fresh: Reading


@dataclass(frozen=True)
class DrawnCell:
    """A cell that was measured on fresh subjects as well.

    Attributes:
        name: Name of the cell, for messages.
        location: File of the record.
        cohort: Fingerprint of the published cohort; cells of one cohort are of the same subjects.
        method: Scores of the submission.
        references: Scores of methods of which everything is known.
    """

    name: str
    location: str
    cohort: str
    method: Pair
    references: tuple[Pair, ...]


@dataclass(frozen=True)
class Difference:
    """What a draw says of one cell.

    Attributes:
        cell: The cell.
        published: Mean of the scores that were claimed.
        fresh: Mean of the scores of fresh subjects.
        expected: Mean that was to be expected of the published subjects, going by the fresh ones
            and by what the references score on both.
        width: Distance that the claim may lie from that.
    """

    cell: DrawnCell
    published: float
    fresh: float
    expected: float
    width: float

    @property
    def is_beyond(self) -> bool:
        """Whether the claim lies outside of the bounds."""
        return abs(self.published - self.expected) > self.width + 1e-9

    @property
    def fault(self) -> Fault:
        """The fault of a cell that lies outside of its bounds."""
        low, high = self.expected - self.width, self.expected + self.width
        detail = (
            f"{self.cell.name} has {self.published:.3f} on the published subjects and "
            f"{self.fresh:.3f} on fresh ones, by which {low:.3f} to {high:.3f} were to be expected"
        )
        return Fault("draw-differs", self.cell.location, detail)


def compare(cells: Sequence[DrawnCell], resamples: int = RESAMPLES) -> list[Difference]:
    """Return the difference of each cell, with bounds that hold for all cells together.

    Raises:
        InputError: If fewer than 20 subjects have scores on either side.
    """
    if not cells:
        return []
    adjusted = [_adjust(cell) for cell in cells]
    parts: dict[str, Part] = {}
    for position, (cell, pair) in enumerate(zip(cells, adjusted, strict=True)):
        sides = (("published", 1.0, pair.published), ("fresh", -1.0, pair.fresh))
        for side, weight, reading in sides:
            name = f"{cell.cohort} {side}"
            known = parts[name].readings if name in parts else {}
            parts[name] = Part(name, weight, {**known, str(position): reading})
    columns = [str(position) for position in range(len(cells))]
    blocks = make_blocks(list(parts.values()), columns)
    totals, widths = simultaneous_widths(blocks, resamples, LEVEL)
    differences = []
    for cell, total, unscaled in zip(cells, totals, widths, strict=True):
        width = unscaled * _lost_degrees(cell)
        published, fresh = (float(np.nanmean(each.values)) for each in _sides(cell.method))
        differences.append(Difference(cell, published, fresh, published - total, float(width)))
    return differences


def without_gaps(record: PublishedRecord) -> Reading | None:
    """Return the score of a record as a board counts it, with a value for every image.

    Where scores are owed to the network, an image without a value shows nothing of it and counts 0.
    Elsewhere a board leaves it out, as if it had the mean of the others.
    """
    score = record.score
    if score is None or not np.isfinite(score.values).any():
        return None
    filling = 0.0 if record.scale.owed else float(np.nanmean(score.values))
    return replace(score, values=np.nan_to_num(score.values, nan=filling), denominators=None)


def _sides(pair: Pair) -> tuple[Reading, Reading]:
    return pair.published, pair.fresh


def _adjust(cell: DrawnCell) -> Pair:
    """Return the method's scores without what the references say of the images' difficulty."""
    values = [side.values for side in _sides(cell.method)]
    references = [
        np.stack([_aligned(_sides(pair)[side], own) for pair in cell.references], axis=-1)
        if cell.references
        else np.zeros((len(own.values), 0))
        for side, own in enumerate(_sides(cell.method))
    ]
    within = [each - each.mean(0) for each in references]
    above = [each - each.mean() for each in values]
    slopes, *_ = np.linalg.lstsq(np.concatenate(within), np.concatenate(above), rcond=1e-6)
    middle = np.mean([each.mean(0) for each in references], axis=0)
    first, second = (
        replace(reading, values=reading.values - (each - middle) @ slopes)
        for reading, each in zip(_sides(cell.method), references, strict=True)
    )
    return Pair(first, second)


def _lost_degrees(cell: DrawnCell) -> float:
    """Return how much wider bounds are for the mean and the slopes that the data had to tell."""
    count = min(len(side.values) for side in _sides(cell.method))
    return float(np.sqrt(count / (count - 1 - len(cell.references))))


def _aligned(reference: Reading, own: Reading) -> FloatArray:
    """Return a reference's scores of another reading's images, its mean where it has none."""
    known: Mapping[str, float] = dict(zip(reference.sample.keys, reference.values, strict=True))
    mean = float(reference.values.mean())
    return np.array([known.get(key, mean) for key in own.sample.keys])
