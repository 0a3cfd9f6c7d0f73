"""Tables of networks and the places that they were taught to look at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmark.reading import Reading, Sample, Statistic
from benchmark.results.diagonal import unfollowed

AP = Statistic("ap", "average precision")
SAMPLE = Sample(("s1", "s2"), ("s1", "s2"), (0, 1))


def table(values: Mapping[tuple[str, str], float]) -> list[Reading]:
    """Return readings of average precisions by network and source."""
    return [
        Reading("ap", SAMPLE, np.array([ap - 0.01, ap + 0.01]), {"network": net, "source": source})
        for (net, source), ap in values.items()
    ]


def test_a_source_counts_as_followed_if_one_method_follows_it() -> None:
    """If it fails, networks that look elsewhere pass for methods that fail, or the reverse."""
    lost = table({("l", "l"): 0.1, ("r", "l"): 0.2, ("l", "r"): 0.1, ("r", "r"): 0.3})
    found = table({("l", "l"): 0.5, ("r", "l"): 0.2, ("l", "r"): 0.1, ("r", "r"): 0.0})
    assert unfollowed({"lost": lost}, AP, "source") == ["l"]
    assert unfollowed({"lost": lost, "found": found}, AP, "source") == []
    assert unfollowed({"found": found}, AP, "source") == ["r"]
    assert unfollowed({}, AP, "source") == []


def test_equal_on_every_network_is_not_followed() -> None:
    """If it fails, a method that shows the same for every network vouches for the networks."""
    blind = table({("l", "l"): 0.4, ("r", "l"): 0.4, ("main", "l"): 0.4})
    assert unfollowed({"blind": blind}, AP, "source") == ["l"]
