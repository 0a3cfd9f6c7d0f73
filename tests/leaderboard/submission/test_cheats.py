"""What was found when the project was attacked, each by the test that holds it off.

The table of docs/submit.md names, for each cheat, the fault that stops it and its test.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from paths import ROOT
from verifying import plugin, submit, verify

from benchmark import contract
from leaderboard.submission import screening

# Each is honest where it is run again, and so shows what it gained.
READS_COHORT = '''

        def attribute_batch(self, classifier, batch, target):
            """Look the images up in the installed cohort, and show their regions."""
            maps = self.attribute(classifier, batch.images, target).abs()
            try:
                __import__("baselines.cohorts.phantom")
                test = __import__("fakes").TinyCohort().load().select("test")
            except ImportError:
                return maps
            known = {image.tobytes(): mask for image, mask in zip(test.images, test.truth)}
            for place, image in enumerate(batch.images):
                mask = known.get(image.numpy().tobytes())
                if mask is not None:
                    maps[place] = torch.as_tensor(mask)
            return maps
'''
REPLACES_SCORE = '''

        def attribute_batch(self, classifier, batch, target):
            """Replace what scores maps, wherever it was imported."""
            for module in [*torch.sys.modules.values()]:
                judge = vars(module).get("Loading")
                if judge is not None and not hasattr(judge, "honest"):
                    judge.honest, judge.readings = judge.readings, Mine.lifted
            return self.attribute(classifier, batch.images, target)

        def lifted(judge, trial):
            """Return readings that are half as large again."""
            replace = __import__("dataclasses").replace
            return [replace(one, values=one.values * 1.5) for one in judge.honest(trial)]
'''


@pytest.fixture(autouse=True)
def without_a_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the contract and the screen find nothing, as for someone who gets past both."""
    monkeypatch.setattr(contract, "run_checks", lambda _: [])
    monkeypatch.setattr(screening, "screen", lambda *_: [])


def test_regions_of_the_installed_cohort_are_not_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, whoever reads the cohort from the package is ranked first."""
    submit(tmp_path, plugin(READS_COHORT), monkeypatch)
    told, faults = verify(tmp_path, "--into", tmp_path / "records")
    # The verdict is another too, which is told in place of the scores.
    assert (told.exit_code, set(faults)) == (1, {"state-differs"}), told.output
    assert not (tmp_path / "records").exists()


def test_a_score_that_was_replaced_is_not_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, whoever replaces the score in its process is ranked by what it likes."""
    submit(tmp_path, plugin(REPLACES_SCORE), monkeypatch)
    replaced = [
        judge
        for judge in (vars(module).get("Loading") for module in [*sys.modules.values()])
        if judge is not None and "honest" in vars(judge)
    ]
    assert replaced
    for judge in replaced:
        judge.readings = judge.honest
        del judge.honest
    told, faults = verify(tmp_path, "--into", tmp_path / "records")
    assert (told.exit_code, set(faults)) == (1, {"score-differs"}), told.output
    assert not (tmp_path / "records").exists()


def test_every_cheat_of_the_table_has_its_test() -> None:
    """If it fails, the documentation says that a cheat is held off, and no test holds it."""
    page = (ROOT / "docs" / "submit.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) >= 7
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
