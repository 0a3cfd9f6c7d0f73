"""Kendall's W over methods, and which methods are one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.arrays import BoolArray, FloatArray


def concordance(centred: Sequence[FloatArray], inside: BoolArray) -> FloatArray:
    """Return Kendall's coefficient of concordance W of m methods on each image, [n].

    Corrected for ties (Kendall & Gibbons 1990, ch. 6): the squared sums of ranks over what they
    would be if all methods ranked alike, which for tied ranks is m times the sum of each method's
    own squares.

    Args:
        centred: m arrays [n, P] of ranks minus their mean, 0 outside.
        inside: [n, P] the pixels that were ranked.
    """
    if len(centred) < 2:
        return np.full(len(inside), np.nan)
    total = np.where(inside, np.sum(centred, axis=0), 0.0)
    own = sum(np.where(inside, ranks, 0.0) ** 2 for ranks in centred)
    largest = len(centred) * np.sum(own, axis=1)
    w: FloatArray = np.where(largest > 0, (total**2).sum(1) / largest, np.nan)
    # A map without ranks has none to agree with.
    unknown = np.any([np.isnan(ranks).any(1) for ranks in centred], axis=0)
    return np.where(unknown, np.nan, w)


def classes(names: Sequence[str], same: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the names in groups that pairs of the same connect, in the order of the names."""
    group = {name: {name} for name in names}
    for first, second in same:
        joined = group[first] | group[second]
        for name in joined:
            group[name] = joined
    groups: list[list[str]] = []
    for name in names:
        members = sorted(group[name], key=list(names).index)
        if members not in groups:
            groups.append(members)
    return groups
