"""Tables of `training_regime`: regimes, their differences, and what their values vary with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple

import numpy as np

from benchmark.protocol import Table
from benchmark.reading import Reading, find, summarise
from benchmark.statistics.wording import format_interval
from protocols.training_regime.claim import claim_of
from protocols.training_regime.gains import (
    excess_difference,
    interval_of,
    is_matched,
    mean_auroc,
    mean_log_loss,
    regimes_in,
    traced_epochs,
    two_way,
    unlearned,
    validation_auroc,
)
from protocols.training_regime.over_encoders import effect_components, gains_over_encoders
from protocols.training_regime.statistics import (
    BEST,
    FULL,
    MATCHED,
    RANDOMISED,
    SEED_ALONE,
    TrainingRegimeStatistics,
    traced_point,
)

Readings = Mapping[str, Sequence[Reading]]
Cell = str | int | float | None

_All = TrainingRegimeStatistics
_POINTS = (BEST, MATCHED)


def regime_tables(readings: Readings) -> Iterator[Table]:
    """Yield the tables of all methods that were measured."""
    measured = {name: own for name, own in readings.items() if regimes_in(own)}
    if not measured:
        return
    yield Table(
        "regimes",
        "What maps are worth under each regime, given this encoder",
        "AUROC and log-loss on the test split, validation AUROC that epochs are matched by, "
        "stability beyond maps of other subjects (E), the effect of removing the top of the map "
        "in units of T, and average precision on the cohort's regions, with 95 % intervals; those "
        "of effect and precision are over subjects and refits, the others over subjects. Rows "
        "of seed alone are of refits on the same training subjects, at their best epochs; the last "
        "rows are probes on encoders with random weights, where there is nothing to explain.",
        (
            "explainer, regime, epochs",
            "AUROC",
            "log-loss",
            "validation AUROC",
            "E",
            "effect (T)",
            "AP",
        ),
        [row for name, own in measured.items() for row in _regime_rows(name, own)],
    )
    known = {name: own for name, own in measured.items() if unlearned(own) is None}
    if known:
        yield Table(
            "gains",
            "Regimes minus full training",
            "Differences with 95 % intervals over subjects and refits. The claim is about probes "
            "at matched accuracy and needs both: stability alone says that all probes share a "
            "trunk. Rows over encoders come first where other encoders of the same recipe were "
            "given: stability on pairs of refits of different encoders, and effects with encoders "
            "as a sample. All other rows hold given this encoder.",
            ("explainer, regime, epochs", "E", "effect (T)", "AP", "claim"),
            [row for name, own in known.items() for row in _gain_rows(name, own)],
        )
    traced = [row for name, own in measured.items() for row in _traced_rows(name, own)]
    if traced:
        yield Table(
            "epochs",
            "Stability over epochs",
            "Mean validation AUROC of a regime's refits at an epoch, and how alike their maps are "
            "there beyond maps of other subjects (E), with 95 % intervals over subjects.",
            ("explainer, regime, epoch", "validation AUROC", "E"),
            traced,
        )
    yield Table(
        "components",
        "What values vary with",
        "Variance of a subject's value on one refit that comes from subjects, from encoders where "
        "several were given, from refits, and from none alone, at each refit's best epoch.",
        ("explainer, regime, value", "subjects", "encoders", "refits", "residual"),
        [row for name, own in measured.items() for row in _component_rows(name, own)],
    )


def _regime_rows(name: str, readings: Sequence[Reading]) -> Iterator[tuple[Cell, ...]]:
    for regime in regimes_in(readings):
        for point in _POINTS:
            excess = find(readings, _All.excess, regime=regime, point=point)
            yield (
                f"{name}, {regime}, {point}",
                format_interval(mean_auroc(readings, regime, point), 3),
                _number(mean_log_loss(readings, regime, point)),
                _number(validation_auroc(readings, regime, point)),
                None if excess is None else format_interval(summarise(excess), 3),
                format_interval(interval_of(two_way(readings, "delta_t", regime, point)), 3),
                format_interval(interval_of(two_way(readings, "ap", regime, point)), 3),
            )
        by_seed = find(readings, _All.excess, regime=regime, point=SEED_ALONE)
        if by_seed is not None:
            excess_alone = format_interval(summarise(by_seed), 3)
            yield (f"{name}, {regime}, {SEED_ALONE}", None, None, None, excess_alone, None, None)
    null = [
        reading
        for reading in readings
        if reading.statistic in ("excess", "ap")
        and reading.conditions.get("regime") == RANDOMISED
        and "without" not in reading.conditions
    ]
    for copy in dict.fromkeys(reading.conditions["copy"] for reading in null):
        own = {reading.statistic: reading for reading in null if reading.conditions["copy"] == copy}
        excess, ap = own.get("excess"), own.get("ap")
        yield (
            f"{name}, {RANDOMISED}, {copy}",
            None,
            None,
            None,
            None if excess is None else format_interval(summarise(excess), 3),
            None,
            None if ap is None else format_interval(summarise(ap), 3),
        )


def _traced_rows(name: str, readings: Sequence[Reading]) -> Iterator[tuple[Cell, ...]]:
    for regime in regimes_in(readings):
        for epoch in traced_epochs(readings, regime):
            point = traced_point(epoch)
            excess = find(readings, _All.excess, regime=regime, point=point)
            yield (
                f"{name}, {regime}, {epoch}",
                _number(validation_auroc(readings, regime, point)),
                None if excess is None else format_interval(summarise(excess), 3),
            )


def _gain_rows(name: str, readings: Sequence[Reading]) -> Iterator[tuple[Cell, ...]]:
    for point in _POINTS[::-1]:
        over = gains_over_encoders(readings, point)
        if over is not None:
            claim = claim_of(readings)[1].partition(":")[0] if point == MATCHED else None
            label = f"{name}, probe over encoders, {point}"
            yield label, format_interval(over[0], 3), format_interval(over[1], 3), None, claim
    is_over = gains_over_encoders(readings) is not None
    for regime in regimes_in(readings):
        for point in _POINTS:
            if regime == FULL:
                continue
            is_claim = (regime, point) == ("probe", MATCHED) and not is_over
            sentence = claim_of(readings)[1] if is_matched(readings) else "not matched"
            yield (
                f"{name}, {regime}, {point}",
                format_interval(excess_difference(readings, regime, point), 3),
                format_interval(interval_of(two_way(readings, "delta_t", regime, point, FULL)), 3),
                format_interval(interval_of(two_way(readings, "ap", regime, point, FULL)), 3),
                sentence.partition(":")[0] if is_claim else None,
            )


def _component_rows(name: str, readings: Sequence[Reading]) -> Iterator[tuple[Cell, ...]]:
    for statistic, label in (("delta_t", "effect"), ("ap", "AP")):
        for regime in regimes_in(readings):
            result = two_way(readings, statistic, regime, BEST)
            if result is not None:
                subjects, refits = _number(result.of_subjects, 6), _number(result.of_runs, 6)
                residual = _number(result.residual, 6)
                yield f"{name}, {regime}, {label}", subjects, None, refits, residual
    for regime in ("probe", FULL):
        nested = effect_components(readings, regime)
        if nested is not None:
            label = f"{name}, {regime} over encoders, effect"
            yield (label, *(_number(part, 6) for part in astuple(nested)))


def _number(value: float, digits: int = 3) -> float | None:
    return None if np.isnan(value) else round(value, digits)
