"""The page of a registry of experiments: one HTML file with its figures and style inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.cohort import SPLITS
from benchmark.records.experiment import ExperimentCard
from benchmark.records.registry import Registry
from benchmark.report.contents.embedding import embed_file
from benchmark.report.contents.section import Picture
from benchmark.report.experiment_figures import CAPTIONS
from benchmark.report.experiment_table import Compared, format_metric, group_columns, metric_label
from benchmark.report.webpage import page_environment, page_style
from benchmark.training.findings import Metric

FEW = 4  # experiments of which a page shows every figure; of more it shows these
FIRST = ("course", "learning_curve")


@dataclass(frozen=True)
class Chapter:
    """Everything that the page says of one experiment.

    Attributes:
        card: Card of the experiment.
        status: State of the training now.
        texts: Columns of the registry in lines of text.
        metrics: Names of the metrics, each with its value in every split.
        facts: Settings and provenance.
        pictures: Figures.
    """

    card: ExperimentCard
    status: str
    texts: dict[str, tuple[str, ...]]
    metrics: tuple[tuple[str, tuple[str, ...]], ...]
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]


def render_registry(registry: Registry, compared: Sequence[Compared] = ()) -> str:
    """Return the page of a registry; everything that comes from cards is escaped.

    A figure is shown where its hash is the one on the card, so equal cards give equal pages.

    Args:
        registry: Experiments to show.
        compared: Pairs of them with the differences of their networks.
    """
    names = None if len(registry.cards) <= FEW else FIRST
    chapters = [_chapter(registry.folder / card.id, card, names) for card in registry.cards]
    template = page_environment().get_template("experiments.html.j2")
    return template.render(
        style=page_style(),
        chapters=chapters,
        faults=registry.faults,
        compared=compared,
        splits=SPLITS,
        metric=format_metric,
        label=metric_label,
    )


def _chapter(folder: Path, card: ExperimentCard, names: Sequence[str] | None) -> Chapter:
    return Chapter(
        card=card,
        status=card.present_status,
        texts={**group_columns(card), "warnings": card.warnings},
        metrics=tuple(_metric_rows(card)),
        facts=tuple(_facts(card)),
        pictures=tuple(_pictures(folder, card, names)),
    )


def _metric_rows(card: ExperimentCard) -> list[tuple[str, tuple[str, ...]]]:
    """Return each metric with its text in every split and in cross-validation."""
    if card.validation is None:
        return []
    crossed = {metric.name: metric for metric in card.validation.cross_validation}
    names = [metric.name for split in card.validation.splits for metric in split.metrics]
    rows = []
    for name in dict.fromkeys((*names, *crossed)):
        metrics: list[Metric | None] = [card.metric(split, name) for split in SPLITS]
        rows.append((name, tuple(map(format_metric, (*metrics, crossed.get(name))))))
    return rows


def _facts(card: ExperimentCard) -> list[tuple[str, str]]:
    recipe, made = card.recipe, card.provenance
    git = made.git
    checkout = "not from a checkout"
    if git is not None:
        checkout = git.commit + (" with changes" if git.dirty else "")
    packages = [f"{name} {version}" for name, version in made.packages.items() if version]
    return [
        ("regime", recipe.regime),
        ("batch size", str(recipe.batch_size)),
        ("stopping", f"{recipe.monitor} on validation, patience {recipe.patience}"),
        ("augmentation", f"shift {recipe.shift} px, mirror {'on' if recipe.mirror else 'off'}"),
        ("refit", str(recipe.refit)),
        ("trained stages", ", ".join(card.model.trained) or "not known yet"),
        ("frozen stages", ", ".join(card.model.frozen) or "none"),
        ("weights (SHA-256)", card.model.weights_sha256 or "not there yet"),
        ("encoder (SHA-256)", card.model.encoder_sha256),
        ("cohort (fingerprint)", card.cohort.fingerprint),
        ("identity", card.identity),
        ("begun", card.created),
        ("seconds", f"{card.seconds:.1f}"),
        ("peak memory", _memory(card.peak_memory_bytes)),
        ("device", made.device),
        ("software", f"Python {made.python}, {', '.join(packages)}"),
        ("checkout", checkout),
        ("command", card.command),
    ]


def _memory(size: int | None) -> str:
    return "not known" if size is None else f"{size / 2**30:.2f} GiB"


def _pictures(folder: Path, card: ExperimentCard, names: Sequence[str] | None) -> list[Picture]:
    """Return the figures in the order of their captions."""
    captions = _read_named(folder, card, f"figures/{CAPTIONS}")
    texts: dict[str, str] = {} if captions is None else json.loads(captions)
    pictures = []
    for name, caption in texts.items():
        if names is None or name in names:
            content = _read_named(folder, card, f"figures/{name}.svg")
            if content is not None:
                title = name.replace("_", " ").capitalize()
                pictures.append(Picture(title, caption, "svg", embed_file(content)))
    return pictures


def _read_named(folder: Path, card: ExperimentCard, name: str) -> bytes | None:
    """Return a file of an experiment, or None where it is not the one that the card names."""
    with suppress(OSError):
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() == card.files.get(name):
            return content
    return None
