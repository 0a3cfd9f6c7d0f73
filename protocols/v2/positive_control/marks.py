"""Two marks in one image, each of another kind, at independent sites.

Whether a mark is there, and where it lies, is drawn for each image from a stream of its own::

    x' = x + v · (β · (G_σ ∗ x) + τ · n − x)

with v the window at the site, β = 1 − attenuation and n smooth noise. A filter may find either
mark without any network. It cannot know which of the two a network was trained to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import ndimage

from benchmark.arrays import BoolArray, ImageArray
from benchmark.cohort import Cohort
from benchmark.maps import alteration
from benchmark.seeding import stream
from protocols.v2.positive_control.windows import Sites, Window


class Mark(BaseModel):
    """A kind of mark.

    Attributes:
        name: Name of the mark, such as ``blur``.
        sigma: Standard deviation of the blur in pixels of the finest axis; 0 leaves the image
            sharp.
        attenuation: Share of the intensity that is taken away; a negative share brightens.
        texture: Standard deviation of the noise that is added, where images lie in [0, 1].
        grain: Standard deviation in pixels of the Gaussian that makes this noise smooth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    sigma: float = Field(default=0.0, ge=0)
    attenuation: float = Field(default=0.0, ge=-1, le=1)
    texture: float = Field(default=0.0, ge=0, le=1)
    grain: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _does_something(self) -> Mark:
        if not (self.sigma or self.attenuation or self.texture):
            raise ValueError(
                f"mark {self.name!r} changes nothing; give it a sigma, an attenuation or a texture"
            )
        return self

    def alter(
        self, image: ImageArray, site: Sites, window: Window, generator: np.random.Generator
    ) -> ImageArray:
        """Return an image [*S] with the mark at a site; nothing outside of its window changes.

        Args:
            image: [*S] float32 in [0, 1].
            site: [len(S)] middle of the window.
            window: Window in images of this shape.
            generator: Stream of the noise.
        """
        weight = window.values(site)
        # A blur is as wide in the world along every axis.
        finest = min(window.spacing)
        sigma = [self.sigma * finest / size for size in window.spacing]
        blurred: ImageArray = alteration.alter(
            image[None, None], weight[None, None], sigma, self.attenuation
        )[0, 0]
        if not self.texture:
            return blurred
        noise = generator.standard_normal(image.shape)
        if self.grain:
            noise = ndimage.gaussian_filter(noise, self.grain, mode="wrap")
            noise /= noise.std()
        grainy = np.clip(blurred + weight * self.texture * noise, 0, 1)
        return np.where(weight > 0, grainy, image).astype(np.float32)


# With these, 20 epochs give the residual network of `phantom2` test AUROCs of 1.00 on its own mark
# and 0.47 and 0.48 on the other one.
BLUR = Mark(name="blur", sigma=3)
SHADE = Mark(name="shade", attenuation=0.25)


@dataclass(frozen=True)
class MarkedImages:
    """Images with marks, and what is known of them.

    Attributes:
        images: [N, 1, *S] float32 in [0, 1].
        present: [N, 2] bool, whether each mark is there.
        sites: [N, 2, len(S)] position where each mark lies, or would lie.
    """

    images: ImageArray
    present: BoolArray
    sites: npt.NDArray[np.int64]

    def take(self, rows: slice) -> MarkedImages:
        """Return these rows, which share the memory of all."""
        return MarkedImages(self.images[rows], self.present[rows], self.sites[rows])

    def truth(self, mark: int, window: Window) -> BoolArray:
        """Return where the windows of a mark exceed a half, [N, 1, *S], in all images."""
        return np.stack([window.truth(site)[None] for site in self.sites[:, mark]])


class Marking:
    """Draws marks into the images of a cohort.

    Args:
        cohort: Cohort whose images are marked.
        marks: The two kinds of mark.
    """

    def __init__(self, cohort: Cohort, marks: Sequence[Mark]) -> None:
        self._cohort, self._marks, self.window = cohort, tuple(marks), Window.of(cohort)
        foreground = cohort.anatomy.foreground[:, 0]
        self._allowed = [self.window.allowed_sites(inside) for inside in foreground]

    def draw(self, *purpose: str | int, present: Sequence[bool] | None = None) -> MarkedImages:
        """Return images with marks, which depend on their keys and not on their order.

        Args:
            purpose: Names of the random streams, beside the key of the image.
            present: Whether each of the marks is in all images; else it is drawn for each image
                with probability ½.
        """
        parts = [self._draw_image(row, purpose, present) for row in range(len(self._cohort))]
        images, presences, sites = zip(*parts, strict=True)
        return MarkedImages(np.stack(images), np.stack(presences), np.stack(sites))

    def _draw_image(
        self, row: int, purpose: tuple[str | int, ...], present: Sequence[bool] | None
    ) -> tuple[ImageArray, BoolArray, Sites]:
        generator = stream("marks", *purpose, self._cohort.keys[row])
        drawn = generator.random(len(self._marks)) < 0.5
        there = drawn if present is None else np.array(present, dtype=np.bool_)
        sites = self.window.draw_pair(self._allowed[row], generator)
        image = np.array(self._cohort.images[row, 0])
        for mark, is_there, site in zip(self._marks, there, sites, strict=True):
            if is_there:
                noise = stream("marks", "texture", mark.name, *purpose, self._cohort.keys[row])
                image = mark.alter(image, site, self.window, noise)
        return image[None], there, sites
