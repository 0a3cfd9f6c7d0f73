"""Publishing what a store has finished: pseudonyms, pictures, and nothing that a board refuses."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from publications import write_two_versions
from submissions import tree
from typer.testing import Result
from verifying import invoke, plugin

from baselines.cohorts.phantom import Phantom
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import find
from benchmark.records.store import Store
from leaderboard.board.bridge import load_bridges
from leaderboard.board.build import build_board
from leaderboard.commands.publish import _split
from leaderboard.published.folder import load_folder
from leaderboard.submission.rerun import why_not_isolated

SUITE = """
version = "small"
cohorts = ["phantom"]
models = ["smallresnet"]
protocols = ["roi_pointing"]
health = ["oracle", "random"]
[board]
models = ["smallresnet"]
salt = "small"
[protocol.roi_pointing]
confidence = 0.5
subjects = 32
repeats = 2
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and a store, one of whose methods is in a file of its own."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "suite.toml").write_text(SUITE)
    (folder / "mine.py").write_text(plugin())
    chosen = ["--explainer", "gradcam", "--explainer", f"{folder / 'mine.py'}:Mine"]
    quick = ["--device", "cpu", "--report", "none", "--workers", "1"]
    told = invoke("run", *chosen, *of(folder), *quick)
    assert told.exit_code == 0, told.output
    return folder


def of(folder: Path) -> list[object]:
    return ["--suite", folder / "suite.toml", "--store", folder / "store"]


def publish(folder: Path, out: Path, *more: object) -> Result:
    return invoke("publish", *of(folder), "--out", out, *more)


def test_what_is_installed_is_published_and_the_rest_is_named(
    measured: Path, tmp_path: Path
) -> None:
    """If it fails, one method in a file keeps all others off the board, or goes missing unsaid."""
    told = publish(measured, tmp_path / "records", "--submitter", "A hospital")
    assert told.exit_code == 0, told.output
    assert "Cells of explainer 'mine' are left out, 1 of them: it is not" in told.output
    assert "3 records" in told.output
    records = load_folder(tmp_path / "records")
    assert [one.names.explainer for one in records] == ["gradcam", "oracle", "random"]
    assert {(one.submitter, one.tier) for one in records} == {("A hospital", "self-reported")}
    assert len(build_board(records).models[0].rows) == 3


def test_quiet_publishes_and_builds_without_a_word(measured: Path, tmp_path: Path) -> None:
    """If it fails, a job that publishes each night sends a mail each night."""
    published = publish(measured, tmp_path / "records", "--quiet")
    given = ["--records", tmp_path / "records", "--out", tmp_path / "board", "--quiet"]
    built = invoke("board", *given)
    assert (published.exit_code, published.output) == (0, "")
    assert (built.exit_code, built.output) == (0, "")
    assert (tmp_path / "board" / "board.csv").is_file()


def test_a_metric_of_another_library_is_told_from_what_is_not_installed(measured: Path) -> None:
    """If it fails, a user who has Quantus is told that Quantus is not installed."""
    record = next(iter(Store(measured / "store").records()))
    names = record.names.model_copy(
        update={"explainer": "gradcam", "protocol": "captum:infidelity"}
    )
    known, lines = _split([record.renamed(names)], Catalogue())
    assert not known
    assert lines == [
        "Cells of protocol 'captum:infidelity' are left out, 1 of them: it is a metric of another "
        "library, and stands on no board."
    ]


def test_no_subject_is_named_and_no_score_is_another(measured: Path, tmp_path: Path) -> None:
    """If it fails, a published record can be led back to a person, or is not what was measured."""
    publish(measured, tmp_path / "records")
    names = set(Phantom().load().subjects)
    for path in tmp_path.rglob("*.json"):
        assert not names & set(re.findall(r"[\w-]+", path.read_text())), path
    raw = {one.names.explainer: one for one in Store(measured / "store").records()}
    for one in load_folder(tmp_path / "records"):
        reading = find(raw[one.names.explainer].to_readings(), one.scale.statistic)
        assert reading is not None
        published = [row[3] for row in one.scores]
        assert np.sort(published) == pytest.approx(np.sort(reading.values), rel=1e-5)


def test_pictures_of_maps_lie_where_they_are_asked_for(measured: Path, tmp_path: Path) -> None:
    """If it fails, the page of a method shows no map."""
    told = publish(measured, tmp_path / "records", "--overlays", tmp_path / "overlays")
    assert told.exit_code == 0, told.output
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == [
        "gradcam.smallresnet.webp",
        "oracle.smallresnet.webp",
        "random.smallresnet.webp",
    ]
    drawn = (tmp_path / "overlays" / "gradcam.smallresnet.webp").read_bytes()
    image = Image.open(io.BytesIO(drawn))
    assert image.format == "WEBP"
    assert np.asarray(image).std() > 10


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--tier", "blessed"], "Expected a tier of self-reported, checked, sampled"),
        (["--suite", "bare.toml"], "has no [board], so nothing of it is published"),
        (["--store", "elsewhere"], "is no store of finished cells"),
        (["--suite", "other.toml"], "holds no finished cell of suite"),
        (["--out", "occupied"], "occupied"),
    ],
)
def test_what_cannot_be_published_is_told_before_anything_is_written(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], expected: str
) -> None:
    """If it fails, a mistyped word ends in a traceback or in half of the records."""
    monkeypatch.chdir(tmp_path)
    Path("bare.toml").write_text(SUITE[: SUITE.index("[board]")])
    Path("other.toml").write_text(SUITE.replace('"small"\ncohorts', '"big"\ncohorts'))
    Path("occupied").write_text("a file")
    before = tree(tmp_path)
    told = publish(measured, tmp_path / "records", *more)
    assert told.exit_code == 2, told.output
    assert expected in told.output
    assert tree(tmp_path) == before


def test_a_second_run_in_isolation_gives_each_record_its_tier(
    measured: Path, tmp_path: Path
) -> None:
    """If it fails, the board calls reproduced what nobody has run again, or not in isolation."""
    second = tmp_path / "second"
    told = publish(measured, tmp_path / "records", "--again", second)
    assert told.exit_code == 0, told.output
    records = load_folder(tmp_path / "records")
    earned = {one.names.explainer: one.tier for one in records}
    isolated = "reproduced" if why_not_isolated() is None else "checked"
    assert earned == {"gradcam": isolated, "oracle": "checked", "random": "checked"}
    by_names = {one.names.explainer: one for one in Store(second).records()}
    assert {*by_names} == {*earned}

    # A run that came out otherwise is no confirmation.
    one = by_names["gradcam"]
    entries = [entry for entry in one.readings if not entry.conditions]
    entry = next(e for e in entries if e.statistic == records[0].scale.statistic)
    moved = tuple(None if value is None else value + 0.01 for value in entry.values)
    other = entry.model_copy(update={"values": moved})
    readings = tuple(other if each is entry else each for each in one.readings)
    forged = one.resealed({"readings": readings})
    (second / "records" / f"{one.identity_sha256}.json").unlink()
    Store(second).put(forged)
    told = publish(measured, tmp_path / "others", "--again", second)
    assert told.exit_code == 1, told.output
    assert "score-differs" in told.output
    assert not [*(tmp_path / "others").rglob("*.json")]


def test_a_store_does_not_confirm_itself(measured: Path, tmp_path: Path) -> None:
    """If it fails, a number is called reproduced because it equals itself."""
    told = publish(measured, tmp_path / "records", "--again", measured / "store")
    assert told.exit_code == 2
    assert "--again needs a store of its own" in told.output


def test_a_store_of_nothing_but_files_of_their_own_gives_no_empty_folder(
    measured: Path, tmp_path: Path
) -> None:
    """If it fails, an empty folder passes for records."""
    chosen = ["--explainer", f"{measured / 'mine.py'}:Mine"]
    where = ["--suite", tmp_path / "suite.toml", "--store", tmp_path / "store"]
    (tmp_path / "suite.toml").write_text(SUITE.replace('["oracle", "random"]', "[]"))
    invoke("run", *chosen, *where, "--device", "cpu", "--report", "none")
    told = invoke("publish", *where, "--out", tmp_path / "records")
    assert told.exit_code == 2
    assert not (tmp_path / "records").exists()


def test_a_bridge_leads_from_a_store_to_records(measured: Path, tmp_path: Path) -> None:
    """If it fails, whoever changes a protocol has to publish before they know whether it holds."""
    publish(measured, tmp_path / "records")
    write_two_versions(tmp_path, load_folder(tmp_path / "records"))
    sides = ["--older", measured / "store", "--newer", tmp_path / "newer"]
    out = ["--out", tmp_path / "bridges" / "roi_pointing.json"]
    suite = ["--suite", measured / "suite.toml"]
    told = invoke("board", "bridge", "--protocol", "roi_pointing", *sides, *out, *suite)
    assert told.exit_code == 0, told.output
    (bridge,) = load_bridges(tmp_path / "bridges")
    assert {row[1] for row in bridge.rows} == {"gradcam", "oracle", "random"}
