"""The window of intensities of an image that becomes [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from baselines.cohorts.files.cohort_toml import Intensity
from baselines.cohorts.files.fitting import FittedMask
from baselines.cohorts.files.formats.scan import Scan, Source
from baselines.cohorts.files.layout import Layout
from benchmark.arrays import ImageArray
from benchmark.errors import CohortError


@dataclass(frozen=True)
class Window:
    """The intensities of one image that become 0 and 1, and what lies outside of them.

    Attributes:
        low: Intensity that becomes 0.
        high: Intensity that becomes 1.
        span: Smallest and largest intensity of the array, as stored.
        clipped: Share of the foreground that lies below and above the window.
        blank: Number of values of the array that are NaN or infinite.
    """

    low: np.float32
    high: np.float32
    span: tuple[float, float]
    clipped: tuple[float, float]
    blank: int

    def scale(self, array: npt.NDArray[np.generic]) -> ImageArray:
        """Return an array in [0, 1], in float32 throughout, so that exports read back exactly."""
        values: ImageArray = np.asarray(array, dtype=np.float32)
        # What is NaN lies outside the foreground and looks like the darkest value there is.
        values = np.where(np.isfinite(values), values, self.low)
        scaled: ImageArray = (values - self.low) / (self.high - self.low)
        return scaled.clip(np.float32(0), np.float32(1))


def find_window(scan: Scan, mask: FittedMask, layout: Layout, intensity: Intensity) -> Window:
    """Return the window of an image.

    Percentiles are taken over the foreground of the whole volume, so that its slices are alike.

    Raises:
        CohortError: If the foreground holds what is no number, or a single value.
    """
    values = np.asarray(layout.arrange(scan.voxels), dtype=np.float32)
    is_finite = np.isfinite(values)
    if inside := int((~is_finite & mask.array).sum()):
        raise CohortError(
            f"The {scan.source} has {inside} voxels that are NaN, infinite or padding of a DICOM "
            "image inside its foreground; fill them first, or leave them out of it."
        )
    bounds = intensity.low, intensity.high
    if intensity.percentiles is not None:
        whole = values[mask.array] if mask.stored is None else scan.voxels[mask.stored]
        whole = np.asarray(whole[np.isfinite(whole)], dtype=np.float32)
        if whole.size:
            low, high = np.percentile(whole, intensity.percentiles)
            bounds = float(low), float(high)
    bottom, top = np.float32(bounds[0] or 0), np.float32(bounds[1] or 0)
    if not bottom < top:
        raise CohortError(
            f"The percentiles of the {scan.source} in its foreground are both {bottom:g}, so there "
            "is no contrast to scale."
        )
    finite = values[is_finite]
    span = (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
    foreground = values[mask.array]
    _check_contrast(scan.source, foreground, bottom, top)
    count = max(1, foreground.size)
    clipped = float((foreground < bottom).sum() / count), float((foreground > top).sum() / count)
    return Window(bottom, top, span, clipped, int((~is_finite).sum()))


def _check_contrast(
    source: Source, foreground: ImageArray, bottom: np.float32, top: np.float32
) -> None:
    """Refuse an image of whose foreground [K] the window leaves a single value."""
    if not foreground.size:
        return
    low, high = float(foreground.min()), float(foreground.max())
    if low == high:
        raise CohortError(f"The {source} holds the value {low:g} throughout its foreground.")
    if high <= bottom or low >= top:
        raise CohortError(
            f"The {source} has values of {low:g} to {high:g} in its foreground, all of them "
            f"{'below' if high <= bottom else 'above'} the window of {bottom:g} to {top:g}; is it "
            "in other units than the rest, or the window wrong?"
        )
