"""Submissions that look right: run again in a process of their own, and found out by name."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import commands
import numpy as np
import numpy.typing as npt
import pytest
from paths import ROOT
from publications import published, scores_of, sealed
from submissions import copy, edit_manifest, edit_record, forge, inflate, sha256, tree
from verifying import invoke, plugin, submit, verify

from benchmark.records.provenance import Provenance
from leaderboard.published.folder import load_folder
from leaderboard.submission import rerun, screening
from leaderboard.submission.comparison import compare, map_faults
from leaderboard.submission.process import Limits, ProcessResult, call, fault_of, read_arrays

# Each gets past the screen of its source, as someone who means it will.
TELLS_TRUTH = '''

        def attribute_batch(self, classifier, batch, target):
            """Copy the answer."""
            answer = getattr(batch, "tru" + "th")
            return self.attribute(classifier, batch.images, target) + 9.0 * answer
'''
LOOKS_UP = '''

        def attribute_batch(self, classifier, batch, target):
            """Look who is calling, and shine for a protocol."""
            frame, honest = getattr(torch.sys, "_get" + "frame")(), True
            while frame is not None:
                honest &= getattr(frame, "f_" + "code").co_name != "readings"
                frame = getattr(frame, "f_" + "back")
            map_ = self.attribute(classifier, batch.images, target)
            return map_ if honest else batch.images.clone()
'''
ROLLS_DICE = '''

        def attribute_batch(self, classifier, batch, target):
            """Give other maps in every process, so that the luckiest can be sent in."""
            luck = torch.Generator().manual_seed(hash("other in every process") % 10_007)
            noise = torch.rand(batch.images.shape[1:], generator=luck)
            return self.attribute(classifier, batch.images, target) * noise
'''
REMEMBERS = '''

        cache = {}

        def attribute_batch(self, classifier, batch, target):
            """Keep a map by its image, whatever the model."""
            made = self.attribute(classifier, batch.images, target)
            rows = [self.cache.setdefault(one.sum().item(), map_)
                    for one, map_ in zip(batch.images, made)]
            return torch.stack(rows)
'''


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the suite and an honest bundle."""
    folder = tmp_path_factory.mktemp("honest")
    with pytest.MonkeyPatch.context() as monkeypatch:
        submit(folder, plugin(), monkeypatch)
    return folder


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run again in forks of a process that has the imports, which take longer than the rest."""
    monkeypatch.setattr(rerun, "call", commands.call)


@pytest.fixture
def no_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, and let the contract find nothing: it takes as long as all the rest."""

    def call_unless_check(arguments: Sequence[str], *more: Any) -> ProcessResult:
        if arguments[1] == "check":
            Path(arguments[-1]).write_text('{"clauses": []}')
            return ProcessResult(0, "")
        return commands.call(arguments, *more)

    monkeypatch.setattr(rerun, "call", call_unless_check)


@pytest.fixture
def isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the re-run say that it keeps the plugin from its scorer."""
    monkeypatch.setattr(rerun, "why_not_isolated", lambda: None)


@pytest.mark.usefixtures("forked", "isolated")
def test_an_honest_submission_is_reproduced_and_added(honest: Path, tmp_path: Path) -> None:
    """If it fails, nobody can submit anything."""
    before, into = tree(honest / "bundle"), tmp_path / "records"
    told, faults = verify(honest, "--seed", 5, "--into", into)
    assert (told.exit_code, faults) == (0, []), told.output
    assert "2 of 2 cells are run again (--seed 5)" in told.output
    assert "(2 reproduced)" in told.output
    added = load_folder(into)
    assert [(one.names.protocol, one.tier) for one in added] == [
        ("loading", "reproduced"),
        ("second", "reproduced"),
    ]
    assert tree(honest / "bundle") == before
    # Once more is no change; a second method by that name is refused.
    again, faults = verify(honest, "--no-rerun", "--records", into)
    assert (again.exit_code, faults) == (0, [])


@pytest.mark.usefixtures("no_contract", "isolated")
def test_a_forged_cell_that_a_sample_missed_is_not_called_reproduced(
    honest: Path, tmp_path: Path
) -> None:
    """If it fails, whoever forges one cell of many hopes for the sample, and wins."""
    bundle, into = copy(honest / "bundle", tmp_path / "bundle"), tmp_path / "records"
    forge(bundle, inflate, "records/tiny/tiny_model/mine/loading")
    for seed in range(8):
        told, faults = verify(honest, "--cells", 1, "--seed", seed, "--into", into, bundle=bundle)
        if told.exit_code == 0:
            break
        assert faults == ["score-differs"]
    tiers = {record.names.protocol: record.tier for record in load_folder(into)}
    assert tiers == {"loading": "sampled", "second": "reproduced"}
    report = json.loads((honest / "told.json").read_text())
    assert (report["tier"], report["rerun"]["cells"]) == ("sampled", 1)
    told, faults = verify(honest, "--into", into, bundle=bundle)
    assert (told.exit_code, faults) == (1, ["score-differs"])


@pytest.mark.usefixtures("no_contract")
def test_without_isolation_nothing_is_called_reproduced(honest: Path, tmp_path: Path) -> None:
    """If it fails, a plugin that shared a process with its scorer is called reproduced."""
    into = tmp_path / "records"
    told, faults = verify(honest, "--into", into)
    assert (told.exit_code, faults) == (0, []), told.output
    assert "not in isolation" in told.output
    assert {record.tier for record in load_folder(into)} == {"checked"}
    assert json.loads((honest / "told.json").read_text())["tier"] == "checked"


def test_without_running_anything_it_stays_self_reported(honest: Path, tmp_path: Path) -> None:
    """If it fails, a submission is called reproduced that nobody reproduced."""
    told, faults = verify(honest, "--no-rerun", "--into", tmp_path / "records")
    assert (told.exit_code, faults) == (0, [])
    assert "self-reported" in told.output
    assert "nothing was added" in told.output
    assert not (tmp_path / "records").exists()
    assert json.loads((honest / "told.json").read_text())["tier"] == "self-reported"


@pytest.mark.usefixtures("no_contract")
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (TELLS_TRUTH, {"map-differs"}),
        (LOOKS_UP, {"map-differs"}),
        (REMEMBERS, {"map-differs"}),
        # With luck the verdict is another too, which is told in place of the scores.
        (ROLLS_DICE, {"score-differs", "state-differs"}),
    ],
    ids=["copies the truth", "looks who is calling", "keeps maps", "draws anew in each process"],
)
def test_a_cheat_is_found_out_by_running_it(
    more: str, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a plugin that cheats stands on the board as reproduced."""
    submit(tmp_path, plugin(more), monkeypatch)
    into = tmp_path / "records"
    told, faults = verify(tmp_path, "--cells", 1, "--seed", 1, "--into", into)
    assert told.exit_code == 1
    assert expected & set(faults), told.output
    assert not into.exists()


@pytest.mark.usefixtures("forked")
def test_a_map_kept_by_its_image_breaks_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a method that ignores the second model it is asked about goes through."""
    own = REMEMBERS.replace("self.cache.", "self.__dict__.setdefault('kept', {}).")
    submit(tmp_path, plugin(own), monkeypatch)
    monkeypatch.setattr(rerun.Rerun, "chosen", ())
    told, faults = verify(tmp_path)
    assert (told.exit_code, faults) == (1, ["contract-broken"]), told.output
    assert "memory" in told.output


@pytest.mark.usefixtures("no_contract")
def test_scores_inflated_without_a_contradiction_are_found_out(
    honest: Path, tmp_path: Path
) -> None:
    """If it fails, whoever edits scores, sidecar, checksums and manifest alike wins the board."""
    bundle = copy(honest / "bundle", tmp_path / "bundle")
    for name in ("loading", "second"):
        place = f"records/tiny/tiny_model/mine/{name}"
        forge(bundle, inflate, place)
    static, faults = verify(honest, "--no-rerun", bundle=bundle)
    assert (static.exit_code, faults) == (0, [])
    told, faults = verify(honest, "--cells", 1, bundle=bundle)
    assert (told.exit_code, faults) == (1, ["score-differs"])
    assert "12 of 12 scores differ by more than 1e-06" in told.output


@pytest.mark.usefixtures("no_contract")
def test_another_source_under_the_scores_of_the_first_is_found_out(
    honest: Path, tmp_path: Path
) -> None:
    """If it fails, the source on the board is not the one that was scored."""
    bundle = copy(honest / "bundle", tmp_path / "bundle")
    source = (plugin() + "        # as published\n").replace("target(*", "-target(*").encode()
    source = source.replace(b"leaf)[0]", b"leaf)[0] * images")
    (bundle / "source/mine.py").write_bytes(source)
    edit_manifest(bundle, lambda fields: fields.update(source_sha256=sha256(source)))
    for name in ("loading", "second"):
        place = f"records/tiny/tiny_model/mine/{name}"
        rename_source(bundle, place, sha256(source))
    static, faults = verify(honest, "--no-rerun", bundle=bundle)
    assert (static.exit_code, faults) == (0, []), static.output
    told, faults = verify(honest, "--cells", 1, bundle=bundle)
    assert told.exit_code == 1
    assert set(faults) <= {"score-differs", "state-differs"}
    assert faults


def rename_source(bundle: Path, place: str, to: str) -> None:
    edit_record(
        bundle, lambda fields: fields["identity"]["explainer"].update(source_sha256=to), place
    )


@pytest.mark.usefixtures("no_contract")
def test_a_plugin_that_alters_the_network_fails_when_it_is_run_again(
    honest: Path, tmp_path: Path
) -> None:
    """If it fails, a plugin that tunes the model for itself is reproduced."""
    bundle = copy(honest / "bundle", tmp_path / "bundle")
    evil = (
        "            next(classifier.head.parameters()).data.add_(1e-3)\n            return torch"
    )
    source = plugin().replace("            return torch", "X").replace("        return torch", "X")
    source = source.replace("X", evil[4:].replace("\n    ", "\n")).encode()
    (bundle / "source/mine.py").write_bytes(source)
    edit_manifest(bundle, lambda fields: fields.update(source_sha256=sha256(source)))
    for name in ("loading", "second"):
        rename_source(bundle, f"records/tiny/tiny_model/mine/{name}", sha256(source))
    told, faults = verify(honest, "--cells", 1, bundle=bundle)
    assert (told.exit_code, faults) == (1, ["rerun-failed"]), told.output
    assert "changed the network's weights" in told.output


def test_a_bundle_that_is_not_there_is_bad_input(honest: Path, tmp_path: Path) -> None:
    """If it fails, a typing error looks like a cheat."""
    told = invoke("verify", tmp_path / "none", "--suite", honest / "suite.toml")
    assert told.exit_code == 2
    assert told.stderr.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--suite", "v9"], "Unknown suite"),
        (["--records", "nowhere"], "does not exist"),
        (["--device", "tpu"], "There is no device 'tpu'"),
        (["--cells", "0"], "cells"),
        (["--timeout", "0"], "timeout"),
    ],
)
def test_bad_options_are_one_sentence(honest: Path, options: list[str], said: str) -> None:
    """If it fails, a verifier gets a traceback, or a verdict on something else."""
    told = invoke("verify", honest / "bundle", "--suite", honest / "suite.toml", *options)
    assert told.exit_code == 2
    assert said in told.stderr
    assert "Traceback" not in told.output


def test_every_fault_is_told_and_nothing_is_run(honest: Path, tmp_path: Path) -> None:
    """If it fails, a submitter mends one fault after the other, or a forgery is executed."""
    bundle = copy(honest / "bundle", tmp_path / "bundle")
    edit_all_of(bundle)
    (bundle / "notes.txt").write_text("hello")
    (bundle / "source/mine.py").write_text("import os\n")
    told, faults = verify(honest, bundle=bundle)
    assert told.exit_code == 1
    assert {"seed-differs", "unknown-file", "hash-mismatch", "reaches-out"} <= set(faults)
    assert "nothing was run again" in told.output
    assert faults.count("seed-differs") == 2


def edit_all_of(bundle: Path) -> None:
    for name in ("loading", "second"):
        place = f"records/tiny/tiny_model/mine/{name}"
        edit_record(bundle, lambda fields: fields["identity"].update(seed=9), place)


def test_the_screen_lets_every_built_in_method_through() -> None:
    """If it fails, an honest method is refused for what honest methods do."""
    root = ROOT / "baselines" / "explainers"
    files = [path for path in sorted(root.glob("*.py")) if path.stem != "controls"]
    assert len(files) > 5
    for path in files:
        assert screening.screen(path.read_bytes(), path.name) == []


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from benchmark.plugins.catalogue import Catalogue", "benchmark.plugins.catalogue"),
        ("from benchmark.trial import Trial", "benchmark.trial.Trial"),
        ("from benchmark import explainer, records", "benchmark.records"),
        ("import benchmark", "benchmark"),
        ("from baselines.cohorts.phantom import Phantom", "baselines.cohorts.phantom"),
        ("from baselines.explainers import controls", "baselines.explainers.controls"),
        ("from protocols.delta_t import DeltaT", "protocols.delta_t"),
    ],
)
def test_the_screen_finds_what_is_no_part_of_the_door(statement: str, name: str) -> None:
    """If it fails, a plugin reaches the truth or its own scores through the package."""
    (fault,) = screening.screen(statement.encode(), "mine.py")
    assert fault.name == "reaches-out"
    assert name in fault.detail


def test_the_screen_lets_the_door_through() -> None:
    """If it fails, a method is refused for what the documentation tells it to import."""
    source = (
        b"from benchmark.explainer import Explainer\nfrom benchmark import feature_grid, target\n"
        b"from benchmark.seeding import torch_stream\nfrom baselines.explainers import gradient\n"
        b"from captum.attr import Saliency\nfrom pytorch_grad_cam import ScoreCAM\n"
        b"from baselines.adapters.grad_cam import GradCAMExplainer\n"
    )
    assert screening.screen(source, "mine.py") == []


# The process itself


def run_code(code: str, home: Path, limits: Limits) -> ProcessResult:
    """Run a line of code in a process like those of a re-run."""
    return call(["timeit", "-n1", "-r1", code], home, limits)


def test_a_process_that_does_not_end_is_stopped_with_its_children(tmp_path: Path) -> None:
    """If it fails, a plugin keeps the verifier's machine for itself."""
    code = (
        "import subprocess, time; child = subprocess.Popen(['sleep', '600']);"
        "open('pid', 'w').write(str(child.pid)); time.sleep(600)"
    )
    start = time.monotonic()
    limits = Limits(4, 8)
    ending = run_code(code, tmp_path, limits)
    assert ending.code is None
    assert time.monotonic() - start < 60
    fault = fault_of(ending, "x", limits)
    assert fault is not None
    assert fault.name == "rerun-timeout"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child of the process lives on")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_a_process_gets_no_more_memory_than_it_may_have(tmp_path: Path) -> None:
    """If it fails, a plugin takes the verifier's machine down."""
    ending = run_code("import time; time.sleep(0.5); bytearray(2**32)", tmp_path, Limits(60, 1))
    assert (ending.code, ending.last_line) == (1, "MemoryError")


def test_a_process_gets_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a plugin reads the verifier's tokens from the environment."""
    monkeypatch.setenv("GITHUB_TOKEN", "hunter2")
    ending = run_code(
        "import os; open('env', 'w').write(repr(dict(os.environ)))", tmp_path, Limits(60, 8)
    )
    assert ending.code == 0
    told = (tmp_path / "env").read_text()
    assert "hunter2" not in told
    assert repr(str(tmp_path)) in told


def test_a_file_in_its_folder_does_not_pass_for_a_module(tmp_path: Path) -> None:
    """If it fails, a plugin that is called numpy.py is run before anything is checked."""
    (tmp_path / "timeit.py").write_text("raise SystemExit(7)")
    assert run_code("pass", tmp_path, Limits(60, 8)).code == 0


def test_a_crash_is_told_with_the_last_line(tmp_path: Path) -> None:
    """If it fails, nobody learns why a cell could not be run again."""
    limits = Limits(60, 8)
    code = "import os, sys; sys.stderr.write('\\x1b[31mout of ideas\\n'); os.abort()"
    fault = fault_of(run_code(code, tmp_path, limits), "x", limits)
    assert fault is not None
    assert fault.name == "rerun-failed"
    assert "out of ideas" in fault.detail
    assert fault.detail.isprintable()


def test_arrays_of_a_stranger_are_not_unpickled(tmp_path: Path) -> None:
    """If it fails, what a plugin writes is executed by who compares its maps."""
    path = tmp_path / "maps.npz"
    np.savez(path, maps=np.array([object()], dtype=object))
    assert read_arrays(path) == {}
    path.write_bytes(b"PK\x03\x04 and so on")
    assert read_arrays(path) == {}
    assert read_arrays(tmp_path / "none.npz") == {}


def test_maps_of_an_image_are_held_to_those_made_without_a_protocol() -> None:
    """If it fails, a map that is made for the protocol alone passes."""
    maps = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)
    one_differs = maps.copy()
    one_differs[1] = -one_differs[1]
    assert map_faults(maps, maps * 1.01, "it") == []
    for other in (one_differs, maps[:2]):
        assert [fault.name for fault in map_faults(maps, other, "it")] == ["map-differs"]


def test_another_kind_of_device_may_round_but_not_lift_every_score() -> None:
    """If it fails, naming another device lifts every score, or stops the honest."""
    values = scores_of("good", "loading")
    submitted = published(values=values.tolist())
    elsewhere = submitted.provenance.model_copy(update={"device": "another processor"})

    def faults(again: npt.NDArray[np.float64], provenance: Provenance = elsewhere) -> list[str]:
        made = sealed(published(values=again.tolist()), provenance=provenance)
        return [one.name for one in compare(submitted, made, "here")]

    rounded = values.copy()
    rounded[0] += 0.009
    assert faults(rounded) == []
    assert faults(rounded, submitted.provenance) == ["score-differs"]
    assert faults(values - 0.002) == ["score-differs"]
    rounded[0] += 0.02
    assert faults(rounded) == ["score-differs"]
