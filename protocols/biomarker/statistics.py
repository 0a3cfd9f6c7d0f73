"""Settings of `biomarker` and what it reads."""

from __future__ import annotations

from pydantic import Field

from benchmark.protocol import ProtocolConfig, RisingShares
from benchmark.reading import Direction, Plot, Statistic, statistic
from benchmark.trial.interventions.region_use import RegionUseStatistics

UNDERPOWERED = 150
"""Subjects below which a method that tracks volume may well go unseen."""


class BiomarkerConfig(ProtocolConfig):
    """Settings of `biomarker`.

    Attributes:
        subjects: Subjects that are assessed, as many of each group; all of the test split unless
            given.
        minimum: Fewer subjects than these are not assessable.
        permutations: Permutations of the p-values.
        resamples: Bootstrap resamples of the mediated share.
        quantiles: Shares of the region that are removed, rising.
        removed: Subjects whose regions are removed, as many of each group.
        repeats: Random choices of as many voxels of the region that removal is compared with.
        places: Other places that the removal of the whole region is compared with.
    """

    subjects: int | None = Field(None, ge=4)
    minimum: int = Field(60, ge=4)
    permutations: int = Field(10_000, ge=19)
    resamples: int = Field(2000, ge=20)
    quantiles: RisingShares = (0.1, 0.25, 0.5)
    removed: int = Field(64, ge=4)
    repeats: int = Field(8, ge=1)
    places: int = Field(4, ge=1)


def _studentised(description: str, direction: Direction = "higher") -> Statistic:
    return statistic(description, direction, "studentised")


def _constant(description: str) -> Statistic:
    return statistic(description, aggregate="constant")


class BiomarkerStatistics(RegionUseStatistics):
    """What `biomarker` reads, for the protocol to inherit.

    Correlations are read as a value for each subject: the correlation plus the influence of the
    subject on it, so that their mean is the correlation and their spread its error. A reading under
    ``roi`` is of one region, and without it of all of them, averaged as Fisher's z. ``given`` says
    what is held constant: ``group`` is covariates and group, ``output`` the model's output as well.
    """

    beyond_output = _studentised(
        "partial correlation of the map on the region with the region's volume, given covariates, "
        "group and the model's output"
    )
    beyond_copies = _studentised(
        "how much more the map tells of the volume than maps of randomised copies of the network do"
    )
    beyond_control = _studentised(
        "how much more the map tells of the volume on the region than on its control region"
    )
    arm = statistic(
        "partial correlation with the volume, given covariates, group and the model's output: of "
        "the map on the region, of the maps of randomised copies there, and of the map on the "
        "control region",
        aggregate="studentised",
    )
    p = _constant(
        "one-sided p-value by Freedman–Lane: how often permuted volumes correlate as much"
    )
    tracks_volume = _studentised(
        "partial correlation of the map on the region with the volume, given covariates and group"
    )
    raw = _constant("correlation across both groups, confounded by group and never tested")
    output_volume = _studentised(
        "partial correlation of the model's output with the mean volume, given covariates and group"
    )
    laterality = _studentised(
        "partial correlation of the map's difference between the sides with that of the volumes, "
        "given covariates and group"
    )
    regression = _constant(
        "the volume explained by covariates, group and the map: coefficient, error, p-value, and "
        "what the map adds"
    )
    drop = statistic(
        "drop of the difference between the groups when part of the region is removed, in T",
        aggregate="studentised",
        plot=Plot("curve", "q", ("arm",), None, "drop of the group difference (T)"),
    )
    logit_drop = statistic("the same drop of the margin between the classes, in logits")
    marked_drop = _studentised(
        "drop when the top of the map in the region is removed, above that of random voxels of it"
    )
    mediation = _constant("share of the effect of the volume on the group that goes by the map")
    subfield = _studentised(
        "partial correlation of the map on a part of the region with the part's volume, given the "
        "other parts' volumes, covariates and group"
    )
    resolution = _constant(
        "mean partial correlation among the map's values on the parts of a region; above 0.9 the "
        "map does not tell the parts apart"
    )
    subfield_order = _constant(
        "rank correlation of how much of the map goes with each part's volume, on the map's scale, "
        "with how much each part is known to change"
    )
    level = statistic("signed mean of the map on a region, over its mean magnitude in the organ")
    volume = statistic("volume of a region, in mm³")
    residual = statistic("what group, covariates and output leave of map or volume, standardised")
    side = statistic("what group and covariates leave of the difference of the sides, standardised")
    fact = _constant("what was done, for the checklist: 1 is yes, 0 is no, or a number")
