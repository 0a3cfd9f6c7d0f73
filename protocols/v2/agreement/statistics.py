"""Settings and statistics of `agreement` 2."""

from __future__ import annotations

from pydantic import Field

from benchmark.reading import Plot, statistic
from protocols.agreement.statistics import AgreementConfig as Settings


class AgreementConfig(Settings):
    """Settings of `agreement`: those of version 1, and how many cells are captured.

    Attributes:
        marked: Cells of highest mean importance that count as marked.
    """

    marked: int = Field(6, ge=1)


class CaptureStatistics:
    """What version 2 of `agreement` reads beside what version 1 does."""

    capture = statistic(
        "share of the effect of the most effective cells that the cells of highest mean importance "
        "hold, above the strongest null",
        "higher",
        "studentised",
    )
    captured = statistic(
        "share of the effect of the most effective cells that the marked cells hold; 0 by chance",
        "higher",
        "studentised",
        plot=Plot(
            "bars",
            "maps",
            (),
            None,
            "effect in the marked cells (0 = chance, 1 = that of the best cells)",
        ),
    )
    abstained = statistic("share of the images on which the map ranks nothing", "lower")
