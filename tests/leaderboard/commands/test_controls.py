"""The command that publishes a suite's controls, and those that are committed."""

from __future__ import annotations

from pathlib import Path

import fakes
import numpy as np
import pytest
from paths import ROOT
from runs import write_suite
from verifying import invoke

from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import find
from benchmark.records.controls import ControlRecords, rounded
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.running.plan import make_plan
from benchmark.running.suite import Selection, load_suite, published_controls
from leaderboard.published.folder import read_record

BOARDS = ROOT / "leaderboard"
PUBLISHING = sorted(path.parent.name for path in BOARDS.glob("*/controls"))
MOST_BYTES = 2_500_000


def models_of(version: str) -> tuple[str, ...]:
    """Return the suite's own models, and those of its board whose controls are published."""
    suite, folder = load_suite(version), BOARDS / version / "controls"
    of_board = () if suite.board is None else suite.board.models
    published = [name for name in of_board if any(folder.glob(f"*-{name}.xz"))]
    return tuple(dict.fromkeys([*suite.models, *published]))


def test_a_suites_controls_are_published_by_one_command(tmp_path: Path) -> None:
    """If it fails, controls that are out of date cannot be renewed."""
    health = ", ".join(f'"{fakes.spec(name)}"' for name in ("Dark", "Bright"))
    suite = write_suite(tmp_path, more=f"health = [{health}]")
    store, out = tmp_path / "store", tmp_path / "controls"
    given = ["controls", "--suite", suite, "--store", store, "--out", out, "--device", "cpu"]
    told = invoke(*given)
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines()[-1].startswith("2 records, ")
    quiet = invoke(*given, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    records = list(ControlRecords(out).all_of("tiny", "tiny_model"))
    assert [record.names.explainer for record in records] == ["bright", "dark"]
    kept = {record.identity_sha256: record for record in Store(store).records()}
    assert records == [rounded(kept[record.identity_sha256]) for record in records]


def test_a_control_that_fails_publishes_nothing(tmp_path: Path) -> None:
    """If it fails, a suite is published with some of its controls."""
    suite = write_suite(tmp_path, more=f'health = ["{fakes.spec("Raising")}"]')
    store, out = tmp_path / "store", tmp_path / "controls"
    told = invoke("controls", "--suite", suite, "--store", store, "--out", out, "--device", "cpu")
    assert told.exit_code == 1
    assert "Cells failed; nothing was written." in told.output
    assert not list(out.iterdir())


def test_a_suite_without_controls_is_refused(tmp_path: Path) -> None:
    """If it fails, the command measures nothing and says that all is well."""
    told = invoke("controls", "--suite", write_suite(tmp_path), "--store", tmp_path / "store")
    assert told.exit_code == 2
    assert "scores no controls in every run" in told.output


def test_controls_of_a_suite_of_ones_own_go_where_it_is_said(tmp_path: Path) -> None:
    """If it fails, they are written into the package, or over those of a suite that ships."""
    suite = write_suite(tmp_path, more=f'health = ["{fakes.spec("Bright")}"]')
    text = suite.read_text()
    before = {path: path.read_bytes() for path in BOARDS.glob("*/controls/*")}
    for version in ("mine", "v1"):
        suite.write_text(text.replace('version = "test"', f'version = "{version}"'))
        told = invoke("controls", "--suite", suite, "--store", tmp_path / "store")
        assert told.exit_code == 2
        assert "Name a folder with --out" in told.output
    assert {path: path.read_bytes() for path in BOARDS.glob("*/controls/*")} == before
    assert not (tmp_path / "store").exists()


def test_suite_v1_publishes_its_controls() -> None:
    """If it fails, half of the passes of every run go into controls again."""
    assert "v1" in PUBLISHING


@pytest.mark.parametrize("version", PUBLISHING)
def test_published_controls_are_small(version: str) -> None:
    """If it fails, every clone and every installation pays for them."""
    size = sum(path.stat().st_size for path in (BOARDS / version / "controls").iterdir())
    assert size < MOST_BYTES


@pytest.mark.parametrize("version", PUBLISHING)
def test_published_controls_are_of_the_present_version(version: str) -> None:
    """If it fails, every run measures its controls; the message says how to renew them."""
    suite, renew = load_suite(version), f"renew: python -m benchmark controls --suite {version}"
    plan = make_plan(Catalogue(), suite, Selection(suite.health, models=models_of(version)))
    for cohort_name in suite.cohorts:
        cohort = plan.cohorts[cohort_name].create().load()
        protocols = [name for name in plan.protocols if plan.protocols[name].plugin.explains]
        protocols = list(suite.protocols_of(cohort_name, protocols))
        for model_name in plan.models:
            classifier = load_fitted(plan.models[model_name].create(), cohort)
            network = classifier.weights_sha256, classifier.architecture_sha256 or ""
            records: dict[tuple[str, str], Record] = {
                (record.names.explainer, record.names.protocol): record
                for record in published_controls(version).all_of(cohort_name, model_name)
            }
            wanted = {(name, protocol) for name in suite.health for protocol in protocols}
            assert set(records) == wanted, renew
            for (name, protocol), record in records.items():
                identity, explainer = record.identity, plan.explainers[name].create()
                assert identity.suite == suite.version, renew
                assert identity.seed == suite.seed, renew
                assert identity.cohort_fingerprint == cohort.fingerprint, renew
                assert identity.network == network, renew
                assert identity.explainer.version == explainer.version, renew
                assert identity.explainer.config == dict(explainer.config), renew
                assert identity.protocol == plan.protocol_identity(protocol, cohort), renew


@pytest.mark.parametrize("model", models_of("v1"))
def test_published_controls_of_v1_score_as_on_its_board(model: str) -> None:
    """If it fails, runs judge protocols by other controls than the board shows."""
    controls = list(published_controls("v1").all_of("phantom", model))
    assert len(controls) == 10
    for record in controls:
        names = record.names
        path = f"{names.cohort}/{names.model}/{names.explainer}/{names.protocol}.json"
        shown = read_record(BOARDS / "v1" / "records", path)
        assert shown.identity == record.identity
        assert (record.state, record.verdict) == (shown.state, shown.verdict)
        score = find(record.to_readings(), shown.scale.statistic)
        if shown.score is None:
            assert record.state != "scored"
            continue
        assert score is not None
        ours, theirs = (np.sort(values) for values in (score.values, shown.score.values))
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
