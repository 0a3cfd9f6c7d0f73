"""Measures the cells of a gate, sets them beside their baseline, and writes baselines."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.commands.exits import DONE, FAILED, NOTHING_MEASURED
from benchmark.errors import InputError
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.identity import Names
from benchmark.records.store import Store
from benchmark.running import engine
from benchmark.running.plan import Plan, make_plan
from benchmark.running.progress import Progress
from benchmark.running.suite import Cell, Selection, Suite
from benchmark.running.workers import processes
from leaderboard.gate import baseline as baselines
from leaderboard.gate.baseline import cell_label
from leaderboard.gate.decision import (
    MARGIN,
    MOST_MARGIN,
    Pair,
    judge,
    why_incomparable,
    why_other_scale,
)
from leaderboard.gate.report import Report
from leaderboard.published.folder import write_records
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.record import PublishedRecord

# Times as many subjects halve the standard error, where the test split has as many.
RESERVE = 4


@dataclass(frozen=True)
class Request:
    """What is gated, and with which baseline.

    Attributes:
        baseline: Folder of published records, or a store, or a folder of a store's records.
        suite: Suite, whose controls are gated only where they are asked for.
        store: Store that finished cells are kept in and taken from; None measures everything anew.
        margin: Largest loss that is no regression, as a share of what a method had above noise.
        allow_missing: Whether cells without a baseline are left out; else they are an error.

    Raises:
        InputError: If the margin is not above 0 and below a third.
    """

    baseline: Path
    suite: Suite
    selection: Selection
    settings: engine.Settings
    store: Path | None
    margin: float = MARGIN
    allow_missing: bool = False

    def __post_init__(self) -> None:
        """Refuse a margin that is not above 0 and below a third."""
        if not 0 < self.margin < MOST_MARGIN:
            raise InputError(
                "Expected a margin above 0 and below 1/3, the share that a method may lose of what "
                f"it had above noise, but got {self.margin:g}."
            )

    @property
    def reserve(self) -> Path:
        """Folder beside the baseline with the same cells on more subjects."""
        whole = self.baseline.resolve()
        return whole.with_name(f"{whole.name}-reserve")


def compare(request: Request, progress: Progress | None = None) -> Report:
    """Measure the cells of the selection that have a baseline, and decide on each.

    Inconclusive cells are measured once more on the larger sample, where that has a baseline.

    Raises:
        NoBaselineError: If there is nothing to compare with.
        InputError: If a plugin is unknown, or a cell was measured on something else.
    """
    plan = make_plan_of(request)
    old = baselines.read_baseline(request.baseline, request.suite, plan)
    cells = _gated(plan, old, request)
    others = [cell for cell in plan.cells if cell not in cells]
    missing = [Names.model_validate(cell, from_attributes=True) for cell in others]
    _refuse_missing(missing, request)
    pairs, ungated = _pairs(_only(plan, cells), request, old, progress)
    if not pairs:
        raise baselines.NoBaselineError(f"The baseline {request.baseline} is of other cohorts.")
    _refuse_missing(ungated, request)  # the name of a cohort's file is known now
    ungated += missing
    decisions = judge(pairs, request.margin)
    still_open = {decision.names for decision in decisions if decision.outcome == "inconclusive"}
    second = _on_reserve(request, plan, still_open, progress) if still_open else {}
    if second:
        # All cells are one family again, with the larger sample for those that have one.
        combined = [second.get(pair.old.names, pair) for pair in pairs]
        decisions = judge(combined, request.margin)
    enlarged = tuple(pair.old.names for pair in second.values())
    return Report(request.suite.version, request.margin, tuple(decisions), tuple(ungated), enlarged)


def update(
    request: Request, reserve: bool = False, progress: Progress | None = None
) -> tuple[list[str], int]:
    """Measure the selection and write it as the baseline, once everything is measured.

    A cell that stayed as it was keeps its file, so that a change of the folder is a change of
    scores; where a cell failed, nothing is written. With ``reserve`` the larger sample is measured
    as well, where there is one. Lines of text and the exit code are returned.

    Raises:
        InputError: If a plugin is unknown, or the folder cannot be written.
    """
    plan = make_plan_of(request)
    kept = {request.baseline: baselines.read_own_baseline(request.baseline, request.suite, plan)}
    measured = {request.baseline: _measure(plan, request, progress)}
    if reserve:
        larger = _enlarged(request, plan)
        kept[request.reserve] = baselines.read_own_baseline(request.reserve, larger.suite, plan)
        of_reserve = _measure(_larger_cells(larger, plan), larger, progress)
        sizes = {record.names: len(record.scores) for record in measured[request.baseline].records}
        enlarged = [
            record
            for record in of_reserve.records
            if len(record.scores) > sizes.get(record.names, 0)
        ]
        measured[request.reserve] = replace(of_reserve, records=enlarged)
    failed = [failure for each in measured.values() for failure in each.failures.items()]
    if failed:
        lines = [f"{cell_label(names)} failed: {reason}" for names, reason in failed]
        return [*lines, "nothing was written"], FAILED
    lines = []
    for folder, each in measured.items():
        changes = [
            (record, _what_changed(kept[folder].get(record.names), record, each.chance))
            for record in each.records
        ]
        write_records(folder, [(record, None) for record, change in changes if change])
        changed = [(cell_label(record.names), change) for record, change in changes if change]
        lines += [f"{folder.name}: {label}: {change}" for label, change in changed]
    lines.append(f"baseline: {request.baseline}, {len(lines)} cells written")
    scored = any(record.state == "scored" for each in measured.values() for record in each.records)
    return lines, DONE if scored else NOTHING_MEASURED


def make_plan_of(request: Request) -> Plan:
    """Return the plan of a selection without the suite's controls.

    Raises:
        InputError: If a name is unknown or a plugin cannot be used.
    """
    alone = request.suite.model_copy(update={"health": ()})
    return make_plan(Catalogue(), alone, request.selection).with_maps()


def _gated(plan: Plan, old: Mapping[Names, PublishedRecord], request: Request) -> list[Cell]:
    """Return the cells with a baseline, and refuse a named plugin that has none."""
    cells = [cell for cell in plan.cells if _is_in(cell, old)]
    named = [("explainer", name) for name in plan.explainers]
    named += [("model", name) for name in plan.models if request.selection.models]
    named += [("protocol", name) for name in plan.protocols if request.selection.protocols]
    for kind, name in named:
        if not any(getattr(cell, kind) == name for cell in cells):
            raise baselines.NoBaselineError(
                f"The baseline {request.baseline} holds no cell of the {kind} {name!r}; "
                "--update-baseline adds what it measures."
            )
    return cells


def _refuse_missing(missing: Sequence[Names], request: Request) -> None:
    """Refuse cells without a baseline, which anybody could make by deleting a file of it."""
    if missing and not request.allow_missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise baselines.NoBaselineError(
            f"The baseline {request.baseline} lacks {cell_label(missing[0])}{more}; "
            "--update-baseline adds what it measures, and --allow-missing gates the others."
        )


def _pairs(
    plan: Plan, request: Request, old: Mapping[Names, PublishedRecord], progress: Progress | None
) -> tuple[list[Pair], list[Names]]:
    """Measure a plan, and return its cells with their baselines, and those without one."""
    measured = _measure(plan, request, progress)
    pairs = []
    for record in measured.records:
        if (before := old.get(record.names)) is None:
            continue
        why = why_incomparable(before.identity, record.identity)
        if (why := why or why_other_scale(before.scale, record.scale)) is not None:
            raise InputError(
                f"{cell_label(record.names)} cannot be compared with its baseline: {why}; if that "
                "is meant, write a new one with --update-baseline."
            )
        pairs.append(Pair(before, record, chance=measured.chance[record.names]))
    for names, reason in measured.failures.items():
        if (before := old.get(names)) is not None:
            pairs.append(Pair(before, None, reason))
    all_names = [*(record.names for record in measured.records), *measured.failures]
    return pairs, [names for names in all_names if names not in old]


@dataclass(frozen=True)
class _Measured:
    """What came of a plan's cells.

    Attributes:
        records: Published records of the cells that did not fail.
        failures: Reason for which each other cell failed.
        chance: Score that a map of noise has, for each cell that did not fail.
    """

    records: list[PublishedRecord]
    failures: dict[Names, str]
    chance: dict[Names, float]


def _measure(plan: Plan, request: Request, progress: Progress | None) -> _Measured:
    """Measure a plan's cells."""
    # Without a store of the user nothing is reused, since the code may have changed.
    store_folder = nullcontext(request.store) if request.store else tempfile.TemporaryDirectory()
    with store_folder as folder:
        executor = processes.executor_for(plan, 1, request.settings)
        finished = engine.run(plan, Store(Path(folder)), request.settings, progress, executor)
    pseudonyms = Pseudonyms(baselines.salt_of(request.suite))
    failed = [record for record in finished.records if record.state == "failed"]
    kept = [record for record in finished.records if record.state != "failed"]
    return _Measured(
        records=[baselines.publish_bare(record, plan, pseudonyms) for record in kept],
        failures={record.names: record.reason or "it failed" for record in failed},
        chance={
            record.names: plan.protocols[record.names.protocol].plugin.score_of_noise(
                record.to_readings()
            )
            for record in kept
        },
    )


def _on_reserve(
    request: Request, plan: Plan, still_open: set[Names], progress: Progress | None
) -> dict[Names, Pair]:
    """Return inconclusive cells on the larger sample, where they have a baseline of it."""
    if not request.reserve.is_dir():
        return {}
    larger = _enlarged(request, plan)
    old = baselines.read_baseline(request.reserve, larger.suite, plan)
    old = {key: record for key, record in old.items() if key in still_open}
    larger_plan = make_plan_of(larger)
    cells = [cell for cell in larger_plan.cells if _is_in(cell, old)]
    if not cells:
        return {}
    pairs, _ = _pairs(_only(larger_plan, cells), larger, old, progress)
    return {pair.old.names: pair for pair in pairs}


def _enlarged(request: Request, plan: Plan) -> Request:
    """Return the request in which protocols that take some subjects take four times as many."""
    suite = request.suite
    tables = dict(suite.protocol)
    for name, entry in plan.protocols.items():
        subjects = getattr(suite.config(entry.plugin), "subjects", None)
        if isinstance(subjects, int):
            tables[name] = {**tables.get(name, {}), "subjects": RESERVE * subjects}
    return replace(request, suite=suite.model_copy(update={"protocol": tables}))


def _larger_cells(larger: Request, plan: Plan) -> Plan:
    larger_plan = make_plan_of(larger)
    changed = {
        name
        for name in plan.protocols
        if plan.protocol(name).config != larger_plan.protocol(name).config
    }
    return _only(larger_plan, [cell for cell in larger_plan.cells if cell.protocol in changed])


def _what_changed(
    old: PublishedRecord | None, new: PublishedRecord, chance: Mapping[Names, float]
) -> str | None:
    """Return a text about what a new record changes, or None where it changes nothing."""
    if old is None:
        return "new"
    why = why_incomparable(old.identity, new.identity) or why_other_scale(old.scale, new.scale)
    if why is not None:
        return why
    (decision,) = judge([Pair(old, new, chance=chance[new.names])])
    change, parts = decision.change, list(decision.notes)
    if decision.outcome != "unchanged":
        parts.insert(0, f"score {change.old:.4f} → {change.new:.4f}")
    if old.state != new.state:
        parts[0] = f"{old.state} → {new.state}"
    if not parts and old.identity != new.identity:
        parts.append("same scores, another source")
    return "; ".join(parts) or None


def _only(plan: Plan, cells: Sequence[Cell]) -> Plan:
    return replace(plan, cells=tuple(cells))


def _is_in(cell: Cell, keys: Mapping[Names, PublishedRecord]) -> bool:
    """Return whether a cell may be among these; the name of a cohort's file is not known yet."""
    parts = ["model", "explainer", "protocol"]
    if not cell.cohort.endswith(".toml"):
        parts.append("cohort")
    return any(all(getattr(cell, part) == getattr(key, part) for part in parts) for key in keys)
