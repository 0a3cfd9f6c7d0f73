"""Bundles are written whole or not at all, and records are admitted together or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from submissions import FIRST, FOLDER, PROTOCOLS, SOURCE, edit_manifest, sha256, tree, write_valid

from benchmark.errors import StoreError
from leaderboard.published.fault import FaultError
from leaderboard.submission import bundle as module
from leaderboard.submission.bundle import Bundle, check_out, open_bundle
from leaderboard.submission.manifest import MANIFEST, Manifest


@pytest.fixture
def valid(tmp_path: Path) -> Path:
    """A bundle that is right in everything."""
    return write_valid(tmp_path / "bundle")


def opened(folder: Path, workspace: Path) -> Bundle:
    workspace.mkdir()
    found, faults = open_bundle(folder, workspace)
    assert faults == []
    assert found is not None
    return found


def test_a_bundle_holds_what_was_put_in(valid: Path, tmp_path: Path) -> None:
    """If it fails, a submitter sends something else than was measured."""
    found = opened(valid, tmp_path / "copy")
    assert found.source == SOURCE
    assert [one.names.protocol for one in found.records] == list(PROTOCOLS)
    assert found.manifest.files["source/mine.py"] == sha256(SOURCE)
    assert set(tree(valid)) >= {MANIFEST, f"{FIRST}.json", f"{FIRST}.readings", "source/mine.py"}
    assert not [path for path in valid.parent.iterdir() if path.name.startswith(".")]


def test_the_same_submission_is_the_same_bytes(valid: Path, tmp_path: Path) -> None:
    """If it fails, nobody can tell whether two bundles are one submission."""
    other = write_valid(tmp_path / "other")
    assert set(tree(valid)) == set(tree(other))
    assert (valid / f"{FIRST}.readings").read_bytes() == (other / f"{FIRST}.readings").read_bytes()


def test_a_newer_bundle_takes_the_place_of_an_older_one(valid: Path) -> None:
    """If it fails, files of two submissions lie in one folder."""
    (valid / "records" / "left.json").write_text("{}")
    write_valid(valid, SOURCE + b"# again\n")
    assert not (valid / "records" / "left.json").exists()
    assert (valid / "source/mine.py").read_bytes() == SOURCE + b"# again\n"


@pytest.mark.parametrize("what", ["cat.jpg", "file", "link", "other manifest", "bundle and more"])
def test_nothing_else_gives_way_to_a_bundle(what: str, tmp_path: Path) -> None:
    """If it fails, a typing error costs a folder of somebody's files."""
    out = tmp_path / "out"
    if what == "file":
        out.write_text("x")
    elif what == "link":
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / "elsewhere")
    elif what == "bundle and more":
        write_valid(out)
        (out / "thesis.txt").write_text("x")
    else:
        out.mkdir()
        (out / (MANIFEST if what == "other manifest" else what)).write_text("{}")
    before = tree(tmp_path)
    with pytest.raises(StoreError):
        check_out(out)
    with pytest.raises(StoreError):
        write_valid(out)
    assert tree(tmp_path) == before


def test_a_bundle_that_cannot_be_finished_leaves_nothing(
    valid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, half a bundle is sent in, or the last whole one is lost."""
    before = tree(tmp_path)

    def fail(folder: Path, records: object) -> None:
        folder.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_records", fail)
    for out in (valid, tmp_path / "new"):
        with pytest.raises(StoreError, match="No space left"):
            write_valid(out)
    assert tree(tmp_path) == before


def test_a_manifest_is_written_in_one_way(valid: Path) -> None:
    """If it fails, two readers may understand a manifest differently."""
    content = (valid / MANIFEST).read_bytes()
    assert Manifest.from_json(content).to_json().encode() == content
    edit_manifest(valid, lambda fields: fields["files"].update(b="0" * 64))
    fields = json.loads((valid / MANIFEST).read_text())
    fields["files"] = dict(reversed(fields["files"].items()))
    with pytest.raises(FaultError, match="not-canonical"):
        Manifest.from_json((json.dumps(fields, indent=1) + "\n").encode())


def test_what_is_checked_is_what_is_used(valid: Path, tmp_path: Path) -> None:
    """If it fails, files can be exchanged between the check and the run."""
    found = opened(valid, tmp_path / "copy")
    (valid / "source/mine.py").write_text("import os\n")
    (valid / f"{FIRST}.json").unlink()
    assert found.plugin.read_bytes() == SOURCE
    assert found.folder == tmp_path / "copy"
    assert (found.records_folder / FOLDER.removeprefix("records/") / "loading.json").exists()
