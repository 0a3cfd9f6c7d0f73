"""A linear probe: logistic regression on frozen embeddings."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmark.arrays import FloatArray, Rows
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.training.fine_tuning import training_split


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


def logistic_regression(features: FloatArray, groups: Rows) -> tuple[FloatArray, float]:
    """Return the weights [D] and the intercept of a logistic regression on features [n, D].

    It has an L2 penalty on standardised features, and the scaling is folded back. Newton steps go
    to the single optimum as far as rounding allows, so the order of rows does not show.
    """
    # Here, since scikit-learn takes a quarter of a second that most commands do without.
    from sklearn.linear_model import LogisticRegression

    mean, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    probe = LogisticRegression(solver="newton-cholesky", tol=1e-10, max_iter=200)
    probe.fit((features - mean) / spread, groups)
    weight: FloatArray = probe.coef_[0] / spread
    return weight, float(probe.intercept_[0] - weight @ mean)
