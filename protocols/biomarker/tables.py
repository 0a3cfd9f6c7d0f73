"""Tables of a report: associations, regressions, sides, parts of regions, and mediation.

False discovery rates are over all methods and regions of one table (Benjamini & Hochberg 1995).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import scipy

from benchmark.protocol import Table
from benchmark.reading import Condition, Reading, Statistic, find, interval
from benchmark.statistics.linear import SUPPORT
from benchmark.statistics.wording import format_interval
from protocols.biomarker.statistics import BiomarkerStatistics as Read

Readings = Mapping[str, Sequence[Reading]]
Cell = str | float | int | None


def all_tables(readings: Readings) -> Iterator[Table]:
    """Yield every table that the readings can fill."""
    for table in (_associations, _regressions, _sides, _parts, _mediation):
        made = table(readings)
        if made.rows:
            yield made


def _associations(readings: Readings) -> Table:
    """Return what the map tells of the volume, a row for each method and region."""
    rows, ps = [], []
    for name, own, region in _each(readings, Read.beyond_output, "roi"):
        where: dict[str, Condition] = {} if region is None else {"roi": region}
        levels = (None, None) if region is None else _levels(own, region)
        raw = _constant(own, Read.raw, kind="Pearson", scale="relative", **where)
        tracks = interval(own, Read.tracks_volume, scale="relative", **where)
        row = [name, region or "all, mean", _subjects(own, where), *levels, number(raw)]
        row += [
            format_interval(tracks),
            format_interval(interval(own, Read.beyond_output, **where)),
        ]
        arms = [interval(own, Read.arm, arm=arm, **where) for arm in ("control", "copies")]
        row += map(format_interval, arms)
        rows.append(row)
        ps.append(_constant(own, Read.p, of=Read.beyond_output.name, **where))
    return Table(
        "associations",
        "What the map on a region tells of its volume",
        "S is the signed mean of the map on the region over its mean magnitude in the organ, mean "
        "± standard deviation by group. The raw correlation runs across both groups and is "
        "confounded by group: it is never tested. Partial correlations r are given covariates and "
        "group, and the score is given the model's output too; p is one-sided by Freedman–Lane, q "
        "the false discovery rate over this table.",
        (
            "method", "region", "n", "S, group A", "S, group B",
            "raw r (confounded by group)", "r given group", "beyond output", "control region",
            "randomised copies", "p", "q",
        ),
        _with_q(rows, ps),
    )  # fmt: skip


def _regressions(readings: Readings) -> Table:
    """Return what the map adds to a regression of the volume."""
    rows, ps = [], []
    adjustments = {"group": "covariates, group", "output": "covariates, group, output"}
    for name, own in readings.items():
        for reading in own:
            where = dict(reading.conditions)
            if reading.statistic != Read.regression.name or where.pop("quantity") != "beta":
                continue

            def number_of(
                quantity: str, own: Sequence[Reading] = own, where: Mapping[str, Condition] = where
            ) -> float:
                return _constant(own, Read.regression, quantity=quantity, **where)

            added = number_of("delta_aic")
            row: list[Cell] = [name, str(where["roi"])]
            row += [adjustments[str(where["given"])], str(where["model"])]
            row += [number(number_of(key)) for key in ("beta", "error", "partial_r2", "delta_r2")]
            row += [number(added, 1), "yes" if added < SUPPORT else "no"]
            rows.append([*row, str(where.get("note", ""))])
            ps.append(number_of("p"))
    return Table(
        "regressions",
        "What the map adds to a regression of the volume",
        "Volume on covariates, group and, where it says so, the model's output, with and without "
        "the map on the region. β is standardised; its standard error and p hold for unequal "
        "variances (HC3). Partial R² is the squared partial correlation. That AIC falls is no "
        f"test, since it does in a sixth of null data: below −{-SUPPORT:g} it counts as support.",
        (
            "method", "region", "given", "model", "β", "SE", "partial R²", "ΔR²", "ΔAIC",
            "support", "note", "p", "q",
        ),
        _with_q(rows, ps),
    )  # fmt: skip


def _sides(readings: Readings) -> Table:
    """Return whether the map prefers the side of the larger volume."""
    rows, ps = [], []
    for name, own, pair in _each(readings, Read.laterality, "pair"):
        if pair is not None:
            score = interval(own, Read.laterality, pair=pair)
            rows.append([name, pair, format_interval(score)])
            ps.append(_constant(own, Read.p, of=Read.laterality.name, pair=pair))
    return Table(
        "laterality",
        "Does the map prefer the side of the larger volume?",
        "Partial correlation of S on the left minus S on the right with the volumes' difference "
        "over their sum, given covariates and group. All that is common to both sides cancels, the "
        "model's output as well.",
        ("method", "structure", "laterality", "p", "q"),
        _with_q(rows, ps),
    )


def _parts(readings: Readings) -> Table:
    """Return what the map on parts of a region tells of the parts' volumes."""
    rows, ps = [], []
    for name, own, part in _each(readings, Read.subfield, "subfield"):
        if part is None:
            continue
        reading = find(own, Read.subfield, subfield=part)
        reason = "" if reading is None else next(iter(reading.reasons.values()), "")
        score = None if reason else interval(own, Read.subfield, subfield=part)
        order = _constant(own, Read.subfield_order)
        rows.append([name, part, format_interval(score), number(order), reason])
        ps.append(_constant(own, Read.p, of=Read.subfield.name, subfield=part))
    return Table(
        "parts",
        "What the map on parts of a region tells of their volumes",
        "Partial correlation of the map's mean on a part, on its own scale, with the part's "
        "volume, given the other parts' volumes, covariates and group. The order is the rank "
        "correlation of how much of the map goes with each part's volume, on the map's own scale, "
        "with how much the part is known to change.",
        ("method", "part", "r", "order", "note", "p", "q"),
        _with_q(rows, ps),
    )


def _mediation(readings: Readings) -> Table:
    """Return the share of the volume's effect on the group that goes by the map."""
    rows: list[list[Cell]] = []
    for name, own in readings.items():
        share, low, high = (
            _constant(own, Read.mediation, quantity=quantity)
            for quantity in ("share", "low", "high")
        )
        reading = next(
            (reading for reading in own if reading.statistic == Read.mediation.name), None
        )
        if reading is not None:
            note = str(reading.conditions.get("note", ""))
            rows.append([name, number(share), number(low), number(high), note])
    return Table(
        "mediation",
        "Mediation (descriptive)",
        "Share of the effect of the volume on the group that goes by the map, from low to high "
        "with 95 % confidence. It enters no "
        "verdict: the map comes from a network that was trained on the group, so the path is "
        "circular, and it is largest for maps that show nothing but the output.",
        ("method", "share", "low", "high", "note"),
        rows,
    )


def _each(
    readings: Readings, statistic: Statistic, condition: str
) -> Iterator[tuple[str, Sequence[Reading], str | None]]:
    """Yield each method's readings of a statistic by the value of one condition, or none of it."""
    for name, own in readings.items():
        for reading in own:
            if reading.statistic == statistic.name and set(reading.conditions) <= {condition}:
                value = reading.conditions.get(condition)
                yield name, own, None if value is None else str(value)


def _levels(readings: Sequence[Reading], region: str) -> tuple[str, str]:
    """Return the mean ± standard deviation of S in each group."""
    reading = find(readings, Read.level, roi=region, region="roi")
    if reading is None:
        return "", ""
    groups = np.array(reading.sample.groups)
    of_groups = (reading.values[groups == group] for group in (0, 1))
    first, second = (f"{values.mean():.2f} ± {values.std(ddof=1):.2f}" for values in of_groups)
    return first.replace("-", "−"), second.replace("-", "−")


def _subjects(readings: Sequence[Reading], where: Mapping[str, Condition]) -> int | None:
    reading = find(readings, Read.beyond_output, **where)
    return None if reading is None else len(reading.sample)


def _constant(readings: Sequence[Reading], statistic: Statistic, **where: Condition) -> float:
    reading = find(readings, statistic, **where)
    return math.nan if reading is None or not len(reading.values) else float(reading.values[0])


def _with_q(rows: Sequence[Sequence[Cell]], ps: Sequence[float]) -> list[list[Cell]]:
    """Return rows with their p-values and false discovery rates behind them."""
    raw = np.array(ps, dtype=np.float64)
    known, rates = ~np.isnan(raw), np.full(len(raw), np.nan)
    if known.any():
        rates[known] = scipy.stats.false_discovery_control(raw[known])
    return [
        [*row, p_value(p), p_value(rate)]
        for row, p, rate in zip(rows, raw.tolist(), rates.tolist(), strict=True)
    ]


def p_value(p: float) -> float | None:
    """Return three digits of a p-value, which is never 0, None where there is none."""
    return None if math.isnan(p) else float(f"{p:.3g}")


def number(value: float, digits: int = 3) -> float | None:
    """Return a rounded number for a table, None where there is none; never −0."""
    return None if math.isnan(value) else round(value, digits) + 0.0
