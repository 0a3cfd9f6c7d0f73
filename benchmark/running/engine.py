"""Runs the cells of a plan: those in the store are taken from it, the others are measured.

A cell is committed before it is reported as done, and a failing cell never stops the others. Cells
are measured in this process, or by an ``Executor`` in others; their records are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.classifier import PassCounter
from benchmark.errors import InputError
from benchmark.reading import FAILED
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.results.explained_model import ExplainedModel
from benchmark.running.cells import CellRunner
from benchmark.running.device import reproducible
from benchmark.running.plan import Plan
from benchmark.running.progress import Progress, Silence
from benchmark.running.suite import Cell
from benchmark.running.workers.executor import Executor
from benchmark.running.workers.loading import Request, Settings, load_runners
from benchmark.running.workers.messages import (
    Advanced,
    CellDone,
    CellLost,
    CellStarted,
    Preparing,
    Refused,
)
from benchmark.running.workers.task import Agenda, Task, tasks_of
from benchmark.training import recipe_card, save_weights
from benchmark.training.relatives import relation

__all__ = ["Finished", "Settings", "fit_relatives", "run"]


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


def run(
    plan: Plan,
    store: Store,
    settings: Settings,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Finished:
    """Score every cell of a plan, and tell a listener the course of the run.

    Args:
        plan: Plan of the run.
        store: Store that finished cells are taken from and kept in.
        settings: Device, batch size and other settings of the computation.
        progress: Listener to the course of the run.
        executor: Executor that measures the cells elsewhere; without, this process measures them in
            the order of the plan.

    Raises:
        InputError: If a cohort or model cannot be loaded, or the store cannot be written.
        KeyboardInterrupt: If Ctrl-C was pressed; its sentence says what is left.
    """
    progress = progress or Silence()
    request = Request(plan.suite, plan.selection, store.path, settings, store.now())
    with reproducible():
        runners = load_runners(plan, settings, request.archive(store), progress)
        progress.started(len(plan.cells))
        course = _Course(runners, store, progress)
        try:
            if not settings.fresh:
                course.recall()
            if executor is None:
                course.measure_here(settings.fresh)
            elif tasks := course.tasks():
                course.measure_elsewhere(executor, request, tasks)
            return course.finish(plan)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(course.describe_stop()) from None


def fit_relatives(plan: Plan, folder: Path, settings: Settings) -> Iterator[Path]:
    """Train the models that protocols compare each model with, and yield where each was written.

    Raises:
        InputError: If cohort or model cannot be loaded.
    """
    with reproducible():
        for runner in load_runners(plan, settings, None, Silence()):
            trial, fitted_relations = runner.trial, set[str]()
            for name in runner.protocols:
                for relative in plan.protocol(name).relatives(trial):
                    related = relation(relative, trial.cohort, trial.model_identity)
                    if related in fitted_relations:  # several protocols may need the same one
                        continue
                    fitted_relations.add(related)
                    fitted = relative.train()
                    fitted.name = f"{trial.classifier.name}-{relative.name}"
                    card = recipe_card(trial.peers.recipe, trial.cohort, plan.suite.seed)
                    card |= {"settings": dict(relative.settings), "relation": related}
                    yield save_weights(fitted, folder, card)


class _Course:
    """The course of a run: which cells are done, and by what record."""

    def __init__(self, runners: Sequence[CellRunner], store: Store, progress: Progress) -> None:
        self._runners, self._store, self._progress = runners, store, progress
        self._runner_of = {cell: runner for runner in runners for cell in runner.cells}
        self._records: dict[Cell, Record] = {}
        self._measured = 0
        self._passes_elsewhere = PassCounter()

    def recall(self) -> None:
        """Take from the store what is there."""
        for cell, runner in self._runner_of.items():
            if (record := runner.recall(cell, self._store)) is not None:
                self._done(cell, record, measured=False)

    def measure_here(self, fresh: bool) -> None:
        """Measure what is left, one cell after the other."""
        for runner in self._runners:
            left = self._left(runner)
            for task in tasks_of(left):
                for done in runner.measure(task.cells, self._store, self._progress, fresh):
                    self._done(*done)
                runner.forget_maps(task.explainer)

    def tasks(self) -> list[Task]:
        """Return what is left as tasks, with what each may cost."""
        return [
            replace(task, cost=len(task.cells) * runner.map_cost(task.cells[0]))
            for runner in self._runners
            for task in tasks_of(self._left(runner))
        ]

    def measure_elsewhere(
        self, executor: Executor, request: Request, tasks: Sequence[Task]
    ) -> None:
        """Have the tasks measured by other processes, and follow what they report.

        Raises:
            InputError: If one of them cannot go on, as where the disk is full.
        """
        with closing(executor.carry_out(request, Agenda(tasks))) as messages:
            for message in messages:
                match message:
                    case CellStarted(cell):
                        expected = self._runner_of[cell].expected_passes(cell)
                        self._progress.cell_started(cell, expected)
                    case Preparing(cell, what):
                        self._progress.preparing(cell, what)
                    case Advanced(cell, passes):
                        self._progress.advanced(cell, passes)
                    case CellDone(cell, record, measured, forward, backward):
                        self._runner_of[cell].note_passes(cell, record)
                        self._passes_elsewhere.add_forward(forward)
                        self._passes_elsewhere.add_backward(backward)
                        self._done(cell, record, measured)
                    case CellLost(cell, reason, seconds):
                        self._lose(cell, reason, seconds, request.settings.fresh)
                    case Refused(sentence):
                        raise InputError(sentence)

    def finish(self, plan: Plan) -> Finished:
        """Return the records of all cells, and what there is to show beside them."""
        explained = []
        passes = self._passes_elsewhere
        for runner in self._runners:
            own = [self._records[cell] for cell in runner.cells]
            if (model := runner.explained_model(own)) is not None:
                explained.append(model)
            passes.add_forward(runner.spent.forward)
            passes.add_backward(runner.spent.backward)
        records = tuple(self._records[cell] for cell in plan.cells)
        return Finished(records, tuple(explained), self._measured, passes)

    def describe_stop(self) -> str:
        """Return a sentence for a run that is stopped here: what is done, and how to go on."""
        finished = [record for record in self._records.values() if record.state != FAILED]
        kept = sum(self._store.holds(record.identity_sha256) for record in finished)
        published = len(finished) - kept
        total = len(self._runner_of) - published
        beside = f", beside {published} published controls" if published else ""
        return (
            f"Stopped: {kept} of {total} cells are finished and kept in {self._store.path}"
            f"{beside}; the same command measures the other {total - kept} when it is run again."
        )

    def _done(self, cell: Cell, record: Record, measured: bool) -> None:
        self._records[cell] = record
        self._measured += measured
        self._progress.cell_done(cell, record, measured)

    def _lose(self, cell: Cell, reason: str, seconds: float, fresh: bool) -> None:
        """Let a cell fail whose process ended, unless that had just committed its record."""
        runner = self._runner_of[cell]
        record = None if fresh else runner.recall(cell, self._store)
        if record is None:
            record = runner.fail(cell, reason, seconds, self._store)
        self._done(cell, record, measured=True)

    def _left(self, runner: CellRunner) -> list[Cell]:
        return [cell for cell in runner.cells if cell not in self._records]
