"""What a report shows of a model, brought back for the very settings that made it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runs import CPU, build_plan, build_record, build_suite
from trials import build_trial, cohort_of

from baselines.explainers.controls import Oracle, Random
from benchmark.records.store import Store
from benchmark.results.explained_model import explained_model
from benchmark.running.engine import Settings, run


def exhibited_power(store: Store, power: float, seed: int = 0) -> float:
    """Run in a store, and return the power that a figure of this run would be drawn from."""
    suite = build_suite(["Exhibiting"], settings={"exhibiting": {"power": power}}, seed=seed)
    finished = run(build_plan(["Bright"], suite), store, Settings(CPU))
    (model,), (record,) = finished.explained, finished.records
    return float(model.exhibits[record.identity_sha256]["power"])


def test_a_run_shows_what_its_own_settings_made(tmp_path: Path) -> None:
    """If it fails, a second run with other settings draws the picture of the first."""
    store = Store(tmp_path / "store")
    assert exhibited_power(store, 1.0) == 1.0
    assert exhibited_power(store, 2.0) == 2.0
    assert exhibited_power(store, 1.0) == 1.0, "taken from the store, beside what came after"
    assert exhibited_power(store, 3.0, seed=1) == 3.0


def test_a_cohort_without_regions_shows_every_map_that_there_is() -> None:
    """If it fails, the report of a cohort of one's own ends in a traceback.

    There the oracle has been scored on planted signals, and has no map of the cohort itself.
    """
    cohort = cohort_of()
    anatomy = replace(cohort.anatomy, rois={}, control_rois={}, truth=())
    cohort = replace(cohort, anatomy=anatomy)
    trial, explainers = build_trial(Random(), cohort), {"oracle": Oracle(), "random": Random()}
    model = explained_model(trial, explainers, [build_record(name) for name in explainers])
    assert model is not None
    assert {name: maps.shape for name, maps in model.attributions.items()} == {
        "random": trial.test.images.shape
    }
    assert explained_model(trial, {"oracle": Oracle()}, [build_record("oracle")]) is None
