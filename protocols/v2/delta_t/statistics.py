"""Settings of `delta_t` 2 and what it reads."""

from __future__ import annotations

from pydantic import Field

from benchmark.protocol import ProtocolConfig, RisingShares
from benchmark.reading import Direction, Plot, Statistic, statistic


class DeltaTConfig(ProtocolConfig):
    """Settings of `delta_t`.

    Attributes:
        quantiles: Shares of the foreground that are altered, rising.
        repeats: Ring permutations per image.
        subjects: Images that are altered, as many of each group.
        cells: Cells that the foreground is cut into, to find what could be attained.
        yardstick_repeats: Ring permutations per image of the yardsticks.
        controls: Explainers that look at no network, whose maps are among the yardsticks.
    """

    quantiles: RisingShares = (0.01, 0.02, 0.05, 0.10, 0.20)
    repeats: int = Field(8, ge=1)
    subjects: int = Field(64, ge=4)
    cells: int = Field(64, ge=2)
    yardstick_repeats: int = Field(4, ge=1)
    controls: tuple[str, ...] = ("random", "smooth_noise", "centre", "intensity", "sobel", "atlas")


def _studentised(description: str, direction: Direction = "higher") -> Statistic:
    return statistic(description, direction, "studentised")


class DeltaTStatistics:
    """What `delta_t` reads, for the protocol to inherit.

    A reading under ``imputer`` is of what stands there in the place of pixels: the partner's pixels
    under ``exchange``, an imputer's otherwise. An effect is in units of the full effect under
    ``exchange``, and of T under an imputer, where it counts in magnitude.
    """

    delta_t = _studentised(
        "effect of altering the top of the map, above the strongest null: equally large random "
        "places, or the maps of networks that know nothing of the task"
    )
    effect = statistic(
        "effect of altering the top of the map, or what a null puts in its place",
        "higher",
        "studentised",
        plot=Plot("curve", "q", ("arm",), "imputer", "effect (share of the full effect, or T)"),
    )
    effect_area = _studentised("mean height of the effect's curve")
    signed_effect = statistic(
        "drop of the group projection without the top of the map, above that of random places, "
        "with its sign and in units of T",
        aggregate="studentised",
    )
    share_of_attainable = statistic(
        "effect above the strongest null, over that of the best order of compact cells, where a "
        "twentieth of the foreground or more is altered",
        "higher",
        "ratio",
    )
    full_effect = statistic(
        "drop of the group projection when the image becomes its partner, in units of T",
        aggregate="studentised",
    )
    scattered_effect_t_w = statistic(
        "drop of the difference of the groups' mean projections when scattered pixels are altered",
        aggregate="group_difference",
    )
    yardstick = statistic(
        "effect of altering the top of a map that needs no explainer, above that of random places",
        "higher",
        "studentised",
    )
    abstained = statistic("share of the images on which the map ranks nothing", "lower")
