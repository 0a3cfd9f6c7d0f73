"""Submissions that look right: run again in a process of their own, and found out by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from direct_worker import DirectConnection
from paths import ROOT
from publications import published, scores_of, sealed
from submissions import copy, edit_manifest, edit_record, forge, inflate, sha256, tree
from verifying import invoke, plugin, submit, verify

from benchmark import contract
from benchmark.records.provenance import Provenance
from leaderboard.published.folder import load_folder
from leaderboard.submission import rerun, screening
from leaderboard.submission.comparison import compare
from leaderboard.submission.isolation import host as hosts

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
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run again without a process, whose imports take longer than the rest."""
    monkeypatch.setattr(hosts, "Connection", DirectConnection)


@pytest.fixture
def no_contract(direct: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, and let the contract find nothing: it takes as long as all the rest."""
    monkeypatch.setattr(contract, "run_checks", lambda _: [])


@pytest.fixture
def isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the re-run say that it keeps the plugin from its scorer."""
    monkeypatch.setattr(rerun, "why_not_isolated", lambda _="cpu": None)


@pytest.fixture
def not_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine have no bubblewrap."""
    monkeypatch.setattr(rerun, "why_not_isolated", lambda _="cpu": "bubblewrap is not installed")


@pytest.mark.usefixtures("direct", "isolated")
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


@pytest.mark.usefixtures("no_contract", "not_isolated")
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
def test_a_method_that_asks_for_the_truth_is_given_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a plugin that reads the answer off its batch stands on the board."""
    monkeypatch.setattr(screening, "screen", lambda *_: [])
    submit(tmp_path, plugin(TELLS_TRUTH), monkeypatch)
    told, faults = verify(tmp_path, "--cells", 1, "--seed", 1, "--into", tmp_path / "records")
    assert (told.exit_code, faults) == (1, ["rerun-failed"]), told.output
    assert "NoneType" in told.output
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    "more", [LOOKS_UP, ROLLS_DICE], ids=["looks who is calling", "draws anew in each process"]
)
def test_a_cheat_is_found_out_by_running_it_elsewhere(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a plugin that cheats stands on the board as reproduced."""
    # The screen is no guard: it stops none who means to get past it.
    monkeypatch.setattr(screening, "screen", lambda *_: [])
    submit(tmp_path, plugin(more), monkeypatch)
    monkeypatch.setattr(contract, "run_checks", lambda _: [])
    told, faults = verify(tmp_path, "--cells", 1, "--seed", 1, "--into", tmp_path / "records")
    assert told.exit_code == 1
    # With luck the verdict is another too, which is told in place of the scores.
    assert set(faults) <= {"score-differs", "state-differs"}, told.output
    assert not (tmp_path / "records").exists()


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize("keeper", ["self.cache.", "self.__dict__.setdefault('kept', {})."])
def test_a_map_kept_by_its_image_breaks_the_contract(
    keeper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a method that ignores the second model it is asked about goes through."""
    monkeypatch.setattr(screening, "screen", lambda *_: [])
    submit(tmp_path, plugin(REMEMBERS.replace("self.cache.", keeper)), monkeypatch)
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
def test_a_plugin_that_alters_the_network_alters_a_copy_of_its_own(
    honest: Path, tmp_path: Path
) -> None:
    """If it fails, a plugin tunes the model that its scores are measured on."""
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
    # The scorer would have found its own weights changed.
    assert (told.exit_code, faults) == (0, []), told.output


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
        faults = screening.screen(path.read_bytes(), path.name)
        # A function of the package hands a module on, which a submission's single file need not.
        assert [fault for fault in faults if "'rules'" not in fault.detail] == []


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
