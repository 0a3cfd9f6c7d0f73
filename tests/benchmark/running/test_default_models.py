"""Which models a cohort is scored with where none is named."""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest
from runs import CPU, build_suite

from benchmark.plugins.catalogue import Catalogue
from benchmark.records.store import Store
from benchmark.running.default_models import default_cohort
from benchmark.running.engine import Settings, run
from benchmark.running.plan import Plan, make_plan
from benchmark.running.suite import Selection, Suite

FLAT = build_suite().model_copy(update={"models": ("smallresnet", "smallvit")})


def plan_of(*cohorts: str, suite: Suite = FLAT, models: tuple[str, ...] = ()) -> Plan:
    specs = tuple(fakes.spec(name) for name in cohorts)
    return make_plan(Catalogue(), suite, Selection((fakes.spec("Bright"),), specs, models))


def pairs(plan: Plan) -> list[tuple[str, str]]:
    return list(dict.fromkeys((cell.cohort, cell.model) for cell in plan.cells))


def test_each_cohort_is_scored_with_its_own_network() -> None:
    """If it fails, a cohort is scored with networks that never saw such images."""
    plan = plan_of("TinyCohort", "OwnModelCohort", "OtherCohort")
    assert pairs(plan) == [
        ("tiny", "smallresnet"),
        ("tiny", "smallvit"),
        ("own_model", "smallvgg"),
        ("other", "smallresnet"),
        ("other", "smallvit"),
    ]
    assert set(plan.models) == {"smallresnet", "smallvit", "smallvgg"}


def test_named_models_and_those_of_the_suite_come_first() -> None:
    """If it fails, `--model` or a frozen suite is passed over."""
    plan = plan_of("OwnModelCohort", "Volumes", models=("smallvit",))
    assert pairs(plan) == [("own_model", "smallvit"), ("volumes", "smallvit")]
    suite = FLAT.model_copy(update={"cohorts": (fakes.spec("OwnModelCohort"),)})
    assert {cell.model for cell in plan_of(suite=suite).cells} == {"smallresnet", "smallvit"}


def test_volumes_keep_a_model_of_the_suite_that_may_take_them() -> None:
    """If it fails, a suite of one's own is scored with a network that it does not name."""
    plan = plan_of("Volumes", suite=build_suite())
    assert pairs(plan) == [("volumes", "tiny_model")]
    (notice,) = plan.notices
    assert "'volumes' names no network of its own and is scored with" in notice


def test_a_cohort_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, every run of a large folder reads all of its files twice."""
    source = Catalogue().cohorts.find(fakes.spec("Volumes")).plugin
    monkeypatch.setattr(source, "loads", 0)
    plan = plan_of("Volumes", suite=build_suite())
    finished = run(plan, Store(tmp_path), Settings(CPU))
    assert [record.names.cohort for record in finished.records] == ["volumes"]
    assert getattr(source, "loads", 0) == 1


def test_a_model_is_trained_on_the_cohort_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, `train --model` of a built-in network asks for slices where it takes volumes."""
    catalogue = Catalogue()
    entry = catalogue.cohorts.find("phantom3d")
    monkeypatch.setattr(entry.plugin, "model", "smallvgg")
    assert default_cohort(catalogue, "smallvgg") == "phantom3d"
    assert default_cohort(catalogue, "smallvit") == default_cohort(catalogue, None) == "phantom"
