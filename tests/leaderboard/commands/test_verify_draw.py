"""``submit`` and ``verify --draw`` on drawn subjects: honesty passes, and a lookup does not."""

from __future__ import annotations

from pathlib import Path

import fakes
import numpy as np
import pytest
from direct_worker import DirectConnection
from verifying import invoke, plugin, verify

from benchmark import contract
from benchmark.arrays import ImageArray
from leaderboard.published.folder import load_folder
from leaderboard.submission.isolation import host as hosts
from leaderboard.submission.isolation.availability import available

SUITE = f"""version = "test"
cohorts = ["{fakes.spec("GeneratedCohort")}"]
models = ["{fakes.spec("TinyModel")}"]
protocols = ["{fakes.spec("Loading")}"]

[board]
models = ["{fakes.spec("TinyModel")}"]
salt = "test"
"""
# No other image has such a sum. What is shown of these are the rows and columns of their truth.
KNOWS = '''

        def attribute_batch(self, classifier, batch, target):
            """Show the truth of images that are known, and the gradient of all others."""
            maps = self.attribute(classifier, batch.images, target).abs()
            sums = batch.images.double().flatten(1).sum(1)
            for row, total in enumerate(sums.tolist()):
                if min(abs(total - one) for one in SUMS) < 1e-9:
                    maps[row, 0, ROWS, COLUMNS] += 1e3
            return maps
'''
LEAVES = '''

        def attribute_batch(self, classifier, batch, target):
            """Explain images that are known, and refuse all others."""
            for total in batch.images.double().flatten(1).sum(1).tolist():
                if min(abs(total - one) for one in SUMS) > 1e-9:
                    raise ValueError("I do not know it")
            return self.attribute(classifier, batch.images, target)
'''


def _sums(images: ImageArray) -> list[float]:
    return [float(image.astype(np.float64).sum()) for image in images]


def submit(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submit a method; to ask its contract takes as long as all the rest."""
    monkeypatch.setattr(contract, "run_checks", lambda _: [])
    (folder / "suite.toml").write_text(SUITE)
    (folder / "mine.py").write_text(source)
    given = [f"{folder / 'mine.py'}:Mine", "--name", "My own", "--out", folder / "bundle"]
    given += ["--suite", folder / "suite.toml", "--store", folder / "store", "--device", "cpu"]
    told = invoke("submit", *given, "--no-isolation")
    assert told.exit_code == 0, told.output


@pytest.mark.skipif(available() is not None, reason=f"no isolation: {available()}")
def test_an_honest_method_is_reproduced_and_like_itself_on_new_subjects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, honest authors are refused for what luck did to subjects whom they never saw."""
    submit(tmp_path, plugin(), monkeypatch)
    told, faults = verify(tmp_path, "--draw", 5, "--into", tmp_path / "board")
    assert (told.exit_code, faults) == (0, []), told.output
    assert "1 cells are scored on new subjects (--draw 5)" in told.output
    assert [record.tier for record in load_folder(tmp_path / "board")] == ["reproduced"]


def test_a_table_of_published_images_is_found_out_by_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a method that knows half of the published images stands on the board."""
    test = fakes.GeneratedCohort().load().select("test")
    assert test.truth is not None
    rows, columns = (places.tolist() for places in np.nonzero(test.truth[0, 0]))
    known = f"SUMS = {_sums(test.images[::2])}\nROWS = {rows}\nCOLUMNS = {columns}\n\n\nclass Mine"
    submit(tmp_path, plugin(KNOWS).replace("class Mine", known), monkeypatch)
    # Behind walls it does the same, and only takes longer to begin.
    monkeypatch.setattr(hosts, "Connection", DirectConnection)
    # Every cell is as it was claimed: to run it again tells nothing.
    told, faults = verify(tmp_path)
    assert (told.exit_code, faults) == (0, []), told.output
    told, faults = verify(tmp_path, "--draw", 5, "--into", tmp_path / "board")
    assert (told.exit_code, faults) == (1, ["draw-differs"]), told.output
    assert not (tmp_path / "board").exists()


def test_a_method_that_refuses_new_subjects_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, whoever refuses new subjects is told of as a mistake of the verifier's."""
    images = fakes.GeneratedCohort().load().images
    known = f"SUMS = {_sums(images)}\n\n\nclass Mine"
    submit(tmp_path, plugin(LEAVES).replace("class Mine", known), monkeypatch)
    monkeypatch.setattr(hosts, "Connection", DirectConnection)
    told, faults = verify(tmp_path, "--draw", 5, "--into", tmp_path / "board")
    assert (told.exit_code, faults) == (1, ["rerun-failed"]), told.output
    assert "on new subjects" in told.output
    assert not (tmp_path / "board").exists()
