"""What a report shows of a model, brought back for the very settings that made it."""

from __future__ import annotations

from pathlib import Path

from runs import CPU, build_plan, build_suite

from benchmark.records.store import Store
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
