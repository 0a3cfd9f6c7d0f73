"""Settings and statistics of `roi_pointing` 2."""

from __future__ import annotations

from pydantic import Field

from benchmark.protocol import ProtocolConfig
from benchmark.reading import Plot, statistic
from benchmark.trial.interventions.mask_leak import MaskLeakStatistics
from benchmark.trial.interventions.region_use import RegionUseStatistics


class RoiPointingConfig(ProtocolConfig):
    """Settings of `roi_pointing` 2.

    Attributes:
        confidence: An image counts if the model gives its own group at least this probability; at
            0 every image does.
        fewest: Fewer images than these are not assessable.
        tolerance_mm: Distance beside a region at which the largest value still points at it.
        subjects: Images that are explained, as many of each group, before ``confidence`` chooses.
        repeats: Other places that the removal of a region is compared with.
    """

    confidence: float = Field(0.8, ge=0, lt=1)
    fewest: int = Field(20, ge=2)
    tolerance_mm: float = Field(3.0, ge=0)
    subjects: int = Field(64, ge=4)
    repeats: int = Field(4, ge=1)


class RoiPointingStatistics(RegionUseStatistics, MaskLeakStatistics):
    """Statistics of `roi_pointing` 2; a score of 0 owes the network nothing, 1 is the truth."""

    own_ap = statistic(
        "how much better the map ranks the regions than the strongest null does, from 0 for a map "
        "that does not follow the network to 1 for one that shows them on this network alone",
        "higher",
        "studentised",
    )
    specificity = statistic(
        "how much more the map loads on the region than on its control, in log lift, beyond the "
        "strongest null",
        "higher",
        "studentised",
    )
    scaled_ap = statistic(
        "average precision of the maps, from 0 at chance to 1 at the truth",
        "higher",
        plot=Plot("bars", "network", (), None, "average precision (0 = chance, 1 = truth)"),
    )
    ap = statistic("average precision of the map against the regions", "higher")
    lift = statistic(
        "share of the map in a region over the region's share of the foreground",
        "higher",
        plot=Plot("bars", "roi", ("region",), None, "lift (1 = spread evenly)"),
    )
    rank_accuracy = statistic("share of the region among as many top pixels of the map", "higher")
    pointing = statistic("whether the largest value lies on the region", "higher")
    leakage = statistic("share of the map outside the foreground", "lower")
    abstained = statistic("whether the map ranks nothing, so that it counts as chance", "lower")
    own_probability = statistic("probability of the own group, all test images")
