"""Settings of `counterfactual` and what it reads."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, field_validator

from benchmark.protocol import ProtocolConfig
from benchmark.reading import Direction, Statistic, statistic

EXPLAINER, ADVERSARIAL, NOISE, OTHER_IMAGE = (
    "explainer",
    "adversarial",
    "white noise",
    "image of the other group",
)
"""Names of edits: the method's own, and those that it is set beside."""


def plausible_name(radius: float) -> str:
    """Return the name of the plausible edit of the whole foreground of some size."""
    return f"plausible, ρ = {radius:g}"


class CounterfactualConfig(ProtocolConfig):
    """Settings of `counterfactual`.

    Attributes:
        subjects: Images that are edited, as many of each group.
        radii: Sizes of the plausible edits, different ones, in standard deviations of plausible
            images.
        components: Components of the plausible subspace.
        steps: Gradient steps to an edit.
        fewest_images: Training images below which there is no plausible subspace.
        adversarial: Largest change of a pixel by the adversarial edit.
        noise: Standard deviation of the white noise.
        folds: Folds in which real images are told from edited ones.
        fewest_real: Real images below which nobody is asked to tell edited ones from them.
    """

    subjects: int = Field(100, ge=4)
    radii: tuple[PositiveFloat, ...] = (2.0, 4.0)
    components: int = Field(60, ge=1)
    steps: int = Field(8, ge=1)
    fewest_images: int = Field(100, ge=2)
    adversarial: float = Field(0.016, gt=0, lt=1)
    noise: float = Field(0.02, gt=0, lt=1)
    folds: int = Field(5, ge=2)
    fewest_real: int = Field(20, ge=4)

    @field_validator("radii")
    @classmethod
    def _different(cls, radii: tuple[float, ...]) -> tuple[float, ...]:
        if len({plausible_name(radius) for radius in radii}) < len(radii):
            raise ValueError("sizes that differ were expected, since their edits go by them")
        return radii


def _studentised(description: str, direction: Direction = "none") -> Statistic:
    return statistic(description, direction, "studentised")


class CounterfactualStatistics:
    """What `counterfactual` reads, for the protocol to inherit.

    Readings are under ``edit``, its name; the score is that of the method's own. A fall is of s·φ,
    in units of T.
    """

    transfer = _studentised(
        "fall of s·φ on the model's twin over that on the model, each in units of its T: the score "
        "of each subject is that of the ratio's linearisation",
        "higher",
    )
    flips = statistic("share of correctly called images whose margin reaches 0", "higher")
    crosses = statistic("share of images whose φ crosses the middle between the groups", "higher")
    fall = _studentised("fall of s·φ, in units of T", "higher")
    on_twin = _studentised("fall of s·φ on the twin, in units of its T", "higher")
    size = statistic("root mean square of the change in the foreground, in grey values")
    largest = statistic("largest change of a pixel, in grey values")
    roughness = statistic("total variation of the change over its sum, per pixel", "lower")
    inside = statistic("share of the change that lies in the foreground", "higher")
    ap = statistic("average precision of the change on the truth", "higher")
    mass = statistic("share of the change that lies in the truth", "higher")
    monotone = statistic("share of images whose s·φ falls with each step of strength", "higher")
    realism = statistic(
        "how well edited images are told from other subjects' real ones; 0.5 is not at all",
        "lower",
        "auroc",
    )
