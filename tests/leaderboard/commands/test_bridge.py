"""A bridge between two versions of a protocol, made by a command and read by the board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from publications import in_version, many, sealed, write_two_versions
from typer.testing import Result
from verifying import invoke

from leaderboard.board.bridge import load_bridges, make_bridge
from leaderboard.published.folder import load_folder, write_records
from leaderboard.published.record import PublishedRecord

EXPLAINERS = ("good", "oracle", "random")


def records() -> list[PublishedRecord]:
    return many(EXPLAINERS, ("loading", "sitting"), ())


def bridge(folder: Path, *more: object, protocol: str = "loading") -> Result:
    sides = ["--older", folder / "older", "--newer", folder / "newer"]
    out = folder / "bridges" / "loading.json"
    return invoke("board", "bridge", "--protocol", protocol, *sides, "--out", out, *more)


def test_a_bridge_is_the_file_that_the_board_reads(tmp_path: Path) -> None:
    """If it fails, what the documentation asks for cannot be made."""
    write_two_versions(tmp_path, records())
    told = bridge(tmp_path)
    assert told.exit_code == 0, told.output
    assert "loading 1.0 and 1.9, 3 explainers, no score moves by more than 1e-06" in told.output
    (written,) = load_bridges(tmp_path / "bridges")
    sides = [
        [record for record in load_folder(tmp_path / side) if record.names.protocol == "loading"]
        for side in ("older", "newer")
    ]
    assert written == make_bridge(*sides)
    assert {row[1] for row in written.rows} == set(EXPLAINERS)


def _other_settings(record: PublishedRecord) -> PublishedRecord:
    protocol = record.identity.protocol.model_copy(update={"config": {"power": 2.0}})
    identity = record.identity.model_copy(update={"protocol": protocol})
    return sealed(record, identity=identity)


def _fewer_images(record: PublishedRecord) -> PublishedRecord:
    return sealed(record, scores=record.scores[1:])


NEWER = [in_version(record) for record in many(EXPLAINERS, ("loading",), ())]


@pytest.mark.parametrize(
    ("newer", "said"),
    [
        ([in_version(record, shift=0.01) for record in NEWER], "bridge-breaks"),
        ([in_version(record, "2.0") for record in NEWER], "1.0 and 2.0 do not compare"),
        ([in_version(record, "1.0") for record in NEWER], "both are of version 1.0"),
        ([in_version(record, "0.9") for record in NEWER], "version 1.0 is not older than 0.9"),
        (NEWER[:1], "it needs 2 explainers at least, and holds 1"),
        ([NEWER[0], in_version(NEWER[1], "1.8")], "holds the versions 1.8, 1.9"),
        (list(map(_other_settings, NEWER)), "differs between the two: protocol"),
        (list(map(_fewer_images, NEWER)), "differs between the two: images"),
    ],
)
def test_what_is_no_bridge_is_refused_in_one_sentence(
    newer: Sequence[PublishedRecord], said: str, tmp_path: Path
) -> None:
    """If it fails, scores stand on one board that do not compare, or a board cannot be built."""
    for side, given in (("older", records()), ("newer", newer)):
        bare = [(sealed(record, readings=None), None) for record in given]
        write_records(tmp_path / side, bare)
    told = bridge(tmp_path)
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1), told.output
    assert said in told.stderr
    assert not (tmp_path / "bridges").exists()


def test_a_protocol_that_no_side_holds_has_no_bridge(tmp_path: Path) -> None:
    """If it fails, a mistyped name ends in a traceback."""
    write_two_versions(tmp_path, records())
    told = bridge(tmp_path, protocol="lodaing")
    assert (told.exit_code, told.stderr.count("\n")) == (2, 1)
    assert "no cell of the protocol is on both sides" in told.stderr
