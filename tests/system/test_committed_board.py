"""The board of suite v1 is what its records make, and the records are what they claim to be."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from paths import ROOT
from submissions import tree
from verifying import invoke

from leaderboard.published.folder import load_folder
from leaderboard.published.record import PublishedRecord
from leaderboard.site.writer import BOARD, CHANGES, MANIFEST

BOARDS = ROOT / "leaderboard"
V1 = BOARDS / "v1"
MOST_BYTES = 15_000_000
SCHEMA = BOARDS / "site" / "page" / "record.schema.json"


def test_the_board_is_built_again_byte_for_byte(tmp_path: Path) -> None:
    """If it fails, what stands on the board is not what its records say."""
    out = tmp_path / "v1"
    shutil.copytree(V1, out)
    manifest = json.loads((V1 / MANIFEST).read_text())
    for name in manifest["files"]:
        # The changelog tells what changed since the board before.
        if name not in (BOARD, CHANGES) and not name.startswith("overlays/"):
            (out / name).unlink()
    told = invoke("board", "--records", out / "records", "--out", out)
    assert told.exit_code == 0, told.output
    made, committed = tree(out), tree(V1)
    if manifest["matplotlib"] != version("matplotlib"):
        # Another version draws the same figure with other bytes.
        for files in (made, committed):
            drawn = [name for name in files if name.endswith((".svg", MANIFEST))]
            for name in drawn:
                files[name] = b""
    assert made.keys() == committed.keys()
    assert [name for name in made if made[name] != committed[name]] == []
    assert (tmp_path / "index.html").read_bytes() == (BOARDS / "index.html").read_bytes()


def test_the_records_stay_small() -> None:
    """If it fails, a clone of the project grows by what nobody reads."""
    assert sum(path.stat().st_size for path in (V1 / "records").rglob("*.*")) < MOST_BYTES


def test_every_record_is_as_its_published_schema_says() -> None:
    """If it fails, a reader in another language cannot rely on the schema."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    told = jsonschema.Draft202012Validator(schema)
    records = load_folder(V1 / "records")
    assert len(records) == 480
    for record in records:
        told.validate(json.loads(record.to_json()))
    spoilt = json.loads(records[0].to_json())
    for name, value in (("tier", "blessed"), ("scores", [["x"]]), ("extra", 1), ("checksum", "0")):
        with pytest.raises(jsonschema.ValidationError):
            told.validate(spoilt | {name: value})


def test_the_published_schema_is_that_of_the_code() -> None:
    """If it fails, write ``PublishedRecord.schema_text()`` to the file, and build the board."""
    assert json.loads(SCHEMA.read_text()) == json.loads(PublishedRecord.schema_text())
