"""What results are made from: the scores of all explainers under one protocol, on one model.

Records of a run and published records are both brought into this form, and every question about
them is answered from it. So a run and a board cannot give two answers. Nothing here or in
``calibration``, ``paired`` and ``health`` meets a live model, explainer or protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.reading import Reading, Statistic
from benchmark.records.record import VerdictWord

ORACLE, TRUE_CHANGE, RANDOM = "oracle", "true_change", "random"
# Maps that look at no model, and know the truth of the image that they explain.
INFORMED = (ORACLE, TRUE_CHANGE, "true_deviation")
# Maps that look at no model and know no truth of the image that they explain; where one passes, the
# protocol proves nothing.
BLIND = (RANDOM, "smooth_noise", "centre", "intensity", "sobel", "atlas")
CONTROLS = (*INFORMED, *BLIND)


@dataclass(frozen=True)
class Scoring:
    """How the scores of a protocol are read.

    Attributes:
        statistic: The score.
        chance: The statistic that is 0 in expectation for a map of noise; None where that is not
            known.
        margin: Distance by which the truth may be beaten, or noise lie from 0, in a healthy
            protocol.
        truth_leads: Whether no map should score better than the truth.
        gate: Whether the protocol is passed or failed, and never averaged.
        owed: Whether the score is what a map owes to the network, so that 0 is chance.
    """

    statistic: Statistic
    chance: Statistic | None
    margin: float
    truth_leads: bool
    gate: bool
    owed: bool = False

    @property
    def sign(self) -> float:
        """Factor that turns a difference of scores so that up is better."""
        return -1.0 if self.statistic.direction == "lower" else 1.0


@dataclass(frozen=True)
class Score:
    """The score of one explainer.

    Attributes:
        explainer: Name of the explainer.
        reading: The score of each image; None where the cell was not scored.
        verdict: Verdict of the protocol.
        blind: Whether the explainer looks at no model and knows no truth.
    """

    explainer: str
    reading: Reading | None
    verdict: VerdictWord | None
    blind: bool


@dataclass(frozen=True)
class Scores:
    """The scores of explainers under one protocol, on one model and cohort.

    Attributes:
        scoring: Rules by which they are read.
        entries: One an explainer; the controls among them judge and calibrate the others.
        noise: Reading of the chance statistic for a map of noise; None where there is none.
        faults: Faults that the protocol itself found and that make its scores prove nothing.
        doubts: Doubts of the protocol itself, which leave open whether its scores prove something.
    """

    scoring: Scoring
    entries: tuple[Score, ...]
    noise: Reading | None
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def reading_of(self, explainer: str) -> Reading | None:
        """Return the score of an explainer, or None where it has none."""
        readings = (entry.reading for entry in self.entries if entry.explainer == explainer)
        return next((reading for reading in readings if reading is not None), None)

    @property
    def can_be_calibrated(self) -> bool:
        """Whether there is a zero to measure from; what a gate decides is never averaged."""
        has_zero = self.scoring.owed or self.reading_of(RANDOM) is not None
        return has_zero and not self.scoring.gate
