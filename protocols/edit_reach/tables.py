"""Tables of `edit_reach` for a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmark.protocol import Table
from benchmark.reading import Condition, Reading, Statistic, find, interval
from benchmark.statistics.wording import format_interval
from protocols.edit_reach.statistics import EditReachStatistics as Read
from protocols.edit_reach.yardsticks import GROUP_DIFFERENCE, SPREAD, TRUE_CHANGE, TRUTH

Readings = Mapping[str, Sequence[Reading]]
Cell = str | float | None


def reach_tables(readings: Readings) -> Iterator[Table]:
    """Yield the table of explainers, and that of maps that need none."""
    measured = {name: own for name, own in readings.items() if find(own, Read.edit_reach)}
    if not measured:
        return
    yield Table(
        "reach",
        "How far edits inside the top of each map reach",
        "In units of T, the distance between the groups; means over the shares of the foreground "
        "that were edited, with 95 % intervals over subjects. The score is the reach above the "
        "strongest null at each share. A map that has not seen the network has 0 above the maps of "
        "randomised copies, however far above random places it is. Shares are of what an edit of "
        "the whole foreground reaches. Transfer is what the twin's projection falls by under the "
        "same edits, each in units of its own T.",
        (
            "explainer",
            "score (T)",
            "above random places (T)",
            "above randomised copies (T)",
            "above permuted labels (T)",
            "subjects above random places",
            "share of the whole reach",
            "share at random places",
            "on the twin, above random places (T)",
            "transfer to the twin",
        ),
        [_row(name, own) for name, own in measured.items()],
    )
    first = next(iter(measured.values()))
    yardsticks = (TRUE_CHANGE, TRUTH, GROUP_DIFFERENCE, SPREAD)
    names = [name for name in yardsticks if find(first, Read.yardstick, map=name)]
    shares = sorted(
        float(reading.conditions["q"])
        for reading in first
        if reading.statistic == Read.yardstick.name and reading.conditions.get("map") == SPREAD
        if "q" in reading.conditions
    )
    yield Table(
        "yardsticks",
        "How far edits reach inside maps that need no explainer",
        "Reach above equally large random places, in units of T. The truth is where the groups are "
        "known to differ, the true change how far each pixel lies from the same subject's with the "
        "other group's anatomy. The group difference is that of the training images' means: it has "
        "seen labels and no network, and shows why random places are not null enough.",
        ("map", "mean (T)", *(f"{100 * q:g} % (T)" for q in shares)),
        [
            (
                name,
                _cell(first, Read.yardstick, {"map": name}),
                *(_cell(first, Read.yardstick, {"map": name, "q": q}) for q in shares),
            )
            for name in names
        ],
    )


def _row(name: str, own: Sequence[Reading]) -> tuple[Cell, ...]:
    above = find(own, Read.above, null="chance")
    wins = None if above is None else round(float(np.mean(above.values > 0)), 2)
    return (
        name,
        _cell(own, Read.edit_reach, {}),
        _cell(own, Read.above, {"null": "chance"}),
        _cell(own, Read.above, {"null": "randomised"}),
        _cell(own, Read.above, {"null": "memorised"}),
        wins,
        _cell(own, Read.share, {"arm": "map"}),
        _cell(own, Read.share, {"arm": "random"}),
        _cell(own, Read.on_twin, {"arm": "above random"}),
        _cell(own, Read.transfer, {"edit": "map"}),
    )


def _cell(
    readings: Sequence[Reading], statistic: Statistic, where: Mapping[str, Condition]
) -> str | None:
    return format_interval(interval(readings, statistic, **where))
