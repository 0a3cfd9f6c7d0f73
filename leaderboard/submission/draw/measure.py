"""Measures methods on drawn cohorts, with the networks and protocols of a suite.

Scores are drawn again that are a mean over subjects, enter a board's total, and cost maps alone.
Others are left to the re-run: what `delta_t` and `agreement` alter in images costs more than all
the rest, and a share of `randomization` hangs on the copies that are drawn, not on the subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.cohort import Cohort
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.running import engine
from benchmark.running.plan import Plan, make_plan
from benchmark.running.suite import Selection, Suite
from leaderboard.published.fields import Scale
from leaderboard.submission.draw.cohorts import keep_relatives, on_drawn
from leaderboard.submission.from_plugins import scale_of

_MEANS = ("mean", "balanced_mean", "studentised")
_COSTLY = ("delta_t", "agreement")


def is_drawn(protocol: str, scale: Scale) -> bool:
    """Return whether a protocol's score can be drawn again, and at what a map costs."""
    return protocol not in _COSTLY and scale.averaged and scale.aggregate in _MEANS


def plan_draw(catalogue: Catalogue, suite: Suite, explainers: Sequence[str]) -> Plan:
    """Return the plan of a suite's cells that are drawn again, still on its published cohorts."""
    alone = suite.model_copy(update={"health": ()})
    models = () if suite.board is None else suite.board.models
    plan = make_plan(catalogue, alone, Selection(tuple(explainers), models=models)).with_maps()
    cells = [
        cell
        for cell in plan.cells
        if is_drawn(cell.protocol, scale_of(plan.protocols[cell.protocol].plugin))
    ]
    return replace(plan, cells=tuple(cells), for_health=frozenset())


def measure(
    plan: Plan, drawn: dict[str, Cohort], settings: engine.Settings, store: Path
) -> tuple[Record, ...]:
    """Return the records of a plan's cells on drawn cohorts, which are kept in a store.

    Args:
        plan: Plan on the published cohorts; its explainers may be of any origin.
        drawn: Drawn cohorts by their names in the plan.
        settings: Device, batch size and other settings of the computation.
        store: Folder, made if it does not exist.
    """
    on_fresh = on_drawn(plan, drawn)
    if not on_fresh.cells:
        return ()
    own = Store(store)
    own.prepare()
    keep_relatives(plan, on_fresh, settings, own.arrays)
    return engine.run(on_fresh, own, settings).records
