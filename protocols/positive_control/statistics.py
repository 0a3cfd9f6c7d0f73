"""Settings and statistics of `positive_control`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from benchmark.protocol import ProtocolConfig
from benchmark.reading import Plot, Reading, interval, statistic
from protocols.positive_control.planting import Strength

TUNED, PROBE = "tuned", "probe"
ZERO = "zero"
NONE = "none"
LEVEL = 0.025  # one-sided, as the lower limit of a 95 % interval


class PositiveControlConfig(ProtocolConfig):
    """Settings of `positive_control`.

    Attributes:
        strengths: Strengths from the weakest to the strongest; the verdict rests on all but the
            weakest.
        subjects: Images that are explained on the tuned models, as many of each group.
        probe_subjects: Images, among these, that are explained on the frozen model.
        decoys: Sites without a signal that each map is scored against as well.
        quantiles: Shares of the foreground that are restored, beside the truth's own size.
        repeats: Shape-matched random masks per image and share.
        permutations: Permutations for the p-value of T.
        splits: Random halves of clean images that the p-value is checked on.
        null_permutations: Permutations for each of the p-values without a signal.
    """

    strengths: tuple[Strength, ...] = (
        Strength(name="mild", sigma=0.9, attenuation=0),
        Strength(name="medium", sigma=2, attenuation=0.05),
        Strength(name="strong", sigma=3, attenuation=0.08),
    )
    subjects: int = Field(64, ge=4)
    probe_subjects: int = Field(32, ge=4)
    decoys: int = Field(8, ge=1)
    quantiles: tuple[float, ...] = (0.05, 0.10, 0.20)
    repeats: int = Field(4, ge=1)
    permutations: int = Field(1000, ge=19)
    splits: int = Field(200, ge=20)
    null_permutations: int = Field(199, ge=19)

    @field_validator("strengths")
    @classmethod
    def _different(cls, strengths: tuple[Strength, ...]) -> tuple[Strength, ...]:
        names = [strength.name for strength in strengths]
        if len(names) < 3 or len(set(names)) < len(names) or {ZERO, NONE} & set(names):
            raise ValueError(f"at least three strengths of different names, not {ZERO} or {NONE}")
        return strengths


def _by_strength(label: str) -> Plot:
    return Plot("bars", "strength", ("arm",), None, label)


class PositiveControlStatistics:
    """Everything that `positive_control` reads."""

    found = statistic(
        "average precision of the map against the site, 0 for noise and 1 for the truth",
        "higher",
        plot=_by_strength("found (0 = noise, 1 = truth)"),
    )
    ap = statistic(
        "average precision of the map against the site",
        "higher",
        plot=_by_strength("average precision"),
    )
    ap_above_decoys = statistic("ap minus that against sites without a signal", "higher")
    iou = statistic("overlap of the top of the map, as large as the site, with it", "higher")
    iou_at_q = statistic("overlap of the top q of the map with the site", "higher")
    pointing = statistic("whether the largest value lies on the site", "higher")
    mass = statistic("share of the map that lies on the site", "higher")
    lift = statistic("mass over the site's share of the foreground", "higher")
    restored = statistic(
        "share of T that disappears when the top of the map is put back to clean",
        "higher",
        plot=_by_strength("share of T restored"),
    )
    restored_above_random = statistic(
        "restored minus that of random masks of the same shape", "higher"
    )
    auroc = statistic("AUROC of telling planted from clean test images", aggregate="auroc")
    accuracy = statistic("share of test images that the model classifies correctly")
    group_distance = statistic("T between clean and planted test images")
    group_distance_squared = statistic("T²", aggregate="constant")
    permutation_p = statistic(
        "p-value of T when labels are swapped within pairs", aggregate="constant"
    )
    edge_artefact = statistic("gradient of the alteration on its rim, relative to the image's own")
    uniformity_p = statistic(
        "p-value of permutation p-values being uniform where nothing was planted",
        aggregate="constant",
    )


def assessable_strengths(readings: Sequence[Reading]) -> list[str]:
    """Return the strengths that the tuned model has learned: lower bound of its AUROC over 0.6."""
    strengths, auroc = strengths_of(readings), PositiveControlStatistics.auroc
    learned = {name: interval(readings, auroc, arm=TUNED, strength=name) for name in strengths}
    return [name for name, score in learned.items() if score is not None and score.low > 0.6]


def strengths_of(readings: Sequence[Reading]) -> list[str]:
    """Return the strengths of the tuned arm, the weakest first."""
    return [
        str(reading.conditions["strength"])
        for reading in readings
        if reading.statistic == "auroc" and reading.conditions["arm"] == TUNED
    ]
