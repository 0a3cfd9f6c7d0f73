"""Metrics of predictions for two groups, of many resamples at once.

scikit-learn has each of them with weights, one resample a call; a validation needs fourteen metrics
of 2,000 resamples of three splits, which takes a minute that way. Equal weights give scikit-learn's
values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from benchmark.arrays import BoolArray, FloatArray
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval, SubjectBootstrap

Integers = npt.NDArray[np.integer]

RESAMPLES = 2000
BINS = 10  # of the calibration curve, equally wide
NAMES = (
    "accuracy",
    "balanced accuracy",
    "auroc",
    "auprc",
    "precision of 0",
    "precision of 1",
    "recall of 0",
    "recall of 1",
    "f1 of 0",
    "f1 of 1",
    "log-loss",
    "brier score",
    "expected calibration error",
    "calibration intercept",
    "calibration slope",
)
_NEWTON_STEPS = 50
_LONGEST_STEP = 4.0  # where probabilities of 0 and 1 leave no curvature, a full step is endless
_MOST_WITHOUT_VALUE = 0.05  # of the resamples, where an interval is still that of the statistic


@dataclass(frozen=True)
class Predicted:
    """Margins of images with the group that each belongs to.

    Attributes:
        groups: [N] group of each image, 0 or 1.
        margins: [N] logit of group 1 minus that of group 0.
    """

    groups: Integers
    margins: FloatArray

    @property
    def probabilities(self) -> FloatArray:
        """Probability of group 1, [N]."""
        probabilities: FloatArray = expit(self.margins)
        return probabilities

    @property
    def prevalence(self) -> float:
        """Share of the images that belong to group 1."""
        return float(np.mean(self.groups))


def chance_levels(prevalence: float) -> dict[str, float]:
    """Return what a guess that knows the prevalence alone gets, for metrics that have such."""
    shares = (prevalence, 1 - prevalence)
    return {
        "accuracy": max(shares),
        "balanced accuracy": 0.5,
        "auroc": 0.5,
        "auprc": prevalence,
        "log-loss": -sum(share * math.log(share) for share in shares if share > 0),
        "brier score": prevalence * (1 - prevalence),
    }


def weighted_metrics(
    predicted: Predicted, weights: FloatArray, names: Sequence[str] = NAMES
) -> FloatArray:
    """Return metrics of weighted images, [r, M]; NaN where one does not exist.

    An image is predicted to belong to group 1 from margin 0 on. AUROC counts ties half, AUPRC is
    average precision without interpolation. The calibration error is over ``BINS`` equally wide
    bins of the probability of group 1. Intercept and slope recalibrate the margin by logistic
    regression (Van Calster et al. 2019): the intercept with a slope of 1; both are NaN where the
    groups are separated.

    Args:
        predicted: Predictions for N images.
        weights: [r, N] weight of each image in each resample.
        names: M names among ``NAMES``.
    """
    columns = _count_metrics(predicted, weights) | _probability_metrics(predicted, weights)
    if {"auroc", "auprc"} & set(names):
        columns["auroc"], columns["auprc"] = _ranking_areas(predicted, weights)
    if "calibration intercept" in names:
        intercepts = _recalibration(predicted, weights, with_slope=False)
        columns["calibration intercept"] = intercepts[:, 0]
    if "calibration slope" in names:
        columns["calibration slope"] = _recalibration(predicted, weights, with_slope=True)[:, 1]
    return np.stack([columns[name] for name in names], axis=1)


def metric_intervals(predicted: Predicted, bootstrap: SubjectBootstrap) -> dict[str, Interval]:
    """Return each metric with its 95 % interval over subjects.

    A metric has no limits where a group has a single subject, whose resamples are all alike, or
    where more than one resample in twenty has no value.

    Args:
        predicted: Predictions for N images.
        bootstrap: Bootstrap of the subjects of the same images, within groups.
    """
    estimates = weighted_metrics(predicted, np.ones((1, len(predicted.groups))))[0]
    replicates = bootstrap.statistic_replicates(lambda rows: weighted_metrics(predicted, rows))
    return dict(zip(NAMES, intervals_of(estimates, replicates, bootstrap), strict=True))


def intervals_of(
    estimates: FloatArray, replicates: FloatArray, bootstrap: SubjectBootstrap
) -> list[Interval]:
    """Return the intervals of estimates [M] from their replicates [R, M]."""
    intervals = []
    for estimate, column in zip(estimates.tolist(), replicates.T, strict=True):
        unknown = float(np.isnan(column).mean())
        if math.isnan(estimate):
            intervals.append(NO_INTERVAL)
        elif unknown > _MOST_WITHOUT_VALUE or bootstrap.smallest_stratum < 2:
            intervals.append(Interval(estimate, math.nan, math.nan, bootstrap.n_subjects))
        else:
            intervals.append(bootstrap.statistic_interval(estimate, column))
    return intervals


def calibration_bins(predicted: Predicted) -> list[tuple[float, float, int]]:
    """Return (mean probability, share of group 1, images) of each bin that holds an image."""
    member = _bin_membership(predicted.probabilities)
    return [
        (
            float(predicted.probabilities[inside].mean()),
            float(predicted.groups[inside].mean()),
            int(inside.sum()),
        )
        for inside in member.T
        if inside.any()
    ]


def _count_metrics(predicted: Predicted, weights: FloatArray) -> dict[str, FloatArray]:
    """Return the metrics that follow from the confusion matrix."""
    is_case = (predicted.groups == 1).astype(np.float64)
    ahead = (predicted.margins >= 0).astype(np.float64)
    total, cases, positives = weights.sum(1), weights @ is_case, weights @ ahead
    hits = weights @ (is_case * ahead)
    rejections = weights @ ((1 - is_case) * (1 - ahead))
    recalls = _ratio(rejections, total - cases), _ratio(hits, cases)
    return {
        "accuracy": _ratio(hits + rejections, total),
        "balanced accuracy": (recalls[0] + recalls[1]) / 2,
        "precision of 0": _ratio(rejections, total - positives),
        "precision of 1": _ratio(hits, positives),
        "recall of 0": recalls[0],
        "recall of 1": recalls[1],
        "f1 of 0": _ratio(2 * rejections, 2 * total - cases - positives),
        "f1 of 1": _ratio(2 * hits, cases + positives),
    }


def _probability_metrics(predicted: Predicted, weights: FloatArray) -> dict[str, FloatArray]:
    """Return the means over images of what a probability costs."""
    probabilities, total = predicted.probabilities, weights.sum(1)
    excess = probabilities - predicted.groups
    surprise = np.logaddexp(0, np.where(predicted.groups == 1, -1, 1) * predicted.margins)
    gaps = np.abs(weights @ (_bin_membership(probabilities) * excess[:, None])).sum(1)
    return {
        "log-loss": _ratio(weights @ surprise, total),
        "brier score": _ratio(weights @ excess**2, total),
        "expected calibration error": _ratio(gaps, total),
    }


def _ranking_areas(predicted: Predicted, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return AUROC and AUPRC, each [r], in one walk from the largest margin to the smallest."""
    order = np.argsort(-predicted.margins, kind="stable")
    margins, is_case = predicted.margins[order], predicted.groups[order] == 1
    last = np.flatnonzero(np.append(margins[1:] != margins[:-1], True))  # of each run of ties
    walked = weights[:, order]
    hits = np.cumsum(np.where(is_case, walked, 0.0), axis=1)[:, last]
    alarms = np.cumsum(np.where(is_case, 0.0, walked), axis=1)[:, last]
    new_hits, new_alarms = np.diff(hits, prepend=0.0), np.diff(alarms, prepend=0.0)
    auroc = _ratio((new_alarms * (hits - new_hits / 2)).sum(1), hits[:, -1] * alarms[:, -1])
    flagged = hits + alarms
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    auprc = _ratio((new_hits * precision).sum(1), hits[:, -1])
    return auroc, np.where(np.isnan(auroc), np.nan, auprc)


def _bin_membership(probabilities: FloatArray) -> BoolArray:
    """Return which bin each probability falls into, [N, BINS]; an edge belongs to the bin above."""
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    member: BoolArray = bins[:, None] == np.arange(BINS)
    return member


def _recalibration(predicted: Predicted, weights: FloatArray, with_slope: bool) -> FloatArray:
    """Return intercept and slope [r, 2] of a logistic regression on the margin by Newton's method.

    NaN where it does not converge, as when the groups are separated.
    """
    margins, unknown = predicted.margins, np.full((len(weights), 2), np.nan)
    if with_slope and np.ptp(margins) == 0:
        return unknown
    scale = float(margins.std()) or 1.0
    coefficients = np.tile([0.0, 0.0 if with_slope else scale], (len(weights), 1))
    searching = np.arange(len(weights))
    for _ in range(_NEWTON_STEPS):
        now = coefficients[searching]
        chances = expit(now[:, :1] + now[:, 1:] * (margins / scale))
        step = _newton_step(chances, weights[searching], predicted.groups, margins / scale)
        if not with_slope:
            step = np.stack([step[:, 2], np.zeros(len(step))], axis=1)
        step = np.clip(step[:, :2], -_LONGEST_STEP, _LONGEST_STEP)
        coefficients[searching] = now + step
        size = np.abs(step).sum(1)
        # A step that is NaN counts as the end of the search too, and stays NaN.
        searching = searching[size >= 1e-8 * (1 + np.abs(now).sum(1))]
        if not len(searching):
            break
    coefficients[searching] = np.nan
    return coefficients / (1.0, scale)


def _newton_step(
    chances: FloatArray, weights: FloatArray, groups: Integers, scaled: FloatArray
) -> FloatArray:
    """Return the steps of intercept and slope together, and of the intercept alone, [r, 3]."""
    residuals, curvature = weights * (groups - chances), weights * chances * (1 - chances)
    pull, tilt = residuals.sum(1), residuals @ scaled
    zeroth, first, second = curvature.sum(1), curvature @ scaled, curvature @ scaled**2
    determinant = zeroth * second - first**2
    steps = (
        _ratio(second * pull - first * tilt, determinant),
        _ratio(zeroth * tilt - first * pull, determinant),
        _ratio(pull, zeroth),
    )
    return np.stack(steps, axis=1)


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the quotient, NaN where the denominator is zero, infinite where it is nearly."""
    unknown = np.full_like(denominator, np.nan)
    with np.errstate(over="ignore"):
        ratio: FloatArray = np.divide(numerator, denominator, out=unknown, where=denominator != 0)
    return ratio
