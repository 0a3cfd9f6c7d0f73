"""A linear probe: logistic regression on frozen embeddings."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.arrays import FloatArray, Rows
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.training.fine_tuning import training_split

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


def fit_probe(classifier: Classifier, cohort: Cohort, batch_size: int = 64) -> Classifier:
    """Return a copy whose head is a logistic regression on the frozen embedding.

    The regression is folded into the head, which stays linear in the embedding.

    Args:
        classifier: Model whose trunk and pool stay as they are.
        cohort: Cohort whose training split is used.
        batch_size: Number of images per pass.
    """
    train = training_split(cohort)
    batches = train.batches(batch_size, classifier.device)
    with torch.inference_mode():
        embeddings = [classifier(batch.images)[1].double().cpu() for batch in batches]
    features = torch.cat(embeddings).numpy()
    weight, bias = logistic_regression(features, train.groups)
    head = nn.Linear(features.shape[1], 2)
    with torch.no_grad():
        # Half to each class: the margin is the regression's logit, and no class is favoured.
        head.weight.copy_(torch.from_numpy(np.stack([-weight, weight]) / 2))
        head.bias.copy_(torch.tensor([-bias / 2, bias / 2]))
    probed = classifier.copy()
    probed.head = head.to(classifier.device)
    probed.eval().requires_grad_(False)
    return probed


def with_head(classifier: Classifier, weight: Tensor, bias: Tensor) -> Classifier:
    """Return the same model with another linear head; trunk, pool and counter are shared.

    Args:
        classifier: Model that gives trunk and pool.
        weight: [2, D] weights of the head.
        bias: [2] biases of the head.
    """
    head = nn.utils.skip_init(nn.Linear, weight.shape[1], 2, dtype=classifier.dtype)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    other = copy.copy(classifier)
    other._modules = classifier._modules.copy()
    other.head = head.to(classifier.device)
    other.streamlining = None
    return other.eval().requires_grad_(False)


def logistic_regression(features: FloatArray, groups: Rows) -> tuple[FloatArray, float]:
    """Return the weights [D] and the intercept of a logistic regression on features [n, D].

    It has an L2 penalty on standardised features, and the scaling is folded back. Newton steps go
    to the single optimum as far as rounding allows, so the order of rows does not show.
    """
    mean, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    probe = _fit_regression((features - mean) / spread, groups)
    weight: FloatArray = probe.coef_[0] / spread
    return weight, float(probe.intercept_[0] - weight @ mean)


def probe_margins(features: FloatArray, groups: Rows, others: FloatArray) -> FloatArray:
    """Return the margins of rows [m] under a logistic regression fitted on other rows.

    It is that of ``logistic_regression``. Where features are more than the rows that it is fitted
    on, both are turned into the space that these rows span, in which the optimum lies (Hastie &
    Tibshirani 2004). So an embedding of 2,048 numbers costs no more than one of 200.

    Args:
        features: [n, D] features of the rows to fit.
        groups: [n] groups of the rows, both present.
        others: [m, D] features of the rows to predict.
    """
    mean, spread = features.mean(0), features.std(0)
    # A feature that hardly varies is a constant with rounding; divided by it, others would explode.
    varies = spread > 1e-9 * (1 + np.abs(mean))
    fitted, predicted = ((rows - mean)[:, varies] / spread[varies] for rows in (features, others))
    if fitted.shape[1] > len(fitted):
        basis, _ = np.linalg.qr(fitted.T)
        fitted, predicted = fitted @ basis, predicted @ basis
    if not fitted.shape[1]:
        share = float(np.mean(groups))
        return np.full(len(others), math.log(share / (1 - share)))
    margins: FloatArray = _fit_regression(fitted, groups).decision_function(predicted)
    return margins


def _fit_regression(features: FloatArray, groups: Rows) -> LogisticRegression:
    """Return the regression at its optimum; the penalty is scikit-learn's L2 of 1."""
    # Here, since scikit-learn takes a quarter of a second that most commands do without.
    from sklearn.linear_model import LogisticRegression

    probe = LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=200)
    return probe.fit(features, groups)
