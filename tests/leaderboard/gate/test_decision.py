"""What the gate decides, cell by cell, and how it tells."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from publications import GATE, SCALE, SUBJECTS, failing, published, scores_of, sealed, without

from leaderboard.gate.decision import (
    NOTHING_TO_LOSE,
    Decision,
    Pair,
    judge,
    why_incomparable,
    why_other_scale,
    worst,
)
from leaderboard.gate.report import Report, lines, to_json, to_junit, to_markdown
from leaderboard.published.fields import Scale
from leaderboard.published.record import PublishedRecord

NOISE = np.random.default_rng(5).normal(0, 1, SUBJECTS)
NOISE -= NOISE.mean()


def moved(
    shift: float, sd: float = 0.0, scale: Scale = SCALE, lost: int = 0, explainer: str = "good"
) -> PublishedRecord:
    values = scores_of(explainer, "loading") + shift + sd * NOISE
    values[:lost] = np.nan
    return published(explainer, values=values.tolist(), scale=scale)


def decide(new: PublishedRecord | None, old: PublishedRecord | None = None) -> Decision:
    return judge([Pair(old or moved(0), new, "it broke" if new is None else "")])[0]


@pytest.mark.parametrize(
    ("shift", "sd", "outcome"),
    [
        (0.0, 0.0, "unchanged"),
        (5e-7, 0.0, "unchanged"),
        (-0.005, 0.01, "pass"),
        (0.3, 0.01, "pass"),
        (-0.12, 0.01, "regression"),
        (-0.06, 0.05, "inconclusive"),
    ],
)
def test_a_score_that_moved_is_held_against_the_margin(
    shift: float, sd: float, outcome: str
) -> None:
    """If it fails, a drop goes through or a CI fails for nothing."""
    assert decide(moved(shift, sd)).outcome == outcome


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.6])
@pytest.mark.parametrize("margin", [0.1, 0.33])
def test_the_loss_of_a_third_is_never_within_the_margin(margin: float, chance: float) -> None:
    """If it fails, a method near noise loses all that it had, and the build is green."""
    old = moved(0)
    had = decide(old).change.old - chance
    third = judge([Pair(old, moved(-had / 3, 1e-4), chance=chance)], margin)[0]
    assert third.outcome == "regression"
    assert third.margin == pytest.approx(margin * had)
    assert judge([Pair(old, moved(-had * margin / 2, 1e-4), chance=chance)], margin)[0].outcome == (
        "pass"
    )


def test_what_had_nothing_above_noise_can_lose_nothing() -> None:
    """If it fails, every run on another machine fails a method that was no better than noise."""
    old = moved(0)
    level = decide(old).change.old
    near = judge([Pair(old, moved(-0.005, 0.01), chance=level)])[0]
    assert (near.outcome, near.margin) == ("pass", NOTHING_TO_LOSE)


def test_the_file_of_a_baseline_does_not_say_which_way_is_better() -> None:
    """If it fails, who edits one word of a baseline turns every loss into a gain."""
    for changes in ({"direction": "lower"}, {"direction": "none"}, {"tolerance": 1e3}):
        old = moved(0, scale=SCALE.model_copy(update=changes))
        found = decide(moved(-0.3, 0.01), old)
        assert found.outcome == "regression"
        assert "the protocol has" in " ".join(found.notes)
    gate = published(scale=SCALE.model_copy(update={"gate": False}))
    assert decide(failing(moved(0, scale=GATE)), sealed(gate, verdict="pass")).outcome == (
        "regression"
    )
    other = SCALE.model_copy(update={"aggregate": "ratio"})
    assert "'ratio'" in str(why_other_scale(other, SCALE))


def test_lower_can_be_better() -> None:
    """If it fails, an improvement of an error is a regression."""
    lower = SCALE.model_copy(update={"direction": "lower"})
    old = moved(0, scale=lower)
    assert decide(moved(-0.1, 0.01, lower), old).outcome == "pass"
    assert decide(moved(0.2, 0.01, lower), old).outcome == "regression"


def test_the_difference_is_that_of_the_same_subjects() -> None:
    """If it fails, what makes a subject easy is taken for a change."""
    found = decide(moved(-0.05, 0.01)).change
    assert found.difference.estimate == pytest.approx(-0.05, abs=1e-5)
    half = 1.685 * 0.01 * NOISE.std(ddof=1) / np.sqrt(SUBJECTS)
    assert found.difference.high - found.difference.estimate == pytest.approx(half, rel=0.05)


def test_a_state_or_a_gate_that_is_lost_is_a_regression() -> None:
    """If it fails, a method that no longer runs, or fails the sanity check, goes through."""
    unsupported = published(record=without("good", "loading", "unsupported"))
    assert decide(unsupported).outcome == "regression"
    assert decide(moved(0), unsupported).outcome == "pass"
    assert decide(unsupported, unsupported).outcome == "unchanged"
    assert decide(None).outcome == "failed"
    gate = moved(0, scale=GATE)
    assert decide(failing(gate), gate).outcome == "regression"
    assert decide(failing(moved(0)), moved(0)).outcome == "unchanged"
    assert "verdict" in " ".join(decide(failing(moved(0)), moved(0)).notes)


def test_subjects_that_lose_their_score_are_a_regression() -> None:
    """If it fails, blank maps are left out of the mean, which may even rise."""
    assert decide(moved(0.1, 0.01, lost=4)).outcome == "regression"
    assert decide(moved(0.1, 0.01, lost=1)).outcome == "pass"


def test_many_cells_share_one_error_rate() -> None:
    """If it fails, a gate of many cells raises an alarm by chance."""
    old = moved(0)
    alone = judge([Pair(old, moved(-0.085, 0.08))])[0]
    crowd = judge([Pair(old, moved(-0.085, 0.08))] + [Pair(old, moved(0.0, 0.01))] * 19)[0]
    assert alone.change.p == crowd.change.p < alone.change.adjusted * 1.01
    assert crowd.change.adjusted == pytest.approx(min(1.0, 20 * crowd.change.p))


def test_what_is_not_the_same_question_is_not_compared() -> None:
    """If it fails, scores of two cohorts or settings are subtracted."""
    one = moved(0).identity
    assert why_incomparable(one, one) is None
    for changes, said in (
        ({"cohort_fingerprint": "b" * 64}, "cohort"),
        ({"suite": "v2"}, "suite"),
        ({"protocol": one.protocol.model_copy(update={"version": "2.0"})}, "major version"),
        ({"protocol": one.protocol.model_copy(update={"config": {"power": 2.0}})}, "'power'"),
    ):
        assert said in str(why_incomparable(one, one.model_copy(update=changes)))
    weights = one.model_copy(update={"weights_sha256": "d" * 64})
    minor = one.protocol.model_copy(update={"version": "1.9"})
    assert why_incomparable(one, weights) is None
    assert why_incomparable(one, one.model_copy(update={"protocol": minor})) is None


def on(device: str, kind: str, by: float) -> PublishedRecord:
    """Return a record of another device, with every score moved."""
    record = moved(by)
    provenance = record.provenance.model_copy(update={"device": device, "device_type": kind})
    return sealed(record, provenance=provenance)


def test_what_another_device_moves_is_tested_and_told() -> None:
    """If it fails, a move to a GPU hides a drop, or alarms for rounding."""
    (rounded,) = judge([Pair(moved(0), on("NVIDIA H100", "cuda", 1e-3))])
    (fallen,) = judge([Pair(moved(0), on("NVIDIA H100", "cuda", -0.12))])
    assert (rounded.outcome, fallen.outcome) == ("pass", "regression")
    assert rounded.notes == ("it was measured on cpu and now on NVIDIA H100",)


def _report() -> Report:
    pairs = [
        Pair(moved(0), moved(-0.1, 0.01)),
        Pair(moved(0, explainer="fair"), moved(0, explainer="fair")),
        Pair(moved(0, explainer="poor"), None, "it <broke> | here"),
        Pair(moved(0), moved(-0.06, 0.05)),
    ]
    return Report("test", 0.1, tuple(judge(pairs)))


def test_the_worst_outcome_is_told_first() -> None:
    """If it fails, a regression is lost among what held."""
    report = _report()
    assert worst(report.decisions) == "failed"
    found = [one.split()[0] for one in lines(report)[1:] if not one.startswith(" ")]
    assert found[:3] == ["failed", "regression", "inconclusive"]


def test_junit_counts_what_a_ci_shows() -> None:
    """If it fails, a CI shows a regression as a pass, or cannot read the file."""
    suites = ElementTree.fromstring(to_junit(_report()))
    assert suites.attrib["tests"] == "4"
    kinds = [child.tag for case in suites.iter("testcase") for child in case]
    assert kinds.count("failure") == 2
    assert kinds.count("error") == 1


def test_text_of_plugins_is_no_markdown_and_no_html() -> None:
    """If it fails, a plugin's reason breaks the table, or writes into the page."""
    text = to_markdown(_report())
    assert "<broke>" not in text
    rows = [one for one in text.splitlines() if one.startswith("|")]
    assert len({one.replace("\\|", "").count("|") for one in rows}) == 1


def test_json_has_no_number_that_is_none() -> None:
    """If it fails, a script stumbles over NaN."""
    told = json.loads(to_json(_report()), parse_constant=lambda text: pytest.fail(text))
    assert "NaN" not in json.dumps(told)
