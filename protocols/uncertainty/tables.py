"""Tables of `uncertainty`: relations, thirds, and what instability says of errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmark.protocol import Table
from benchmark.reading import Reading, find, shared_bootstrap, summarise
from benchmark.statistics.rank_association import weighted_ranks
from benchmark.statistics.wording import format_interval
from protocols.uncertainty.statistics import (
    FEW_ERRORS,
    UncertaintyStatistics,
    association_of,
    claim_of,
    columns_of,
    p_value,
)

Readings = Mapping[str, Sequence[Reading]]
Cell = str | int | float | None


def uncertainty_tables(readings: Readings) -> Iterator[Table]:
    """Yield the tables of all methods that were scored."""
    measured = {name: own for name, own in readings.items() if columns_of(own)}
    if not measured:
        return
    yield Table(
        "relations",
        "Uncertainty of the prediction and stability of the map",
        "Spearman correlations over subjects with 95 % intervals from a bootstrap of the subjects; "
        "p by exchanging subjects, two-sided. A negative relation means that maps are less stable "
        "where the model is uncertain. With global average pooling and a linear head the mean of a "
        "class activation map is the margin itself, so part of the relation of such methods is "
        "arithmetic; the column given the entropy tells whether more is known than the margin.",
        (
            "explainer",
            "relation",
            "p",
            "given contrast and group",
            "with mutual information",
            "with mutual information, given entropy",
            "claim",
        ),
        [
            (
                name,
                format_interval(association_of(own, "relation")),
                _number(p_value(own), 4),
                format_interval(association_of(own, "relation_given_contrast")),
                format_interval(association_of(own, "relation_mi")),
                format_interval(association_of(own, "relation_mi_given_entropy")),
                claim_of(own)[1].partition(":")[0],
            )
            for name, own in measured.items()
        ],
    )
    yield Table(
        "thirds",
        "Stability in thirds of uncertainty",
        "Mean stability (Spearman correlation of maps of one subject on two members) in the least, "
        "the middle and the most uncertain third of the subjects; the difference between the ends "
        "with its 95 % interval; the same of the overlap of the tops; and the similarity of maps "
        "of different subjects, which is not about the subject at all.",
        ("explainer", "least", "middle", "most", "least − most", "of overlap", "other subjects"),
        [(name, *_thirds(own)) for name, own in measured.items()],
    )
    yield Table(
        "errors",
        "Does instability tell errors?",
        "AUROC with which a low stability, or a high entropy, tells misclassified subjects, and "
        "the difference with its 95 % interval from the same resamples. The entropy costs no map.",
        ("explainer", "errors", "by instability", "by entropy", "difference"),
        [(name, *_errors(own)) for name, own in measured.items()],
    )


def _thirds(readings: Sequence[Reading]) -> tuple[Cell, ...]:
    columns = columns_of(readings)
    known = np.isfinite(columns["stability"])
    entropy, stability = columns["entropy"][known], columns["stability"][known]
    if not len(stability):
        return (None,) * 6
    ranks = weighted_ranks(entropy, np.ones((1, len(entropy))))[0]
    shares = (ranks - 0.5) / len(ranks)
    thirds = (shares < 1 / 3, (shares >= 1 / 3) & (shares <= 2 / 3), shares > 2 / 3)
    means = [
        _number(float(stability[third].mean()), 3) if third.any() else None for third in thirds
    ]
    others = find(readings, UncertaintyStatistics.derangement)
    return (
        *means,
        format_interval(association_of(readings, "thirds")),
        format_interval(association_of(readings, "overlap_thirds")),
        None if others is None else _number(summarise(others).estimate, 3),
    )


def _errors(readings: Sequence[Reading]) -> tuple[Cell, ...]:
    columns, gain = columns_of(readings), association_of(readings, "use")
    own, wrong = find(readings, UncertaintyStatistics.stability), columns["error"] == 1
    if own is None or math.isnan(gain.estimate):
        use = find(readings, UncertaintyStatistics.use)
        reason = None if use is None else next(iter(use.reasons.values()), None)
        return int(wrong.sum()), None, None, reason or FEW_ERRORS.format(1)
    stability, entropy = columns["stability"], columns["entropy"]
    alarms = -stability, np.where(np.isfinite(stability), entropy, np.nan)
    bootstrap = shared_bootstrap(own.sample.subjects)
    areas = [bootstrap.auroc_estimate(alarm, wrong) for alarm in alarms]
    return (int(wrong.sum()), *(_number(area, 2) for area in areas), format_interval(gain))


def _number(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(value, digits)
