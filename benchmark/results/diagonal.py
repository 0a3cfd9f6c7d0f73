"""Whether maps of several networks, each taught to look elsewhere, show where their own one looks.

Where no method's maps do, it is not known whether the methods fail or the networks look elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.reading import Reading, Statistic, summarise


def unfollowed(
    readings: Mapping[str, Sequence[Reading]], statistic: Statistic, condition: str
) -> list[str]:
    """Return the places that no method shows best on the network taught to look there.

    Args:
        readings: Readings by method; no controls, which follow no network.
        statistic: Statistic of each network's maps at each place, up being better.
        condition: Condition that names the place; ``network`` names the network after its place.
    """
    followed: dict[str, bool] = {}
    for of_method in readings.values():
        table = {
            (str(reading.conditions["network"]), str(reading.conditions[condition])): reading
            for reading in of_method
            if reading.statistic == statistic.name
        }
        means = {key: summarise(reading).estimate for key, reading in table.items()}
        for own in {where for _, where in means}:
            others = [mean for (net, where), mean in means.items() if where == own != net]
            leads = (own, own) in means and bool(others) and means[own, own] > max(others)
            followed[own] = followed.get(own, False) or leads
    return sorted(where for where, is_followed in followed.items() if not is_followed)
