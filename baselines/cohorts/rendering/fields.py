"""Smooth random fields, which deform a head and shade its image."""

from __future__ import annotations

import numpy as np

from baselines.cohorts.template import View
from benchmark.arrays import FloatArray


def smooth_field(view: View, knot_spacing: float, rng: np.random.Generator) -> FloatArray:
    """Return a cubic spline [*S] through standard normal knots about ``knot_spacing`` mm apart."""
    # Slow to import, and committed cohorts are read without it.
    from scipy.interpolate import make_interp_spline

    extents = [count * size for count, size in zip(view.shape, view.spacing, strict=True)]
    knots = [max(4, round(extent / knot_spacing) + 1) for extent in extents]
    field = rng.standard_normal(knots)
    for axis, (count, n_knots) in enumerate(zip(view.shape, knots, strict=True)):
        spline = make_interp_spline(np.linspace(0, 1, n_knots), field, k=3, axis=axis)
        field = spline(np.linspace(0, 1, count))
    return np.asarray(field, dtype=np.float64)
