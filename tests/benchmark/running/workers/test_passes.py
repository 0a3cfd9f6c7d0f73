"""What a run computes is the same however many processes share it."""

from __future__ import annotations

from pathlib import Path

import fakes
from runs import CPU

from benchmark.plugins.catalogue import Catalogue
from benchmark.records.store import Store
from benchmark.running.engine import Finished, Settings, run
from benchmark.running.plan import make_plan
from benchmark.running.suite import Selection, Suite
from benchmark.running.workers.processes import WorkerProcesses

SUITE = Suite.model_validate(
    {
        "version": "test",
        "cohorts": [fakes.spec("TinyCohort")],
        "models": [fakes.spec("QuickModel")],
        "protocols": ["randomization", "agreement"],
        "protocol": {
            "randomization": {
                "subjects": 8,
                "walk_subjects": 2,
                "seeds": 2,
                "smooth_subjects": 2,
                "smooth_noises": 2,
            },
            "agreement": {"panel": ["saliency", "cam"], "subjects": 8, "regions": 6, "partners": 1},
        },
        "health": [],
        "seed": 0,
    }
)


def passes(*runs: Finished) -> tuple[int, int]:
    """Return forward and backward passes of some runs together."""
    return sum(each.passes.forward for each in runs), sum(each.passes.backward for each in runs)


def test_processes_and_shards_of_one_store_pass_as_often_as_one(tmp_path: Path) -> None:
    """If it fails, each further process makes again what belongs to suite, cohort and model.

    ``saliency`` is also of the panel, of which ``gradcam`` needs the maps too.
    """
    settings, selection = Settings(CPU), Selection(("saliency", "gradcam"))
    plan = make_plan(Catalogue(), SUITE, selection)
    alone = run(plan, Store(tmp_path / "one"), settings)
    side_by_side = run(plan, Store(tmp_path / "two"), settings, None, WorkerProcesses(2))
    shards = [run(plan.shard(i, 2), Store(tmp_path / "shards"), settings) for i in range(2)]
    assert {record.state for record in alone.records} == {"scored"}
    expected = passes(alone)
    assert passes(side_by_side) == expected
    assert passes(*shards) == expected
    second = shards[1].passes.forward
    assert second < expected[0] / 2, "the second shard pays for its own method alone"
    scores = {record.identity_sha256: record.readings for record in alone.records}
    for finished in (side_by_side, *shards):
        for record in finished.records:
            assert record.readings == scores[record.identity_sha256]
