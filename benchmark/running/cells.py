"""Measures the cells of one model on one cohort, and commits each before the next."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError

from benchmark import errors
from benchmark.arrays import Arrays
from benchmark.classifier import Classifier, PassCounter
from benchmark.classifier.side_effects import watch
from benchmark.cohort import Cohort
from benchmark.explainer import NO_EXPLAINER, Control, Explainer, NoExplainer
from benchmark.model_source import load_fitted
from benchmark.plain_text import printable
from benchmark.plugins.blame import file_of, short_author_line
from benchmark.plugins.catalogue import BUILT_IN
from benchmark.plugins.foreign.asking import ask
from benchmark.plugins.kinds import AnyProtocol
from benchmark.reading import FAILED, SCORED, Reading, find
from benchmark.records.identity import Identity, Names, PluginIdentity, canonical_json, first_fault
from benchmark.records.provenance import collect_provenance, peak_memory
from benchmark.records.record import Outcome, Record, Resources, VerdictWord, largest_difference
from benchmark.records.store import Store, contradiction
from benchmark.results.explained_model import ExplainedModel, explained_model
from benchmark.running.plan import Plan
from benchmark.running.progress import Progress
from benchmark.running.suite import Cell
from benchmark.stopping import is_stop
from benchmark.trial import ArrayArchive, Peers, Runtime, Trial
from benchmark.trial.memory import Memory, return_memory

_LONGEST_IDENTITY = 200_000  # bytes of a cell's settings, which every record of it holds
_LONGEST_LOG = 100_000  # characters of a traceback, whose end says most


class CellRunner:
    """Measures the cells of one model on one cohort, and holds what they share.

    Attributes:
        trial: Trial of one of the explainers; all cells share its memory.
    """

    def __init__(
        self,
        plan: Plan,
        cells: Sequence[Cell],
        cohort: Cohort,
        classifier: Classifier,
        runtime: Runtime,
        peers: Peers,
    ) -> None:
        self._plan, self._cells, self._runtime = plan, cells, runtime
        self._explainers: dict[str, Explainer] = {
            name: NoExplainer() if name == NO_EXPLAINER else plan.explainers[name].create()
            for name in dict.fromkeys(cell.explainer for cell in cells)
        }
        explainer = self._explainers[cells[0].explainer]
        self.trial = Trial(explainer, classifier, cohort, runtime, peers=peers)
        # Passes of finished cells: by protocol, whether of a control, and a map's declared cost.
        self._finished_passes: dict[tuple[str, bool], dict[int, int]] = {}
        self._map_costs: dict[str, int] = {}
        self._announce: Callable[[str], None] | None = None
        self._store_faults: list[errors.StoreError] = []
        self._weights_sha256 = classifier.weights_sha256
        self._architecture_sha256 = classifier.architecture_sha256
        self._start = classifier.passes.snapshot()

    @property
    def protocols(self) -> tuple[str, ...]:
        """Names of the protocols that the cells ask, each once."""
        return tuple(dict.fromkeys(cell.protocol for cell in self._cells))

    @property
    def spent(self) -> PassCounter:
        """Passes that all cells have taken so far."""
        return self.trial.passes.since(self._start)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Cells in the order of the plan."""
        return tuple(self._cells)

    def recall(self, cell: Cell, store: Store) -> Record | None:
        """Return the record of a cell that a store or the suite's published ones hold, or None."""
        identity = self._identity(cell).sha256
        kept = store.get(identity) or self._plan.published(cell, identity)
        if kept is None:
            return None
        self.note_passes(cell, kept)
        return kept.renamed(self._names(cell))

    def measure(
        self, cells: Sequence[Cell], store: Store, progress: Progress, fresh: bool
    ) -> Iterator[tuple[Cell, Record, bool]]:
        """Yield each of some cells, its committed record, and whether it had to be measured."""
        passes = self.trial.passes
        try:
            for cell in cells:
                record = None if fresh else self.recall(cell, store)
                is_measured = record is None
                if record is None:
                    progress.cell_started(cell, self.expected_passes(cell))
                    passes.listener = partial(progress.advanced, cell)
                    self._announce = partial(progress.preparing, cell)
                    record = self._commit(cell, store)
                    self.note_passes(cell, record)
                yield cell, record.renamed(self._names(cell)), is_measured
                self._trial_of(cell.explainer).forget_altered_maps()
                if is_measured:
                    return_memory()
        finally:
            passes.listener = self._announce = None

    def forget_maps(self, explainer: str) -> None:
        """Drop an explainer's maps from memory, once its last protocol is done."""
        self._trial_of(explainer).forget_maps()

    def fail(self, cell: Cell, reason: str, seconds: float, store: Store) -> Record:
        """Keep and return the record of a cell whose process ended before the cell was done."""
        resources = Resources(
            seconds=round(seconds, 3), forward=0, backward=0, peak_memory_bytes=None
        )
        provenance = collect_provenance(self._runtime.device, self._runtime.batch_size)
        names, outcome = self._names(cell), Outcome("failed", reason)
        record = Record.seal(self._identity(cell), names, outcome, provenance, resources)
        store.put(record, reason)
        return record

    def explained_model(self, records: Sequence[Record]) -> ExplainedModel | None:
        """Return the maps to show, which come from the archive without a pass."""
        return explained_model(self.trial, self._explainers, records)

    def _commit(self, cell: Cell, store: Store) -> Record:
        kept = store.get(self._identity(cell).sha256)  # to be measured again, as by ``--fresh``
        record, log = self._measure(cell)
        if kept is not None and record.state != FAILED:
            tolerance = self._plan.protocol(cell.protocol).tolerance
            if largest_difference(kept, record) <= tolerance:
                return kept
            outcome = Outcome("failed", contradiction(kept, record))
            record = Record.seal(
                record.identity, record.names, outcome, record.provenance, record.resources
            )
        store.put(record, log)
        return record

    def _measure(self, cell: Cell) -> tuple[Record, str]:
        before, start = self.trial.passes.snapshot(), time.perf_counter()
        with watch(self.trial.classifier) as effects:
            outcome, log = self._attempt(cell)
        is_changed = self.trial.classifier.weights_sha256 != self._weights_sha256
        if is_changed and outcome.state != FAILED:
            outcome = Outcome("failed", _changed_weights(cell.explainer))
        if is_changed or (outcome.state == FAILED and effects.changes):
            self._reload(cell)
        spent = self.trial.passes.since(before)
        resources = Resources(
            seconds=round(time.perf_counter() - start, 3),
            forward=spent.forward,
            backward=spent.backward,
            peak_memory_bytes=peak_memory(),
        )
        identity, names = self._identity(cell), self._names(cell)
        provenance = collect_provenance(self._runtime.device, self._runtime.batch_size)
        try:
            return Record.seal(identity, names, outcome, provenance, resources), log
        except ValidationError as error:
            key, message = first_fault(error)
            reason = f"The protocol's readings cannot be recorded, at {key}: {message}."
        except (ValueError, TypeError) as error:  # text that no file can hold, or no text
            reason = f"The protocol's readings cannot be recorded: {errors.short_message(error)}."
        return Record.seal(
            identity, names, Outcome("failed", reason), provenance, resources
        ), reason

    def _reload(self, cell: Cell) -> None:
        """Take a network that was changed from its source again, and forget what was made of it."""
        source, passes = self._plan.models[cell.model].create(), self.trial.passes
        classifier = load_fitted(source, self.trial.cohort, self._runtime.device)
        classifier.passes = passes
        self.trial = replace(self.trial, classifier=classifier, memory=Memory())

    def _attempt(self, cell: Cell) -> tuple[Outcome, str]:
        """Measure a cell, with smaller batches as long as the device's memory is too small."""
        while True:
            try:
                protocol = self._plan.protocol(cell.protocol)
                return conclude(protocol, protocol.readings(self._trial_of(cell.explainer))), ""
            except errors.UnsupportedError as error:
                return Outcome("unsupported", errors.message_of(error)), ""
            except errors.NotAssessableError as error:
                return Outcome("not assessable", errors.message_of(error)), ""
            except BaseException as error:
                # A store that cannot be written ends the run; a plugin that says so does not.
                if is_stop(error) or any(error is fault for fault in self._store_faults):
                    raise
                out_of_memory = isinstance(error, torch.OutOfMemoryError)
                if not out_of_memory or self._runtime.batch_size == 1:
                    log = printable(traceback.format_exc()[-_LONGEST_LOG:])
                    return Outcome("failed", self._reason(cell, error)), log
            # Not inside the handler, where the traceback would keep the tensors alive.
            self._runtime = replace(self._runtime, batch_size=self._runtime.batch_size // 2)
            torch.cuda.empty_cache()

    def _trial_of(self, explainer: str) -> Trial:
        archive = self._runtime.archive
        if archive is not None:
            archive = _WatchedArchive(
                archive, self.trial.classifier, explainer, self._store_faults, self._announce
            )
        runtime = replace(self._runtime, announce=self._announce, archive=archive)
        return replace(self.trial, explainer=self._explainers[explainer], runtime=runtime)

    def _reason(self, cell: Cell, error: BaseException) -> str:
        """Return what a cell failed by, and the line of a third party's file that it comes from."""
        entries = self._plan.explainers.get(cell.explainer), self._plan.protocols[cell.protocol]
        foreign = [entry for entry in entries if entry is not None and entry.origin != BUILT_IN]
        files = [file_of(entry.plugin) for entry in foreign]
        if isinstance(error, errors.SanityError):  # a sentence that names its culprit
            files = []
        line = next(filter(None, (short_author_line(error, file) for file in files)), "")
        return errors.short_message(error) + (f", at {line}" if line else "")

    def expected_passes(self, cell: Cell) -> int:
        """Return how many passes a cell may take, or 0 where none like it is finished.

        It is foretold from the cell whose explainer declares the most similar cost of a map.
        Protocols ask less of controls, from which controls alone are foretold.
        """
        finished = self._finished_passes.get(self._kind_of(cell))
        if not finished:
            return 0
        cost = self.map_cost(cell)
        nearest = min(finished, key=lambda other: abs(other - cost))
        return round(finished[nearest] * cost / nearest)

    def note_passes(self, cell: Cell, record: Record) -> None:
        """Note what a cell took, from which others are foretold."""
        if record.state == SCORED:
            passes = record.resources.forward + record.resources.backward
            self._finished_passes.setdefault(self._kind_of(cell), {})[self.map_cost(cell)] = passes

    def map_cost(self, cell: Cell) -> int:
        """Return the passes of one map as its explainer declares them, at least one."""
        if cell.explainer not in self._map_costs:
            explainer = self._explainers[cell.explainer]
            # ``check`` says so where the declaration is wrong, which stops no run.
            self._map_costs[cell.explainer] = ask(
                explainer,
                lambda: max(1, sum(explainer.passes_on(self.trial.classifier))),
                otherwise=1,
            )
        return self._map_costs[cell.explainer]

    def _kind_of(self, cell: Cell) -> tuple[str, bool]:
        return cell.protocol, isinstance(self._explainers[cell.explainer], Control)

    def _identity(self, cell: Cell) -> Identity:
        plan, explainer = self._plan, self._explainers[cell.explainer]
        entry = plan.explainers.get(cell.explainer)
        try:
            identity = Identity(
                suite=plan.suite.version,
                cohort_fingerprint=self.trial.cohort.fingerprint,
                weights_sha256=self._weights_sha256,
                architecture_sha256=self._architecture_sha256,
                explainer=PluginIdentity(
                    name=cell.explainer,
                    version=explainer.version,
                    config=dict(explainer.config),
                    source_sha256=None if entry is None else entry.source_sha256,
                ),
                protocol=plan.protocol_identity(cell.protocol, self.trial.cohort),
                seed=cell.seed,
            )
            size = len(canonical_json(identity.model_dump(mode="json")).encode())
        except ValidationError as error:
            key, message = first_fault(error)
            raise errors.PluginError(
                f"Version and config of {cell.explainer!r} and {cell.protocol!r} must be plain "
                f"text and JSON, but {key}: {message}."
            ) from error
        except errors.InputError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            raise errors.PluginError(
                f"Version and config of {cell.explainer!r} and {cell.protocol!r} cannot be read: "
                f"{errors.short_message(error)}."
            ) from error
        if size > _LONGEST_IDENTITY:
            raise errors.PluginError(
                f"Version and config of {cell.explainer!r} and {cell.protocol!r} have {size} "
                f"characters, and may have {_LONGEST_IDENTITY}."
            )
        return identity

    def _names(self, cell: Cell) -> Names:
        cohort, protocol = self.trial.cohort.name, cell.protocol
        return Names(cohort=cohort, model=cell.model, explainer=cell.explainer, protocol=protocol)


class _WatchedArchive:
    """An archive that keeps nothing which was made of a network after an explainer changed it.

    What other explainers find there would otherwise be of another network than its name says.

    Args:
        archive: Archive.
        classifier: Network on trial.
        explainer: Name of the explainer on trial, which is blamed.
        faults: List that is extended by what the archive itself raises.
        announce: Function that is told where another process is waited for.
    """

    def __init__(
        self,
        archive: ArrayArchive,
        classifier: Classifier,
        explainer: str,
        faults: list[errors.StoreError],
        announce: Callable[[str], None] | None,
    ) -> None:
        self._archive, self._classifier, self._explainer = archive, classifier, explainer
        self._faults, self._announce = faults, announce
        self._weights_sha256 = classifier.weights_sha256

    def load(self, identity: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the arrays that are kept, or None."""
        with self._noting_faults():
            return self._archive.load(identity)

    def save(self, identity: str, arrays: Arrays) -> None:
        """Keep the arrays.

        Raises:
            AttributionError: If the weights are no longer those that the trial began with.
        """
        if self._classifier.weights_sha256 != self._weights_sha256:
            raise errors.AttributionError(_changed_weights(self._explainer))
        with self._noting_faults():
            self._archive.save(identity, arrays)

    def turn(
        self, identity: str, announce: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Return a context in which no other process makes these arrays."""
        return self._archive.turn(identity, announce or self._announce)

    @contextmanager
    def _noting_faults(self) -> Iterator[None]:
        try:
            yield
        except errors.StoreError as error:
            self._faults.append(error)
            raise


def _changed_weights(explainer: str) -> str:
    return f"Explainer {explainer!r} changed the network's weights."


def conclude(protocol: AnyProtocol, readings: Sequence[Reading]) -> Outcome:
    """Return how a cell ends that has these readings: failed, scored or not assessable."""
    score = find(readings, protocol.primary)
    if score is None:
        reason = f"Protocol {protocol.name!r} gave no reading of its score {protocol.primary!r}."
        return Outcome("failed", reason, None, readings)
    verdict = protocol.verdict(readings)
    if verdict.state == "scored" and not np.isfinite(score.values).any():
        return Outcome("failed", _why_no_value(score), None, readings)
    word: VerdictWord | None = None
    if verdict.state == "scored" and verdict.passed is not None:
        word = "pass" if verdict.passed else "fail"
    return Outcome(verdict.state, verdict.reason, word, readings)


def _why_no_value(score: Reading) -> str:
    subjects = dict(zip(score.sample.keys, score.sample.subjects, strict=True))
    total = len(set(subjects.values()))
    if not total:
        return "no subject was measured"
    reasons = Counter(score.reasons[key] for key in subjects if key in score.reasons)
    if not reasons:
        return f"no value for any of {total} subjects"
    reason = reasons.most_common(1)[0][0]
    count = len({subjects[key] for key in subjects if score.reasons.get(key) == reason})
    return f"{reason} for " + (f"all {total} subjects" if count == total else f"{count} of {total}")
