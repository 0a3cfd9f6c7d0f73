"""One draw of a verification: who the new subjects are, and what methods score on them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from pydantic import ValidationError

from benchmark.cohort import Cohort
from benchmark.errors import InputError
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import FAILED, SCORED
from benchmark.records.identity import Identity
from benchmark.records.record import Record
from benchmark.running.engine import Settings
from leaderboard.published.fault import Fault, FaultError, plain
from leaderboard.published.fields import schema_fault
from leaderboard.published.record import PublishedRecord, publish
from leaderboard.submission.bundle import Bundle
from leaderboard.submission.checks import CellKey, cell_key
from leaderboard.submission.draw.cohorts import draw_cohorts
from leaderboard.submission.draw.judgement import Fresh, Judgement, Known, judge
from leaderboard.submission.draw.measure import measure, plan_draw
from leaderboard.submission.draw.references import REFERENCES
from leaderboard.submission.from_plugins import scale_of
from leaderboard.submission.isolation.connection import WorkerError
from leaderboard.submission.isolation.proxy import enter
from leaderboard.submission.rerun import Limits, working_for
from leaderboard.submission.rules import Rules


class Draw:
    """New subjects of a board's cohorts, and what is known of the published ones.

    Args:
        rules: Board.
        published: Records of the board, among them those of the references.
        seed: Decides who the new subjects are.
        device: Device that computes.
        workspace: Empty folder.

    Raises:
        InputError: If no score of the board can be drawn again, or the seed is a published one.
    """

    def __init__(
        self,
        rules: Rules,
        published: Sequence[PublishedRecord],
        seed: int,
        device: str,
        workspace: Path,
    ) -> None:
        self._rules, self._seed, self._device = rules, seed, device
        self._workspace = workspace
        self._plan = plan_draw(Catalogue(), rules.suite, REFERENCES)
        self._drawn = draw_cohorts(self._plan, seed)
        self._cohorts: dict[str, Cohort] = {each.name: each for each in self._drawn.values()}
        if not self.cells:
            raise InputError(
                f"Suite {rules.suite.version!r} has no score that can be drawn again: its cohorts "
                f"are {', '.join(self._plan.cohorts)}, and a score must be a mean over subjects of "
                "a cohort that is generated."
            )
        self._known = {
            (record.names.explainer, cell_key(record)): record
            for record in published
            if record.names.explainer in REFERENCES and cell_key(record) in self.cells
        }

    @cached_property
    def cells(self) -> frozenset[CellKey]:
        """Cohort, model and protocol of the cells that are drawn again."""
        return frozenset(
            (self._drawn[cell.cohort].name, cell.model, cell.protocol)
            for cell in self._plan.cells
            if cell.cohort in self._drawn
        )

    def judge(self, bundle: Bundle, limits: Limits) -> Judgement:
        """Measure a submission and the references on the new subjects, and compare the scores."""
        return judge(bundle.records, self._measure(bundle, limits), self._references())

    def identity_of(self, record: PublishedRecord) -> Identity:
        """Return the identity of a published cell on the new subjects."""
        cohort = self._cohorts[record.names.cohort]
        protocol = self._plan.protocol_identity(record.names.protocol, cohort)
        changed = {"cohort_fingerprint": cohort.fingerprint, "protocol": protocol}
        return record.identity.model_copy(update=changed)

    def _measure(self, bundle: Bundle, limits: Limits) -> Fresh:
        """Return what the submission scores, with its method shut in a worker."""
        claimed = {cell_key(record): record for record in bundle.records}
        claimed = {key: record for key, record in claimed.items() if key in self.cells}
        location = f"source/{bundle.manifest.source}"
        catalogue, stopped = Catalogue(), None
        measured: dict[CellKey, Record] = {}
        try:
            with working_for(bundle, self._device, limits.allowance(len(claimed))) as host:
                name = enter(host, catalogue, location).name
                plan = plan_draw(catalogue, self._rules.suite, (name,))
                settings, store = Settings(torch.device(self._device)), self._workspace / "method"
                for result in measure(plan, self._drawn, settings, store):
                    key = (result.names.cohort, result.names.model, result.names.protocol)
                    measured[key] = result
                stopped = host.fault and _stopped(host.fault, location)
        except FaultError as error:
            stopped = error.fault
        except WorkerError as error:
            stopped = _stopped(error, location)
        fresh: dict[CellKey, PublishedRecord | Fault] = {}
        for key, record in claimed.items():
            try:
                fresh[key] = stopped or self._check(measured.get(key), record)
            except FaultError as error:
                fresh[key] = error.fault
        return fresh

    def _check(self, measured: Record | None, claimed: PublishedRecord) -> PublishedRecord:
        """Return the sealed record of new subjects, which must be of the cell that is claimed."""
        location = f"records/{claimed.path}"
        if measured is None or measured.identity != self.identity_of(claimed):
            raise FaultError("identity-differs", location, "another cell was measured")
        if measured.state == FAILED:
            reason = plain(measured.reason or "it gave no reason")
            raise FaultError("rerun-failed", location, f"on new subjects: {reason[:300]}")
        return self._seal(measured, claimed)

    def _references(self) -> Sequence[Known]:
        """Return the references' scores, published and fresh, of cells where both are known."""
        names = {name for name, _ in self._known}
        if not names:
            return ()
        plan = plan_draw(Catalogue(), self._rules.suite, sorted(names))
        settings = Settings(torch.device(self._device))
        known: dict[str, dict[CellKey, tuple[PublishedRecord, PublishedRecord]]] = {}
        for record in measure(plan, self._drawn, settings, self._workspace / "references"):
            key = (record.names.cohort, record.names.model, record.names.protocol)
            published = self._known.get((record.names.explainer, key))
            if published is not None and record.state == SCORED:
                pair = published, self._seal(record, published)
                known.setdefault(record.names.explainer, {})[key] = pair
        return tuple(known.values())

    def _seal(self, measured: Record, published: PublishedRecord) -> PublishedRecord:
        """Return a fresh record under pseudonyms, as the published one is."""
        scale = scale_of(self._plan.protocols[measured.names.protocol].plugin)
        by = self._rules.pseudonyms, published.submitter
        try:
            return publish(measured, published.method, scale, *by, joins=published.joins)[0]
        except ValidationError as error:
            raise schema_fault(error, f"records/{published.path}") from error


def _stopped(error: WorkerError, location: str) -> Fault:
    """Return the fault of a worker that did what was asked before, and not on new subjects."""
    return Fault(error.name, location, f"on new subjects: {error.detail}")
