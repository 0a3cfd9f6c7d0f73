"""The card of an edit, as a table for a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmark.protocol import Table
from benchmark.reading import Reading, Statistic, find, interval
from benchmark.statistics.wording import format_interval
from protocols.counterfactual.statistics import EXPLAINER
from protocols.counterfactual.statistics import CounterfactualStatistics as Read

_COLUMNS: tuple[tuple[str, Statistic, int], ...] = (
    ("transfer to the twin", Read.transfer, 2),
    ("margins that reach 0", Read.flips, 2),
    ("φ past the middle", Read.crosses, 2),
    ("fall (T)", Read.fall, 2),
    ("fall on the twin (T)", Read.on_twin, 2),
    ("RMS (grey values)", Read.size, 3),
    ("largest change", Read.largest, 3),
    ("TV / L1", Read.roughness, 2),
    ("share in the foreground", Read.inside, 2),
    ("AP on the truth", Read.ap, 2),
    ("mass on the truth", Read.mass, 2),
    ("monotone in strength", Read.monotone, 2),
    ("realism AUROC", Read.realism, 2),
)


def card_tables(readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
    """Yield a table of the edits of every method, and of those that need none."""
    measured = {name: own for name, own in readings.items() if find(own, Read.transfer)}
    if not measured:
        return
    rows = [(name, own, EXPLAINER) for name, own in measured.items()]
    first = next(iter(measured.values()))
    rows += [(edit, first, edit) for edit in edits_of(first) if edit != EXPLAINER]
    yield Table(
        "card",
        "What each edit does, and what it looks like",
        "Falls are of the group projection, in units of T. Transfer is the fall on the twin, the "
        "same network trained from another seed, over that on the model: an edit that means "
        "something to both carries over. Realism is how well edited images are told from other "
        "subjects' real ones, by their texture; 0.5 is not at all. It is no proof: an adversarial "
        "edit is harder to tell than a large plausible one. Intervals are 95 %, over subjects.",
        ("edit", *(heading for heading, _, _ in _COLUMNS)),
        [
            (
                name,
                *(
                    format_interval(interval(own, statistic, edit=edit), digits)
                    for _, statistic, digits in _COLUMNS
                ),
            )
            for name, own, edit in rows
        ],
    )


def edits_of(readings: Sequence[Reading]) -> list[str]:
    """Return the names of the edits that were made, in the order of the card."""
    names = [
        str(reading.conditions["edit"])
        for reading in readings
        if reading.statistic == Read.fall.name
    ]
    return list(dict.fromkeys(names))
