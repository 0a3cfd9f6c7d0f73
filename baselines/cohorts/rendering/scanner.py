"""Scanners: what lies between the tissue of a phantom subject and its image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from baselines.cohorts.rendering.fields import smooth_field
from baselines.cohorts.template import View
from benchmark.arrays import FloatArray

_BIAS_KNOTS, _BIAS = 48.0, 0.08
# White matter is at 0.87 in the template; the bias field would push it beyond 1 in many subjects.
_GAIN = 0.9


@dataclass(frozen=True)
class Scanner:
    """What a scanner does to an image.

    Attributes:
        gamma: Exponent of the intensity, its contrast.
        noise: Standard deviation of the noise in each of the two channels.
        gain: Factor of the intensity.
    """

    gamma: float
    noise: float
    gain: float = 1.0


SCANNERS: Mapping[str, Scanner] = {
    "scanner1": Scanner(gamma=1.0, noise=0.03),
    "scanner2": Scanner(gamma=1.08, noise=0.045),
}


@dataclass(frozen=True)
class Scan:
    """One session on a scanner.

    Attributes:
        scanner: The scanner.
        rng: Stream of its bias field, gain and noise.
    """

    scanner: Scanner
    rng: np.random.Generator


def scan_tissue(tissue: FloatArray, scan: Scan, view: View) -> FloatArray:
    """Return the image in [0, 1] that the scanner makes of the tissue."""
    scanner, rng = scan.scanner, scan.rng
    image = np.maximum(tissue, 0) ** scanner.gamma
    image = image * np.exp(_BIAS * smooth_field(view, _BIAS_KNOTS, rng))
    image = image * (scanner.gain * (1 + 0.03 * rng.standard_normal()))
    real, imaginary = scanner.noise * rng.standard_normal((2, *view.shape))
    return np.asarray(np.clip(_GAIN * np.hypot(image + real, imaginary), 0, 1))
