"""How well a model tells the two groups apart, image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Discrimination:
    """How well probabilities tell class 1 from class 0, rows counted alike.

    Attributes:
        accuracy: Share of rows on the right side of 0.5.
        auroc: Area under the ROC curve; NaN where only one class is present.
        auprc: Average precision of class 1; NaN where only one class is present.
        precision: Precision of classes (0, 1); NaN where the class is never predicted.
        recall: Recall of classes (0, 1); NaN where the class is absent.
        f1: F1 score of classes (0, 1); NaN where the class is neither present nor predicted.
        confusion: Counts; the first index is the true class, the second the predicted one.
    """

    accuracy: float
    auroc: float
    auprc: float
    precision: Sequence[float]
    recall: Sequence[float]
    f1: Sequence[float]
    confusion: Sequence[Sequence[int]]


def classification_report(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Discrimination:
    """Return how well probabilities [N] of class 1 match labels [N]; from 0.5 they predict it."""
    # Here, since scikit-learn takes a quarter of a second that most commands do without.
    from sklearn import metrics

    truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    predicted, has_both = (scores >= 0.5).astype(int), len(np.unique(truth)) == 2
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, predicted, labels=(0, 1), zero_division=np.nan
    )
    return Discrimination(
        accuracy=float(metrics.accuracy_score(truth, predicted)),
        auroc=float(metrics.roc_auc_score(truth, scores)) if has_both else math.nan,
        auprc=float(metrics.average_precision_score(truth, scores)) if has_both else math.nan,
        precision=precision.tolist(),
        recall=recall.tolist(),
        f1=f1.tolist(),
        confusion=metrics.confusion_matrix(truth, predicted, labels=(0, 1)).tolist(),
    )
