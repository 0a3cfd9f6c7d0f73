"""The engine: what it keeps, what it repeats, and what a failing or dying cell does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import torch
from paths import ROOT, SUPPORT
from runs import CPU, build_plan, build_suite, score, write_suite
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.errors import CohortError, PluginError, StoreError
from benchmark.plugins.catalogue import Catalogue, Shelf
from benchmark.plugins.entry import Entry
from benchmark.records import provenance
from benchmark.records.provenance import collect_provenance
from benchmark.records.record import Record
from benchmark.records.storage.merging import merge
from benchmark.records.store import Store
from benchmark.results.explained_model import recall_explained_models
from benchmark.running.engine import Settings, run
from benchmark.running.plan import make_plan
from benchmark.running.progress import Silence
from benchmark.running.suite import Cell, Selection
from benchmark.running.workers import loading
from benchmark.trial import Trial

BOTH = ("Loading", "Second")


class Heard(Silence):
    """Progress that is written down."""

    def __init__(self) -> None:
        self.cells = 0
        self.expected: list[int] = []
        self.passes = 0
        self.done: list[tuple[str, str, bool]] = []
        self.remarks: list[str] = []

    def remarked(self, remark: str) -> None:
        """Note what was said of a model."""
        self.remarks.append(remark)

    def started(self, cells: int) -> None:
        """Note the number."""
        self.cells = cells

    def cell_started(self, cell: Cell, passes: int) -> None:
        """Note the passes to come."""
        self.expected.append(passes)

    def advanced(self, cell: Cell, passes: int) -> None:
        """Add them up."""
        self.passes += passes

    def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
        """Note how it ended."""
        self.done.append((cell.explainer, record.state, measured))


def files(store: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in (store / "records").glob("*.json")}


def test_a_run_commits_a_record_a_cell_with_what_it_cost(tmp_path: Path) -> None:
    finished = score(["Bright", "Dark"], tmp_path / "store", build_suite(BOTH))
    assert [(one.names.explainer, one.names.protocol) for one in finished.records] == [
        ("bright", "loading"),
        ("bright", "second"),
        ("dark", "loading"),
        ("dark", "second"),
    ]
    assert [one.state for one in finished.records] == ["scored"] * 4
    assert [one.verdict for one in finished.records] == ["fail", "fail", "pass", "pass"]
    assert finished.measured == 4
    first, shared = finished.records[:2]
    assert first.resources.forward == 33, "two lanes of 16 for 6 images of each group, one alone"
    assert shared.resources.forward == 0, "the second protocol must find the maps made"
    assert first.identity.explainer.source_sha256 is not None
    assert first.names.cohort == "tiny"
    assert first.names.model == "tiny_model"
    assert len(files(tmp_path / "store")) == 4


def test_a_second_run_computes_no_pass_and_gives_the_same(tmp_path: Path) -> None:
    first = score(["Bright", "Dark"], tmp_path / "store", build_suite(BOTH))
    before = files(tmp_path / "store")
    progress = Heard()
    plan = build_plan(["Bright", "Dark"], build_suite(BOTH))
    second = run(plan, Store(tmp_path / "store"), Settings(CPU), progress)
    assert second.records == first.records
    assert (second.measured, second.passes.forward, progress.passes) == (0, 0, 0)
    assert files(tmp_path / "store") == before
    for name in ("bright", "dark"):
        np.testing.assert_array_equal(
            second.explained[0].attributions[name], first.explained[0].attributions[name]
        )


def test_a_network_is_proven_once_and_its_remarks_are_said_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a finished run proves its network again, or an unproven one is scored."""
    proven: list[str] = []

    def prove(classifier: Classifier, images: Tensor) -> tuple[str, ...]:
        proven.append(classifier.name)
        return ("It rounds.",)

    monkeypatch.setattr(loading, "prove", prove)
    store, suite = Store(tmp_path / "store"), build_suite()
    heard = [Heard(), Heard(), Heard(), Heard()]
    run(build_plan(["Bright"]), store, Settings(CPU), heard[0])
    run(build_plan(["Dark"]), store, Settings(CPU), heard[1])
    assert len(proven) == 1
    run(build_plan(["Dark"]), store, Settings(CPU, fresh=True), heard[2])
    assert len(proven) == 2, "fresh takes nothing for granted"
    other = suite.model_copy(update={"cohorts": (fakes.spec("OtherCohort"),)})
    run(build_plan(["Dark"], other), store, Settings(CPU), heard[3])
    assert len(proven) == 3, "it was proven on other images"
    assert [one.remarks for one in heard] == [["It rounds."]] * 4


def test_only_what_is_missing_is_measured(tmp_path: Path) -> None:
    score(["Bright"], tmp_path / "store")
    finished = score(["Bright", "Dark"], tmp_path / "store")
    assert finished.measured == 1


def test_the_records_of_another_seed_or_setting_are_others(tmp_path: Path) -> None:
    score(["Bright"], tmp_path / "store")
    for suite in (
        build_suite(seed=1),
        build_suite().model_copy(update={"protocol": {"loading": {"power": 2.0}}}),
    ):
        assert score(["Bright"], tmp_path / "store", suite).measured == 1


def test_batch_size_and_order_of_explainers_change_no_record(tmp_path: Path) -> None:
    """A score that depends on them is a property of the run, not of the method."""
    first = run(build_plan(["Bright", "Dark"]), Store(tmp_path / "a"), Settings(CPU, 64))
    second = run(build_plan(["Dark", "Bright"]), Store(tmp_path / "b"), Settings(CPU, 5))
    assert {one.content for one in first.records} == {one.content for one in second.records}


def line_of(text: str) -> str:
    """Return the line of the plugins' file that holds a text, as a record names it."""
    lines = fakes.FILE.read_text("utf-8").splitlines()
    return f"fakes.py:{next(number for number, line in enumerate(lines, 1) if text in line)}"


def test_an_edited_network_is_measured_again(tmp_path: Path) -> None:
    """If it fails, the scores of a network before its file was edited pass for those after."""
    network = (
        "from fakes import TinyModel\nfrom torch import nn\n\n\n"
        "class Edited(TinyModel):\n    name = 'edited'\n\n    def load(self, input_shape):\n"
        "        network = super().load(input_shape)\n"
        "        network.trunk[1][1] = nn.ReLU()\n        return network\n"
    )
    file, store, measured, primary = tmp_path / "edited.py", tmp_path / "store", [], []
    suite = build_suite().model_copy(update={"models": (f"{file}:Edited",)})
    for activation in ("ReLU", "Tanh", "ReLU"):
        file.write_text(network.replace("ReLU", activation))
        finished = score(["Bright"], store, suite)
        measured.append(finished.measured)
        primary.append(finished.records[0].identity.architecture_sha256)
    assert measured == [1, 1, 0]
    assert primary[0] == primary[2] != primary[1]


def test_one_failing_explainer_does_not_stop_the_others(tmp_path: Path) -> None:
    finished = score(["Raising", "Flat", "Picky", "Dark"], tmp_path / "store")
    states = {one.names.explainer: (one.state, one.reason) for one in finished.records}
    assert states == {
        "raising": ("failed", f"ValueError: out of ideas, at {line_of('out of ideas')}"),
        "flat": ("failed", "constant map for all 12 subjects"),
        "picky": ("unsupported", "needs attention heads"),
        "dark": ("scored", None),
    }
    store = Store(tmp_path / "store")
    assert {one.names.explainer for one in store.failures()} == {"raising", "flat"}
    (log,) = (
        one.read_text()
        for one in (store.path / "failures").glob("*.log")
        if "out of ideas" in one.read_text()
    )
    assert "in attribute" in log, "whoever mends the plugin needs its traceback"


def test_an_explainer_that_ends_the_program_fails_its_cell_alone(tmp_path: Path) -> None:
    """If it fails, sys.exit() in a method ends a run with code 0 and nothing measured."""
    finished = score(["Leaving", "Dark"], tmp_path / "store")
    states = {record.names.explainer: record.state for record in finished.records}
    assert states == {"leaving": "failed", "dark": "scored"}
    (failure,) = Store(tmp_path / "store").failures()
    assert failure.reason is not None
    assert failure.reason.startswith("SystemExit: 0")


def test_a_changed_network_is_noticed_and_scores_nobody_else(tmp_path: Path) -> None:
    """If it fails, methods after one that writes into the network are scored on another one."""
    suite = build_suite(("Redrawing",))
    spoiled, after = score(["Meddling", "Sloped"], tmp_path / "store", suite).records
    (alone,) = score(["Sloped"], tmp_path / "alone", suite).records
    reason = "Explainer 'meddling' changed the network's weights."
    assert (spoiled.state, spoiled.reason) == ("failed", reason)
    assert after.readings == alone.readings


def test_what_is_made_of_a_changed_network_is_kept_for_nobody(tmp_path: Path) -> None:
    """If it fails, methods of later runs are scored by what another network did."""
    suite = build_suite(("Removing",))
    (spoiled,) = score(["Meddling"], tmp_path / "store", suite).records
    assert "'meddling' changed the network's weights" in str(spoiled.reason)
    (after,) = score(["Bright"], tmp_path / "store", suite).records
    (alone,) = score(["Bright"], tmp_path / "alone", suite).records
    assert after.readings == alone.readings


def test_failures_are_tried_again_and_refusals_are_not(tmp_path: Path) -> None:
    score(["Raising", "Picky"], tmp_path / "store", build_suite(("Loading", "Undefined")))
    again = score(["Raising", "Picky"], tmp_path / "store", build_suite(("Loading", "Undefined")))
    assert again.measured == 1
    assert [one.state for one in again.records] == [
        "failed",
        "not assessable",
        "unsupported",
        "not assessable",
    ]


def test_readings_that_no_record_can_hold_fail_the_cell(tmp_path: Path) -> None:
    (record,) = score(["Bright"], tmp_path / "store", build_suite(("Unspeakable",))).records
    assert record.state == "failed"
    assert "cannot be recorded" in str(record.reason)
    assert "conditions" in str(record.reason)


def test_smaller_batches_are_tried_where_memory_runs_out(tmp_path: Path) -> None:
    suite = build_suite().model_copy(update={"protocol": {"loading": {"memory": 20}}})
    (record,) = score(["Bright"], tmp_path / "store", suite).records
    assert record.state == "scored"
    assert record.provenance.batch_size == 16
    suite = build_suite().model_copy(update={"protocol": {"loading": {"memory": 0}}})
    (record,) = score(["Bright"], tmp_path / "store", suite).records
    assert record.state == "failed"
    assert record.reason == f"OutOfMemoryError: CUDA out of memory, at {line_of('CUDA out')}"


def test_fresh_measures_again_and_keeps_what_agrees(tmp_path: Path) -> None:
    score(["Dark"], tmp_path / "store")
    before = files(tmp_path / "store")
    again = run(build_plan(["Dark"]), Store(tmp_path / "store"), Settings(CPU, fresh=True))
    assert again.measured == 1
    assert again.passes.forward > 0
    assert files(tmp_path / "store") == before


def test_fresh_that_contradicts_the_store_fails_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(["Dark"], tmp_path / "store")
    before = files(tmp_path / "store")
    plan = build_plan(["Dark"])
    explainer = plan.explainers["dark"].plugin
    monkeypatch.setattr(explainer, "attribute", lambda self, model, images, target: images.clone())
    (record,) = run(plan, Store(tmp_path / "store"), Settings(CPU, fresh=True)).records
    assert record.state == "failed"
    assert "Two results under one identity" in str(record.reason)
    assert files(tmp_path / "store") == before


def test_progress_hears_of_every_cell_and_pass(tmp_path: Path) -> None:
    progress, store = Heard(), Store(tmp_path / "store")
    run(build_plan(["Bright", "Raising"]), store, Settings(CPU), progress)
    assert progress.cells == 2
    assert progress.expected == [0, progress.passes], "the first foretells the second"
    assert progress.done == [("bright", "scored", True), ("raising", "failed", True)]
    assert progress.passes >= 32


def test_an_interrupt_leaves_only_whole_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C must cost the cell at hand and no other."""
    seen = []

    class Impatient(Heard):
        def cell_started(self, cell: Cell, passes: int) -> None:
            seen.append(cell)
            if len(seen) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(build_plan(["Bright", "Dark"]), Store(tmp_path / "s"), Settings(CPU), Impatient())
    assert [one.names.explainer for one in Store(tmp_path / "s").records()] == ["bright"]
    assert score(["Bright", "Dark"], tmp_path / "s").measured == 1


def test_a_full_disk_stops_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it a failed cell, every later cell would fail too, each with a full recomputation."""
    store = Store(tmp_path / "store")
    store.prepare()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        run(build_plan(["Bright", "Dark"]), store, Settings(CPU))


def test_maps_are_dropped_once_their_last_protocol_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve methods on a cohort of volumes would otherwise not fit into memory."""
    events: list[str] = []
    forget = Trial.forget_maps

    class Watching(Heard):
        def cell_done(self, cell: Cell, record: Record, measured: bool) -> None:
            events.append(f"measured {cell.explainer}")

    def forgetting(self: Trial) -> None:
        events.append(f"forgot {self.explainer.name}")
        forget(self)

    monkeypatch.setattr(Trial, "forget_maps", forgetting)
    plan = build_plan(["Bright", "Dark"], build_suite(BOTH))
    run(plan, Store(tmp_path / "store"), Settings(CPU), Watching())
    each = ("measured {0}", "measured {0}", "forgot {0}")
    assert events == [event.format(name) for name in ("bright", "dark") for event in each]


def test_shards_merged_equal_one_run(tmp_path: Path) -> None:
    names = ["Bright", "Dark", "DarkAligned"]
    whole = score(names, tmp_path / "whole", build_suite(BOTH))
    for index in range(4):
        plan = build_plan(names, build_suite(BOTH)).shard(index, 4)
        run(plan, Store(tmp_path / f"part{index}"), Settings(CPU))
    assert merge([tmp_path / f"part{index}" for index in range(4)], tmp_path / "all") == 6
    merged = Store(tmp_path / "all")
    assert {one.content for one in merged.records()} == {one.content for one in whole.records}
    again = score(names, tmp_path / "all", build_suite(BOTH))
    assert (again.measured, again.passes.forward) == (0, 0)


def test_what_cannot_be_loaded_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    suite = build_suite().model_copy(update={"models": (fakes.spec("TornModel"),)})
    with pytest.raises(PluginError, match=r"'torn_model'.*: no such file, at .*fakes\.py:\d+"):
        score(["Bright"], tmp_path / "store", suite)
    assert files(tmp_path / "store") == {}


def test_two_cohorts_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohorts = (fakes.spec("TinyCohort"), fakes.spec("OtherCohort"))
    selection = Selection((fakes.spec("Bright"),), cohorts, build_suite().models)
    plan = make_plan(Catalogue(), build_suite(), selection)
    finished = run(plan, Store(tmp_path / "store"), Settings(CPU))
    assert [one.names.cohort for one in finished.records] == ["tiny", "other"]
    monkeypatch.setattr(plan.cohorts["other"].plugin, "name", "tiny")
    with pytest.raises(CohortError, match="'tiny'"):
        run(plan, Store(tmp_path / "store"), Settings(CPU))


def test_finished_runs_are_shown_again_without_a_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = Selection(("random", "oracle"))
    suite = build_suite()
    store = Store(tmp_path / "store")
    finished = run(make_plan(Catalogue(), suite, selection), store, Settings(CPU))
    catalogue = Catalogue()
    recalled = recall_explained_models(finished.records, catalogue, store.arrays)
    assert recalled == (), "the cohort has no name here"
    named = [
        catalogue.cohorts.find(fakes.spec("TinyCohort")),
        catalogue.models.find(fakes.spec("TinyModel")),
    ]
    entries = Shelf.entries.func

    def with_named(shelf: Shelf[Any]) -> tuple[Entry[Any], ...]:
        return *entries(shelf), *(entry for entry in named if entry.kind == shelf.kind.name)

    monkeypatch.setattr(Shelf, "entries", property(with_named))
    (shown,) = recall_explained_models(finished.records, catalogue, store.arrays)
    assert set(shown.attributions) == {"random", "oracle"}
    np.testing.assert_array_equal(shown.attributions["oracle"], shown.cohort.truth)
    for path in (store.path / "arrays").glob("*.npz"):
        path.unlink()
    assert recall_explained_models(finished.records, catalogue, store.arrays) == ()


def test_provenance_names_the_driver_of_a_gpu_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a score that a driver moved cannot be traced to it."""
    told = tmp_path / "version"
    told.write_text("550.54.15\n")
    monkeypatch.setattr(provenance, "DRIVER", told)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    gpu = torch.device("cuda:0")
    assert collect_provenance(gpu, 8).driver == "550.54.15"
    assert collect_provenance(CPU, 8).driver is None
    assert collect_provenance(gpu, 8).device_type == "cuda"
    told.unlink()
    assert collect_provenance(gpu, 8).driver is None


def test_provenance_tells_processors_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, scores of two kinds of processors are held to be equal in their last bits."""
    monkeypatch.setattr(provenance, "PROCESSORS", tmp_path / "cpuinfo")
    names = []
    for model in ("85", "207"):
        block = f"cpu family\t: 6\nmodel\t\t: {model}\nmodel name\t: Some Processor\n"
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{block}\nprocessor\t: 1\n{block}")
        provenance.processor_name.cache_clear()
        names.append(collect_provenance(CPU, 8).device)
    assert names[0].startswith("Some Processor, family 6, model 85, ")
    assert names[0] != names[1]
    (tmp_path / "cpuinfo").unlink()
    provenance.processor_name.cache_clear()
    assert collect_provenance(CPU, 8).device
    provenance.processor_name.cache_clear()


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Kill −9 in the middle of a cell: finished cells stay whole and are not measured again."""
    suite = write_suite(tmp_path, BOTH)
    store, root = tmp_path / "store", ROOT
    names = ["Bright", "Dark", "DarkAligned"]
    command = [sys.executable, "-m", "benchmark", "run", "--suite", str(suite)]
    command += ["--store", str(store), "--report", "none", "--device", "cpu"]
    for name in names:
        command += ["--explainer", fakes.spec(name)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), str(SUPPORT)]),
        "OMP_NUM_THREADS": "1",
        fakes.SLOWNESS: "0.5",
    }
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while len(list((store / "records").glob("*.json"))) < 2:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    survived = files(store)
    assert 2 <= len(survived) < 6
    assert len(list(Store(store).records())) == len(survived)
    finished = score(names, store, build_suite(BOTH))
    assert finished.measured == 6 - len(survived)
    assert {name: files(store)[name] for name in survived} == survived
    whole = score(names, tmp_path / "whole", build_suite(BOTH))
    assert [one.content for one in finished.records] == [one.content for one in whole.records]


@pytest.mark.parametrize("named", ["powered", fakes.spec("Powered")], ids=["name", "path"])
def test_settings_of_an_explainer_are_in_its_records_and_make_another_score(
    tmp_path: Path, named: str
) -> None:
    """If it fails, a method under other settings takes the place of the first."""
    suite = build_suite()
    cubed = suite.model_copy(update={"explainer": {named: {"power": 3.0}}})
    plain = score(["Powered"], tmp_path, suite).records[0]
    other = score(["Powered"], tmp_path, cubed).records[0]
    assert plain.identity.explainer.config == {"power": 2.0, "rule": "plain"}
    assert other.identity.explainer.config == {"power": 3.0, "rule": "plain"}
    assert plain.readings[0].values != other.readings[0].values
