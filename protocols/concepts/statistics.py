"""Settings and statistics of `concepts`, and what is concluded from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from benchmark.protocol import ProtocolConfig
from benchmark.reading import Reading, Statistic, find, interval, statistic, summarise
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from benchmark.statistics.significance import holm

Word = Literal["drives", "does not drive", "undecided", "shortcut"]

BAND = 0.1  # of T: an effect whose interval lies within ± this does not drive the separation
LEVEL = 0.05


class ConceptsConfig(ProtocolConfig):
    """Settings of `concepts`.

    Attributes:
        permutations: Number of sign flips, or of permutations of labels, of each test.
        directions: Number of permutations behind the p-value of a concept's direction, each of
            which takes a fit.
        random_sets: Number of pairs of random sets that are tested as concepts are.
        fewest: Fewest images of a set.
    """

    permutations: int = Field(10_000, ge=99)
    directions: int = Field(199, ge=19)
    random_sets: int = Field(100, ge=20)
    fewest: int = Field(20, ge=20)


class ConceptStatistics:
    """Everything that `concepts` reads, under the name of the concept as ``concept``."""

    strongest = statistic(
        "effect of the concept that moves the groups' projection most, in T; positive towards the "
        "cases",
        aggregate="studentised",
    )
    effect = statistic(
        "change of the projection from without to with the concept, in T; positive towards the "
        "cases",
        aggregate="studentised",
    )
    shift = statistic(
        "projection of images that show the concept minus that of others, in T; positive towards "
        "the cases",
        aggregate="studentised",
    )
    margin_effect = statistic(
        "the same difference of the margin of the cases' logit, in logits", aggregate="studentised"
    )
    margin_copy = statistic("the same margin on a fully randomised copy, in logits")
    p = statistic("two-sided p-value of a test, before Holm", aggregate="constant")
    encoded = statistic("whether a fit on other subjects tells with from without")
    alignment = statistic(
        "cosine of the concept's direction with that from the reference group to the cases",
        aggregate="constant",
    )
    alignment_head = statistic(
        "cosine of the concept's direction with the difference of the head's weights",
        aggregate="constant",
    )
    share = statistic(
        "effect times the groups' difference in the amount of the concept over the amount added, "
        "in T",
        aggregate="studentised",
    )
    nuisance = statistic("whether the concept was declared a nuisance", aggregate="constant")
    separation = statistic("T, the groups' difference in the projection", aggregate="constant")
    random_shift = statistic("mean shift between random sets, in T", aggregate="constant")
    random_low = statistic("2.5th percentile of random shifts, in T", aggregate="constant")
    random_high = statistic("97.5th percentile of random shifts, in T", aggregate="constant")
    false_alarms = statistic(
        "share of random pairs of sets that the test of sets calls a concept", aggregate="constant"
    )


@dataclass(frozen=True)
class Finding:
    """What was found of one concept.

    Attributes:
        name: Name of the concept.
        paired: Whether its score is the effect of pairs, else the shift of sets.
        score: Effect or shift in T, with its interval.
        p: p-value of the score after Holm over the concepts.
        nuisance: Whether it was declared a nuisance.
    """

    name: str
    paired: bool
    score: Interval
    p: float
    nuisance: bool

    @property
    def word(self) -> Word:
        """Whether the concept drives the separation."""
        low, high = self.score.low, self.score.high
        if self.p <= LEVEL and (low > BAND or high < -BAND):
            return "shortcut" if self.nuisance else "drives"
        return "does not drive" if low > -BAND and high < BAND else "undecided"


def findings(readings: Sequence[Reading]) -> list[Finding]:
    """Return what was found of each concept, in the order of the cohort."""
    statistics = ConceptStatistics
    names = [
        str(reading.conditions["concept"])
        for reading in readings
        if reading.statistic == statistics.nuisance.name
    ]
    paired = [find(readings, statistics.effect, concept=name) is not None for name in names]
    tests = ["effect" if pair else "shift" for pair in paired]
    raw = [
        value_of(readings, statistics.p, name, test)
        for name, test in zip(names, tests, strict=True)
    ]
    scores = [
        interval_of(readings, statistics.effect if pair else statistics.shift, name)
        for name, pair in zip(names, paired, strict=True)
    ]
    nuisances = [value_of(readings, statistics.nuisance, name) == 1 for name in names]
    parts = zip(names, paired, scores, holm(raw).tolist(), nuisances, strict=True)
    return [Finding(*part) for part in parts]


def interval_of(readings: Sequence[Reading], measured: Statistic, concept: str) -> Interval:
    """Return a statistic of a concept with its interval; NaN where it was not read."""
    return interval(readings, measured, concept=concept) or NO_INTERVAL


def value_of(
    readings: Sequence[Reading], measured: Statistic, concept: str, test: str | None = None
) -> float:
    """Return a number of a concept; NaN where it was not read."""
    where = {"concept": concept} if test is None else {"concept": concept, "test": test}
    reading = find(readings, measured, **where)
    return float("nan") if reading is None else summarise(reading, "constant").estimate


def number_of(readings: Sequence[Reading], measured: Statistic) -> float:
    """Return a number of the model; NaN where it was not read."""
    reading = find(readings, measured)
    return float("nan") if reading is None else summarise(reading, "constant").estimate


def largest_copy_margin(readings: Sequence[Reading], concept: str) -> float:
    """Return the largest absolute mean margin of a concept on randomised copies, in logits."""
    name = ConceptStatistics.margin_copy.name
    means = [
        abs(summarise(reading).estimate)
        for reading in readings
        if reading.statistic == name and reading.conditions["concept"] == concept
    ]
    return max(means, default=float("nan"))


def conclude(readings: Sequence[Reading]) -> str:
    """Return a sentence that lists the concepts by what was concluded."""
    by_word: dict[str, list[str]] = {}
    for finding in findings(readings):
        by_word.setdefault(finding.word, []).append(finding.name)
    order = ("shortcut", "drives", "does not drive", "undecided")
    parts = [f"{word}: {', '.join(by_word[word])}" for word in order if word in by_word]
    return "; ".join(parts)
