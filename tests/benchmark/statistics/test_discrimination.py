"""Model metrics: each is the one it is called."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.statistics.discrimination import classification_report


def test_discrimination_counts_class_one_as_positive() -> None:
    """If it fails, sensitivity and specificity are swapped or the threshold is off."""
    report = classification_report([0, 0, 0, 1, 1], [0.1, 0.6, 0.2, 0.5, 0.4])
    assert report.confusion == [[2, 1], [1, 1]]
    assert report.accuracy == 0.6
    assert report.precision == pytest.approx((2 / 3, 0.5))
    assert report.recall == pytest.approx((2 / 3, 0.5))
    assert report.f1 == pytest.approx((2 / 3, 0.5))
    assert report.auroc == pytest.approx(4 / 6)
    assert report.auprc == pytest.approx(0.5 * (1 / 2 + 2 / 3))


def test_discrimination_of_one_class_is_nan_not_a_number() -> None:
    """If it fails, a split with one group shows an AUROC."""
    report = classification_report([0, 0], [0.1, 0.2])
    assert np.isnan([report.auroc, report.auprc, report.precision[1], report.recall[1]]).all()
