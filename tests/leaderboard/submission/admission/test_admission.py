"""Records are admitted together or not at all, each as what was verified and under its own tier."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from submissions import (
    FIRST,
    FOLDER,
    PROTOCOLS,
    build_published,
    copy,
    edit_all,
    forge,
    inflate,
    tree,
    write_valid,
)

from benchmark.errors import StoreError
from leaderboard.published.fault import FaultError
from leaderboard.published.fields import Tier
from leaderboard.published.folder import load_folder, write_records
from leaderboard.published.record import PublishedRecord
from leaderboard.submission.admission import admit as module
from leaderboard.submission.admission.admit import admit
from leaderboard.submission.admission.tiers import Confirmation
from leaderboard.submission.bundle import Bundle, open_bundle

WHY = "nothing keeps them apart"


def all_reproduced(_: PublishedRecord) -> Tier:
    return "reproduced"


@pytest.fixture
def valid(tmp_path: Path) -> Path:
    """A bundle that is right in everything."""
    return write_valid(tmp_path / "bundle")


def opened(folder: Path, workspace: Path) -> Bundle:
    workspace.mkdir()
    bundle, faults = open_bundle(folder, workspace)
    assert faults == []
    assert bundle is not None
    return bundle


def test_records_are_admitted_as_reproduced(valid: Path, tmp_path: Path) -> None:
    """If it fails, the board does not say that somebody else got the same scores."""
    into = tmp_path / "records"
    added = admit(opened(valid, tmp_path / "copy"), all_reproduced, into)
    assert len(added) == len(PROTOCOLS)
    assert {one.tier for one in load_folder(into)} == {"reproduced"}
    before = tree(into)
    admit(opened(valid, tmp_path / "again"), all_reproduced, into)
    assert tree(into) == before


@pytest.mark.parametrize("change", ["submitter", "version", "seed"])
def test_records_of_another_stay_as_they_are(change: str, valid: Path, tmp_path: Path) -> None:
    """If it fails, whoever takes a name overwrites the scores of who had it first."""
    into = tmp_path / "records"
    admit(opened(valid, tmp_path / "copy"), all_reproduced, into)
    before = tree(into)
    other = copy(valid, tmp_path / "other")
    if change == "submitter":
        edit_all(other, lambda fields: fields.update(submitter="Another"))
    elif change == "version":
        edit_all(other, lambda fields: fields["identity"]["explainer"].update(version="2.0"))
    else:
        edit_all(other, lambda fields: fields["identity"].update(seed=4))
    with pytest.raises(FaultError, match="name-taken"):
        admit(opened(other, tmp_path / "second"), all_reproduced, into)
    assert tree(into) == before


def test_one_record_in_the_way_keeps_all_out(valid: Path, tmp_path: Path) -> None:
    """If it fails, half a submission is on the board."""
    into = tmp_path / "records"
    write_records(into, [build_published("third", source=b"another source")])
    before = tree(into)
    with pytest.raises(FaultError, match="name-taken"):
        admit(opened(valid, tmp_path / "copy"), all_reproduced, into)
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
        admit(bundle, all_reproduced, into)
    assert not [path for path in into.rglob("*") if path.is_file()]


def test_what_a_plugin_does_to_the_folder_changes_nothing(valid: Path, tmp_path: Path) -> None:
    """If it fails, a plugin that is run exchanges its scores after they were verified."""
    honest, fooled = tmp_path / "honest", tmp_path / "fooled"
    admit(opened(valid, tmp_path / "copy"), all_reproduced, honest)
    bundle = opened(valid, tmp_path / "changed")
    for name in PROTOCOLS:  # what only a forger's plugin does: everything fits but the scores
        forge(bundle.folder, inflate, f"{FOLDER}/{name}")
    admit(bundle, all_reproduced, fooled)
    assert tree(fooled) == tree(honest)
    shutil.rmtree(bundle.folder)
    admit(bundle, all_reproduced, tmp_path / "without")
    assert tree(tmp_path / "without") == tree(honest)


@pytest.mark.parametrize(
    ("names", "why", "expected"),
    [
        (PROTOCOLS, None, ["reproduced"] * 3),
        (PROTOCOLS[:1], None, ["reproduced", "sampled", "sampled"]),
        (PROTOCOLS, WHY, ["checked"] * 3),
        (PROTOCOLS[:1], WHY, ["checked", "self-reported", "self-reported"]),
        ((), None, ["self-reported"] * 3),
    ],
    ids=["every cell", "a sample", "no isolation", "a sample without isolation", "nothing"],
)
def test_a_tier_tells_what_was_done_to_this_very_record(
    names: tuple[str, ...], why: str | None, expected: list[Tier], valid: Path, tmp_path: Path
) -> None:
    """If it fails, a forged record that a sample missed is called reproduced."""
    bundle, into = opened(valid, tmp_path / "copy"), tmp_path / "records"
    paths = [record.path for record in bundle.records if record.names.protocol in names]
    confirmed = Confirmation(frozenset(paths), why)
    admit(bundle, confirmed.tier_of, into)
    tiers = [record.tier for record in load_folder(into)]
    assert tiers == expected[: len(tiers)]
    line = confirmed.conclude(bundle.records)
    assert line.endswith(confirmed.tier(bundle.records))
    if names:
        assert f"{len(names)} of {len(PROTOCOLS)} cells were run again" in line
        assert (why or "") in line


def test_a_second_sample_takes_nothing_back_and_does_not_vouch_for_other_results(
    valid: Path, tmp_path: Path
) -> None:
    """If it fails, a sample undoes a verification, or lends its word to results it never saw."""
    into, first = tmp_path / "records", f"{FIRST.removeprefix('records/')}.json"
    bundle = opened(valid, tmp_path / "copy")
    admit(bundle, Confirmation(frozenset([first])).tier_of, into)
    others = frozenset(record.path for record in bundle.records if record.path != first)
    admit(bundle, Confirmation(others).tier_of, into)
    assert {record.tier for record in load_folder(into)} == {"reproduced"}
    forge(valid, inflate)
    admit(opened(valid, tmp_path / "again"), Confirmation(others).tier_of, into)
    tiers = {record.path: record.tier for record in load_folder(into)}
    assert tiers[first] == "sampled"
