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
    """

    split: str
    images: int
    subjects: int
    metrics: tuple[Metric, ...]
    confusion: tuple[tuple[int, int], tuple[int, int]]
    calibration: tuple[tuple[float, float, int], ...] = ()


@dataclass(frozen=True)
class CurvePoint:
    """A point of the learning curve: a share of the training subjects, drawn several times.

    Attributes:
        share: Share of the training subjects.
        subjects: Number of them.
        auroc: AUROC on the test split, of each draw.
        accuracy: Accuracy on the test split, of each draw.
    """

    share: float
    subjects: int
    auroc: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class ShortcutProbe:
    """A classifier that cannot know the disease, and how well it tells the groups apart anyway.

    Attributes:
        name: Short name, such as ``"outside the foreground"``.
        sees: Sentence that says what it is given.
        auroc: Cross-validated AUROC with its interval over subjects.
        suspicious: Whether its lower limit is above the threshold.
    """

    name: str
    sees: str
    auroc: Metric
    suspicious: bool


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
    """

    splits: tuple[SplitFindings, ...]
    cross_validation: tuple[Metric, ...]
    folds: tuple[float, ...]
    learning_curve: tuple[CurvePoint, ...]
    shortcuts: tuple[ShortcutProbe, ...]
    embedding: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
