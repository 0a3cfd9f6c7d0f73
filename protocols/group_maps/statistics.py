"""Settings and statistics of `group_maps`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from benchmark.protocol import ProtocolConfig
from benchmark.reading import Direction, Statistic, statistic
from benchmark.trial.interventions.region_use import RegionUseStatistics

ALL, CHANGE = "everywhere", "change"
LEVEL = 0.05
LEAST_AUROC = 0.6


class GroupMapsConfig(ProtocolConfig):
    """Settings of `group_maps`.

    Attributes:
        subjects: Subjects that are explained, as many of each group; all of their images are.
        fewest: Fewer subjects of a group than these are not assessable.
        fwhm: Full width at half maximum of the smoothing, in mm.
        permutations: Permutations of the groups.
        halves: Random halves that the closed form of the reliability is set beside.
        margin: Margin that lower bounds must exceed.
        repeats: Other places that the removal of the regions is compared with.
        steady_subjects: Subjects for which the direction is refitted, the image altered, and the
            baseline exchanged; at 0 none of it is asked.
        refits: Logistic heads that are fitted on resampled training subjects.
        baselines: Baselines that methods which compare an image with one are asked for.
        twin: Whether a network of the same recipe and another seed is explained as well.
        controls: Explainers that look at no network, which are measured beside every method.
        tfce: Whether volumes are tested with threshold-free cluster enhancement as well.
    """

    subjects: int = Field(100, ge=4)
    fewest: int = Field(20, ge=3)
    fwhm: float = Field(4.5, gt=0)
    permutations: int = Field(1000, ge=19)
    halves: int = Field(50, ge=1)
    margin: float = Field(0.05, ge=0)
    repeats: int = Field(4, ge=1)
    steady_subjects: int = Field(32, ge=0)
    refits: int = Field(3, ge=0)
    baselines: tuple[str, ...] = ("mean", "blurred", "black", "reference")
    twin: bool = True
    controls: tuple[str, ...] = (
        "true_deviation",
        "random",
        "smooth_noise",
        "centre",
        "intensity",
        "sobel",
        "atlas",
    )
    tfce: bool = False

    @model_serializer(mode="wrap")
    def _leave_out_off(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Settings are part of a score's identity: where TFCE is off, it is the one without it.
        fields: dict[str, Any] = serialise(self)
        if not self.tfce:
            fields.pop("tfce", None)
        return fields


def _studentised(description: str, direction: Direction = "higher") -> Statistic:
    return statistic(description, direction, "studentised")


class GroupMapsStatistics(RegionUseStatistics):
    """What `group_maps` reads, for the protocol to inherit.

    Readings without conditions are of raw signed maps of φ, adjusted for the covariates. Under
    ``scale`` the maps of each image are divided by their own sum of magnitudes, under
    ``covariates`` nothing is adjusted for, under ``network`` they explain a randomised copy.
    """

    own_recovery = _studentised(
        "recovery of the groups' difference, above that of randomised copies of the network"
    )
    recovery = _studentised(
        "share of the squared difference of the groups' mean maps that is reliable and lies where "
        "the anatomy differs, above the share of these voxels; 0 for maps that do not differ or "
        "differ everywhere, 1 for the truth without noise"
    )
    located = statistic(
        "share of the reliable difference that lies where the anatomy differs, above the share of "
        "these voxels",
        "higher",
        "ratio",
    )
    reliability = _studentised("share of the squared difference of mean maps that is not sampling")
    split_half = statistic(
        "the same from random halves of the subjects, after Spearman and Brown",
        "higher",
        "constant",
    )
    difference_p = statistic(
        "p of the reliable difference, by permutation of the groups", "lower", "constant"
    )
    voxels_fwe = statistic(
        "voxels where the groups differ at a family-wise error rate of 5 %", aggregate="constant"
    )
    voxels_fwe_near = statistic(
        "share of these voxels within 6 mm of the regions", "higher", "constant"
    )
    voxels_tfce = statistic(
        "voxels where the groups differ at a family-wise error rate of 5 % after threshold-free "
        "cluster enhancement",
        aggregate="constant",
    )
    voxels_tfce_near = statistic(
        "share of these voxels within 6 mm of the regions", "higher", "constant"
    )
    voxels_fdr = statistic(
        "voxels where the groups differ at a false discovery rate of 5 %", aggregate="constant"
    )
    share_of_t = statistic(
        "sum of the map over a part of the image: its share of T", aggregate="group_difference"
    )
    departure = statistic(
        "distance of the sum of the map from φ, up to one constant of all subjects, in units of T",
        "lower",
    )
    region_mean = statistic(
        "mean of the smoothed map in a region, in units of T", aggregate="group_difference"
    )
    steadiness = statistic(
        "rank correlation of a subject's map with its map after a change that should not matter",
        "higher",
        "studentised",
    )
    steadiness_of_groups = statistic(
        "rank correlation of the groups' difference before and after such a change",
        "higher",
        "constant",
    )
    yardstick = _studentised("recovery of a map that looks at no network")
    yardstick_reliability = _studentised("reliability of a map that looks at no network")
    auroc = statistic("AUROC of φ between the groups", aggregate="auroc")
    left_out = statistic("subjects without a map", "lower", "constant")
