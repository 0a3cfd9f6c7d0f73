"""The registry of experiments as rows: for a terminal, CSV, Markdown, JSON and a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.cohort import SPLITS
from benchmark.records.experiment import ExperimentCard, without_missing
from benchmark.records.registry import Registry
from benchmark.results.table import Value, write_table
from benchmark.statistics.wording import format_number, format_range
from benchmark.training.findings import Comparison, Metric

SCHEMA_VERSION = 1
NOTHING = "–"
# What a reader compares experiments by, as they are called in the findings and in a sentence.
LABELS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "accuracy",
    "balanced accuracy": "balanced accuracy",
    "log-loss": "log-loss",
}
# The columns of the registry that stand together where there is little width.
GROUPS = {
    "experiment": ("ID", "status"),
    "network": ("backbone", "head"),
    "frozen": ("frozen",),
    "training": ("loss", "learning rates"),
    "epochs": ("epochs",),
    "data": ("data set", "split"),
    "test split": ("metrics (test)",),
    "accuracy\ntrain / val. / test": ("accuracy (train / validation / test)",),
}
PACKAGES = ("medsanity", "torch", "torchvision", "numpy")

Lines = tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """Two experiments with the differences of their networks on the same test subjects.

    Attributes:
        first: ID of the first experiment.
        second: ID of the second experiment.
        comparison: Metrics of both, and second minus first with paired intervals.
    """

    first: str
    second: str
    comparison: Comparison


def metric_label(name: str) -> str:
    """Return a metric's name as a table shows it, such as ``"F1 of A"``."""
    return LABELS.get(name, name.replace("f1 ", "F1 ", 1).replace("brier ", "Brier ", 1))


def describe(card: ExperimentCard) -> dict[str, Lines]:
    """Return what the registry says of an experiment, by column, in lines of text."""
    recipe, model, cohort = card.recipe, card.model, card.cohort
    rates = [f"head {recipe.head_rate:g}"]
    if recipe.regime != "probe":
        rates.append(f"encoder {recipe.encoder_rate:g}")
    accuracies = [_estimate(card.metric(split, "accuracy")) for split in SPLITS]
    packages = card.provenance.packages
    return {
        "ID": (card.id,),
        "status": _status(card),
        "backbone": tuple(dict.fromkeys((model.name, model.architecture))),
        "frozen": (_frozen(card),),
        "head": (model.head,),
        "loss": (_loss(card),),
        "learning rates": (*rates, f"decay {recipe.weight_decay:g}"),
        "epochs": _epochs(card),
        "split": tuple(
            f"{part.split} {part.images[0]} + {part.images[1]}" for part in cohort.splits
        ),
        "metrics (test)": _test_metrics(card),
        "accuracy (train / validation / test)": (" / ".join(accuracies),),
        "data set": (cohort.name, cohort.fingerprint[:12]),
        "warnings": card.warnings,
        "seconds": (f"{card.seconds:.1f}",),
        "versions": tuple(f"{name} {packages[name]}" for name in PACKAGES if packages.get(name)),
    }


def group_columns(card: ExperimentCard) -> dict[str, Lines]:
    """Return what the registry says of an experiment in the few columns of ``GROUPS``."""
    columns = describe(card)
    return {
        heading: tuple(line for name in names for line in columns[name])
        for heading, names in GROUPS.items()
    }


def to_csv(cards: Iterable[ExperimentCard]) -> str:
    """Return a row an experiment; a number that does not exist is an empty cell."""
    rows = [_flat(card) for card in cards]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["id"]
    return write_table(columns, [[row.get(name) for name in columns] for row in rows])


def to_markdown(cards: Iterable[ExperimentCard]) -> str:
    """Return the registry as a table in Markdown, with warnings and versions once each below it."""
    rows = [(describe(card), group_columns(card)) for card in cards]
    if not rows:
        return "No experiments.\n"
    warnings = list(dict.fromkeys(text for texts, _ in rows for text in texts["warnings"]))
    versions = list(dict.fromkeys(", ".join(texts["versions"]) for texts, _ in rows))
    headings = [*GROUPS, "warnings", "seconds"]
    table = [[" ".join(heading.split()) for heading in headings], ["---"] * len(headings)]
    for texts, groups in rows:
        numbers = ", ".join(str(warnings.index(text) + 1) for text in texts["warnings"])
        cells = [*groups.values(), (numbers or NOTHING,), texts["seconds"]]
        table.append(["<br>".join(map(_escape, lines)) for lines in cells])
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in table)
    notes = [f"{number}. {_escape(warning)}" for number, warning in enumerate(warnings, start=1)]
    text += "\nWarnings:\n\n" + "\n".join(notes) + "\n" if notes else ""
    return text + f"\nVersions: {'; '.join(map(_escape, versions))}.\n"


def to_json(registry: Registry, compared: Sequence[Compared] = ()) -> str:
    """Return cards, faults and comparisons as JSON; numbers that do not exist are null."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "experiments": [
            {**json.loads(card.to_json()), "status": card.present_status} for card in registry.cards
        ],
        "faults": [asdict(fault) for fault in registry.faults],
        "comparisons": [asdict(without_missing(pair)) for pair in compared],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def format_metric(metric: Metric | None) -> str:
    """Return a metric with its interval, or a dash where it was not measured."""
    if metric is None or metric.estimate is None:
        return NOTHING
    number = format_number(metric.estimate, metric.low, metric.high)
    return f"{number} {format_range(metric.low, metric.high)}".strip()


def _flat(card: ExperimentCard) -> dict[str, Value]:
    """Return a card as columns of a spreadsheet, one number a cell."""
    recipe, model, course = card.recipe, card.model, card.course
    row: dict[str, Value] = {
        "id": card.id,
        "identity": card.identity,
        "status": card.present_status,
        "reason": card.reason,
        "backbone": model.name,
        "architecture": model.architecture,
        "encoder_sha256": model.encoder_sha256,
        "weights_sha256": model.weights_sha256,
        "trained": " ".join(model.trained),
        "frozen": " ".join(model.frozen),
        "head": model.head,
        "loss": _loss(card),
        **{name: _plain(value) for name, value in asdict(recipe).items()},
        "epochs": recipe.most_epochs,
        "epochs_run": len(course.epochs) if course else None,
        "best_epoch": course.best if course else None,
        "cross_validated": card.cross_validated,
        "cohort": card.cohort.name,
        "fingerprint": card.cohort.fingerprint,
    }
    for part in card.cohort.splits:
        for group, images, subjects in zip((0, 1), part.images, part.subjects, strict=True):
            row[f"{part.split}_images_{group}"] = images
            row[f"{part.split}_subjects_{group}"] = subjects
    findings = card.validation.splits if card.validation else ()
    for split in findings:
        for metric in split.metrics:
            row |= _metric_cells(f"{split.split} {metric.name}", metric)
    for metric in card.validation.cross_validation if card.validation else ():
        row |= _metric_cells(f"cross-validated {metric.name}", metric)
    row |= {"warnings": " ".join(card.warnings), "seconds": card.seconds}
    row |= {"peak_memory_bytes": card.peak_memory_bytes, "created": card.created}
    made = card.provenance
    row |= {"python": made.python, **{name: made.packages.get(name) for name in PACKAGES}}
    commit = made.git.commit + ("+changes" if made.git.dirty else "") if made.git else None
    return {**row, "commit": commit, "device": made.device, "command": card.command}


def _metric_cells(name: str, metric: Metric) -> dict[str, Value]:
    values = {"": metric.estimate, "_low": metric.low, "_high": metric.high}
    return {name.replace(" ", "_") + ending: value for ending, value in values.items()}


def _status(card: ExperimentCard) -> Lines:
    if card.reason and card.present_status == "failed":
        return card.present_status, card.reason
    return (card.present_status,)


def _frozen(card: ExperimentCard) -> str:
    if card.model.trained:
        return ", ".join(card.model.frozen) or "nothing"
    planned = {"probe": "all but the head", "last_stage": "all but the last stage and the head"}
    return planned.get(card.recipe.regime, "nothing")


def _loss(card: ExperimentCard) -> str:
    return f"cross-entropy{', classes weighted' if card.recipe.class_weights else ''}"


def _epochs(card: ExperimentCard) -> Lines:
    most = card.recipe.most_epochs
    if card.course is None:
        return (f"0 of {most}",)
    run = f"{len(card.course.epochs)} of {most}"
    return (run, f"best {card.course.best}") if card.course.best else (run,)


def _test_metrics(card: ExperimentCard) -> Lines:
    lines = []
    for name in ("auroc", "auprc", "log-loss"):
        metric = card.metric("test", name)
        if metric is not None:
            lines.append(f"{LABELS[name]} {format_metric(metric)}")
        if metric is not None and name == "auprc" and metric.chance is not None:
            lines.append(f"prevalence {metric.chance:.2f}")
    return tuple(lines) or (NOTHING,)


def _estimate(metric: Metric | None) -> str:
    missing = metric is None or metric.estimate is None
    return NOTHING if missing else format_number(metric.estimate)  # type: ignore[union-attr]


def _plain(value: Any) -> Value:  # noqa: ANN401 # a setting of a recipe
    return int(value) if isinstance(value, bool) else value


def _escape(text: str) -> str:
    """Return text as it stands in a cell of Markdown."""
    for mark in ("\\", "|", "<", "*", "_", "`", "[", "]"):
        text = text.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return " ".join(text.split())
