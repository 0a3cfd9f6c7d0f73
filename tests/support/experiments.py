"""Cards of experiments that tests of the registry and its pages are built from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runs import PROVENANCE

from benchmark.records.experiment import (
    CohortEntry,
    CourseEntry,
    ExperimentCard,
    ModelEntry,
    SplitCounts,
    experiment_identity,
)
from benchmark.records.registry import write_card
from benchmark.training.findings import CurvePoint, Metric, ShortcutProbe, SplitFindings, Validation
from benchmark.training.regimes import Epoch, RegimeRecipe

FINGERPRINT, ENCODER, WEIGHTS = "c" * 64, "e" * 64, "a" * 64


def build_validation(auroc: float = 0.8125, warnings: Sequence[str] = ()) -> Validation:
    """Return findings with every part filled."""
    metrics = (
        Metric("accuracy", 0.75, 0.6, 0.875),
        Metric("auroc", auroc, auroc - 0.125, auroc + 0.0625, 0.5),
    )
    splits = [
        SplitFindings(split, 16, 16, metrics, ((6, 2), (2, 6)), ((0.25, 0.125, 8),))
        for split in ("train", "validation", "test")
    ]
    return Validation(
        splits=tuple(splits),
        cross_validation=metrics,
        folds=(0.75, 0.8),
        learning_curve=(CurvePoint(0.1, 2, (0.5, 0.6), (0.5, 0.5)),),
        shortcuts=(ShortcutProbe("silhouette", "the foreground's outline", metrics[1], False),),
        embedding={"before": {"pca": [[0.0, 1.0]]}, "after": {"pca": [[1.0, 0.0]]}},
        warnings=tuple(warnings),
    )


def build_card(number: int = 1, **changes: Any) -> ExperimentCard:
    """Return the card of a finished experiment with other values in some fields."""
    recipe = changes.pop("recipe", RegimeRecipe())
    counts = (("train", 30), ("validation", 8), ("test", 8))
    splits = [SplitCounts(split=name, images=(n, n), subjects=(n, n)) for name, n in counts]
    values: dict[str, Any] = {
        "id": f"EXP-{number:03d}",
        "identity": experiment_identity(recipe, FINGERPRINT, ENCODER),
        "status": "finished",
        "created": "2026-01-02T03:04:05Z",
        "process": None,
        "model": ModelEntry(
            spec="model.toml",
            name="encoder",
            architecture="torchvision.resnet50",
            head="linear, 2048 → 2",
            encoder_sha256=ENCODER,
            weights_sha256=WEIGHTS,
            trained=("head",),
            frozen=("layer4", "stem"),
        ),
        "cohort": CohortEntry(
            spec="phantom",
            name="phantom",
            fingerprint=FINGERPRINT,
            groups=("control", "case"),
            splits=tuple(splits),
        ),
        "recipe": recipe,
        "cross_validated": "probe",
        "course": CourseEntry(
            epochs=(Epoch(1, 0.7, 0.69, 0.5, 0.25), Epoch(2, 0.5, 0.6, 0.75, 0.25)), best=2
        ),
        "validation": build_validation(),
        "seconds": 12.5,
        "provenance": PROVENANCE,
        "command": "python -m benchmark train --model model.toml --cohort phantom",
    }
    return ExperimentCard(**{**values, **changes})


def write_cards(folder: Path, cards: Sequence[ExperimentCard]) -> None:
    """Write each card into the folder of its experiment."""
    for card in cards:
        (folder / card.id).mkdir(parents=True)
        write_card(folder / card.id, card)
