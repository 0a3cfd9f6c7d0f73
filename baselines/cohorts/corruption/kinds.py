"""Ways to corrupt a part of an image, each with a strength that rises with the damage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.arrays import BoolArray, ImageArray
from benchmark.errors import InputError
from benchmark.maps.alteration import alter, depth_inside

KINDS = {
    "blur": "standard deviation of a Gaussian in mm",
    "attenuate": "share of the intensity that is taken away",
    "zero": "none: the intensity becomes 0, the darkest there is",
}
"""Each kind of corruption, and what its strength means."""


@dataclass(frozen=True)
class Corruption:
    """One way to corrupt a part of an image, at one strength.

    Attributes:
        kind: ``blur``, ``attenuate`` or ``zero``.
        strength: Standard deviation in mm for ``blur``, share of intensity taken away in (0, 1] for
            ``attenuate``, None for ``zero``.
        soft_edge: Width in mm over which the corruption fades in from the border of its mask;
            0 for a hard edge, which a network may respond to by itself.

    Raises:
        InputError: If the kind is unknown, or a number makes no sense.
    """

    kind: str
    strength: float | None = None
    soft_edge: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.kind not in KINDS:
            raise InputError(
                f"Unknown kind of corruption {self.kind!r}. Known: {', '.join(KINDS)}."
            )
        if self.kind == "zero":
            if self.strength is not None:
                raise InputError("Zeroing has no strength: the intensity becomes 0.")
        elif self.strength is None:
            raise InputError(f"A corruption by {self.kind} needs a strength, {KINDS[self.kind]}.")
        elif not 0 < self.strength <= (1 if self.kind == "attenuate" else math.inf):
            span = "(0, 1]" if self.kind == "attenuate" else "mm above 0"
            raise InputError(
                f"Expected a strength of {self.kind} in {span}, got {self.strength:g}."
            )
        if not 0 <= self.soft_edge < math.inf:
            raise InputError(f"Expected a soft edge of 0 mm or more, got {self.soft_edge:g}.")

    @property
    def name(self) -> str:
        """Name of the corruption in folders and tables, such as ``blur-2``."""
        return self.kind if self.strength is None else f"{self.kind}-{self.strength:g}"

    def check_against(self, shape: Sequence[int], spacing: Sequence[float]) -> None:
        """Refuse a blur or an edge that is wider than the whole image.

        Raises:
            InputError: If it is.
        """
        extent = max(length * size for length, size in zip(shape, spacing, strict=True))
        widths = {"soft edge": self.soft_edge}
        if self.kind == "blur" and self.strength is not None:
            widths["blur"] = self.strength
        for title, width in widths.items():
            if width > extent:
                raise InputError(
                    f"A {title} of {width:g} mm is wider than the images, which measure "
                    f"{extent:g} mm at most."
                )

    def apply(self, image: ImageArray, mask: BoolArray, spacing: Sequence[float]) -> ImageArray:
        """Return an image [*S] corrupted inside a mask [*S], and the same to the bit elsewhere.

        Args:
            image: [*S] float32 in [0, 1].
            mask: [*S] bool.
            spacing: Voxel size in mm along each of the axes ``*S``.
        """
        window = mask.astype(np.float32)
        if self.soft_edge > 0:
            rise = np.minimum(depth_inside(mask, spacing) / self.soft_edge, 1)
            window = (0.5 * (1 - np.cos(np.pi * rise))).astype(np.float32)
        sigma, attenuation = (0.0,) * image.ndim, 0.0
        if self.kind == "blur":
            sigma = tuple((self.strength or 0.0) / size for size in spacing)
        else:
            attenuation = 1.0 if self.strength is None else self.strength
        altered: ImageArray = alter(image[None, None], window[None, None], sigma, attenuation)[0, 0]
        return altered
