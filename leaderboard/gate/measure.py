"""Measures the cells of a gate, sets them beside their baseline, and writes baselines."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.exits import DONE, FAILED, NOTHING_MEASURED
from benchmark.errors import InputError
from leaderboard.gate.baseline import (
    NoBaselineError,
    Place,
    place_of,
    publish_bare,
    read_baseline,
    read_own_baseline,
    salt_of,
    told,
)

if TYPE_CHECKING:
    from benchmark.records.identity import Names
    from benchmark.running.engine import Settings
    from benchmark.running.plan import Plan
    from benchmark.running.progress import Progress
    from benchmark.running.suite import Cell, Selection, Suite
    from leaderboard.gate.decision import Pair
    from leaderboard.gate.report import Report
    from leaderboard.published.record import PublishedRecord

# Times as many subjects halve the standard error, where the test split has as many.
RESERVE = 4


@dataclass(frozen=True)
class Request:
    """What to gate.

    Attributes:
        baseline: Folder of published records, or a store, or a folder of a store's records.
        suite: Its controls are gated only where they are asked for.
        selection: Which cells.
        settings: How to compute.
        store: Where finished cells are kept and taken from; None measures everything anew.
        margin: Largest drop that is no regression, above 0, in units of the score.

    Raises:
        InputError: If the margin is none.
    """

    baseline: Path
    suite: Suite
    selection: Selection
    settings: Settings
    store: Path | None
    margin: float

    def __post_init__(self) -> None:
        """Refuse a margin that is none."""
        if not 0 < self.margin < float("inf"):
            raise InputError(
                f"Expected a margin above 0, in units of the score, but got {self.margin:g}."
            )

    @property
    def reserve(self) -> Path:
        """Folder of the same cells on more subjects, beside the baseline."""
        whole = self.baseline.resolve()
        return whole.with_name(f"{whole.name}-reserve")


def compare(request: Request, progress: Progress | None = None) -> Report:
    """Measure what the baseline holds of the selection, and decide on every cell.

    Cells that stay open are measured once more on the larger sample, where that has a baseline.

    Args:
        request: What to gate.
        progress: Who is told how it gets on.

    Raises:
        NoBaselineError: If there is nothing to compare with.
        InputError: If a plugin is unknown, or a cell was measured on something else.
    """
    from leaderboard.gate.decision import judge
    from leaderboard.gate.report import Report

    plan = make_plan_of(request)
    old = read_baseline(request.baseline, request.suite, plan)
    wanted = _gated(plan, old, request)
    pairs, ungated = _pairs(_only(plan, wanted), request, old, progress)
    if not pairs:
        raise NoBaselineError(f"The baseline {request.baseline} is of other cohorts.")
    ungated += [_names_of(cell) for cell in plan.cells if cell not in wanted]
    decisions = judge(pairs, request.margin)
    still_open = {place_of(one.names) for one in decisions if one.outcome == "inconclusive"}
    second = _on_reserve(request, plan, still_open, progress) if still_open else {}
    if second:
        # One family again, in which the larger sample speaks for the cells that have one.
        both = [second.get(place_of(one.old.names), one) for one in pairs]
        decisions = judge(both, request.margin)
    enlarged = tuple(one.old.names for one in second.values())
    return Report(request.suite.version, request.margin, tuple(decisions), tuple(ungated), enlarged)


def update(
    request: Request, reserve: bool = False, progress: Progress | None = None
) -> tuple[list[str], int]:
    """Measure the selection and write it as the baseline, once everything is measured.

    A cell that stayed as it was keeps its file, so that a change of the folder is a change of
    scores.

    Args:
        request: What to measure.
        reserve: Whether to measure the larger sample as well, where there is one.
        progress: Who is told how it gets on.

    Returns:
        What to tell, and the exit code; where a cell failed, nothing is written.

    Raises:
        InputError: If a plugin is unknown, or the folder cannot be written.
    """
    from leaderboard.published.folder import write_records

    plan = make_plan_of(request)
    kept = {request.baseline: read_own_baseline(request.baseline, request.suite, plan)}
    measured = {request.baseline: _measure(plan, request, progress)}
    if reserve:
        larger = _enlarged(request, plan)
        kept[request.reserve] = read_own_baseline(request.reserve, larger.suite, plan)
        records, failures = _measure(_larger_cells(larger, plan), larger, progress)
        sizes = {place_of(one.names): len(one.scores) for one in measured[request.baseline][0]}
        more = [one for one in records if len(one.scores) > sizes.get(place_of(one.names), 0)]
        measured[request.reserve] = more, failures
    failed = [failure for _, failures in measured.values() for failure in failures.items()]
    if failed:
        lines = [f"{told(names)} failed: {reason}" for names, reason in failed]
        return [*lines, "nothing was written"], FAILED
    lines, total = [], 0
    for folder, (records, _) in measured.items():
        whats = [_what_changed(kept[folder].get(place_of(one.names)), one) for one in records]
        changed = [(one, what) for one, what in zip(records, whats, strict=True) if what]
        write_records(folder, [(one, None) for one, _ in changed])
        lines += [f"{folder.name}: {told(one.names)}: {what}" for one, what in changed]
        total += len(changed)
    lines.append(f"baseline: {request.baseline}, {total} cells written")
    scored = any(one.state == "scored" for records, _ in measured.values() for one in records)
    return lines, DONE if scored else NOTHING_MEASURED


def make_plan_of(request: Request) -> Plan:
    """Return the plan of a selection without the suite's controls.

    Raises:
        InputError: If a name is unknown or a plugin cannot be used.
    """
    from benchmark.plugins.catalogue import Catalogue
    from benchmark.running.plan import make_plan

    alone = request.suite.model_copy(update={"health": ()})
    return make_plan(Catalogue(), alone, request.selection)


def _gated(plan: Plan, old: Mapping[Place, PublishedRecord], request: Request) -> list[Cell]:
    """Return the cells with a baseline, after making sure that all that was named has some."""
    wanted = [cell for cell in plan.cells if _is_in(cell, old)]
    named: dict[str, Sequence[str]] = {"explainer": tuple(plan.explainers)}
    if request.selection.models:
        named["model"] = tuple(plan.models)
    if request.selection.protocols:
        named["protocol"] = tuple(plan.protocols)
    for kind, names in named.items():
        for name in names:
            if not any(getattr(cell, kind) == name for cell in wanted):
                raise NoBaselineError(
                    f"The baseline {request.baseline} holds no cell of the {kind} {name!r}; "
                    "--update-baseline adds what it measures."
                )
    return wanted


def _pairs(
    plan: Plan,
    request: Request,
    old: Mapping[Place, PublishedRecord],
    progress: Progress | None,
) -> tuple[list[Pair], list[Names]]:
    """Measure the plan, and set every cell beside its baseline; return what has none as well."""
    from leaderboard.gate.decision import Pair, why_incomparable

    records, failures = _measure(plan, request, progress)
    pairs, ungated = [], []
    for record in records:
        before = old.get(place_of(record.names))
        if before is None:
            ungated.append(record.names)
        elif (why := why_incomparable(before.identity, record.identity)) is not None:
            raise InputError(
                f"{told(record.names)} cannot be compared with its baseline: {why}; if that is "
                "meant, write a new one with --update-baseline."
            )
        else:
            pairs.append(Pair(before, record))
    for names, reason in failures.items():
        before = old.get(place_of(names))
        if before is None:
            ungated.append(names)
        else:
            pairs.append(Pair(before, None, reason))
    return pairs, ungated


def _measure(
    plan: Plan, request: Request, progress: Progress | None
) -> tuple[list[PublishedRecord], dict[Names, str]]:
    """Return a plan's cells as they are published, and why others failed."""
    from benchmark.records.store import Store
    from benchmark.running import engine
    from leaderboard.published.pseudonyms import Pseudonyms

    # What is in a store may have been measured by code that has changed since.
    place = nullcontext(request.store) if request.store else tempfile.TemporaryDirectory()
    with place as folder:
        finished = engine.run(plan, Store(Path(folder)), request.settings, progress)
    pseudonyms = Pseudonyms(salt_of(request.suite))
    records = [
        publish_bare(one, plan, pseudonyms) for one in finished.records if one.state != "failed"
    ]
    failures = {
        one.names: one.reason or "it failed" for one in finished.records if one.state == "failed"
    }
    return records, failures


def _on_reserve(
    request: Request, plan: Plan, still_open: set[Place], progress: Progress | None
) -> dict[Place, Pair]:
    """Return open cells on the larger sample, for those with a baseline of it."""
    if not request.reserve.is_dir():
        return {}
    larger = _enlarged(request, plan)
    old = read_baseline(request.reserve, larger.suite, plan)
    old = {place: one for place, one in old.items() if place in still_open}
    again = make_plan_of(larger)
    cells = [cell for cell in again.cells if _is_in(cell, old)]
    if not cells:
        return {}
    pairs, _ = _pairs(_only(again, cells), larger, old, progress)
    return {place_of(one.old.names): one for one in pairs}


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
    again = make_plan_of(larger)
    grown = {
        name for name in plan.protocols if plan.protocol(name).config != again.protocol(name).config
    }
    return _only(again, [cell for cell in again.cells if cell.protocol in grown])


def _what_changed(old: PublishedRecord | None, new: PublishedRecord) -> str | None:
    """Say what a new record changes; None where it changes nothing."""
    from leaderboard.gate.decision import Pair, judge, why_incomparable

    if old is None:
        return "new"
    if (why := why_incomparable(old.identity, new.identity)) is not None:
        return why
    (decision,) = judge([Pair(old, new)])
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


def _is_in(cell: Cell, places: Mapping[Place, PublishedRecord]) -> bool:
    """Return whether a cell may be among these; what a cohort's file is called it says later."""
    return any(
        place[1:] == (cell.model, cell.explainer, cell.protocol)
        and (cell.cohort.endswith(".toml") or place[0] == cell.cohort)
        for place in places
    )


def _names_of(cell: Cell) -> Names:
    from benchmark.records.identity import Names

    return Names(
        cohort=cell.cohort, model=cell.model, explainer=cell.explainer, protocol=cell.protocol
    )
