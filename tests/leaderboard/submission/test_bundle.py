"""Bundles are written whole or not at all, and records are admitted together or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from submissions import (
    FIRST,
    FOLDER,
    PROTOCOLS,
    SOURCE,
    build_published,
    copy,
    edit_all,
    edit_manifest,
    sha256,
    tree,
    write_valid,
)

from benchmark.errors import StoreError
from leaderboard.published.fault import FaultError
from leaderboard.published.folder import load_folder, write_records
from leaderboard.submission import bundle as module
from leaderboard.submission.bundle import Bundle, admit, check_out, open_bundle
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


def test_records_are_admitted_as_reproduced(valid: Path, tmp_path: Path) -> None:
    """If it fails, the board does not say that somebody else got the same scores."""
    into = tmp_path / "records"
    paths = admit(opened(valid, tmp_path / "copy"), into)
    assert len(paths) == len(PROTOCOLS)
    assert {one.tier for one in load_folder(into)} == {"reproduced"}
    before = tree(into)
    admit(opened(valid, tmp_path / "again"), into)
    assert tree(into) == before


@pytest.mark.parametrize("change", ["submitter", "version", "seed"])
def test_records_of_another_stay_as_they_are(change: str, valid: Path, tmp_path: Path) -> None:
    """If it fails, whoever takes a name overwrites the scores of who had it first."""
    into = tmp_path / "records"
    admit(opened(valid, tmp_path / "copy"), into)
    before = tree(into)
    other = copy(valid, tmp_path / "other")
    if change == "submitter":
        edit_all(other, lambda fields: fields.update(submitter="Another"))
    elif change == "version":
        edit_all(other, lambda fields: fields["identity"]["explainer"].update(version="2.0"))
    else:
        edit_all(other, lambda fields: fields["identity"].update(seed=4))
    with pytest.raises(FaultError, match="name-taken"):
        admit(opened(other, tmp_path / "second"), into)
    assert tree(into) == before


def test_one_record_in_the_way_keeps_all_out(valid: Path, tmp_path: Path) -> None:
    """If it fails, half a submission is on the board."""
    into = tmp_path / "records"
    write_records(into, [build_published("third", source=b"another source")])
    before = tree(into)
    with pytest.raises(FaultError, match="name-taken"):
        admit(opened(valid, tmp_path / "copy"), into)
    assert tree(into) == before


def test_a_disk_that_is_full_halfway_leaves_the_records_as_they_were(
    valid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, half a submission is on the board."""
    into = tmp_path / "records"
    bundle = opened(valid, tmp_path / "copy")

    def half(folder: Path, records: object) -> None:
        assert isinstance(records, list)
        write_records(folder, records[:1])
        raise StoreError("no space left")

    monkeypatch.setattr(module, "write_records", half)
    with pytest.raises(StoreError):
        admit(bundle, into)
    assert not [path for path in into.rglob("*") if path.is_file()]


def test_what_is_checked_is_what_is_used(valid: Path, tmp_path: Path) -> None:
    """If it fails, files can be exchanged between the check and the run."""
    found = opened(valid, tmp_path / "copy")
    (valid / "source/mine.py").write_text("import os\n")
    (valid / f"{FIRST}.json").unlink()
    assert found.plugin.read_bytes() == SOURCE
    assert found.folder == tmp_path / "copy"
    assert (found.records_folder / FOLDER.removeprefix("records/") / "loading.json").exists()
