"""Metrics of predictions, of many resamples at once, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit
from sklearn import metrics

from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.classification import (
    BINS,
    NAMES,
    Predicted,
    calibration_bins,
    metric_intervals,
    weighted_metrics,
)


def _predicted(count: int = 60, decimals: int = 1) -> Predicted:
    """Return predictions with ties, and some exactly at the margin 0."""
    generator = np.random.default_rng(0)
    groups = (generator.random(count) < 0.3).astype(np.int64)
    margins = np.round(generator.normal(size=count) + groups, decimals)
    margins[:3] = 0.0
    return Predicted(groups, margins)


def _named(predicted: Predicted, weights: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, weighted_metrics(predicted, weights[None])[0].tolist(), strict=True))


def _reference(predicted: Predicted, weights: np.ndarray) -> dict[str, float]:
    groups, margins, ahead = predicted.groups, predicted.margins, predicted.margins >= 0
    probabilities = expit(margins)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        groups, ahead, labels=(0, 1), sample_weight=weights
    )
    return {
        "accuracy": metrics.accuracy_score(groups, ahead, sample_weight=weights),
        "balanced accuracy": metrics.balanced_accuracy_score(groups, ahead, sample_weight=weights),
        "auroc": metrics.roc_auc_score(groups, margins, sample_weight=weights),
        "auprc": metrics.average_precision_score(groups, margins, sample_weight=weights),
        "log-loss": metrics.log_loss(groups, probabilities, sample_weight=weights),
        "brier score": metrics.brier_score_loss(groups, probabilities, sample_weight=weights),
        **{f"precision of {group}": precision[group] for group in (0, 1)},
        **{f"recall of {group}": recall[group] for group in (0, 1)},
        **{f"f1 of {group}": f1[group] for group in (0, 1)},
    }


@pytest.mark.parametrize("kind", ["once", "drawn"])
def test_metrics_are_those_of_scikit_learn(kind: str) -> None:
    """If it fails, a published metric or its interval is not the one that its name says."""
    predicted = _predicted()
    drawn = np.random.default_rng(1).integers(0, 4, len(predicted.groups))
    weights = np.ones(len(predicted.groups)) if kind == "once" else drawn.astype(np.float64)
    named = _named(predicted, weights)
    for name, value in _reference(predicted, weights).items():
        assert named[name] == pytest.approx(value, abs=1e-12), name


def test_the_calibration_error_is_the_mean_gap_of_its_bins() -> None:
    """If it fails, the number does not belong to the curve that is drawn."""
    predicted = _predicted(decimals=3)
    gaps = [abs(p - share) * count for p, share, count in calibration_bins(predicted)]
    error = _named(predicted, np.ones(60))["expected calibration error"]
    assert error == pytest.approx(sum(gaps) / 60)
    assert len(calibration_bins(predicted)) <= BINS


def test_recalibration_is_the_maximum_of_the_likelihood() -> None:
    """If it fails, an overconfident network could be called calibrated."""
    predicted = _predicted(200, 3)

    def loss(intercept: float, slope: float) -> float:
        margins = intercept + slope * predicted.margins
        return float(np.logaddexp(0, np.where(predicted.groups == 1, -1, 1) * margins).sum())

    both = optimize.minimize(lambda x: loss(*x), (0.0, 1.0), tol=1e-12).x
    alone = optimize.minimize_scalar(lambda x: loss(x, 1.0)).x
    named = _named(predicted, np.ones(200))
    assert named["calibration slope"] == pytest.approx(both[1], abs=1e-5)
    assert named["calibration intercept"] == pytest.approx(alone, abs=1e-5)
    doubled = _named(Predicted(predicted.groups, 40 * predicted.margins), np.ones(200))
    assert doubled["calibration slope"] == pytest.approx(both[1] / 40, abs=1e-5)
    assert np.isfinite(doubled["calibration intercept"])


def test_separated_groups_have_no_recalibration() -> None:
    """If it fails, a slope of the size of the last Newton step is published."""
    predicted = Predicted(np.array([0, 0, 1, 1]), np.array([-300.0, -1.0, 2.0, 900.0]))
    named = _named(predicted, np.ones(4))
    assert np.isnan(named["calibration slope"])
    assert named["auroc"] == named["accuracy"] == 1.0
    assert 0 < named["log-loss"] < 0.2
    # Probabilities of almost 1 for everything leave a curvature that a step cannot be divided by.
    predicted = Predicted(np.array([0, 0, 1, 1]), np.array([709.0, 710.0, 711.0, 720.0]))
    assert np.isnan(_named(predicted, np.ones(4))["calibration slope"])


def test_a_missing_group_leaves_gaps_and_no_guesses() -> None:
    """If it fails, a split without cases gets an AUROC."""
    named = _named(Predicted(np.zeros(4, dtype=np.int64), np.array([-1.0, 1, 2, -3])), np.ones(4))
    missing = ("auroc", "auprc", "balanced accuracy", "recall of 1")
    assert all(np.isnan(named[name]) for name in missing)
    assert named["accuracy"] == named["recall of 0"] == 0.5
    assert named["precision of 1"] == 0.0


def test_subjects_are_drawn_within_their_groups_with_all_their_visits() -> None:
    """If it fails, intervals are those of images, or include the luck of the group sizes."""
    subjects = ["a", "b", "b", "c", "d", "d", "e"]
    groups = np.array([0, 0, 0, 1, 1, 1, 1])
    bootstrap = SubjectBootstrap(subjects, 500, groups)
    weights = bootstrap.statistic_replicates(lambda rows: rows)
    assert bootstrap.smallest_stratum == 2
    np.testing.assert_array_equal(weights[:, 1], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 4], weights[:, 5])
    np.testing.assert_array_equal(weights[:, [0, 1]].sum(1), 2)
    np.testing.assert_array_equal(weights[:, [3, 4, 6]].sum(1), 3)
    assert len(np.unique(weights, axis=0)) > 20


def test_copies_of_a_subject_make_no_interval_narrower() -> None:
    """If it fails, who photographs each patient ten times publishes a third of the uncertainty."""
    predicted = _predicted(40, 3)
    subjects = [f"s{row:02d}" for row in range(40)]
    alone = metric_intervals(predicted, SubjectBootstrap(subjects, 400, predicted.groups))
    copied = Predicted(np.repeat(predicted.groups, 10), np.repeat(predicted.margins, 10))
    bootstrap = SubjectBootstrap(np.repeat(subjects, 10).tolist(), 400, copied.groups)
    for name, interval in metric_intervals(copied, bootstrap).items():
        assert interval.low == pytest.approx(alone[name].low, abs=1e-9), name
        assert interval.high == pytest.approx(alone[name].high, abs=1e-9), name


def test_a_single_subject_of_a_group_has_no_interval() -> None:
    """If it fails, one case that is always drawn looks like certainty."""
    predicted = Predicted(np.array([0, 0, 0, 1]), np.array([-1.0, 0.5, -2.0, 1.0]))
    bootstrap = SubjectBootstrap(["a", "b", "c", "d"], 200, predicted.groups)
    auroc = metric_intervals(predicted, bootstrap)["auroc"]
    assert auroc.estimate == 1.0
    assert np.isnan([auroc.low, auroc.high]).all()
