"""How well a model tells the two groups apart, image by image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.errors import InputError


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
    precision: tuple[float, float]
    recall: tuple[float, float]
    f1: tuple[float, float]
    confusion: tuple[tuple[int, int], tuple[int, int]]


def classification_report(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Discrimination:
    """Return how well probabilities of class 1 match the labels; 0.5 and above predicts class 1.

    Args:
        labels: [N] true classes, 0 or 1.
        probabilities: [N] probability of class 1.

    Raises:
        InputError: If the shapes differ, there are no rows, or a label is neither 0 nor 1.
    """
    # Here, since scikit-learn takes a quarter of a second that most commands do without.
    from sklearn.metrics import (
        accuracy_score,
        average_precision_score,
        confusion_matrix,
        precision_recall_fscore_support,
        roc_auc_score,
    )

    truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if truth.shape != scores.shape or truth.ndim != 1 or not len(truth):
        raise InputError(
            f"Expected as many probabilities as labels, both [N], but got shapes "
            f"{list(scores.shape)} and {list(truth.shape)}."
        )
    if not np.isin(truth, (0, 1)).all():
        raise InputError(f"Expected labels 0 and 1 but got {np.unique(truth).tolist()}.")
    predicted, both = (scores >= 0.5).astype(int), len(np.unique(truth)) == 2
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=(0, 1), zero_division=np.nan
    )
    (tn, fp), (fn, tp) = confusion_matrix(truth, predicted, labels=(0, 1)).tolist()
    return Discrimination(
        accuracy=float(accuracy_score(truth, predicted)),
        auroc=float(roc_auc_score(truth, scores)) if both else math.nan,
        auprc=float(average_precision_score(truth, scores)) if both else math.nan,
        precision=(float(precision[0]), float(precision[1])),
        recall=(float(recall[0]), float(recall[1])),
        f1=(float(f1[0]), float(f1[1])),
        confusion=((tn, fp), (fn, tp)),
    )
