"""How well a probe does on subjects that it has not met, and how many subjects it takes.

Both draw whole subjects within their groups, since a subject's visits are alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmark.arrays import FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.seeding import seed_of, stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.classification import Predicted, intervals_of, weighted_metrics
from benchmark.training.findings import CrossValidation, CurvePoint, Metric
from benchmark.training.predictions import Predictions, metrics_of, to_metric
from benchmark.training.probe import probe_margins

SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
DRAWS = 5
FOLDS = 5
CURVE_METRICS = ("auroc", "accuracy")


def learning_curve(embeddings: Predictions, name: str = "cohort") -> tuple[CurvePoint, ...]:
    """Return how well the convex probe does on the test split by the share of training subjects.

    Each draw orders the training subjects of each group at random and takes the first of them. So
    the subjects of a smaller share are among those of a larger one.

    Args:
        embeddings: Embeddings of the network as it came; its logits play no part.
        name: Name of the cohort, for messages.

    Raises:
        CohortError: If the training or test split lacks a group.
    """
    train, test = embeddings.select("train"), embeddings.select("test")
    for split, part in (("training", train), ("test", test)):
        if len(set(part.groups.tolist())) < 2:
            raise CohortError(
                f"A learning curve needs both groups in the {split} split of cohort {name!r}, "
                f"which has {int((part.groups == 0).sum())} images of the reference group and "
                f"{int((part.groups == 1).sum())} cases."
            )
    bootstrap = test.bootstrap()
    points = []
    for share in SHARES:
        draws = range(DRAWS if share < 1 else 1)
        rows = [_drawn_rows(train, share, draw) for draw in draws]
        margins = [
            probe_margins(train.embeddings[row], train.groups[row], test.embeddings) for row in rows
        ]
        subjects = len({train.subjects[row] for row in rows[0]})
        points.append(_curve_point(share, subjects, test, margins, bootstrap))
    return tuple(points)


def cross_validate(fit: Callable[[Cohort], Predictions], cohort: Cohort) -> CrossValidation:
    """Return how well a recipe does on subjects that it was not fitted on.

    Every subject is in the test split once. Folds hold whole subjects and are stratified by group.
    In each, a fifth of the other subjects is the validation split, for recipes that stop early.

    Args:
        fit: Function from the cohort with the splits of a fold to predictions for all its images;
            those for the test split count.
        cohort: Cohort whose own splits play no part.

    Raises:
        CohortError: If a group has fewer than three subjects.
    """
    names = np.asarray(cohort.subjects, dtype=np.str_)
    for group, label in enumerate(cohort.group_names):
        subjects_of_group = len(np.unique(names[cohort.groups == group]))
        if subjects_of_group < 3:
            raise CohortError(
                f"Cross-validation with a validation split needs three subjects of each group, "
                f"but cohort {cohort.name!r} has {subjects_of_group} of {label}."
            )
    ordered = cohort.take(np.argsort(np.array(cohort.keys), kind="stable"))
    parts = []
    for train, test in folds_by_subject(ordered.groups, ordered.subjects, ordered.name):
        splits = np.full(len(ordered), "train", dtype=object)
        splits[test] = "test"
        subjects = [ordered.subjects[row] for row in train]
        inner = folds_by_subject(ordered.groups[train], subjects, ordered.name)
        splits[train[next(inner)[1]]] = "validation"
        fold = replace(ordered, participants=ordered.participants.assign(split=list(splits)))
        parts.append(fit(fold).select("test"))
    return _joined(parts, ordered.group_names)


def cross_validate_probe(embeddings: Predictions, group_names: tuple[str, str]) -> CrossValidation:
    """Return how well the convex probe on given embeddings does on subjects that were left out.

    Folds are those of ``cross_validate``. The probe stops at its optimum, so it is fitted on all
    other subjects.

    Args:
        embeddings: Embeddings of every image; logits and splits play no part.
        group_names: Names of the groups in the metrics.

    Raises:
        CohortError: If a group has fewer than two subjects.
    """
    parts = []
    for train, test in folds_by_subject(embeddings.groups, embeddings.subjects):
        fitted, tested = embeddings.take(train), embeddings.take(test)
        margins = probe_margins(fitted.embeddings, fitted.groups, tested.embeddings)
        parts.append(tested.with_margins(margins))
    return _joined(parts, group_names)


def folds_by_subject(
    groups: Rows, subjects: Sequence[str], name: str = "cohort"
) -> Iterator[tuple[Rows, Rows]]:
    """Yield the rows to fit and the rows to predict of each fold.

    There are ``FOLDS`` of them, fewer where a group has fewer subjects.

    Args:
        groups: [N] group of each row.
        subjects: [N] subject of each row.
        name: Name of the cohort, for messages.

    Raises:
        CohortError: If a group has fewer than two subjects.
    """
    # Here, since scikit-learn takes a quarter of a second that most commands do without.
    from sklearn.model_selection import StratifiedGroupKFold

    names = np.asarray(subjects, dtype=np.str_)
    smallest = min(len(np.unique(names[groups == group])) for group in (0, 1))
    if smallest < 2:
        raise CohortError(
            f"Cross-validation by subject needs two subjects of each group, but one group of "
            f"cohort {name!r} has {smallest}."
        )
    seed = seed_of("cross-validation") % 2**32
    splitter = StratifiedGroupKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    yield from splitter.split(names, groups, names)


def _drawn_rows(train: Predictions, share: float, draw: int) -> Rows:
    """Return the rows of the first subjects of each group in the random order of a draw."""
    chosen: set[str] = set()
    names = np.asarray(train.subjects, dtype=np.str_)
    for group in (0, 1):
        members = np.unique(names[train.groups == group])
        order = stream("learning curve", draw, group).permutation(len(members))
        chosen |= set(members[order[: max(1, round(share * len(members)))]].tolist())
    return np.flatnonzero([name in chosen for name in train.subjects])


def _curve_point(
    share: float,
    subjects: int,
    test: Predictions,
    margins: list[FloatArray],
    bootstrap: SubjectBootstrap,
) -> CurvePoint:
    draws = [test.with_margins(row).predicted for row in margins]

    def by_draw(weights: FloatArray) -> FloatArray:
        return np.stack([weighted_metrics(draw, weights, CURVE_METRICS) for draw in draws], axis=2)

    values = by_draw(np.ones((1, len(test))))[0]
    replicates = bootstrap.statistic_replicates(lambda weights: by_draw(weights).mean(2))
    means = map(
        to_metric, CURVE_METRICS, intervals_of(values.mean(1), replicates, bootstrap), (0.5, None)
    )
    mean_auroc, mean_accuracy = means
    auroc, accuracy = (tuple(row) for row in values.tolist())
    return CurvePoint(share, subjects, auroc, accuracy, mean_auroc, mean_accuracy)


def auroc_within_folds(
    predicted: Predicted, folds: Sequence[Rows], bootstrap: SubjectBootstrap
) -> Metric:
    """Return the AUROC over the pairs of a case and another image that share a fold.

    Each fold has a model of its own. Pairs across folds compare scores of two models, and pull the
    AUROC of features without a signal below 0.5 (Forman & Scholz 2010).

    Args:
        predicted: Predictions for N images, each by the model that had not met its subject.
        folds: Rows of the images that each model predicted.
        bootstrap: Bootstrap of the subjects of the same images.
    """
    parts = [(rows, Predicted(predicted.groups[rows], predicted.margins[rows])) for rows in folds]

    def area(weights: FloatArray) -> FloatArray:
        wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for rows, part in parts:
            drawn = weights[:, rows]
            cases = drawn @ (part.groups == 1)
            count = cases * (drawn.sum(1) - cases)
            wins += count * np.nan_to_num(weighted_metrics(part, drawn, ("auroc",))[:, 0])
            pairs += count
        return np.divide(wins, pairs, out=np.full_like(wins, np.nan), where=pairs > 0)[:, None]

    estimate = area(np.ones((1, len(predicted.groups))))[0]
    interval = intervals_of(estimate, bootstrap.statistic_replicates(area), bootstrap)[0]
    return to_metric("auroc", interval, 0.5)


def _joined(parts: list[Predictions], group_names: tuple[str, str]) -> CrossValidation:
    """Return the metrics of the predictions of all folds."""
    pooled = Predictions(
        keys=tuple(key for part in parts for key in part.keys),
        subjects=tuple(subject for part in parts for subject in part.subjects),
        groups=np.concatenate([part.groups for part in parts]),
        splits=tuple(split for part in parts for split in part.splits),
        logits=np.concatenate([part.logits for part in parts]),
        embeddings=np.zeros((sum(map(len, parts)), 0)),
    )
    ends = np.cumsum([len(part) for part in parts])
    folds = [np.arange(end - len(part), end) for end, part in zip(ends, parts, strict=True)]
    auroc = auroc_within_folds(pooled.predicted, folds, pooled.bootstrap())
    metrics = tuple(
        auroc if metric.name == "auroc" else metric for metric in metrics_of(pooled, group_names)
    )
    areas = [
        float(weighted_metrics(part.predicted, np.ones((1, len(part))), ("auroc",))[0, 0])
        for part in parts
    ]
    return CrossValidation(metrics, tuple(area for area in areas if not math.isnan(area)))
