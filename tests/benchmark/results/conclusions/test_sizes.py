"""The word for the size of a score, at every edge."""

from __future__ import annotations

import math
from itertools import product
from typing import get_args

import pytest

from benchmark.records.record import VerdictWord
from benchmark.results.conclusions.sizes import (
    AT_CHANCE,
    LARGE,
    SizeWord,
    describe_steps,
    size_word,
    tone_of,
)

TINY = 1e-9


@pytest.mark.parametrize(
    ("estimate", "word"),
    [
        (TINY, "near chance"),
        (0.07, "near chance"),
        (0.1 - TINY, "near chance"),
        (0.1, "weak"),
        (0.3 - TINY, "weak"),
        (0.3, "moderate"),
        (0.6 - TINY, "moderate"),
        (0.6, "strong"),
        (0.9 - TINY, "strong"),
        (0.9, "near the best possible"),
        (1.3, "near the best possible"),
    ],
)
def test_a_score_that_is_surely_above_chance_has_the_word_of_its_value(
    estimate: float, word: str
) -> None:
    """If it fails, a weak map is called strong, or the reverse."""
    assert size_word(estimate, estimate / 2, estimate + 1, reaches_best=True) == word


@pytest.mark.parametrize("reaches_best", [True, False])
@pytest.mark.parametrize(("low", "high"), [(-0.2, 0.9), (0.0, 1.9), (-TINY, 2.0), (0.0, 0.0)])
def test_an_interval_that_holds_chance_is_near_chance_whatever_its_mean(
    low: float, high: float, reaches_best: bool
) -> None:
    """If it fails, a score of a few subjects, high by luck, looks like a finding."""
    middle = (low + high) / 2
    assert size_word(middle, low, high, reaches_best) == "near chance"


def test_what_is_surely_below_chance_says_so() -> None:
    """If it fails, a map that avoids the right places is taken for one that ignores them."""
    assert size_word(-0.3, -0.5, -TINY, reaches_best=True) == "below chance"


@pytest.mark.parametrize(
    "limits", [(None, None, None), (0.5, None, None), (0.5, math.nan, math.nan), (math.nan, 0, 1)]
)
def test_without_limits_the_size_is_not_known(limits: tuple[float | None, ...]) -> None:
    """If it fails, five subjects make a strong method."""
    estimate, low, high = limits
    assert size_word(estimate, low, high, reaches_best=True) == "not known"


def test_without_an_upper_end_a_score_above_chance_has_no_size() -> None:
    """If it fails, a distance in some unit is read as a share of the best possible."""
    assert size_word(0.95, 0.9, 1.0, reaches_best=False) == "not known"


def test_the_steps_that_are_told_are_those_that_are_used() -> None:
    """If it fails, a page explains other thresholds than those behind its words."""
    told = describe_steps()
    assert [text for _, text in told[1:]] == ["0.1 to 0.3", "0.3 to 0.6", "0.6 to 0.9", "from 0.9"]
    for word, text in told[1:]:
        least = float(text.removeprefix("from ").split(" ")[0])
        assert size_word(least, least, least, reaches_best=True) == word


def test_only_a_pass_of_some_size_under_a_healthy_protocol_looks_good() -> None:
    """If it fails, a pass that is near chance, or that proves nothing, is shown green."""
    verdicts: tuple[VerdictWord | None, ...] = ("pass", "fail", None)
    sizes: tuple[SizeWord | None, ...] = (*get_args(SizeWord), None)
    good = {
        (verdict, size, healthy)
        for verdict, size, healthy in product(verdicts, sizes, (True, False, None))
        if tone_of(verdict, size, healthy) == "good"
    }
    assert good == set(product(["pass"], LARGE, (True, None)))
    assert not set(LARGE) & set(AT_CHANCE)
    assert tone_of("pass", "near chance", True) == "chance"
    assert tone_of("fail", "strong", True) == "bad"
    assert tone_of("fail", "strong", False) == "plain"
