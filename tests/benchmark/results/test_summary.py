"""From records to results: against plain NumPy, and with every number that does not exist null."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import fakes
import numpy as np
import pytest
from runs import build_record

from benchmark.errors import UnknownNameError
from benchmark.protocol import SanityProtocol
from benchmark.reading import Reading, Sample, find, summarise
from benchmark.records.record import Outcome, Record
from benchmark.results.health import protocol_health
from benchmark.results.paired import aligned_pairs, paired_difference
from benchmark.results.result import to_json
from benchmark.results.summary import summarise_records

PROTOCOLS: dict[str, type[SanityProtocol[Any]]] = {"loading": fakes.Loading, "second": fakes.Second}

NOISE = tuple(np.random.default_rng(0).normal(0.0, 0.02, 20))
TRUTH = tuple(1.0 + 0.01 * value for value in NOISE)
HALF = tuple(0.5 + 3 * value for value in NOISE)


def controls(noise: tuple[float, ...] = NOISE, truth: tuple[float, ...] = TRUTH) -> list[Record]:
    return [build_record("oracle", truth), build_record("random", noise)]


def test_the_json_has_exactly_the_promised_shape() -> None:
    """Users' scripts read these keys; a key that is renamed breaks them in silence."""
    values = [0.1, 0.2, 0.3, 0.4]
    refused = Outcome("unsupported", "needs attention heads")
    records = [build_record("bright", values), build_record("picky", outcome=refused)]
    whole = json.loads(to_json("v1", summarise_records(records, PROTOCOLS)))
    assert set(whole) == {"suite", "schema_version", "results"}
    assert (whole["suite"], whole["schema_version"]) == ("v1", 1)
    first, second = whole["results"]
    keys = tuple(f"s{row}" for row in range(4))
    interval = summarise(Reading("loading", Sample(keys, keys, (0, 1) * 2), np.array(values)))
    numbers = {
        "estimate": pytest.approx(0.25),
        "low": pytest.approx(interval.low),
        "high": pytest.approx(interval.high),
        "n_subjects": 4,
    }
    assert first == {
        "cohort": "tiny",
        "model": "tiny_model",
        "explainer": "bright",
        "protocol": "loading",
        "protocol_version": "1.0",
        "state": "scored",
        "reason": None,
        "verdict": "pass",
        "primary": {
            "statistic": "share",
            **numbers,
            "direction": "higher",
            "calibrated": None,
            "size": "not known",
        },
        "badges": [],
        "statistics": [
            {"statistic": "share", **numbers, "conditions": {}},
            {"statistic": "excess", **numbers, "conditions": {}},
        ],
        "passes": {"forward": 10, "backward": 0},
        "seconds": 1.5,
    }
    nothing = {"estimate": None, "low": None, "high": None, "n_subjects": 0}
    assert second["state"] == "unsupported"
    assert second["reason"] == "needs attention heads"
    assert second["verdict"] is None
    assert second["primary"] == {
        "statistic": "share",
        **nothing,
        "direction": "higher",
        "calibrated": None,
        "size": None,
    }
    assert second["statistics"] == []


def test_no_nan_reaches_the_json() -> None:
    sample = Sample(("a", "b"), ("a", "b"), (0, 0))
    readings = [
        Reading("share", sample, np.array([0.5, math.nan])),
        Reading("told", sample, np.array([0.5, 0.7])),
        Reading("gap", sample, np.array([math.nan, math.nan])),
        Reading("excess", Sample((), (), ()), np.array([])),
    ]
    record = build_record(outcome=Outcome("scored", None, "pass", readings))
    (result,) = summarise_records([record], PROTOCOLS)
    text = to_json("v1", [result])
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert result.primary.estimate == 0.5
    assert result.primary.low is None, "one subject has no interval"
    assert [one.estimate for one in result.statistics] == [0.5, None, None, None]


def test_every_reading_is_summarised_by_its_own_aggregate() -> None:
    """A group difference that is averaged, or a mean that is differenced, is another quantity."""
    generator = np.random.default_rng(1)
    keys = tuple(f"s{row:02d}" for row in range(30))
    subjects = tuple(key if row % 3 else "s00" for row, key in enumerate(keys))
    sample = Sample(keys, subjects, tuple(row % 2 for row in range(30)))
    values = generator.normal(size=(4, 30))
    values[:, ::7] = np.nan
    readings = [
        Reading(name, sample, row, {"q": 0.1 * place})
        for name in ("share", "gap", "told")
        for place, row in enumerate(values)
    ]
    record = build_record(outcome=Outcome("scored", None, "pass", readings))
    (result,) = summarise_records([record], PROTOCOLS)
    for one, reading in zip(result.statistics, readings, strict=True):
        expected = summarise(reading, fakes.Loading.statistic(reading.statistic).aggregate)
        assert one.conditions == dict(reading.conditions)
        assert one.estimate == pytest.approx(expected.estimate, abs=1e-12)
        assert one.low == pytest.approx(expected.low, abs=1e-12)
        assert one.high == pytest.approx(expected.high, abs=1e-12)
        assert one.n_subjects == expected.n_subjects


def test_calibration_puts_noise_at_0_and_truth_at_1() -> None:
    records = [*controls(), build_record("bright", HALF)]
    oracle, random, bright = summarise_records(records, PROTOCOLS)
    assert oracle.primary.calibrated is not None
    assert oracle.primary.calibrated.estimate == pytest.approx(1)
    assert random.primary.calibrated is not None
    assert random.primary.calibrated.estimate == pytest.approx(0)
    calibrated = bright.primary.calibrated
    own, noise, truth = (np.mean(values) for values in (HALF, NOISE, TRUTH))
    assert calibrated is not None
    assert calibrated.estimate == pytest.approx((own - noise) / (truth - noise))
    assert calibrated.low is not None
    assert calibrated.high is not None
    assert calibrated.low < (own - noise) / (truth - noise) < calibrated.high


def test_calibration_is_over_subjects_that_all_three_have() -> None:
    """The oracle scores every image; a method that skips the hard ones must not gain by it."""
    some = (*HALF[:10], *(math.nan,) * 10)
    records = [*controls(), build_record("bright", some)]
    calibrated = summarise_records(records, PROTOCOLS)[2].primary.calibrated
    own, noise, truth = (np.mean(values[:10]) for values in (HALF, NOISE, TRUTH))
    assert calibrated is not None
    assert calibrated.estimate == pytest.approx((own - noise) / (truth - noise))


def test_without_a_range_from_noise_to_truth_scores_are_measured_from_noise() -> None:
    """If it fails, scores are divided by a range that may be zero, which gives any number."""
    above = pytest.approx(np.mean(HALF) - np.mean(NOISE))
    same = [*controls(truth=NOISE), build_record("bright", HALF)]
    no_truth = [controls()[1], build_record("bright", HALF)]
    for records in (same, no_truth):
        calibrated = summarise_records(records, PROTOCOLS)[-1].primary.calibrated
        assert calibrated is not None
        assert calibrated.estimate == above


def test_without_noise_and_at_a_gate_nothing_is_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a score is measured from the noise of another model, or a gate is averaged."""
    alone = [controls()[0], build_record("bright", HALF)]
    elsewhere = [
        *(
            build_record(explainer, values, model="n")
            for explainer, values in (("oracle", TRUTH), ("random", NOISE))
        ),
        build_record("bright", HALF),
    ]
    for records in (alone, elsewhere):
        assert summarise_records(records, PROTOCOLS)[-1].primary.calibrated is None
    monkeypatch.setattr(fakes.Loading, "counts", False)
    whole = summarise_records([*controls(), build_record("bright", HALF)], PROTOCOLS)
    assert [result.primary.calibrated for result in whole] == [None] * 3


def test_all_scores_of_a_protocol_are_calibrated_in_one_unit() -> None:
    """If it fails, a method that skips images is measured in another unit than the others."""
    few = (HALF[0], *(math.nan,) * 19)
    records = [*controls(), build_record("bright", few), build_record("dark", HALF)]
    records.append(build_record("picky", (math.nan,) * 20))
    bright, dark, picky = (
        result.primary.calibrated for result in summarise_records(records, PROTOCOLS)[2:]
    )
    assert bright is None, "one image cannot say how far the truth is from noise"
    assert picky is None
    assert dark is not None
    assert dark.estimate == pytest.approx(0.5, abs=0.05)


def test_details_can_be_left_out() -> None:
    (result,) = summarise_records([build_record()], PROTOCOLS, details=False)
    assert result.statistics == []
    assert result.primary.estimate == pytest.approx(0.25)


def test_a_record_of_an_unknown_protocol_says_so() -> None:
    with pytest.raises(UnknownNameError, match="Unknown protocol 'other'"):
        summarise_records([build_record(protocol="other")], PROTOCOLS)


def test_health_wants_truth_on_top_and_noise_at_chance() -> None:
    cases = [
        ([*controls(), build_record("bright", HALF)], True, "healthy"),
        ([*controls(), build_record("bright", tuple(v + 2 for v in HALF))], False, "bright scores"),
        ([controls()[0], build_record("random", tuple(v + 0.5 for v in NOISE))], False, "noise"),
        ([controls()[0], build_record("random", tuple(30 * v for v in NOISE))], True, "of noise"),
        ([controls()[0]], None, "random was not scored"),
        ([build_record("bright", HALF)], None, "oracle and random were not scored"),
        (
            [
                build_record("oracle", outcome=Outcome("not assessable", "no ROI in use")),
                controls()[1],
            ],
            None,
            "oracle was not scored",
        ),
    ]
    for records, healthy, told in cases:
        (health,) = protocol_health(records, PROTOCOLS)
        assert health.healthy is healthy, health.reason
        assert told in health.reason
        assert (health.cohort, health.model, health.protocol) == ("tiny", "tiny_model", "loading")


def test_a_control_that_passes_shows_that_a_protocol_proves_nothing() -> None:
    passed = build_record("bright", NOISE).to_readings()
    records = [*controls(), build_record("sobel", outcome=Outcome("scored", None, "pass", passed))]
    (health,) = protocol_health(records, PROTOCOLS)
    assert health.healthy is False
    assert "sobel passes, and looks at no model" in health.reason


def test_health_is_told_for_each_model_by_itself() -> None:
    records = [*controls(), build_record("random", NOISE, model="other")]
    assert [one.healthy for one in protocol_health(records, PROTOCOLS)] == [None, True]


def test_records_of_one_setting_are_judged_together_in_whatever_order_it_is_kept() -> None:
    """If it fails, a run that goes on from a store is told each protocol's health twice."""

    def with_settings(record: Record, settings: dict[str, float]) -> Record:
        protocol = record.identity.protocol.model_copy(update={"config": settings})
        identity = record.identity.model_copy(update={"protocol": protocol})
        return record.model_copy(update={"identity": identity})

    truth, noise = controls()
    kept = with_settings(truth, {"a": 1.0, "b": 2.0})
    fresh = with_settings(noise, {"b": 2.0, "a": 1.0})
    assert [health.healthy for health in protocol_health([kept, fresh], PROTOCOLS)] == [True]


def score_of(values: Sequence[float]) -> Reading:
    score = find(build_record(values=values).to_readings(), "share")
    assert score is not None
    return score


def test_a_comparison_is_paired_over_common_subjects() -> None:
    """Unpaired, the spread between subjects would drown a difference that every subject shows."""
    first, second = score_of((0.3, 0.5, 0.9, math.nan)), score_of((0.2, 0.4, 0.8, 0.1))
    interval = paired_difference(first, second, "mean")
    assert interval.estimate == pytest.approx(0.1)
    assert interval.low == pytest.approx(0.1)
    assert interval.high == pytest.approx(0.1)
    assert interval.n_subjects == 3
    assert paired_difference(first, second, "mean", -1.0).low == pytest.approx(-0.1)
    nothing = paired_difference(score_of((0.3, math.nan)), score_of((math.nan, 0.3)), "mean")
    assert (nothing.n_subjects, math.isnan(nothing.estimate)) == (0, True)


def test_the_order_of_images_plays_no_part_in_a_comparison() -> None:
    first, second = score_of((0.3, 0.5, 0.9, 0.2)), score_of((0.2, 0.4, 0.8, 0.7))
    sample = second.sample
    turned = Reading(
        "share",
        Sample(sample.keys[::-1], sample.subjects[::-1], sample.groups[::-1]),
        second.values[::-1],
    )
    forward = paired_difference(first, second, "mean")
    assert paired_difference(first, turned, "mean") == forward


def test_methods_at_true_centres_are_compared_with_those_as_published() -> None:
    records = [
        build_record("dark", HALF),
        build_record("dark_aligned", tuple(value + 0.1 for value in HALF)),
        build_record("bright_aligned", HALF),
        build_record("bright", outcome=Outcome("unsupported", "no")),
        build_record("dark_aligned", HALF, protocol="second"),
    ]
    (pair,) = aligned_pairs(records, PROTOCOLS)
    assert (pair.first, pair.second, pair.statistic) == ("dark_aligned", "dark", "share")
    assert pair.interval.estimate == pytest.approx(0.1)
