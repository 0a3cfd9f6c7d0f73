"""Runs cells of installed methods again, each method in a worker, before they are published.

The maps come from a worker that has no cohort, as those of a submission do in ``rerun``; the
networks are the same, and the results have to be, too. Controls are told the truth, which no worker
is, and are run again in this process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from benchmark.errors import InputError
from benchmark.explainer import Control, Explainer
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.record import Record
from benchmark.records.storage.finished import FinishedCell
from benchmark.records.store import Store
from benchmark.running import engine
from benchmark.running.plan import make_plan
from benchmark.running.progress import Progress
from benchmark.running.suite import Cell, Selection, Suite
from leaderboard.submission.isolation.connection import WorkerError
from leaderboard.submission.isolation.host import Host, Source
from leaderboard.submission.isolation.proxy import stand_in
from leaderboard.submission.rerun import Limits, why_not_isolated


def run_again(
    records: Sequence[FinishedCell],
    suite: Suite,
    store: Store,
    sampling: tuple[torch.device, Limits],
    progress: Callable[[str], None],
) -> dict[str, Record]:
    """Return the records of a second run by the hash of their identity.

    Cells of a model of a file, whose place a record does not tell, and cells that are none of the
    suite's are not run again.

    Args:
        records: Records of the first run, of methods that are installed.
        suite: Suite of the records.
        store: Store of finished cells; what it holds already is not run again.
        sampling: Device that computes networks, and limits of a worker.
        progress: Listener that is told each step before it is taken.

    Raises:
        InputError: If a method's worker misbehaves.
    """
    device, limits = sampling
    held = (store.get(record.identity_sha256) for record in records)
    second = {record.identity_sha256: record for record in held if record is not None}
    models = Catalogue().models.names
    left = [
        record
        for record in records
        if record.identity_sha256 not in second and record.names.model in models
    ]
    for name in sorted({record.names.explainer for record in left}):
        cells = {_cell_of(record) for record in left if record.names.explainer == name}
        with _catalogue_with(name, limits, len(cells), str(device)) as catalogue:
            second |= _measure(catalogue, suite, store, device, cells, progress)
    return second


def _cell_of(record: FinishedCell) -> Cell:
    names = record.names
    seed = record.identity.seed
    return Cell(names.cohort, names.model, names.explainer, names.protocol, seed)


def _measure(
    catalogue: Catalogue,
    suite: Suite,
    store: Store,
    device: torch.device,
    cells: set[Cell],
    progress: Callable[[str], None],
) -> dict[str, Record]:
    """Return records of some cells of one method."""
    explainers = tuple({cell.explainer for cell in cells})
    models = tuple(sorted({cell.model for cell in cells}))
    # Controls enter no score, and the identity of no cell.
    alone = suite.model_copy(update={"health": ()})
    plan = make_plan(catalogue, alone, Selection(explainers, models=models))
    plan = replace(plan, cells=tuple(cell for cell in plan.cells if cell in cells))
    if not plan.cells:
        return {}
    finished = engine.run(plan, store, engine.Settings(device), _Steps(progress))
    return {record.identity_sha256: record for record in finished.records}


@contextmanager
def _catalogue_with(name: str, limits: Limits, cells: int, device: str) -> Iterator[Catalogue]:
    """Keep a catalogue in which a method is asked in a worker, unless it is a control."""
    catalogue = Catalogue()
    plugin = catalogue.explainers.find(name).plugin
    if issubclass(plugin, Control):
        yield catalogue
        return
    allowance = limits.allowance(cells)
    try:
        host = Host(_source(name, plugin), allowance, why_not_isolated(device) is None)
    except WorkerError as error:
        raise InputError(f"The worker of {name!r} cannot be started: {error}") from error
    try:
        stand_in(host, catalogue)
        yield catalogue
        if host.fault is not None:
            raise InputError(f"The worker of {name!r} ended: {host.fault.detail}.")
    finally:
        host.close()


def _source(name: str, plugin: type[Explainer]) -> Source:
    """Return a file that names the method where a worker finds it, in the package."""
    text = f"from {plugin.__module__} import {plugin.__name__}\n".encode()
    return Source(f"{name}.py", text, plugin.__name__, hashlib.sha256(text).hexdigest())


class _Steps(Progress):
    """Tells which cell is run again."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Tell the names of a cell."""
        self._progress(f"{cell.explainer} × {cell.model} × {cell.protocol}")
