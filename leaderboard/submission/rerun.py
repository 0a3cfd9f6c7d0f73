"""Runs cells of a submission again, with its method shut in a worker, and compares the results.

Cohorts, networks, protocols and scores stay in this process. Only the maps come from the worker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import ValidationError

from benchmark import contract
from benchmark.errors import InputError
from benchmark.explainer import Explainer
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import FAILED
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.running import engine
from benchmark.running.plan import Plan, make_plan
from benchmark.running.progress import Progress
from benchmark.running.suite import Cell, Selection
from leaderboard.published.fault import Fault, FaultError, plain
from leaderboard.published.fields import schema_fault
from leaderboard.published.record import PublishedRecord, publish
from leaderboard.submission.bundle import Bundle
from leaderboard.submission.checks import cell_key
from leaderboard.submission.comparison import compare
from leaderboard.submission.from_plugins import method_of
from leaderboard.submission.isolation.availability import available
from leaderboard.submission.isolation.connection import Allowance, WorkerError
from leaderboard.submission.isolation.host import Host, Source
from leaderboard.submission.isolation.proxy import enter
from leaderboard.submission.rules import Rules
from leaderboard.submission.standard import Cells


def why_not_isolated(device: str = "cpu") -> str | None:
    """Return why a re-run cannot keep the plugin from its scorer, or None if it does."""
    return available(device)


@dataclass(frozen=True)
class Limits:
    """Limits of a worker.

    Attributes:
        seconds: Time for each request; in all it has as much for each cell.
        gib: Address space; without effect on a GPU, whose driver maps all of its memory.
    """

    seconds: float
    gib: float

    def allowance(self, cells: int) -> Allowance:
        """Return what a worker may use for so many cells and the contract."""
        return Allowance(self.seconds, self.seconds * (cells + 1), self.gib)


@dataclass(frozen=True)
class Sampling:
    """Choice of at most so many cells, drawn by the seed, and how they are run again."""

    cells: int
    seed: int
    device: str
    limits: Limits


@contextmanager
def working_for(bundle: Bundle, device: str, allowance: Allowance) -> Iterator[Host]:
    """Keep a worker with a bundle's method; it is shut in where this machine can do so."""
    manifest = bundle.manifest
    source = Source(manifest.source, bundle.source, manifest.class_name, manifest.source_sha256)
    host = Host(source, allowance, why_not_isolated(device) is None)
    try:
        yield host
    finally:
        host.close()


class Rerun:
    """Runs some of a bundle's cells again, with its method in a worker.

    Where a worker cannot be shut in, it is a process with the rights of its user.
    """

    def __init__(
        self, bundle: Bundle, rules: Rules, cells: Cells, sampling: Sampling, workspace: Path
    ) -> None:
        self._bundle, self._rules, self._cells = bundle, rules, cells
        self._sampling, self._workspace = sampling, workspace
        self._location = f"source/{bundle.manifest.source}"

    @property
    def chosen(self) -> tuple[PublishedRecord, ...]:
        """Records of the cells that are run again, in the order of the draw."""
        records = sorted(self._bundle.records, key=lambda record: record.path)
        count = min(self._sampling.cells, len(records))
        return tuple(random.Random(self._sampling.seed).sample(records, count))

    def run(self, progress: Callable[[str], None]) -> list[Fault]:
        """Run the cells and return all faults; ``progress`` gets the name of each step first."""
        progress("contract")
        bundle, limits, chosen = self._bundle, self._sampling.limits, self.chosen
        allowance = limits.allowance(len(chosen))
        try:
            with working_for(bundle, self._sampling.device, allowance) as host:
                return self._run(host, chosen, progress)
        except FaultError as error:
            return [error.fault]
        except WorkerError as error:
            return [Fault(error.name, self._location, error.detail)]
        except InputError as error:
            return [Fault("rerun-failed", self._location, plain(str(error))[:400])]

    def _run(
        self, host: Host, chosen: tuple[PublishedRecord, ...], progress: Callable[[str], None]
    ) -> list[Fault]:
        catalogue, expected = Catalogue(), self._bundle.manifest.explainer
        entry = enter(host, catalogue, self._location)
        if entry.name != expected:
            detail = f"the class calls itself {entry.name!r}, the manifest {expected!r}"
            return [Fault("identity-differs", self._location, detail)]
        faults = self._contract(entry.plugin, host)
        plan, records = self._plan(catalogue, chosen)
        judge = _Judge(self._rules, self._cells, host, entry.plugin, records, progress)
        store = Store(self._workspace / "store")
        store.prepare()
        engine.run(plan, store, engine.Settings(torch.device(self._sampling.device)), judge)
        return faults + judge.faults

    def _contract(self, plugin: type[Explainer], host: Host) -> list[Fault]:
        findings = contract.run_checks(contract.checks_of(plugin))
        if host.fault is not None:
            raise host.fault
        broken = [finding for finding in findings if finding.state == "broken"]
        details = [f"{finding.check.name}: {finding.detail}" for finding in broken]
        return [Fault("contract-broken", self._location, plain(text)[:400]) for text in details]

    def _plan(
        self, catalogue: Catalogue, chosen: tuple[PublishedRecord, ...]
    ) -> tuple[Plan, dict[Cell, PublishedRecord]]:
        """Return a plan of the chosen cells in an order that nobody knows, and their records."""
        suite = self._rules.suite.model_copy(update={"health": ()})
        selection = Selection((self._bundle.manifest.explainer,), models=self._rules.models)
        plan = make_plan(catalogue, suite, selection)
        by_names = {}
        for record in chosen:
            cohort, _, _ = self._cells.specs[cell_key(record)]
            names = record.names
            key = (catalogue.cohorts.find(cohort).name, names.model, names.protocol)
            by_names[key] = record
        records = {
            cell: by_names[cell.cohort, cell.model, cell.protocol]
            for cell in plan.cells
            if cell.explainer == self._bundle.manifest.explainer
            and (cell.cohort, cell.model, cell.protocol) in by_names
        }
        cells = list(records)
        random.SystemRandom().shuffle(cells)
        return replace(plan, cells=tuple(cells)), records


class _Judge(Progress):
    """Compares each cell with its record as soon as it is measured.

    Attributes:
        faults: Faults so far.
    """

    def __init__(
        self,
        rules: Rules,
        cells: Cells,
        host: Host,
        plugin: type[Explainer],
        records: dict[Cell, PublishedRecord],
        progress: Callable[[str], None],
    ) -> None:
        self._rules, self._cells = rules, cells
        self._host, self._plugin = host, plugin
        self._records, self._progress = records, progress
        self.faults: list[Fault] = []

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Say which cell is run again."""
        self._progress(f"{cell.model} × {cell.protocol}")

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Compare a cell, and stop where the worker is of no more use.

        Raises:
            FaultError: The fault that the worker was ended by.
        """
        submitted = self._records[cell]
        location = f"records/{submitted.path}"
        if (fault := self._host.fault) is not None:
            raise FaultError(fault.name, location, fault.detail)
        try:
            self.faults += self._compare(submitted, record, location)
        except FaultError as error:
            self.faults.append(error.fault)

    def _compare(self, submitted: PublishedRecord, measured: Record, location: str) -> list[Fault]:
        if measured.identity_sha256 != submitted.identity_sha256:
            difference = _difference(measured, submitted)
            detail = f"expected {submitted.identity_sha256[:12]}, but {difference}"
            raise FaultError("identity-differs", location, detail)
        if measured.state == FAILED:
            reason = plain(measured.reason or "it gave no reason")
            raise FaultError("rerun-failed", location, reason[:400])
        scale = self._cells.standard.cells[cell_key(submitted)].scale
        by = self._rules.pseudonyms, submitted.submitter
        method = method_of(self._plugin, submitted.method.title)
        try:
            again, _ = publish(measured, method, scale, *by, joins=submitted.joins)
        except ValidationError as error:
            raise schema_fault(error, location) from error
        return compare(submitted, again, location)


def _difference(measured: Record, submitted: PublishedRecord) -> str:
    for name, value in submitted.identity:
        if getattr(measured.identity, name) != value:
            return f"its {name.replace('_', ' ')} is another one here"
    return "another cell was measured"
