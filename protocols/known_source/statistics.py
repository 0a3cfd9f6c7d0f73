"""Settings and statistics of `known_source`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from benchmark.protocol import ProtocolConfig
from benchmark.reading import Plot, Reading, find, interval, statistic, summarise

LEARNED = 0.7  # AUROC that the lower bound of a network must exceed on its own source
INDEPENDENT = 0.15  # largest distance of a network's AUROC from 0.5 on another source


class KnownSourceConfig(ProtocolConfig):
    """Settings of `known_source`.

    Attributes:
        subjects: Number of images that are explained on every network, as many of each group.
    """

    subjects: int = Field(64, ge=4)


class KnownSourceStatistics:
    """Everything that `known_source` reads."""

    source = statistic(
        "average precision on the network's own source minus that of another network's map there; "
        "0 if the map does not follow the network, 1 if it shows its own source alone",
        "higher",
        "studentised",
        plot=Plot("bars", "source", (), None, "source (0 = does not follow the network)"),
    )
    ap = statistic("average precision of a network's map on the region of a source")
    auroc = statistic("AUROC of a network for the labels of a source", aggregate="auroc")
    abstentions = statistic(
        "number of images on which a network's map ranks nothing and counts as chance",
        aggregate="constant",
    )


def sources_of(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return the names of the sources, in the order of the cohort."""
    return tuple(
        str(reading.conditions["source"])
        for reading in readings
        if reading.statistic == KnownSourceStatistics.auroc.name
        and reading.conditions["source"] == reading.conditions["network"]
    )


def mean_precisions(readings: Sequence[Reading]) -> Mapping[tuple[str, str], float]:
    """Return the mean average precision by network and source; empty where nothing was read."""
    of_pairs = {
        (str(reading.conditions["network"]), str(reading.conditions["source"])): reading
        for reading in readings
        if reading.statistic == KnownSourceStatistics.ap.name
    }
    return {pair: summarise(reading).estimate for pair, reading in of_pairs.items()}


def unlearned(readings: Sequence[Reading]) -> str | None:
    """Return why the networks are not ones of independent sources, or None where they are.

    Each must know its own source, AUROC surely above ``LEARNED``, and may not know another, AUROC
    nearer to 0.5 than ``INDEPENDENT``.
    """
    names, auroc = sources_of(readings), KnownSourceStatistics.auroc
    for network in names:
        own = interval(readings, auroc, network=network, source=network)
        if own is None or not own.low > LEARNED:
            return f"source not learned: {network}"
        for source in names:
            reading = find(readings, auroc, network=network, source=source)
            if source == network or reading is None:
                continue
            if not abs(summarise(reading, "auroc").estimate - 0.5) < INDEPENDENT:
                return f"source not learned: the network of {network} knows {source} as well"
    return None
