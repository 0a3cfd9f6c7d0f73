"""Tables of what was found of each concept, and of what random sets of images give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmark.protocol import Table
from benchmark.reading import Reading
from protocols.concepts.statistics import (
    BAND,
    ConceptStatistics,
    findings,
    interval_of,
    largest_copy_margin,
    number_of,
    value_of,
)

_COLUMNS = (
    "concept",
    "score of",
    "effect (T)",
    "low",
    "high",
    "p (Holm)",
    "conclusion",
    "shift (T)",
    "shift p",
    "margin (logits)",
    "margin, randomised",
    "encoded",
    "encoded, low",
    "cosine",
    "cosine p",
    "cosine, head",
    "share (T)",
)


def concept_tables(readings: Sequence[Reading]) -> Iterator[Table]:
    """Yield the table of concepts, and that of random sets."""
    all_findings = findings(readings)
    if not all_findings:
        return
    statistics = ConceptStatistics
    rows = []
    for finding in all_findings:
        name, score = finding.name, finding.score
        encoded = interval_of(readings, statistics.encoded, name)
        numbers = (
            interval_of(readings, statistics.shift, name).estimate,
            value_of(readings, statistics.p, name, "shift"),
            interval_of(readings, statistics.margin_effect, name).estimate,
            largest_copy_margin(readings, name),
            encoded.estimate,
            encoded.low,
            value_of(readings, statistics.alignment, name),
            value_of(readings, statistics.p, name, "alignment"),
            value_of(readings, statistics.alignment_head, name),
            interval_of(readings, statistics.share, name).estimate,
        )
        kind = "pairs" if finding.paired else "sets"
        estimate = (score.estimate, score.low, score.high, finding.p)
        row = (name, kind, *map(_cell, estimate), finding.word, *map(_cell, numbers))
        rows.append(row)
    yield Table(
        "concepts",
        "What each concept does to the separation of the groups",
        "The effect is positive towards the cases, in units of T, the groups' difference, from "
        "low to high with 95 % confidence; p is after Holm's correction over the concepts. A "
        f"concept drives the separation if its interval lies beyond ±{BAND} T, and does not if it "
        "lies within; a shortcut is a nuisance that drives it. The shift is what unpaired sets "
        "show. "
        "Encoded is the accuracy on other subjects of a linear fit; where its lower limit is at "
        "most 0.5 the concept is not encoded. The cosine is that of the concept's direction with "
        "the direction towards the cases. The share is the effect times the groups' difference in "
        "the amount of the concept over the amount added; shares need not sum to 1.",
        _COLUMNS,
        rows,
    )
    yield Table(
        "random_sets",
        "What random sets of images give",
        "Pairs of disjoint random sets of the images without a concept, tested as sets of a "
        "concept are, at a level of 0.05.",
        ("model", "T", "mean shift (T)", "2.5 % (T)", "97.5 % (T)", "false alarms"),
        [
            (
                "network",
                *(
                    _cell(number_of(readings, statistic))
                    for statistic in (
                        statistics.separation,
                        statistics.random_shift,
                        statistics.random_low,
                        statistics.random_high,
                        statistics.false_alarms,
                    )
                ),
            )
        ],
    )


def _cell(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
