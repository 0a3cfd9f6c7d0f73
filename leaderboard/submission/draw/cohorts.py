"""A suite's cohorts with new test subjects, asked of the very networks that the suite asks.

A network beside the one on trial, such as its twin, is named by the whole cohort, and would be
trained anew for another. Its weights depend on the training split alone, which a draw leaves as it
is; so what is committed for the published cohort is put where a run on the drawn one looks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from benchmark.cohort import Cohort
from benchmark.errors import InputError
from benchmark.running.engine import Settings
from benchmark.running.plan import Plan
from benchmark.running.progress import Silence
from benchmark.running.workers.loading import load_runners
from benchmark.training.relatives import load_committed, relation, to_arrays
from benchmark.trial import ArrayArchive


def draw_cohorts(plan: Plan, seed: int) -> dict[str, Cohort]:
    """Return the cohorts of a plan that can be drawn again, with new test subjects.

    Raises:
        InputError: If the seed is that of published subjects, or a drawn cohort kept any of them.
    """
    drawn: dict[str, Cohort] = {}
    for name, entry in plan.cohorts.items():
        with entry.loading():
            source = entry.create()
            cohort = source.draw(seed)
            if cohort is None:
                continue
            published = source.load()
        if set(cohort.select("test").keys) & set(published.select("test").keys):
            raise InputError(f"The draw of cohort {name!r} kept some of its published subjects.")
        drawn[name] = cohort
    return drawn


def on_drawn(plan: Plan, drawn: Mapping[str, Cohort]) -> Plan:
    """Return the plan on drawn cohorts, without the cells of others and published records."""
    cells = tuple(cell for cell in plan.cells if cell.cohort in drawn)
    return replace(plan, cells=cells, loaded=drawn, for_health=frozenset())


def keep_relatives(plan: Plan, drawn: Plan, settings: Settings, archive: ArrayArchive) -> None:
    """Put the committed networks of a plan's cohorts where a run on the drawn ones looks for them.

    Those of which none is committed are trained by the run.
    """
    known = {cell.cohort for cell in drawn.cells}
    plan = replace(plan, cells=tuple(cell for cell in plan.cells if cell.cohort in known))
    for own, other in zip(
        load_runners(plan, settings, None, Silence()),
        load_runners(drawn, settings, archive, Silence()),
        strict=True,
    ):
        trial = own.trial
        for name in own.protocols:
            protocol = plan.protocol(name)
            pairs = zip(protocol.relatives(trial), protocol.relatives(other.trial), strict=True)
            for relative, needed in pairs:
                related = relation(relative, trial.cohort, trial.model_identity)
                model = load_committed(
                    trial.classifier, trial.peers.weights, relative.name, related
                )
                if model is not None:
                    sought = relation(needed, other.trial.cohort, other.trial.model_identity)
                    archive.save(f"relative {sought}", to_arrays(model))
