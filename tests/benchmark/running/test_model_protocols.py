"""Protocols that ask about a model alone: run once for each model, under no explainer."""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest
import torch
from runs import CPU, build_suite, write_suite
from typer.testing import CliRunner, Result

from benchmark.commands.app import app
from benchmark.errors import InputError, UnsupportedError
from benchmark.explainer import NO_EXPLAINER, NoExplainer
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_classifier, with_concepts
from benchmark.records.store import Store
from benchmark.running.engine import Settings, run
from benchmark.running.plan import make_plan
from benchmark.running.suite import Selection
from benchmark.target import own_margin

BOTH = build_suite(["OfModel", "Loading"])


def of(*explainers: str) -> Selection:
    return Selection(tuple(fakes.spec(one) for one in explainers))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_a_model_is_asked_once_whatever_explainers_are_scored() -> None:
    """If it fails, the same answer is measured, and shown, once for every explainer."""
    plan = make_plan(Catalogue(), BOTH, of("Bright", "Dark"))
    cells = [(cell.explainer, cell.protocol) for cell in plan.cells]
    assert cells == [("bright", "loading"), ("dark", "loading"), (NO_EXPLAINER, "of_model")]
    assert NO_EXPLAINER not in plan.explainers
    boarded = [cell.explainer for cell in plan.with_maps().cells]
    assert boarded == ["bright", "dark"], "a board meets explainers alone"


def test_only_protocols_of_models_go_without_an_explainer() -> None:
    """If it fails, a run without an explainer scores the controls, as if that had been asked."""
    alone = make_plan(Catalogue(), build_suite(["OfModel"], health=["random"]), Selection(()))
    assert [cell.explainer for cell in alone.cells] == [NO_EXPLAINER]
    assert not alone.explainers
    with pytest.raises(InputError, match=r"--explainer.*loading asks about the maps"):
        make_plan(Catalogue(), BOTH, Selection(()))


def test_no_explainer_draws_nothing_and_is_in_no_list() -> None:
    """If it fails, a name that stands for no explainer can be scored, or takes another's place."""
    classifier = build_classifier()
    explainer = NoExplainer()
    assert "no map" in str(explainer.supports(classifier))
    with pytest.raises(UnsupportedError, match="no map"):
        explainer.attribute(classifier, torch.zeros(1, 1, *classifier.input_shape), own_margin(0))
    assert NO_EXPLAINER not in Catalogue().explainers.names


def test_a_finished_answer_is_taken_from_the_store_and_shown(tmp_path: Path) -> None:
    """If it fails, a model is asked again in every run, or its answer has no page."""
    write_suite(tmp_path, ["OfModel"])
    where = ["--protocol", fakes.spec("OfModel"), "--suite", tmp_path / "suite.toml"]
    where += ["--store", tmp_path / "store", "--report", tmp_path / "report", "--device", "cpu"]
    first, second = call("run", *where), call("run", *where)
    for told in (first, second):
        assert told.exit_code == 0, told.output
        assert "none" in told.stdout
        assert "of_model" in told.stdout
        assert "protocol health" not in told.stdout, "there is no map to tell from noise"
    assert "1 cells measured" in first.stdout
    assert "0 cells measured" in second.stdout
    assert "of_model" in (tmp_path / "report" / "index.html").read_text("utf-8")
    again = ["--records", tmp_path / "store", "--out", tmp_path / "again"]
    shown = call("report", *again, "--protocol", fakes.spec("OfModel"))
    assert shown.exit_code == 0, shown.output


def test_what_a_protocol_asks_of_a_cohort_is_part_of_its_identity(tmp_path: Path) -> None:
    """If it fails, other concepts of the same cohort get the scores of the first."""
    suite = build_suite(["OfModel"])
    plan = make_plan(Catalogue(), suite, Selection(()))
    (entry,) = plan.cohorts.values()
    cohort = entry.create().load()
    identities = [
        plan.protocol_identity("of_model", one) for one in (cohort, with_concepts(cohort))
    ]
    assert cohort.fingerprint == with_concepts(cohort).fingerprint
    assert identities[0] != identities[1]
    finished = run(plan, Store(tmp_path / "store"), Settings(CPU))
    (record,), (model,) = finished.records, finished.explained
    assert record.identity.protocol == identities[0]
    assert record.identity_sha256 in model.exhibits, "what it kept to be shown is found again"
