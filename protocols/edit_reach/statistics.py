"""Settings of `edit_reach` and what it reads."""

from __future__ import annotations

from pydantic import Field

from benchmark.protocol import ProtocolConfig, RisingShares
from benchmark.reading import Direction, Plot, Statistic, statistic


class EditReachConfig(ProtocolConfig):
    """Settings of `edit_reach`.

    Attributes:
        quantiles: Shares of the foreground that may be edited, rising.
        repeats: Ring permutations per image.
        subjects: Images that are edited, as many of each group.
        copies: Fully randomised copies of the network whose maps are a null.
        components: Components of the plausible subspace.
        radius: Size of an edit, in standard deviations of plausible images.
        steps: Gradient steps to an edit.
        fewest_images: Training images below which there is no plausible subspace.
    """

    quantiles: RisingShares = (0.02, 0.05, 0.10)
    repeats: int = Field(4, ge=1)
    subjects: int = Field(64, ge=4)
    copies: int = Field(3, ge=1, le=5)
    components: int = Field(60, ge=1)
    radius: float = Field(4.0, gt=0)
    steps: int = Field(8, ge=1)
    fewest_images: int = Field(100, ge=2)


def _studentised(description: str, direction: Direction = "higher") -> Statistic:
    return statistic(description, direction, "studentised")


class EditReachStatistics:
    """What `edit_reach` reads, for the protocol to inherit.

    A reach is by how much the best plausible edit lowers s·φ, in units of T. Readings under ``q``
    are of edits inside that share of the foreground; those without are the mean over the shares.
    """

    edit_reach = _studentised(
        "reach of edits inside the top of the map, above the strongest null: equally large random "
        "places, or the maps of networks that know nothing of the task"
    )
    above = _studentised("reach of edits inside the top of the map, above that of one null")
    reach = statistic(
        "reach of edits inside the top of the map, or of what a null puts in its place",
        "higher",
        "studentised",
        plot=Plot("curve", "q", ("arm",), None, "reach of the edit (T)"),
    )
    share = statistic(
        "reach inside the top of the map, over that of an edit of the whole foreground",
        "higher",
        "ratio",
    )
    on_twin = _studentised(
        "fall of s·φ on the model's twin, in units of its T, when it is shown the same edits"
    )
    transfer = statistic(
        "fall of s·φ on the model's twin over that on the model, each in units of its T",
        "higher",
        "ratio",
    )
    whole_reach = _studentised("reach of an edit of the whole foreground, in units of T")
    projection = statistic(
        "group projection φ of the image, in units of T", aggregate="group_difference"
    )
    yardstick = _studentised(
        "reach inside a map that needs no explainer, above that of equally large random places"
    )
    explained = statistic(
        "share of the variance of training images that plausible edits can make",
        aggregate="constant",
    )
    abstained = statistic("share of the images on which the map ranks nothing", "lower")
