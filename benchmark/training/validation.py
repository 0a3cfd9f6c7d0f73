"""What a reviewer asks of a trained network: metrics with intervals, curves, and warnings."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from benchmark.arrays import FloatArray
from benchmark.cohort import SPLITS, Cohort
from benchmark.errors import CohortError
from benchmark.seeding import seed_of
from benchmark.statistics.classification import calibration_bins
from benchmark.training.findings import (
    CrossValidation,
    CurvePoint,
    Metric,
    SplitFindings,
    Validation,
)
from benchmark.training.learning_curve import cross_validate_probe, learning_curve
from benchmark.training.predictions import Predictions, metrics_of
from benchmark.training.regimes import Epoch, RegimeRecipe
from benchmark.training.shortcuts import ShortcutFindings, refuse_equal_images, watch_shortcuts

STEPS = ("metrics", "cross-validation", "learning curve", "shortcuts", "embedding")
SUSPICIOUS_ACCURACY = 0.90
FLOOR_ACCURACY, FLOOR_AUROC = 0.60, 0.60
_QUICK_EPOCHS = 3
_QUICK_SHARE = 0.1
_MOST_POINTS = 200  # of a ROC curve on a card
_FEWEST_FOR_UMAP = 45  # three times its neighbours

Listener = Callable[[str], None]


def validate(
    predictions: Predictions,
    before: Predictions,
    cohort: Cohort,
    recipe: RegimeRecipe,
    listener: Listener | None = None,
    epochs: Sequence[Epoch] = (),
    with_umap: bool = True,
    shortcuts: ShortcutFindings | None = None,
) -> Validation:
    """Return everything that a reviewer asks of a trained network.

    Cross-validation and learning curve are those of the convex probe on the embeddings of the
    network as it came. So no training has seen the subjects that they are tested on.

    Args:
        predictions: Predictions of the trained network for every image of the cohort.
        before: Predictions of the network before training, for the same images; its logits play no
            part.
        cohort: Cohort that both were asked about.
        recipe: Recipe of the training.
        listener: Function that is called with the name of each of ``STEPS`` before it begins.
        epochs: Course of the training, where there was one.
        with_umap: Whether UMAP is drawn beside PCA where ``umap-learn`` is installed; its first
            use compiles for about twenty seconds.
        shortcuts: Findings of the shortcut watch on this cohort, where it was asked before.

    Raises:
        CohortError: If the predictions are not those of this cohort, if two subjects share an
            image, or if a group has fewer than two subjects.
    """
    _require_same_images(predictions, before, cohort)
    refuse_equal_images(cohort)
    announce = listener or (lambda step: None)
    names, left_out = cohort.group_names, []
    announce("metrics")
    parts = [(split, predictions.select(split)) for split in SPLITS]
    splits = tuple(split_findings(split, part, names) for split, part in parts if len(part))
    announce("cross-validation")
    crossed = cross_validate_probe(before, names)
    announce("learning curve")
    curve: tuple[CurvePoint, ...] = ()
    try:
        curve = learning_curve(before, cohort.name)
    except CohortError as error:
        left_out.append(f"The learning curve is left out: {error}")
    announce("shortcuts")
    watched = shortcuts or watch_shortcuts(cohort)
    announce("embedding")
    embedding, remarks = _embeddings(before.select("test"), predictions.select("test"), with_umap)
    floor, is_floor = _floor_warnings(crossed, splits, recipe)
    if not len(predictions.select("test")):
        floor.append(
            "no test split: nothing says how well the network does on subjects that it has not seen"
        )
    quick = [*_few_subjects_warnings(curve), *_few_epochs_warnings(epochs, predictions)]
    return Validation(
        splits=splits,
        cross_validation=crossed.metrics,
        folds=crossed.folds,
        learning_curve=curve,
        shortcuts=watched.probes,
        embedding=embedding,
        warnings=(*floor, *quick, *watched.warnings),
        left_out=(*left_out, *watched.left_out, *remarks),
        floor=is_floor,
        group_names=names,
        embedding_groups=tuple(predictions.select("test").groups.tolist()),
    )


def split_findings(split: str, part: Predictions, group_names: tuple[str, str]) -> SplitFindings:
    """Return how well a network tells the groups of one split apart, from predictions for it."""
    # Here, since scikit-learn takes a quarter of a second that most commands do without.
    from sklearn import metrics

    ahead = (part.margins >= 0).astype(np.int64)
    counts = metrics.confusion_matrix(part.groups, ahead, labels=(0, 1)).tolist()
    roc: tuple[tuple[float, float], ...] = ()
    precision_recall: tuple[tuple[float, float], ...] = ()
    if len(np.unique(part.groups)) == 2:
        alarms, hits, _ = metrics.roc_curve(part.groups, part.margins)
        precision, recall, _ = metrics.precision_recall_curve(part.groups, part.margins)
        roc, precision_recall = _points(alarms, hits), _points(recall, precision)
    return SplitFindings(
        split=split,
        images=len(part),
        subjects=len(set(part.subjects)),
        metrics=metrics_of(part, group_names),
        confusion=((counts[0][0], counts[0][1]), (counts[1][0], counts[1][1])),
        calibration=tuple(calibration_bins(part.predicted)),
        roc=roc,
        precision_recall=precision_recall,
    )


def floor_reason(metrics: Sequence[Metric]) -> str | None:
    """Return why metrics say that the groups are hardly told apart, or None where they are.

    They are hardly told apart where the upper limit of the accuracy is below ``FLOOR_ACCURACY`` or
    the lower limit of the AUROC is not above ``FLOOR_AUROC``.

    Args:
        metrics: Metrics among which are ``accuracy`` and ``auroc``.
    """
    reason, accuracy = _ranking_reason(metrics), _named(metrics)["accuracy"]
    if reason is None and accuracy.high is not None and accuracy.high < FLOOR_ACCURACY:
        needed = f"where the upper limit must reach {FLOOR_ACCURACY:.2f}"
        return f"{_spelled('accuracy', accuracy)}, {needed}"
    return reason


def _ranking_reason(metrics: Sequence[Metric]) -> str | None:
    """Return why the margins do not rank the groups, whatever the threshold, or None."""
    auroc = _named(metrics)["auroc"]
    if auroc.estimate is None:
        return "AUROC does not exist, since a group is missing"
    if auroc.low is None:
        return f"AUROC is {auroc.estimate:.2f}, from too few subjects for an interval"
    if auroc.low <= FLOOR_AUROC:
        return f"{_spelled('AUROC', auroc)}, where the lower limit must exceed {FLOOR_AUROC:.2f}"
    return None


def _named(metrics: Sequence[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


def _floor_warnings(
    crossed: CrossValidation, splits: Sequence[SplitFindings], recipe: RegimeRecipe
) -> tuple[list[str], bool]:
    """Return what is said of a missing signal, and whether the trained network lacks it too.

    A probe can only use what the embedding carries, and may fail to find it. Training of the trunk
    may put in what the embedding lacked, so there the test split decides.
    """
    reason = floor_reason(crossed.metrics)
    sentences = []
    if reason is not None:
        sentences.append(
            f"floor: the embedding hardly carries the groups: cross-validated by subject, the "
            f"probe's {reason}. A map of a head on it explains noise"
        )
    test = next((part for part in splits if part.split == "test"), None)
    # A map explains the margin, which a misplaced threshold moves but does not take away: for the
    # trained network the ranking decides, and its accuracy is a remark.
    after = None if test is None else _ranking_reason(test.metrics)
    is_probe = recipe.regime == "probe"
    if not is_probe and test is not None and after is None and reason is not None:
        sentences = [
            f"the embedding hardly carried the groups before training (cross-validated, the "
            f"probe's {reason}); what the network tells apart it has learned from this cohort"
        ]
    if after is not None:
        sentences.append(
            f"floor: the trained network hardly tells the groups apart: on the test split the "
            f"{after}. A map of it explains noise"
        )
    elif test is not None and (misplaced := floor_reason(test.metrics)) is not None:
        sentences.append(
            f"the threshold of the trained network is misplaced: on the test split it ranks the "
            f"groups (AUROC {_named(test.metrics)['auroc'].estimate:.2f}), but the {misplaced}. "
            "A map shows what the ranking rests on; probabilities and predicted groups mean nothing"
        )
    decisive = {after} if test is not None and not is_probe else {after, reason}
    return sentences, decisive != {None}


def _few_subjects_warnings(curve: Sequence[CurvePoint]) -> list[str]:
    for point in curve:
        accuracy = point.mean_accuracy
        if point.share > _QUICK_SHARE or accuracy is None or accuracy.low is None:
            continue
        if accuracy.low > SUSPICIOUS_ACCURACY:
            return [
                f"possible leakage or shortcut: with {point.share:.0%} of the training subjects "
                f"({point.subjects}) the probe's {_spelled('accuracy', accuracy)} on the test "
                f"split already, which a disease seldom allows"
            ]
    return []


def _few_epochs_warnings(epochs: Sequence[Epoch], predictions: Predictions) -> list[str]:
    """Return a warning where an early epoch was nearly perfect on the validation split.

    The interval is that of Hanley & McNeil (1982), since an epoch keeps its AUROC alone.
    """
    validation = predictions.select("validation")
    groups_of = dict(zip(validation.subjects, validation.groups.tolist(), strict=True))
    cases = sum(groups_of.values())
    for epoch in epochs:
        if epoch.number > _QUICK_EPOCHS:
            continue
        low = _lower_limit(epoch.validation_auroc, cases, len(groups_of) - cases)
        if low > SUSPICIOUS_ACCURACY:
            return [
                f"possible leakage or shortcut: after {epoch.number} epoch"
                f"{'s' * (epoch.number > 1)} the AUROC on the validation split is "
                f"{epoch.validation_auroc:.2f} (at least {low:.2f} with 95 % confidence), which a "
                f"disease seldom allows"
            ]
    return []


def _lower_limit(auroc: float, cases: int, others: int) -> float:
    """Return the lower limit of the 95 % interval of an AUROC, NaN where a group is missing."""
    if not cases or not others or math.isnan(auroc):
        return math.nan
    # At 1 the variance would be 0 and any two subjects enough; half a pair lost is the most that
    # perfect separation can claim.
    area = min(auroc, 1 - 0.5 / (cases * others))
    pairs = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    variance = area * (1 - area) + (cases - 1) * pairs[0] + (others - 1) * pairs[1]
    return area - 1.96 * math.sqrt(variance / (cases * others))


def _embeddings(
    before: Predictions, after: Predictions, with_umap: bool
) -> tuple[dict[str, dict[str, list[list[float]]]], list[str]]:
    """Return the coordinates of the test images before and after training, and what is missing."""
    if len(after) < 3:
        return {}, ["The embedding is left out: the test split has fewer than three images."]
    drawn = {"before": {"pca": _pca(before.embeddings)}, "after": {"pca": _pca(after.embeddings)}}
    if not with_umap:
        return drawn, []
    if importlib.util.find_spec("umap") is None:
        return drawn, ["UMAP is left out: the package umap-learn is not installed."]
    if len(after) < _FEWEST_FOR_UMAP:
        reason = f"{len(after)} test images are too few; it needs {_FEWEST_FOR_UMAP}"
        return drawn, [f"UMAP is left out: {reason}."]
    drawn["before"]["umap"] = _umap(before.embeddings)
    unchanged = np.array_equal(before.embeddings, after.embeddings)
    drawn["after"]["umap"] = drawn["before"]["umap"] if unchanged else _umap(after.embeddings)
    return drawn, []


def _pca(embeddings: FloatArray) -> list[list[float]]:
    """Return the first two principal components [N, 2]; the largest loading is positive."""
    from sklearn.decomposition import PCA  # slow to import, as metrics are

    centred = embeddings - embeddings.mean(0)
    components = min(2, *centred.shape)
    if not centred.any():  # an embedding that is the same for all images has no direction
        return [[0.0, 0.0]] * len(centred)
    pca = PCA(components, svd_solver="full").fit(centred)
    largest = np.abs(pca.components_).argmax(axis=1)
    signs = np.sign(pca.components_[np.arange(components), largest])
    points = np.zeros((len(centred), 2))
    points[:, :components] = pca.transform(centred) * signs
    return _rounded(points)


def _umap(embeddings: FloatArray) -> list[list[float]]:
    """Return the two coordinates of UMAP (McInnes et al. 2018) with its own settings, [N, 2]."""
    with warnings.catch_warnings():
        # It says that TensorFlow is missing, which nothing here uses.
        warnings.simplefilter("ignore", ImportWarning)
        # Here, since it is optional and its import compiles for ten seconds.
        import umap

    seed = seed_of("umap") % 2**32
    with warnings.catch_warnings():
        # It warns of graphs that fall apart, as those of copies.
        warnings.simplefilter("ignore", UserWarning)
        mapper = umap.UMAP(n_components=2, random_state=seed, n_jobs=1)
        return _rounded(mapper.fit_transform(embeddings))


def _rounded(points: FloatArray) -> list[list[float]]:
    return [[round(float(value), 6) for value in point] for point in points]


def _points(first: FloatArray, second: FloatArray) -> tuple[tuple[float, float], ...]:
    """Return the points of a curve, thinned evenly where there are more than a card needs."""
    rows = np.unique(np.linspace(0, len(first) - 1, min(len(first), _MOST_POINTS)).round())
    return tuple((float(first[row]), float(second[row])) for row in rows.astype(np.int64))


def _spelled(name: str, metric: Metric) -> str:
    limits = f"95 % interval {metric.low:.2f} to {metric.high:.2f}"
    return f"{name} is {metric.estimate:.2f} ({limits})"


def _require_same_images(predictions: Predictions, before: Predictions, cohort: Cohort) -> None:
    keys = tuple(sorted(cohort.keys))
    for name, rows in (("trained", predictions), ("untrained", before)):
        if rows.keys != keys:
            strays = sorted(set(rows.keys) ^ set(keys))
            first = f"; the first that only one of them has is {strays[0]!r}" if strays else ""
            raise CohortError(
                f"Expected predictions of the {name} network for the {len(keys)} images of cohort "
                f"{cohort.name!r} in the order of their keys, but got {len(rows)}{first}."
            )
