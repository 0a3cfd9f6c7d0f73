"""Measures tasks in a process that was told no more than names."""

from __future__ import annotations

from functools import cached_property

from benchmark.cohort import Cohort
from benchmark.errors import InputError
from benchmark.records.store import Store
from benchmark.running.cells import CellRunner
from benchmark.running.device import reproducible
from benchmark.running.plan import Plan
from benchmark.running.progress import Silence
from benchmark.running.workers.loading import Request, load_cohorts, load_runner
from benchmark.running.workers.messages import CellDone, Messenger, Refused, Send, TaskDone
from benchmark.running.workers.task import Task
from benchmark.trial import Runtime


class Worker:
    """A process's share of a run: it makes the plan, and loads cohorts and models, once each.

    Args:
        request: Request that describes the run.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._store = Store(request.store)
        self._cohorts: dict[str, Cohort] = {}
        # The last model alone: tasks come by model, and several would not fit together.
        self._runner: CellRunner | None = None
        self._pair: tuple[str, str] | None = None
        self._explainer: str | None = None  # the last one, whose maps are held

    @cached_property
    def _plan(self) -> Plan:
        return self._request.make_plan()

    def load(self, pair: tuple[str, str]) -> CellRunner:
        """Return what measures the cells of a cohort and model, named as in ``Task.pair``.

        Raises:
            InputError: If cohort or model cannot be loaded.
        """
        if self._runner is None or self._pair != pair:
            self._runner = self._explainer = None
            name = pair[0]
            if name not in self._cohorts:
                self._cohorts |= load_cohorts(self._plan, [name], Silence())
            settings, archive = self._request.settings, self._request.archive(self._store)
            suite = self._plan.suite.stream_name
            runtime = Runtime(settings.device, settings.batch_size, suite, archive)
            cells = [cell for cell in self._plan.cells if (cell.cohort, cell.model) == pair]
            self._runner = load_runner(self._plan, cells, self._cohorts[name], runtime, Silence())
            self._pair = pair
        return self._runner

    def measure(self, task: Task, send: Send) -> None:
        """Measure the cells of a task, commit each to the store, and send what happens.

        The last message is ``TaskDone``, or ``Refused`` where no cell can be measured any more.
        """
        messenger = Messenger(send)
        try:
            with reproducible():
                runner = self.load(task.pair)
                if self._explainer not in (None, task.explainer):
                    runner.forget_maps(self._explainer)
                self._explainer = task.explainer
                passes = runner.trial.passes
                before = passes.snapshot()
                fresh = self._request.settings.fresh
                for cell, record, measured in runner.measure(
                    task.cells, self._store, messenger, fresh
                ):
                    spent, before = passes.since(before), passes.snapshot()
                    send(CellDone(cell, record, measured, spent.forward, spent.backward))
        except InputError as error:
            send(Refused(str(error)))
        else:
            send(TaskDone())
