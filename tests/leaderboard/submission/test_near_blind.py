"""Maps that hardly look at the network, through ``submit``, ``verify`` and ``board``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cheat_acceptance import FIRE, Acceptance, Ending, suite_of
from direct_worker import DirectConnection

from benchmark import contract
from leaderboard.submission import rerun
from leaderboard.submission.isolation import host as hosts


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run again without a process, whose imports take longer than the rest."""
    monkeypatch.setattr(hosts, "Connection", DirectConnection)
    monkeypatch.setattr(contract, "run_checks", lambda _: [])
    monkeypatch.setattr(rerun, "why_not_isolated", lambda _="cpu": None)


@pytest.mark.usefixtures("direct")
def test_maps_that_hardly_look_at_the_network_end_at_the_gate(tmp_path: Path) -> None:
    """If it fails, an atlas or an edge filter goes through submit and verify into the ranks."""
    settings = {"randomization": {"seeds": 1, "smooth_passes": 0}}
    protocols = ("randomization@2", "roi_pointing@2")
    suite = suite_of("v2", 24, protocols, settings)
    acceptance = Acceptance(tmp_path / "cheats", suite)
    acceptance.publish(["saliency"])
    for name in ("Dark", "StampedCAM", "GuardedCAM"):
        assert acceptance.try_out(FIRE, name) == Ending("", "")
    rows = {row["explainer"]: row for row in acceptance.board()}
    assert rows["saliency"]["status"] == "ranked"
    for name in ("x_dark", "x_stamped_cam", "x_guarded_cam"):
        assert rows[name]["status"] == "gate failed"
        assert rows[name]["reason"].startswith("randomization")
    assert rows["x_dark"]["owed"]["total"]["estimate"] < 1e-6
