"""Windows that hold marks: how large they are, and where two of them lie in an image.

A window is the raised cosine of `positive_control` 1.0, 1 in its core and 0 at its rim. In a square
slice its diameter is a third of the side, as it was there. The share of the image that it fills is
the same in any other shape. So a network learns a mark in a volume as it does in a slice. A ball of
a third of the side would fill 2 % of the box, where a window of a slice fills 9 %. It is no wider
than half of the shortest side, so that two windows fit into the box side by side. Lengths are in
mm, so that a window is as long in the world along every axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.arrays import BoolArray, ImageArray
from benchmark.cohort import Cohort
from benchmark.maps.alteration import depth_inside

Sites = npt.NDArray[np.int64]

_SHARE = math.pi / 36  # of the image: a circle whose diameter is a third of the side of a square
_WIDEST = 1 / 4  # radius, as a share of the shortest side
_CORE = 1 / 3  # of the radius
_APART = 26 / 16  # distance of two sites in radii
_PAIRS = 256


@dataclass(frozen=True)
class Window:
    """The window of a mark in images of one shape.

    Attributes:
        shape: Shape *S of the images.
        spacing: Size of a pixel along each axis in mm.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, cohort: Cohort) -> Window:
        """Return the window in the images of a cohort."""
        return cls(cohort.shape, tuple(map(float, cohort.geometry.spacing)))

    @property
    def radius(self) -> float:
        """Radius in mm."""
        sides = [length * size for length, size in zip(self.shape, self.spacing, strict=True)]
        axes = len(sides)
        unit_ball = math.pi ** (axes / 2) / math.gamma(axes / 2 + 1)
        of_share: float = (_SHARE * math.prod(sides) / unit_ball) ** (1 / axes)
        return min(of_share, _WIDEST * min(sides))

    def values(self, site: Sites) -> ImageArray:
        """Return the raised cosine around a site, [*S] in [0, 1]."""
        core = _CORE * self.radius
        along = np.clip((self._distances(site) - core) / (self.radius - core), 0, 1)
        window = 0.5 * (1 + np.cos(np.pi * along))
        # Rounding leaves the cosine of π a little above −1.
        return np.where(along < 1, window, 0).astype(np.float32)

    def truth(self, site: Sites) -> BoolArray:
        """Return where the window exceeds a half, [*S]."""
        return self._distances(site) < (1 + _CORE) / 2 * self.radius

    def allowed_sites(self, foreground: BoolArray) -> npt.NDArray[np.int16]:
        """Return the pixels [K, len(S)] of a foreground [*S] in which a window may lie.

        They lie as deep as the window's radius, so that it stays inside the foreground. In a
        foreground that is too narrow for two windows, they lie at least half as deep as its deepest
        pixel.
        """
        depth = depth_inside(foreground, self.spacing)
        # A quarter of the memory, since there are as many of them as voxels.
        return np.argwhere(depth >= min(self.radius, depth.max() / 2)).astype(np.int16)

    def draw_pair(self, allowed: npt.NDArray[np.int16], generator: np.random.Generator) -> Sites:
        """Return two of the allowed sites, [2, len(S)], at least 26/16 of the radius apart.

        Each is drawn by itself, and both again until they lie apart. Of 256 pairs that all lie too
        close together, the pair that lies farthest apart is taken.
        """
        pairs = allowed[generator.integers(len(allowed), size=(_PAIRS, 2))].astype(np.int64)
        distances = np.linalg.norm((pairs[:, 0] - pairs[:, 1]) * np.array(self.spacing), axis=1)
        apart = np.flatnonzero(distances >= _APART * self.radius)
        chosen: Sites = pairs[apart[0] if len(apart) else int(np.argmax(distances))]
        return chosen

    def _distances(self, site: Sites) -> npt.NDArray[np.float64]:
        """Return the distance of every pixel to a site in mm, [*S]."""
        steps = np.ogrid[tuple(slice(length) for length in self.shape)]
        squares = [
            ((steps[axis] - site[axis]) * self.spacing[axis]) ** 2 for axis in range(len(site))
        ]
        distances: npt.NDArray[np.float64] = np.sqrt(sum(squares[1:], squares[0]))
        return distances
