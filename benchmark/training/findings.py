"""What is found when a trained network is validated: plain values for cards, pages and tables."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Metric:
    """A metric with its interval over subjects.

    Attributes:
        name: Name of the metric, such as ``"auroc"`` or ``"recall of AD"``.
        estimate: Value; None where it does not exist.
        low: Lower limit of the 95 % interval.
        high: Upper limit of the 95 % interval.
        chance: Value that guessing has, where there is one: 0.5, or the prevalence for AUPRC.
    """

    name: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class SplitFindings:
    """How well a network tells the groups of a split apart.

    Attributes:
        split: Name of the split.
        images: Number of images.
        subjects: Number of subjects.
        metrics: Metrics with intervals.
        confusion: Counts; the first index is the true group, the second the predicted one.
        calibration: Bins of the calibration curve as (mean predicted probability, share of group 1,
            images).
        roc: Points of the ROC curve as (false positive rate, true positive rate); none where a
            group is missing.
        precision_recall: Points of the precision–recall curve as (recall, precision).
    """

    split: str
    images: int
    subjects: int
    metrics: tuple[Metric, ...]
    confusion: tuple[tuple[int, int], tuple[int, int]]
    calibration: tuple[tuple[float, float, int], ...] = ()
    roc: tuple[tuple[float, float], ...] = ()
    precision_recall: tuple[tuple[float, float], ...] = ()

    def metric(self, name: str) -> Metric:
        """Return the metric of this name.

        Raises:
            KeyError: If there is none; the message lists the names that there are.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        known = ", ".join(metric.name for metric in self.metrics)
        raise KeyError(f"The {self.split} split has no metric {name!r}; it has {known}.")


@dataclass(frozen=True)
class CurvePoint:
    """A point of the learning curve: a share of the training subjects, drawn several times.

    Attributes:
        share: Share of the training subjects.
        subjects: Number of them.
        auroc: AUROC on the test split, of each draw; a single draw where all subjects are taken.
        accuracy: Accuracy on the test split, of each draw.
        mean_auroc: Mean over the draws, with its interval over the subjects of the test split.
        mean_accuracy: Mean accuracy over the draws, in the same way.
    """

    share: float
    subjects: int
    auroc: tuple[float, ...]
    accuracy: tuple[float, ...]
    mean_auroc: Metric | None = None
    mean_accuracy: Metric | None = None


@dataclass(frozen=True)
class ShortcutProbe:
    """A classifier that cannot know the disease, and how well it tells the groups apart anyway.

    Attributes:
        name: Short name, such as ``"outside the foreground"``.
        sees: Sentence that says what it is given.
        auroc: Cross-validated AUROC with its interval over subjects.
        suspicious: Whether its lower limit is above the threshold.
        context: Whether it may see the disease and stands beside the others for comparison, so
            that it is never suspicious.
    """

    name: str
    sees: str
    auroc: Metric
    suspicious: bool
    context: bool = False


@dataclass(frozen=True)
class Validation:
    """Everything that a reviewer asks of a trained network.

    Attributes:
        splits: Findings for each split.
        cross_validation: Metrics of cross-validation by subject.
        folds: AUROC of each fold.
        learning_curve: Points of the learning curve.
        shortcuts: Probes on what cannot hold the disease.
        embedding: Coordinates of the test images before and after training by method (``"pca"``,
            and ``"umap"`` where it is installed), as {"before": {"pca": [[x, y], ...]}, ...}, in
            the order of the test split's keys.
        warnings: Sentences that a reader must see.
        left_out: Sentences that say which parts were left out and why.
        floor: Whether the groups cannot be told apart well enough for a map to mean anything.
        group_names: Names of group 0 and group 1.
        embedding_groups: Group of each point of the embedding.
    """

    splits: tuple[SplitFindings, ...]
    cross_validation: tuple[Metric, ...]
    folds: tuple[float, ...]
    learning_curve: tuple[CurvePoint, ...]
    shortcuts: tuple[ShortcutProbe, ...]
    embedding: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    floor: bool = False
    group_names: tuple[str, str] = ("A", "B")
    embedding_groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class CrossValidation:
    """Result of cross-validation by subject.

    Attributes:
        metrics: Metrics of the predictions for subjects that were left out, with intervals.
        folds: AUROC of each fold that holds both groups.
    """

    metrics: tuple[Metric, ...]
    folds: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Two networks on the test subjects that both have, paired image by image.

    Attributes:
        images: Number of images that both have in their test split.
        subjects: Number of subjects that these belong to.
        first: Metrics of the first network on them.
        second: Metrics of the second network on them.
        differences: Second minus first, metric by metric, with paired intervals; 0 where they are
            alike.
    """

    images: int
    subjects: int
    first: tuple[Metric, ...]
    second: tuple[Metric, ...]
    differences: tuple[Metric, ...]
