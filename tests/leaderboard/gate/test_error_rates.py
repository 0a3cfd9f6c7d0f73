"""How often the gate is wrong, on scores that methods of the board really have.

``data/gate_scores.json`` holds scores of subjects of three methods on smallresnet, with the
standard deviation of a score's difference between two runs that draw anew: saliency under another
seed of the suite, SmoothGrad of eight copies under another stream. The reserve of delta_t is its
score on all 200 test subjects, of whom the first 64 stand for those of the suite.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from paths import DATA
from publications import SCALE, published, sealed

from benchmark.reading import distributions
from leaderboard.gate.decision import Pair, judge
from leaderboard.published.record import PublishedRecord

PROTOCOLS: dict[str, dict[str, Any]] = json.loads((DATA / "gate_scores.json").read_text("utf-8"))
SUBJECTS, RERUNS, DROPS = 64, 300, 90
DROP = 1 / 3  # of the score, whose chance is 0


@lru_cache(maxsize=32)
def _old(protocol: str, explainer: str, sample: str = "scores") -> PublishedRecord:
    told = PROTOCOLS[protocol]
    scale = SCALE.model_copy(update={"aggregate": told["aggregate"]})
    rows = tuple(
        (f"{row:012x}", f"{row:012x}", *one) for row, one in enumerate(told[sample][explainer])
    )
    return sealed(published(protocol=protocol), scale=scale, scores=rows, readings=None)


def _again(old: PublishedRecord, sd: float, drop: float, seed: int) -> PublishedRecord:
    """Return another run: every score moves at random, and all lose this share on top."""
    assert old.score is not None
    lost = drop * float(distributions([old.score], old.scale.aggregate)[0][0])
    drawn = np.random.default_rng(seed).normal(-lost, sd, len(old.scores))
    rows = [
        # A ratio falls by the drop where its numerators fall by as much of their denominators.
        (*row[:3], round(row[3] + (move if row[4] is None else move * abs(row[4])), 6), row[4])
        if row[3] is not None
        else row
        for row, move in zip(old.scores, drawn.tolist(), strict=True)
    ]
    return sealed(old, scores=tuple(rows))


def _outcomes(protocol: str, drop: float, count: int, sample: str = "scores") -> Counter[str]:
    """Count outcomes; on the reserve, a cell that some subjects leave open is decided on all."""
    found: Counter[str] = Counter()
    told = PROTOCOLS[protocol]
    names = sorted(told[sample])
    for seed in range(count):
        old = _old(protocol, names[seed % len(names)], sample)
        new = _again(old, told["rerun_sd"], drop, seed)
        looks = [Pair(old, new)]
        if sample == "reserve":
            some = [sealed(one, scores=one.scores[:SUBJECTS]) for one in (old, new)]
            looks.insert(0, Pair(*some))
        outcomes = (judge([look])[0].outcome for look in looks)
        found[next((one for one in outcomes if one != "inconclusive"), "inconclusive")] += 1
    return found


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_unchanged_methods_hardly_ever_regress(protocol: str) -> None:
    """If it fails, a CI fails for nothing: in more than 5 % of runs that draw anew."""
    found = _outcomes(protocol, 0.0, RERUNS)
    assert found["regression"] <= 0.05 * RERUNS
    assert found["pass"] + found["inconclusive"] + found["regression"] == RERUNS


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_drop_is_found_at_the_number_of_subjects_of_the_suite(protocol: str) -> None:
    """If it fails, the loss of a third goes through: it must be found in 90 % of the runs.

    delta_t is the exception: its random masks move a subject's score by 0.11 from seed to seed, so
    that 64 subjects leave it open in one run out of three. There it must at least hardly ever pass
    for a score that held; with the reserve it is found, see below.
    """
    found = _outcomes(protocol, DROP, DROPS)
    assert found["pass"] <= 0.05 * DROPS
    if protocol != "delta_t":
        assert found["regression"] >= 0.9 * DROPS


def test_the_reserve_finds_what_the_subjects_of_the_suite_leave_open() -> None:
    """If it fails, enlarging the sample finds no more, or raises alarms for nothing.

    One of the three methods is hardly better than noise, and a third of nothing is not found.
    """
    assert _outcomes("delta_t", 0.0, RERUNS, "reserve")["regression"] <= 0.05 * RERUNS
    found = _outcomes("delta_t", DROP, DROPS, "reserve")
    assert found["regression"] >= 0.75 * DROPS
    assert found["pass"] <= 0.05 * DROPS


def test_many_cells_together_hardly_ever_regress() -> None:
    """If it fails, a gate over five protocols and three methods often fails for nothing."""
    alarms = 0
    for seed in range(60):
        pairs = [
            Pair(old, _again(old, told["rerun_sd"], 0.0, 1000 * seed + place))
            for protocol, told in PROTOCOLS.items()
            for place, name in enumerate(sorted(told["scores"]))
            for old in (_old(protocol, name),)
        ]
        alarms += any(one.outcome == "regression" for one in judge(pairs))
    assert alarms <= 3
