"""Settings and statistics of `uncertainty`, and the associations that follow from its readings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field

from benchmark.arrays import FloatArray
from benchmark.protocol import ProtocolConfig
from benchmark.reading import Reading, find, shared_bootstrap, statistic, subject_means
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from benchmark.statistics.rank_association import (
    Weighted,
    association_interval,
    auroc_gain_of,
    permutation_p,
    spearman_of,
    thirds_of,
)
from benchmark.statistics.wording import format_interval

Kind = Literal["heads", "ensemble", "dropout"]
MEMBERS: dict[Kind, int] = {"heads": 10, "ensemble": 5, "dropout": 30}
FEW_ERRORS = "fewer than {} subjects are misclassified"


class UncertaintyConfig(ProtocolConfig):
    """Settings of `uncertainty`.

    Attributes:
        members: Networks that a map is drawn on: the frozen trunk with other ``heads``, an
            ``ensemble`` of refits with all weights free, or the network's own ``dropout``.
        count: Number of members; 10 heads, 5 refits or 30 draws of dropout unless given.
        subjects: Number of test images, as many of each group.
        fewest: Number of subjects below which nothing is said.
        fewest_errors: Number of misclassified subjects below which ``use`` is not known.
        quantile: Share of the foreground whose overlap is compared.
        target: Class whose margin is explained: the one that the members ``predicted`` together,
            or the ``true`` group, which tells stability the label and is for demonstrations.
        epochs: Largest number of epochs of a refit of the ensemble; 40 unless given.
    """

    members: Kind = "heads"
    count: int | None = Field(None, ge=2, le=100)
    subjects: int = Field(128, ge=4)
    fewest: int = Field(30, ge=4)
    fewest_errors: int = Field(5, ge=1)
    quantile: float = Field(0.1, gt=0, lt=1)
    target: Literal["predicted", "true"] = "predicted"
    epochs: int | None = Field(None, ge=1)

    @property
    def size(self) -> int:
        """Number of members."""
        return MEMBERS[self.members] if self.count is None else self.count


class UncertaintyStatistics:
    """Everything that `uncertainty` reads."""

    relation = statistic(
        "rank correlation over subjects between the entropy of the prediction and the stability of "
        "the map; negative where maps are unstable where the model is uncertain"
    )
    relation_mi = statistic("the same with the mutual information instead of the entropy")
    relation_given_contrast = statistic(
        "partial rank correlation of entropy and stability, given group and contrast of the map"
    )
    relation_mi_given_entropy = statistic(
        "partial rank correlation of mutual information and stability, given the entropy"
    )
    thirds = statistic(
        "mean stability of the least uncertain third of the subjects minus that of the most"
    )
    overlap_thirds = statistic("the same of the overlap of the maps' tops")
    use = statistic(
        "AUROC with which instability tells errors of the model, minus that of the entropy"
    )
    stability = statistic("mean rank correlation of a subject's maps on pairs of members")
    overlap = statistic("mean intersection over union of the tops of these maps")
    derangement = statistic("rank correlation with the map of another subject on another member")
    entropy = statistic("entropy of the members' mean prediction, in nats")
    mutual_information = statistic("entropy minus the members' mean entropy, in nats")
    contrast = statistic("Gini coefficient of the members' mean map in the foreground")
    error = statistic("1 where the members' mean prediction is wrong, else 0")
    margin_curve = statistic(
        "log odds of the cases in the members' mean prediction", aggregate="auroc", name="log_odds"
    )


# What each association is made of.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "relation": ("entropy", "stability"),
    "relation_mi": ("mutual_information", "stability"),
    "relation_given_contrast": ("entropy", "stability", "contrast", "group"),
    "relation_mi_given_entropy": ("mutual_information", "stability", "entropy"),
    "thirds": ("entropy", "stability"),
    "overlap_thirds": ("entropy", "overlap"),
    "use": ("stability", "entropy", "error"),
}
ASSOCIATIONS = tuple(_COLUMNS)


def association(name: str, columns: dict[str, FloatArray]) -> Weighted:
    """Return one of ``ASSOCIATIONS`` of columns [N] by name, as a function of weights."""
    first, second, *covariates = (columns[column] for column in _COLUMNS[name])
    if name.endswith("thirds"):
        return thirds_of(first, second)
    if name == "use":
        return auroc_gain_of(-first, second, covariates[0] == 1)
    return spearman_of(first, second, *covariates)


def columns_of(readings: Sequence[Reading]) -> dict[str, FloatArray]:
    """Return what was read of each image, by the name of the statistic, and its group; or {}."""
    names = {name for columns in _COLUMNS.values() for name in columns} - {"group"}
    by_name = {name: find(readings, name) for name in sorted(names)}
    known = {name: reading.values for name, reading in by_name.items() if reading is not None}
    if len(known) < len(names):
        return {}
    stability = by_name["stability"]
    groups = () if stability is None else stability.sample.groups
    return {**known, "group": np.array(groups, dtype=np.float64)}


def association_of(readings: Sequence[Reading], name: str) -> Interval:
    """Return one of ``ASSOCIATIONS`` with its 95 % bootstrap interval over subjects."""
    own, columns = find(readings, name), columns_of(readings)
    if own is None or not columns or not np.isfinite(own.values).any():
        return NO_INTERVAL
    parts = tuple(columns[column].tobytes() for column in _COLUMNS[name])
    return _interval(name, parts, own.sample.subjects)


@lru_cache(maxsize=512)
def _interval(name: str, parts: tuple[bytes, ...], subjects: tuple[str, ...]) -> Interval:
    # Verdict, badge, tables and board ask for the same interval.
    columns = dict(zip(_COLUMNS[name], map(np.frombuffer, parts), strict=True))
    measured = association(name, columns)
    return association_interval(measured, shared_bootstrap(subjects), len(subjects))


def p_value(readings: Sequence[Reading]) -> float:
    """Return the two-sided p-value of the relation by permutation of subjects."""
    pair = find(readings, "entropy"), find(readings, "stability")
    if pair[0] is None or pair[1] is None:
        return float("nan")
    known = np.isfinite(pair[1].values)
    entropy, stability = (
        subject_means(
            Reading(reading.statistic, reading.sample, np.where(known, reading.values, np.nan))
        )
        for reading in pair
        if reading is not None
    )
    return permutation_p(entropy, stability)


def claim_of(readings: Sequence[Reading]) -> tuple[bool | None, str]:
    """Return whether maps are unstable where the model is uncertain, and the sentence on it."""
    relation = association_of(readings, "relation")
    words = format_interval(relation) or "not known"
    if relation.high < 0:
        return True, f"holds: maps are less stable where the model is uncertain, {words}"
    if relation.low > 0:
        return False, f"reversed: maps are more stable where the model is uncertain, {words}"
    return None, f"open: no relation between uncertainty and stability can be told, {words}"
