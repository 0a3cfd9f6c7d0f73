"""Settings and statistics of `positive_control` 2.0."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator, model_validator

from benchmark.protocol import ProtocolConfig
from benchmark.reading import Plot, Reading, find, statistic, summarise
from protocols.positive_control.statistics import PositiveControlConfig as SingleMarkConfig
from protocols.positive_control.statistics import PositiveControlStatistics as SingleMarkStatistics
from protocols.v2.positive_control.marks import BLUR, SHADE, Mark

MAIN = "main"
LEARNED = 0.6  # AUROC on the own mark, which the lower bound must exceed
UNRELATED = 0.15  # distance of the AUROC on the other mark from 0.5, which no bound may reach


class PositiveControlConfig(ProtocolConfig):
    """Settings of `positive_control` 2.0.

    Attributes:
        marks: The two kinds of mark.
        subjects: Number of images that are explained, as many of each group.
        dose_response: Whether signals of rising strength are read as well, which enter no score.
        single: Settings of these; those of `positive_control` 1.0 with half of its subjects.
    """

    marks: tuple[Mark, Mark] = (BLUR, SHADE)
    subjects: int = Field(64, ge=4)
    dose_response: bool = True
    single: SingleMarkConfig = SingleMarkConfig.model_validate(
        {"subjects": 32, "probe_subjects": 16}
    )

    @field_validator("marks")
    @classmethod
    def _different(cls, marks: tuple[Mark, Mark]) -> tuple[Mark, Mark]:
        if marks[0].name == marks[1].name or MAIN in (mark.name for mark in marks):
            raise ValueError(f"two marks of different names, neither of them {MAIN}")
        return marks

    @model_validator(mode="after")
    def _part_of_them(self) -> PositiveControlConfig:
        if self.single.subjects > self.subjects:
            raise ValueError(
                f"single.subjects may be at most subjects, {self.subjects}, but is "
                f"{self.single.subjects}"
            )
        return self


class PositiveControlStatistics(SingleMarkStatistics):
    """Everything that `positive_control` 2.0 reads.

    What it shares with 1.0 is read with its single signal, at each strength.
    """

    found = statistic(
        "how much better the map shows a mark on the network that was taught to see it than on any "
        "other network (0 = as well on every network, 1 = the mark alone)",
        "higher",
        "studentised",
        Plot("bars", "mark", (), None, "found above the other networks"),
    )
    beyond_main = statistic(
        "average precision on the marks minus that of the same method on the network before it "
        "was taught to see them",
        "higher",
        "studentised",
    )
    mark_ap = statistic("average precision of a network's map on a mark", "higher")
    mark_auroc = statistic("AUROC of a network at telling whether a mark is there", "none", "auroc")
    abstentions = statistic("number of maps that rank nothing", "none", "constant")
    single_found = statistic(
        "average precision of the map against the site of a single signal, 0 for noise and 1 for "
        "the truth",
        "higher",
        plot=Plot("bars", "strength", ("arm",), None, "found alone (0 = noise, 1 = truth)"),
    )


def marks_of(readings: Sequence[Reading]) -> list[str]:
    """Return the names of the marks in the order of the settings."""
    measured = PositiveControlStatistics.mark_auroc.name
    names = [str(each.conditions["mark"]) for each in readings if each.statistic == measured]
    return list(dict.fromkeys(names))


def unlearned(readings: Sequence[Reading]) -> str | None:
    """Return why the networks do not tell the marks apart, or None where they do."""
    names, measured = marks_of(readings), PositiveControlStatistics.mark_auroc
    for network in names:
        for mark in names:
            reading = find(readings, measured, network=network, mark=mark)
            if reading is None:
                return "signal not learned"
            auroc = summarise(reading, "auroc")
            bounds = f"AUROC {auroc.estimate:.2f} [{auroc.low:.2f}, {auroc.high:.2f}]"
            if mark == network and not auroc.low > LEARNED:
                return f"signal not learned: {bounds} on {mark}"
            if mark != network and not max(abs(auroc.low - 0.5), abs(auroc.high - 0.5)) < UNRELATED:
                return f"signal not learned: the network of {network} has {bounds} on {mark}"
    return None
