"""Sidecars hold what was read, and nothing that a stranger packed holds up a reader."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from submissions import build_published

from benchmark.reading import Reading, Sample
from leaderboard.published.fault import FaultError
from leaderboard.published.sidecar import pack, rounded, unpack
from leaderboard.published.strict_json import parse

SAMPLE = Sample(("a", "b#1", "b#2"), ("a", "b", "b"), (0, 1, 1))


def test_what_is_packed_comes_back() -> None:
    """If it fails, a published reading says something else than was measured."""
    readings = [
        Reading("share", SAMPLE, np.array([0.5, -1.25, np.nan]), {}, {"b#2": "constant map"}),
        Reading("share", SAMPLE, np.array([0.1, 1e-30, 1e30]), {"q": 0.05, "arm": "map"}),
        Reading("lift", SAMPLE, np.arange(3.0), {}, {}, np.array([1.0, 2.0, np.nan])),
        Reading("other", Sample(("a",), ("a",), (0,)), np.array([0.0])),
    ]
    found = unpack(pack(readings), "here")
    assert len(found) == len(readings)
    for one, other in zip(found, readings, strict=True):
        assert one.statistic == other.statistic
        assert one.sample == other.sample
        assert dict(one.conditions) == dict(other.conditions)
        assert dict(one.reasons) == dict(other.reasons)
        np.testing.assert_allclose(one.values, other.values, rtol=2e-6)
        assert (one.denominators is None) == (other.denominators is None)
    np.testing.assert_array_equal(found[2].denominators, [1, 2, np.nan])  # type: ignore[arg-type]


def test_the_same_readings_make_the_same_bytes() -> None:
    """If it fails, a run that is repeated looks like another one."""
    first, second = (build_published("loading")[1] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e39])
def test_what_no_float_holds_is_refused_on_the_way_in(value: float) -> None:
    """If it fails, a sidecar is written that nobody can read."""
    with pytest.raises(FaultError, match="sidecar-malformed"):
        pack([Reading("share", Sample(("a",), ("a",), (0,)), np.array([value]))])


def test_numbers_are_rounded_to_the_nearest() -> None:
    """If it fails, rounding adds up to a bias."""
    values = np.random.default_rng(0).normal(size=10_000)
    relative = rounded(values) / values - 1
    assert np.abs(relative).max() < 2e-6
    assert abs(relative.mean()) < 1e-7
    assert np.isnan(rounded([np.nan]))[0]


def test_nothing_read_is_a_sidecar_without_columns() -> None:
    """If it fails, a sidecar without columns stops its reader."""
    assert unpack(pack([]), "here") == []


@pytest.mark.parametrize("text", ['"' + '\\"' * 1_000_000, '"' * 1_000_001, "[" * 1_000_000])
def test_a_text_made_to_be_slow_is_refused_at_once(text: str) -> None:
    """If it fails, one small file keeps a verifier busy for hours."""
    start = time.process_time()
    with pytest.raises(FaultError):
        parse(text.encode(), "here", 2**24)
    assert time.process_time() - start < 5
