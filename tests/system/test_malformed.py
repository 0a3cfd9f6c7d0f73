"""Hundreds of careless and hostile submissions, each refused under the name that it must get."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from spoiling import RECORD, Case, Spoil, let
from spoilt_claims import claims, manifests, wrong_identity
from spoilt_folders import files_there
from spoilt_sidecars import forgeries, sidecars
from spoilt_sources import sources
from spoilt_texts import duplicates, encodings, numbers, schema, truncations
from submissions import (
    PROTOCOLS,
    Json,
    build_standard,
    copy,
    edit_all,
    edit_manifest,
    faults_of,
    tree,
    write_valid,
)

from leaderboard.published.fault import plain
from leaderboard.submission.checks import Standard
from leaderboard.submission.manifest import MANIFEST


def sample_files() -> dict[str, Json]:
    """Return the fields of a record and a manifest as they are when nothing is wrong."""
    with tempfile.TemporaryDirectory() as place:
        folder = write_valid(Path(place, "bundle"))
        return {name: json.loads((folder / name).read_text()) for name in (RECORD, MANIFEST)}


def cases() -> list[Case]:
    files = sample_files()
    made = [*truncations(), *encodings(), *numbers(), *schema(files), *duplicates(files)]
    made += [*claims(), *manifests(), *files_there(), *sidecars(), *forgeries(), *sources()]
    swapped = {"a record of a wrong identity": wrong_identity}
    return [(name, fault, swapped.get(name, spoil)) for name, fault, spoil in made]


CASES = cases()


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that every case spoils a copy of."""
    return write_valid(tmp_path_factory.mktemp("valid") / "bundle")


@pytest.fixture(scope="module")
def standard() -> Standard:
    """What the verifier knows."""
    return build_standard()


def test_nothing_is_wrong_with_the_bundle_that_is_spoilt(
    valid: Path, standard: Standard, tmp_path: Path
) -> None:
    """If it fails, the cases below are refused for another reason than their own."""
    assert faults_of(valid, tmp_path, standard) == []


def test_there_are_hundreds_of_cases_each_its_own() -> None:
    """If it fails, two cases go by one name, and one of them hides the other."""
    assert len(CASES) >= 400
    assert len({name for name, _, _ in CASES}) == len(CASES)
    assert len({fault for _, fault, _ in CASES}) >= 40


@pytest.mark.parametrize(
    ("fault", "spoil"), [case[1:] for case in CASES], ids=[plain(case[0]) for case in CASES]
)
def test_a_spoilt_submission_is_refused_by_name(
    fault: str, spoil: Spoil, valid: Path, standard: Standard, tmp_path: Path
) -> None:
    """If it fails, a submission is let in, stops the verifier, or is refused for a wrong reason."""
    bundle, workspace = copy(valid, tmp_path / "bundle"), tmp_path / "copy"
    workspace.mkdir()
    spoil(bundle)
    found = faults_of(bundle, workspace, standard)
    assert fault in {one.name for one in found}, found
    assert all(str(one).isprintable() for one in found)
    # Nothing is written but the copy.
    assert {one.name for one in tmp_path.iterdir()} <= {"bundle", "copy"}
    assert not any(path.is_symlink() for path in workspace.rglob("*"))
    assert {path.split("/")[0] for path in tree(workspace)} <= {MANIFEST, "records", "source"}


def test_all_records_of_another_suite_are_refused_together(
    valid: Path, standard: Standard, tmp_path: Path
) -> None:
    """If it fails, scores of an easier suite stand on the board."""
    bundle, workspace = copy(valid, tmp_path / "bundle"), tmp_path / "copy"
    workspace.mkdir()
    edit_all(bundle, let("identity", "suite", value="easy"))
    edit_manifest(bundle, let("suite", value="easy"))
    found = [one for one in faults_of(bundle, workspace, standard) if one.name == "other-suite"]
    assert [one.location for one in found] == [MANIFEST]
    assert len(PROTOCOLS) == 2
