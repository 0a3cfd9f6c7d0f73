"""Runs the cells of a plan: those in the store are taken from it, the others are measured.

A cell is committed before it is reported as done, and a failing cell never stops the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmark.arrays import Arrays
from benchmark.classifier import PassCounter
from benchmark.classifier.proofs import prove
from benchmark.cohort import Cohort
from benchmark.errors import CohortError, StoreError
from benchmark.model_source import images_to_prove_on, load_fitted
from benchmark.plugins.cohort_checks import (
    load_cohort,
    refuse_small_groups,
    remark_on,
    scored_splits,
)
from benchmark.plugins.entry import Entry
from benchmark.plugins.kinds import P
from benchmark.records.arrays import ArrayFolder
from benchmark.records.record import Record
from benchmark.records.registry import read_card
from benchmark.records.store import Store
from benchmark.results.explained_model import ExplainedModel
from benchmark.running.cells import CellRunner
from benchmark.running.device import reproducible
from benchmark.running.plan import Plan
from benchmark.running.progress import Progress, Silence
from benchmark.running.suite import Cell
from benchmark.training import Recipe, recipe_card, save_weights
from benchmark.training.relatives import relation
from benchmark.trial import ArrayArchive, Peers, Runtime


@dataclass(frozen=True)
class Settings:
    """Settings of a computation; none of them changes a score.

    Attributes:
        device: Device that runs the passes.
        batch_size: Number of images per pass; halved where a GPU's memory does not hold them.
        fresh: Whether to measure again what the store already holds.
    """

    device: torch.device
    batch_size: int = 64
    fresh: bool = False


@dataclass(frozen=True)
class Finished:
    """Results of a run.

    Attributes:
        records: Records of all cells, in the order of the plan.
        explained: Maps and model outputs to show beside them, for each model and cohort.
        measured: Number of cells that were not taken from the store.
        passes: Passes that this run itself computed.
    """

    records: tuple[Record, ...]
    explained: tuple[ExplainedModel, ...]
    measured: int
    passes: PassCounter


def run(plan: Plan, store: Store, settings: Settings, progress: Progress | None = None) -> Finished:
    """Score every cell of a plan, and tell a listener the course of the run.

    Raises:
        InputError: If a cohort or model cannot be loaded, or the store cannot be written.
    """
    progress = progress or Silence()
    store.prepare()
    archive: ArrayArchive = _Fresh(store.arrays) if settings.fresh else store.arrays
    records: list[Record] = []
    explained: list[ExplainedModel] = []
    measured, passes = 0, PassCounter()
    with reproducible():
        runners = _load(plan, settings, archive, progress)
        progress.started(len(plan.cells))
        for runner in runners:
            own = []
            for cell, record, was_measured in runner.measure_cells(store, progress, settings.fresh):
                own.append(record)
                measured += was_measured
                progress.cell_done(cell, record, was_measured)
            if (model := runner.explained_model(own)) is not None:
                explained.append(model)
            records.extend(own)
            passes.add_forward(runner.spent.forward)
            passes.add_backward(runner.spent.backward)
    return Finished(tuple(records), tuple(explained), measured, passes)


def fit_relatives(plan: Plan, folder: Path, settings: Settings) -> Iterator[Path]:
    """Train the models that protocols compare each model with, and yield where each was written.

    Raises:
        InputError: If cohort or model cannot be loaded.
    """
    with reproducible():
        for runner in _load(plan, settings, None, Silence()):
            trial, fitted_relations = runner.trial, set[str]()
            for name in runner.protocols:
                for relative in plan.protocol(name).relatives(trial):
                    related = relation(relative, trial.cohort, trial.model_identity)
                    if related in fitted_relations:  # several protocols may need the same one
                        continue
                    fitted_relations.add(related)
                    fitted = relative.fit()
                    fitted.name = f"{trial.classifier.name}-{relative.name}"
                    card = recipe_card(trial.peers.recipe, trial.cohort, plan.suite.seed)
                    card |= {"settings": dict(relative.settings), "relation": related}
                    yield save_weights(fitted, folder, card)


class _Fresh:
    """An archive that ignores what earlier runs kept."""

    def __init__(self, arrays: ArrayFolder) -> None:
        self._arrays = arrays
        self._made: set[str] = set()

    def load(self, identity: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the arrays, if this run made them."""
        return self._arrays.load(identity) if identity in self._made else None

    def save(self, identity: str, arrays: Arrays) -> None:
        """Keep the arrays, and replace those of earlier runs."""
        self._arrays.save(identity, arrays)
        self._made.add(identity)


def _load(
    plan: Plan, settings: Settings, archive: ArrayArchive | None, progress: Progress
) -> list[CellRunner]:
    """Load every cohort and model, so that one that does not fit is refused before any score."""
    pairs: dict[tuple[str, str], list[Cell]] = {}
    for cell in plan.cells:
        pairs.setdefault((cell.cohort, cell.model), []).append(cell)
    cohorts: dict[str, Cohort] = {}
    for name in dict.fromkeys(cohort for cohort, _ in pairs):
        loaded = plan.loaded.get(name)
        cohorts[name] = load_cohort(plan.cohorts[name]) if loaded is None else loaded
        for split in scored_splits(cohorts[name]):
            refuse_small_groups(cohorts[name], split)
        for remark in remark_on(cohorts[name]):
            progress.remarked(remark)
    name_counts = Counter(cohort.name for cohort in cohorts.values())
    if shared_names := [name for name, count in name_counts.items() if count > 1]:
        raise CohortError(f"Two of the cohorts call themselves {shared_names[0]!r}; rename one.")
    runtime = Runtime(settings.device, settings.batch_size, plan.suite.stream_name, archive)
    panel = {name: entry.create() for name, entry in plan.panel.items()}
    runners = []
    for (cohort_name, model_name), cells in pairs.items():
        cohort, entry = cohorts[cohort_name], plan.models[model_name]
        with entry.loading():
            source = entry.create()
            classifier = load_fitted(source, cohort, settings.device)
            for remark in prove(classifier, images_to_prove_on(cohort, settings.device)):
                progress.remarked(remark)
        for warning in _warnings_of_experiment(entry):
            progress.remarked(warning)
        peers = Peers(panel, source.recipe or Recipe(), source.relatives)
        runners.append(CellRunner(plan, cells, cohort, classifier, runtime, peers))
    return runners


def _warnings_of_experiment(entry: Entry[P]) -> list[str]:
    """Return what a card says against a network that was trained as an experiment."""
    folder = Path(entry.origin).parent
    try:
        card = read_card(folder)
    except StoreError:  # no experiment, or one whose card `experiments` finds fault with
        return []
    return [f"{card.id}: {warning}" for warning in card.warnings]
