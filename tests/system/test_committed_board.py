"""The board of suite v1 is what its records make, and the records are what they claim to be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from paths import ROOT
from submissions import tree
from verifying import invoke

from baselines.cohorts.phantom import Phantom
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import Reading
from benchmark.records.record import Outcome, Record
from benchmark.results.health import protocol_health
from benchmark.results.summary import summarise_records
from leaderboard.board.board import Board, ModelBoard
from leaderboard.board.scores import CHANCE
from leaderboard.published.folder import load_folder, read_readings
from leaderboard.published.record import PublishedRecord
from leaderboard.site.writer import BOARD, CHANGES, MANIFEST
from leaderboard.submission.rules import read_rules

BOARDS = ROOT / "leaderboard"
V1 = BOARDS / "v1"
MODEL = "smallvit"
PROTOCOLS = {
    name: Catalogue().protocols.find(name).plugin
    for name in ("agreement", "delta_t", "positive_control", "randomization", "roi_pointing")
}
MOST_BYTES = 15_000_000
SCHEMA = BOARDS / "site" / "page" / "record.schema.json"


def _unless_told(suite: str) -> Callable[[str, list[str]], set[str]]:
    """Return what to leave out of a folder: of other suites all but what tells of their boards."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        own = suite in Path(folder).relative_to(BOARDS).parts
        return set() if own else set(names) - {BOARD, "superseded.txt"}

    return ignored


@pytest.mark.parametrize("suite", ["v1", "v2"])
def test_the_board_is_built_again_byte_for_byte(suite: str, tmp_path: Path) -> None:
    """If it fails, what stands on the board is not what its records say."""
    board, out = BOARDS / suite, tmp_path / suite
    for other in BOARDS.glob("v*/board.json"):  # the page of all versions tells of each
        shutil.copytree(other.parent, tmp_path / other.parent.name, ignore=_unless_told(suite))
    manifest = json.loads((board / MANIFEST).read_text())
    for name in manifest["files"]:
        # The changelog tells what changed since the board before.
        if name not in (BOARD, CHANGES) and not name.startswith("overlays/"):
            (out / name).unlink()
    told = invoke("board", "--records", out / "records", "--out", out)
    assert told.exit_code == 0, told.output
    made, committed = tree(out), tree(board)
    if manifest["matplotlib"] != version("matplotlib"):
        # Another version draws the same figure with other bytes.
        for files in (made, committed):
            drawn = [name for name in files if name.endswith((".svg", MANIFEST))]
            for name in drawn:
                files[name] = b""
    assert made.keys() == committed.keys()
    assert [name for name in made if made[name] != committed[name]] == []
    assert (tmp_path / "index.html").read_bytes() == (BOARDS / "index.html").read_bytes()


@pytest.fixture(scope="module")
def published() -> tuple[PublishedRecord, ...]:
    return load_folder(V1 / "records")


@pytest.fixture(scope="module")
def records_of_a_run(published: tuple[PublishedRecord, ...]) -> list[Record]:
    """Records of one model as the store of a run holds them, under the subjects' own names."""
    rules = read_rules("v1")
    test = Phantom().load().select("test")
    subjects = [str(subject) for subject in test.subjects]
    names = {rules.pseudonyms.name(subject): subject for subject in subjects}
    records = []
    for cell in (record for record in published if record.names.model == MODEL):
        readings = [] if cell.readings is None else read_readings(V1 / "records", cell)
        # A sidecar rounds values that the record gives with more digits.
        score = cell.score
        if score is not None:
            readings = [
                score if reading.matches(score.statistic) else reading for reading in readings
            ]
        outcome = Outcome(
            cell.state,
            cell.reason,
            cell.verdict,
            [_own_names(reading, names) for reading in readings],
        )
        record = Record.seal(cell.identity, cell.names, outcome, cell.provenance, cell.resources)
        records.append(record)
    return records


def _own_names(reading: Reading, names: Mapping[str, str]) -> Reading:
    sample = reading.sample
    subjects = tuple(names[subject] for subject in sample.subjects)
    return replace(reading, sample=replace(sample, subjects=subjects))


@pytest.fixture(scope="module")
def model_board() -> ModelBoard:
    board = Board.model_validate_json((V1 / BOARD).read_text())
    return next(model for model in board.models if model.model == MODEL)


def test_a_run_and_the_board_give_the_same_numbers(
    records_of_a_run: list[Record], model_board: ModelBoard
) -> None:
    """If it fails, the same score has two values: one in a terminal and one on a page."""
    cells = {(row.explainer, cell.protocol): cell for row in model_board.rows for cell in row.cells}
    compared = 0
    for result in summarise_records(records_of_a_run, PROTOCOLS, details=False):
        cell = cells[result.explainer, result.protocol]
        assert (cell.state, cell.verdict) == (result.state, result.verdict)
        score = result.primary if result.primary.n_subjects else None
        pairs = ((score, cell.score), (result.primary.calibrated, cell.calibrated))
        for told, shown in pairs:
            assert (shown is None) == (told is None)
            if told is not None and shown is not None:
                numbers = [told.estimate, told.low, told.high]
                assert [shown.estimate, shown.low, shown.high] == pytest.approx(numbers, abs=6e-5)
                compared += 1
    assert compared == 143  # of 16 methods, one has no score under the gate


def test_a_run_and_the_board_agree_on_which_protocol_works(
    records_of_a_run: list[Record], model_board: ModelBoard
) -> None:
    """If it fails, a protocol is healthy on a page and unhealthy in a terminal."""
    told = {health.protocol: health for health in protocol_health(records_of_a_run, PROTOCOLS)}
    assert told.keys() == {health.protocol for health in model_board.health}
    for shown in model_board.health:
        assert told[shown.protocol].healthy == shown.healthy
        assert shown.reason in told[shown.protocol].reason


def test_the_board_knows_under_what_noise_scores_zero() -> None:
    """If it fails, the board holds noise to another statistic than a run does."""
    named = {name: (one.name, one.aggregate) for name, one in CHANCE.items()}
    assert named == {
        name: (protocol.chance, protocol.statistic(protocol.chance).aggregate)
        for name, protocol in PROTOCOLS.items()
    }


def test_the_records_stay_small() -> None:
    """If it fails, a clone of the project grows by what nobody reads."""
    assert sum(path.stat().st_size for path in (V1 / "records").rglob("*.*")) < MOST_BYTES


def test_every_record_is_as_its_published_schema_says(
    published: tuple[PublishedRecord, ...],
) -> None:
    """If it fails, a reader in another language cannot rely on the schema."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    told = jsonschema.Draft202012Validator(schema)
    assert len(published) == 480
    for record in published:
        told.validate(json.loads(record.to_json()))
    spoilt = json.loads(published[0].to_json())
    for name, value in (("tier", "blessed"), ("scores", [["x"]]), ("extra", 1), ("checksum", "0")):
        with pytest.raises(jsonschema.ValidationError):
            told.validate(spoilt | {name: value})


def test_the_published_schema_is_that_of_the_code() -> None:
    """If it fails, write the schema of today to the file, and build the board."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    assert json.loads(SCHEMA.read_text()) == dialect | PublishedRecord.model_json_schema()
