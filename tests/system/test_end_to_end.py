"""The main job as a user runs it: the built-in cohort, the exported one, and what must come out."""

from __future__ import annotations

import json
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import run
from trials import assert_same_values, values_by_key

from baselines.cohorts.files.export import write_cohort
from baselines.cohorts.nifti import read_cohort
from baselines.cohorts.phantom import Phantom
from baselines.explainers.class_activation import GradCAM, GradCAMAligned, GradCAMPlusPlus
from baselines.explainers.gradient import Saliency
from baselines.explainers.path import IntegratedGradients
from baselines.models.smallresnet import SmallResNet
from benchmark.explainer import Explainer
from benchmark.reading import Reading, find, summarise
from benchmark.running.suite import load_suite
from benchmark.target import Margin
from benchmark.trial import Memory, Runtime, Trial
from protocols.delta_t import DeltaT, DeltaTConfig
from protocols.roi_pointing import RoiPointing, RoiPointingConfig

PROTOCOLS = (
    RoiPointing(RoiPointingConfig(subjects=8, repeats=2)),
    DeltaT(DeltaTConfig(quantiles=(0.02, 0.1), repeats=2, subjects=8)),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the documented command ran."""
    folder = tmp_path_factory.mktemp("run")
    done = run(folder, "run", "--explainer", "gradcampp", "--json", "first.json")
    assert done.returncode == 0, done.stderr
    (folder / "first.txt").write_text(done.stdout)
    return folder


def _results(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    document = json.loads(path.read_text())
    assert (document["suite"], document["schema_version"]) == ("v1", 1)
    return {(one["explainer"], one["protocol"]): one for one in document["results"]}


def test_every_protocol_is_healthy(finished: Path) -> None:
    """If it fails, the scores of the built-in suite say nothing."""
    text, results = (finished / "first.txt").read_text(), _results(finished / "first.json")
    assert {of for _, of in results} == set(load_suite("v1").protocols)
    for protocol in ("randomization", "agreement"):
        assert f"{protocol} on phantom × smallresnet: healthy" in text
    for protocol in ("positive_control", "roi_pointing", "delta_t"):
        assert f"{protocol} on phantom × smallresnet: healthy" in text
        scores = {
            name: one["primary"]["estimate"]
            for (name, of), one in results.items()
            if of == protocol
        }
        assert max(scores, key=scores.__getitem__) == "oracle"
        assert scores["random"] < scores["gradcampp"] < scores["oracle"]


def test_every_cell_is_scored_with_an_interval_over_subjects(finished: Path) -> None:
    """If it fails, a number goes out without its uncertainty."""
    for (name, protocol), one in _results(finished / "first.json").items():
        score = one["primary"]
        assert one["state"] == "scored"
        if (name, protocol) == ("random", "randomization"):
            assert score["estimate"] is None  # nothing over nothing
            continue
        assert score["low"] <= score["estimate"] <= score["high"]
        assert score["n_subjects"] >= 64


def test_the_report_stands_by_itself(finished: Path) -> None:
    """If it fails, the page that a clinician opens is missing or fetches something."""
    report = finished / "medsanity-runs" / "report"
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "gradcampp" in page
    assert 'src="http' not in page
    assert 'href="http' not in page.replace('href="https://', "")
    assert {path.suffix for path in report.rglob("*.*")} >= {".png", ".svg", ".csv", ".gz"}


def test_a_second_run_makes_no_pass(finished: Path) -> None:
    """If it fails, finished cells are measured again."""
    again = ["--explainer", "gradcampp", "--json", "again.json", "--report", "none"]
    done = run(finished, "run", *again)
    assert done.returncode == 0, done.stderr
    assert "0 cells measured with 0 forward and 0 backward passes" in done.stdout
    assert _results(finished / "again.json") == _results(finished / "first.json")


def test_alignment_improves_pointing() -> None:
    """If it fails, resampling at the true centres does not do what it is for."""
    trial, protocol = _trial(GradCAM()), RoiPointing(RoiPointingConfig(subjects=8, repeats=1))
    hits, scores = [], []
    for explainer in (GradCAM(), GradCAMAligned()):
        readings = protocol.readings(trial.on(explainer=explainer))
        hit = find(readings, "pointing", roi="all", region="roi", model="trained")
        score = find(readings, protocol.primary)
        assert hit is not None
        assert score is not None
        hits.append(hit)
        scores.append(summarise(score))
    plain, aligned = hits
    difference = Reading("difference", plain.sample, aligned.values - plain.values)
    assert summarise(difference).low > 0.1
    assert scores[1].low > scores[0].high


def test_the_exported_cohort_has_the_scores_of_the_embedded_one(tmp_path: Path) -> None:
    """If it fails, a cohort loses something on its way through NIfTI files."""
    trial = _trial(GradCAMPlusPlus(), rows=np.arange(0, len(Phantom().load()), 3))
    written = write_cohort(trial.cohort, tmp_path / "exported")
    exported = replace(trial, cohort=read_cohort(written), memory=Memory())
    scores = []
    for asked in (trial, exported):
        score = find(PROTOCOLS[0].readings(asked), PROTOCOLS[0].primary)
        assert score is not None
        scores.append(summarise(score))
    first, second = (astuple(score) for score in scores)
    assert second == pytest.approx(first, abs=1e-4)


def _trial(explainer: Explainer, batch_size: int = 64, rows: np.ndarray | None = None) -> Trial:
    cohort = Phantom().load()
    if rows is not None:
        cohort = cohort.take(rows)
    runtime = Runtime(torch.device("cpu"), batch_size=batch_size)
    return Trial(explainer, SmallResNet().load(cohort.shape), cohort, runtime)


@pytest.mark.parametrize("explainer", [GradCAM(), Saliency()], ids=lambda one: one.name)
def test_scores_do_not_depend_on_batches_or_order(explainer: Explainer) -> None:
    """If it fails, the reference scores change with --batch-size or a sorted participants.tsv."""
    rows = np.arange(0, len(Phantom().load()), 3)
    shuffled = np.random.default_rng(0).permutation(rows)
    runs = []
    for batch_size, order in ((64, rows), (1, shuffled), (7, rows)):
        trial = _trial(explainer, batch_size, order)
        made = [one for protocol in PROTOCOLS for one in protocol.readings(trial)]
        runs.append(values_by_key(made))
    assert_same_values(runs)


def test_integrated_gradients_are_complete() -> None:
    """If it fails, the path integral is cut too coarsely for the reference network."""
    trial = _trial(IntegratedGradients())
    images = trial.test.batch(np.arange(0, 200, 10)).images
    target, network = Margin(0, 1), trial.classifier
    made = IntegratedGradients().attribute(network, images, target).flatten(1).sum(1)
    with torch.no_grad():
        ends = [target(*network(image)) for image in (images, torch.zeros_like(images))]
    change = ends[0] - ends[1]
    assert float(((made - change).abs() / change.abs()).max()) < 0.01
