"""Settings and statistics of `randomization` 2."""

from __future__ import annotations

from pydantic import Field, field_validator

from benchmark.protocol import RisingShares
from benchmark.reading import Direction, Plot, Statistic, statistic
from protocols.randomization.statistics import RandomizationConfig as Settings

GATE = 0.02  # share of the foreground whose overlap decides beside the ranks


class RandomizationConfig(Settings):
    """Settings of `randomization`: those of version 1, and the shares whose overlap is compared.

    Attributes:
        quantiles: Shares of the foreground that are compared as the tops of two maps, rising; 2 %
            is among them, since it decides.
        quantile: Share that is compared at the steps of the walks.
    """

    quantiles: RisingShares = (0.01, GATE, 0.05, 0.10, 0.20)
    quantile: float = Field(0.1, gt=0, lt=1)

    @field_validator("quantiles")
    @classmethod
    def _holds_the_gate(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if GATE not in quantiles:
            raise ValueError(f"quantiles must hold {GATE}, by which maps pass or fail")
        return quantiles


def _studentised(description: str, direction: Direction = "none") -> Statistic:
    return statistic(description, direction, "studentised")


class RandomizationStatistics:
    """What `randomization` reads, for the protocol to inherit.

    Readings without ``measure`` compare ranks by Spearman; those of the ``top`` the overlap of the
    share q of the foreground, as (IoU − j)/(1 − j), where j = q/(2 − q) is that of independent
    masks. ``copy`` is the number of a fully randomised copy.
    """

    learned_share = _studentised(
        "how much of the map's reproducible content disappears when the weights are randomised: in "
        "its ranks or in its top 2 %, whichever keeps more",
        "higher",
    )
    data_share = _studentised(
        "how much of the map's reproducible content a network of permuted labels lacks", "higher"
    )
    twin = _studentised("similarity of the map to that on the model's twin", "higher")
    full = _studentised("similarity of the map to that on fully randomised copies", "lower")
    memorised = _studentised("similarity to the map on a network of permuted labels", "lower")
    last_layer = statistic("similarity when the head alone is randomised", "lower")
    similarity = statistic(
        "similarity to the trained model's map, step by step",
        plot=Plot("curve", "depth", ("walk",), None, "Spearman with the trained map"),
    )
    structure = statistic("similarity step by step, by the other measures")
    smooth_full = statistic("full, of maps averaged over noisy images", "lower")
    entropy_rise = statistic("rise of the map's entropy on copies, as a share", "higher")
    covered = statistic("share of parameters that randomising changes", aggregate="constant")
    training_accuracy = statistic("accuracy on permuted labels, memorised", aggregate="constant")
