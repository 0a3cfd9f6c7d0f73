"""Submitting: checked before anything is scored, and a bundle only of what was scored whole."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from submissions import tree
from typer.testing import Result
from verifying import HONEST, invoke, plugin, verify, write_board

from benchmark import contract
from benchmark.running import engine
from leaderboard.submission.manifest import MANIFEST, Manifest

RAISES = '''

        def attribute_batch(self, classifier, batch, target):
            """Give up."""
            raise ValueError("out of ideas")
'''
BREAKS = '''

        def attribute_batch(self, classifier, batch, target):
            """Draw from the global random state."""
            return torch.rand_like(batch.images)
'''


def submit(folder: Path, *more: object, text: str = "", name: str = "My CAM") -> Result:
    """Submit ``mine.py`` of a folder."""
    write_board(folder)
    (folder / "mine.py").write_text(text or plugin())
    where = ["--suite", folder / "suite.toml", "--store", folder / "store", "--device", "cpu"]
    given = [f"{folder / 'mine.py'}:Mine", "--name", name, "--out", folder / "bundle"]
    return invoke("submit", *given, *where, *more)


@pytest.fixture
def no_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the contract out, which takes as long as all the rest."""
    monkeypatch.setattr(contract, "run_checks", lambda _: [])


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if anything is checked or scored."""
    monkeypatch.setattr(engine, "run", lambda *_: pytest.fail("scored before all was checked"))
    monkeypatch.setattr(contract, "run_checks", lambda _: pytest.fail("checked too early"))


def test_a_method_is_checked_scored_and_bundled(tmp_path: Path) -> None:
    """If it fails, what submit writes is not what verify asks for."""
    told = submit(tmp_path, "--submitter", "Someone")
    assert told.exit_code == 0, told.output
    assert "bundle with 2 records" in told.output
    manifest = Manifest.from_json((tmp_path / "bundle" / MANIFEST).read_bytes())
    assert (manifest.title, manifest.explainer) == ("My CAM", "mine")
    assert (manifest.class_name, manifest.submitter) == ("Mine", "Someone")
    verified, faults = verify(tmp_path, "--no-rerun")
    assert (verified.exit_code, faults) == (0, []), verified.output
    quiet, faults = verify(tmp_path, "--no-rerun", "--quiet")
    assert (quiet.stdout, quiet.stderr, faults) == (verified.stdout, "", [])


@pytest.mark.usefixtures("no_contract")
def test_a_second_run_takes_its_cells_from_the_store(tmp_path: Path) -> None:
    """If it fails, a submission that was stopped begins anew."""
    assert submit(tmp_path).exit_code == 0
    kept = tree(tmp_path / "store" / "records")
    quiet = submit(tmp_path, "--quiet", name="Another title")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert " × " in quiet.stdout.splitlines()[0], "the title of the scores"
    assert "bundle: " not in quiet.stdout
    assert tree(tmp_path / "store" / "records") == kept
    content = (tmp_path / "bundle" / MANIFEST).read_bytes()
    assert Manifest.from_json(content).title == "Another title"
    assert not [one.name for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_a_broken_contract_is_told_and_nothing_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, an author learns of a mistake from the verifier."""
    monkeypatch.setattr(engine, "run", lambda *_: pytest.fail("scored"))
    told = submit(tmp_path, text=plugin(BREAKS))
    assert told.exit_code == 1
    assert "side effects" in told.output
    assert not (tmp_path / "bundle").exists()


@pytest.mark.usefixtures("no_contract")
def test_a_failed_cell_leaves_no_bundle(tmp_path: Path) -> None:
    """If it fails, a bundle goes out that verify refuses."""
    told = submit(tmp_path, text=plugin(RAISES))
    assert told.exit_code == 1
    assert "2 of 2 cells failed; no bundle was written" in told.output
    assert not (tmp_path / "bundle").exists()


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gradcam", "submit takes path/to/file.py:Class"),
        ("mine.py", "submit takes path/to/file.py:Class"),
        ("FOLDER/mine.py:Yours", "has no class 'Yours'"),
        ("FOLDER/none.py:Mine", "cannot be read"),
    ],
)
def test_only_a_class_in_a_file_is_submitted(given: str, said: str, tmp_path: Path) -> None:
    """If it fails, a bundle has no source."""
    suite = write_board(tmp_path)
    (tmp_path / "mine.py").write_text(plugin())
    spec = given.replace("FOLDER", str(tmp_path))
    told = invoke("submit", spec, "--name", "X", "--out", tmp_path / "out", "--suite", suite)
    assert told.exit_code == 2
    assert said in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("", (), "at 'title'"),
        ("bell\x07", (), "U+0007"),
        ("x" * 81, (), "at 'title'"),
        ("My CAM", ("--submitter", "zero\u200bwidth"), "at 'submitter'"),
        ("My CAM", ("--suite", "v9"), "Unknown suite"),
        ("My CAM", ("--model", "none"), "Unknown model"),
        ("My CAM", ("--device", "tpu"), "There is no device"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_computed(
    name: str, more: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    """If it fails, an hour is spent on a bundle that cannot be written."""
    told = submit(tmp_path, *more, name=name)
    assert told.exit_code == 2, told.output
    assert said in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HONEST.replace("import torch", "import os, torch"), "has no need of 'os'"),
        (HONEST.replace('name = "mine"', f'name = "{"m" * 65}"'), "at 'explainer'"),
        (HONEST.replace('name = "mine"', 'name = "gradcam"'), "gradcam"),
    ],
)
def test_what_verify_would_refuse_is_refused_at_once(text: str, said: str, tmp_path: Path) -> None:
    """If it fails, an author scores for an hour what is refused at first sight."""
    told = submit(tmp_path, text=dedent(text))
    assert told.exit_code == 2, told.output
    assert said in told.stderr


@pytest.mark.usefixtures("nothing_computed")
def test_a_control_is_no_submission(tmp_path: Path) -> None:
    """If it fails, a map that is told the truth is ranked."""
    text = (
        "from benchmark.explainer import Control\n\n\nclass Mine(Control):\n"
        '    name = "mine"\n\n    def draw(self, batch):\n        return batch.images\n'
    )
    told = submit(tmp_path, text=text)
    assert told.exit_code == 2
    assert "is a Control" in told.stderr


@pytest.mark.usefixtures("nothing_computed")
def test_a_suite_without_a_board_publishes_nothing(tmp_path: Path) -> None:
    """If it fails, people are published under names that anyone can undo."""
    suite = write_board(tmp_path)
    suite.write_text(suite.read_text().split("[board]")[0])
    (tmp_path / "mine.py").write_text(plugin())
    given = [f"{tmp_path / 'mine.py'}:Mine", "--name", "X", "--out", tmp_path / "out"]
    told = invoke("submit", *given, "--suite", suite)
    assert told.exit_code == 2
    assert "has no [board]" in told.stderr


@pytest.mark.usefixtures("nothing_computed")
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """If it fails, a typing error costs a folder of somebody's files."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.txt").write_text("x")
    told = submit(tmp_path)
    assert told.exit_code == 2
    assert "thesis.txt" in told.stderr
    assert (tmp_path / "bundle" / "thesis.txt").read_text() == "x"
