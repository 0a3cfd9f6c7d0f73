"""Paired differences between two explainers on the subjects that both score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.errors import InputError
from benchmark.protocol import SanityProtocol
from benchmark.reading import (
    SCORED,
    Condition,
    Reading,
    Sample,
    distributions,
    shared_bootstrap,
)
from benchmark.records.record import Record
from benchmark.results.lookup import (
    ALIGNED,
    Protocols,
    has_reading,
    is_of,
    model_and_cohort,
    protocol_of,
    reading_of,
)
from benchmark.statistics.bootstrap import Interval


@dataclass(frozen=True)
class Comparison:
    """The paired difference ``first`` − ``second`` on one model and cohort.

    Attributes:
        cohort: Name.
        model: Name.
        protocol: Name.
        statistic: Name of what is compared.
        first: Name of an explainer.
        second: Name of the other.
        interval: Over the subjects that have both.
    """

    cohort: str
    model: str
    protocol: str
    statistic: str
    first: str
    second: str
    interval: Interval


def compare(
    records: Sequence[Record],
    first: str,
    second: str,
    protocol: type[SanityProtocol[Any]],
    statistic: str | None = None,
    conditions: Mapping[str, Condition] | None = None,
) -> Interval:
    """Return the paired difference of a statistic's aggregate, first explainer minus second.

    Args:
        records: Of one model and cohort.
        first: Name of an explainer.
        second: Name of the other.
        protocol: Under which both were scored.
        statistic: Its score unless given.
        conditions: Of the reading; none unless given.

    Raises:
        InputError: If one of the two has no such reading, or they share no image.
    """
    what, pair = statistic or protocol.primary, []
    for name in (first, second):
        own = [one for one in records if is_of(one, name, protocol.name)]
        if len(own) != 1:
            raise InputError(
                f"Expected one record of {name!r} under {protocol.name!r} but got {len(own)}; "
                "compare within one model and cohort."
            )
        pair.append(reading_of(own[0], what, conditions or {}))
    interval = paired_difference(pair[0], pair[1], protocol)
    if not interval.n_subjects:
        raise InputError(f"{first!r} and {second!r} have no subject in common with a {what!r}.")
    return interval


def aligned_pairs(
    records: Sequence[Record], protocols: Protocols, statistic: str | None = None
) -> list[Comparison]:
    """Return, for each method scored as published and at true centres, aligned − published.

    Args:
        records: Of any models and cohorts.
        protocols: Classes by name.
        statistic: What to compare; each protocol's score unless given.
    """
    scored = {
        (*model_and_cohort(one), one.names.protocol, one.names.explainer): one
        for one in records
        if one.state == SCORED
    }
    comparisons = []
    for (*place, explainer), record in scored.items():
        aligned = scored.get((*place, explainer + ALIGNED))
        protocol = protocol_of(record, protocols)
        what = statistic or protocol.primary
        if aligned is None or not (has_reading(aligned, what) and has_reading(record, what)):
            continue
        pair = reading_of(aligned, what, {}), reading_of(record, what, {})
        interval, names = paired_difference(*pair, protocol), record.names
        if not interval.n_subjects:
            continue
        comparisons.append(
            Comparison(
                names.cohort,
                names.model,
                names.protocol,
                what,
                first=aligned.names.explainer,
                second=explainer,
                interval=interval,
            )
        )
    return comparisons


def paired_difference(
    first: Reading, second: Reading, protocol: type[SanityProtocol[Any]]
) -> Interval:
    """Return the aggregate of ``first`` minus that of ``second`` on the images that both score."""
    pair = on_common_images([first, second])
    if not len(pair[0].sample):
        return Interval(math.nan, math.nan, math.nan, 0)
    estimates, replicates = distributions(pair, protocol.statistic(first.statistic).aggregate)
    bootstrap = shared_bootstrap(pair[0].sample.subjects)
    return bootstrap.statistic_interval(
        float(estimates[0] - estimates[1]), replicates[:, 0] - replicates[:, 1]
    )


def on_common_images(readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings on the images for which all have a value, in the order of their keys.

    Otherwise a method that scores only the easy images would be measured against controls that
    scored the others too.
    """
    places = [
        {key: place for place, key in enumerate(one.sample.keys) if np.isfinite(one.values[place])}
        for one in readings
    ]
    keys = tuple(sorted(set.intersection(*(set(one) for one in places))))
    first = readings[0].sample
    rows = [places[0][key] for key in keys]
    sample = Sample(
        keys, tuple(first.subjects[row] for row in rows), tuple(first.groups[row] for row in rows)
    )
    chosen = [[where[key] for key in keys] for where in places]
    return [
        replace(
            one,
            sample=sample,
            values=one.values[some],
            denominators=None if one.denominators is None else one.denominators[some],
        )
        for one, some in zip(readings, chosen, strict=True)
    ]
