"""`cohort corrupt`: a cohort in, a corrupted one out, and one sentence for every slip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import fakes
import numpy as np
import pytest
from runs import write_suite
from typer.testing import CliRunner, Result

from baselines.cohorts.nifti import read_cohort, write_cohort
from benchmark.commands.app import app
from benchmark.plugins.examples import build_cohort

BALL = ("--site", "18,18,0", "--radius", "5")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def corrupt(cohort: object, out: Path, *options: object, kind: str = "attenuate") -> Result:
    strength = () if kind == "zero" else ("--strength", 0.5)
    return call("cohort", "corrupt", cohort, "--out", out, "--kind", kind, *strength, *options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort of 48 subjects, and a store in which it was explained."""
    folder = tmp_path_factory.mktemp("finished")
    write_cohort(build_cohort(subjects=48, regions=1), folder / "cohort")
    run_of(folder, "TinyModel")
    return folder


def run_of(folder: Path, model: str) -> None:
    suite = write_suite(folder)
    store = ("--store", folder / "store", "--report", "none", "--device", "cpu")
    explained = ("--cohort", folder / "cohort", "--model", fakes.spec(model))
    done = call("run", "--suite", suite, "--explainer", fakes.spec("Bright"), *explained, *store)
    assert done.exit_code == 0, done.output


def test_a_cohort_is_corrupted_at_given_sites(tmp_path: Path) -> None:
    """If it fails, the command does not do what its library does."""
    done = corrupt(fakes.spec("TinyCohort"), tmp_path / "out", *BALL)
    assert done.exit_code == 0, done.output
    assert "12 clean and 12 corrupted subjects" in done.output
    assert str(tmp_path / "out" / "cohort.toml") in done.output
    read = read_cohort(tmp_path / "out" / "cohort.toml")
    record = json.loads((tmp_path / "out" / "corruption.json").read_text())
    assert record["result"]["fingerprint"] == read.fingerprint
    assert record["source"]["fingerprint"] == fakes.TinyCohort().load().fingerprint
    inspected = call("cohort", "inspect", tmp_path / "out")
    assert inspected.exit_code == 0
    assert "corrupted" in inspected.output


@pytest.mark.parametrize(
    "options",
    [
        ("--region", "left", "--region", "right"),
        ("--random-sites", 2, "--radius", 3, "--seed", 4),
        ("--random-sites", 1, "--radius", 3, "--only-group", "A", "--soft-edge", 2),
    ],
)
def test_other_places_are_recorded(tmp_path: Path, options: Sequence[object]) -> None:
    """If it fails, nobody can say afterwards what was done."""
    done = corrupt(fakes.spec("TinyCohort"), tmp_path / "out", *options, kind="zero")
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "corruption.json").read_text())
    assert record["corruption"]["kind"] == "zero"
    if "--region" in options:
        assert record["sites"] == {"places": "regions", "regions": ["left", "right"]}
    else:
        assert len(record["sites"]["points"]) == options[1]
    assert record["only_group"] == ("A" if "--only-group" in options else None)


def test_the_top_of_own_maps_is_corrupted_in_the_subjects_that_have_one(
    finished: Path, tmp_path: Path
) -> None:
    """If it fails, "the most important pixels" are others, or untested subjects slip in."""
    maps = ("--map-of", fakes.spec("Bright"), "--model", fakes.spec("TinyModel"))
    store = ("--store", finished / "store")
    done = corrupt(finished / "cohort", tmp_path / "out", *maps, *store, "--top", 0.04)
    assert done.exit_code == 0, done.output
    source = build_cohort(subjects=48, regions=1).select("test")
    made = read_cohort(tmp_path / "out/cohort.toml")
    assert made.subjects == source.subjects
    assert set(made.participants["split"]) == {"train", "validation", "test"}
    # The fake explainer's map is the image, so the top is where the image is brightest.
    for image, mask, organ in zip(
        source.images, made.anatomy.rois["corrupted"], source.anatomy.foreground, strict=True
    ):
        assert mask.sum() == np.ceil(0.04 * organ.sum())
        assert image[mask].min() >= image[organ & ~mask].max()
    record = json.loads((tmp_path / "out/corruption.json").read_text())
    assert record["maps"]["explainer"]["name"] == "bright"
    assert record["maps"]["model"] == "tiny_model"


def test_the_top_of_the_mean_map_serves_every_split(finished: Path, tmp_path: Path) -> None:
    """If it fails, a registered cohort loses its training images to a map."""
    maps = ("--map-of", fakes.spec("Bright"), "--model", fakes.spec("TinyModel"), "--mean-map")
    done = corrupt(
        finished / "cohort", tmp_path / "out", *maps, "--store", finished / "store", "--top", 0.04
    )
    assert done.exit_code == 0, done.output
    made, source = read_cohort(tmp_path / "out/cohort.toml"), build_cohort(subjects=48, regions=1)
    assert list(made.participants["split"]) == list(source.participants["split"])
    masks = made.anatomy.rois["corrupted"]
    assert (masks == masks[0]).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "Expected one of --site, --region, --random-sites, --map-of"),
        ((*BALL, "--region", "left"), "got --site and --region"),
        (("--site", "18,18,0"), "--site needs --radius MM"),
        (("--site", "18,18", "--radius", 5), "Expected --site X,Y,Z in mm"),
        (("--site", "18,18,nan", "--radius", 5), "Expected --site X,Y,Z in mm"),
        (("--site", "999,18,0", "--radius", 5), "lies outside the image of"),
        (("--site", "18,18,0", "--radius", 0.1), "at least a voxel"),
        (("--region", "nose"), "Its regions: left"),
        (("--region", "left", "--radius", 5), "--radius means nothing beside --region"),
        ((*BALL, "--top", 0.04), "--top means nothing beside --site"),
        ((*BALL, "--mean-map"), "--mean-map means nothing beside --site"),
        ((*BALL, "--only-group", "C"), "Its groups: A, B"),
        ((*BALL, "--strength", 0.5), "Expected strengths that differ"),
        ((*BALL, "--strength", 2), "(0, 1]"),
        (("--random-sites", 0, "--radius", 5), "at least one random site"),
        (("--map-of", "bright"), "--map-of needs --top SHARE"),
        (("--map-of", "gradcam", "--top", 0.04, "--store", "nowhere"), "no store of finished runs"),
    ],
)
def test_a_slip_is_one_sentence_and_leaves_nothing(
    finished: Path, tmp_path: Path, options: Sequence[object], sentence: str
) -> None:
    """If it fails, a user gets a traceback, or half a cohort."""
    done = corrupt(finished / "cohort", tmp_path / "out", *options)
    assert done.exit_code == 2, done.output
    assert sentence in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--map-of", "grad_cam", "--top", 0.04), "Unknown explainer 'grad_cam'"),
        (("--map-of", "gradcam", "--top", 0.04), "Explainers in the store: bright"),
        (("--map-of", "BRIGHT", "--top", 1), "in (0, 1), got 1"),
        (("--map-of", "BRIGHT", "--top", 0.04, "--model", "smallvgg"), "in the store: tiny_model"),
        (("--map-of", "BRIGHT", "--top", 0.04, "--model", "vgg"), "Unknown model 'vgg'"),
    ],
)
def test_maps_that_are_not_to_be_had_are_named(
    finished: Path, tmp_path: Path, options: Sequence[object], sentence: str
) -> None:
    """If it fails, a user searches in the wrong place for maps that were never made."""
    spelled = [fakes.spec("Bright") if word == "BRIGHT" else word for word in options]
    if "--model" not in spelled:
        spelled += ["--model", fakes.spec("TinyModel")]
    out, store = tmp_path / "out", ("--store", finished / "store")
    done = corrupt(finished / "cohort", out, *spelled, *store)
    assert done.exit_code == 2, done.output
    assert sentence in " ".join(done.output.split())


def test_lost_maps_and_other_cohorts_are_told(finished: Path, tmp_path: Path) -> None:
    """If it fails, maps of one cohort are laid over another, or an empty archive is a traceback."""
    maps = ("--map-of", fakes.spec("Bright"), "--model", fakes.spec("TinyModel"), "--top", 0.04)
    store = ("--store", finished / "store")
    other = corrupt(fakes.spec("OtherCohort"), tmp_path / "out", *maps, *store)
    assert other.exit_code == 2
    assert "No finished run is on cohort 'other'" in other.output
    built_in = corrupt("phantom", tmp_path / "out", *maps, *store)
    assert "No finished run is on cohort 'phantom'" in built_in.output
    for path in (finished / "store/arrays").glob("*.npz"):
        path.unlink()
    lost = corrupt(finished / "cohort", tmp_path / "out", *maps, *store)
    assert lost.exit_code == 2
    assert "arrays are missing from the store" in " ".join(lost.output.split())
