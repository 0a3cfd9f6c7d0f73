"""Records: sealed, strict on reading, and without loss of what was measured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from runs import PROVENANCE, RESOURCES, build_record

from benchmark.errors import StoreError
from benchmark.reading import Reading, Sample
from benchmark.records.identity import Names, canonical_json, sha256_of
from benchmark.records.record import Outcome, Record, largest_difference

SAMPLE = Sample(("s1#a", "s1#b", "s2"), ("s1", "s1", "s2"), (0, 0, 1))


def seal_again(change: Callable[[dict[str, Any]], object]) -> str:
    """Return the JSON of a record that was changed by a forger who can compute checksums."""
    value = json.loads(build_record().to_json())
    change(value)
    value.pop("checksum", None)
    return canonical_json({**value, "checksum": sha256_of(value)})


def of_readings(*readings: Reading) -> Record:
    return build_record(outcome=Outcome("scored", None, "pass", readings))


def test_a_record_reads_back_as_it_was_written() -> None:
    record = build_record()
    again = Record.from_json(record.to_json())
    assert again == record
    assert again.to_json() == record.to_json()


def test_readings_come_back_bit_by_bit_with_their_conditions_and_reasons() -> None:
    """A value that moves by a bit moves ranks, and an int that returns as float names no q."""
    values = np.array([0.1 + 0.2, math.nan, -1e-300])
    reading = Reading("share", SAMPLE, values, {"q": 0.05, "n": 3, "arm": "map"}, {"s1#b": "flat"})
    other = Reading("gap", SAMPLE, np.array([1.0, 2.0, 3.0]))
    record = Record.from_json(of_readings(reading, other).to_json())
    assert len(record.samples) == 1, "readings of one sample must share it, or records explode"
    back, second = record.to_readings()
    np.testing.assert_array_equal(back.values, values)
    assert dict(back.conditions) == {"q": 0.05, "n": 3, "arm": "map"}
    assert [type(back.conditions[key]) for key in ("q", "n", "arm")] == [float, int, str]
    assert dict(back.reasons) == {"s1#b": "flat"}
    assert back.sample == SAMPLE == second.sample


def test_denominators_stand_only_where_there_is_a_ratio() -> None:
    """If it fails, a ratio is lost on the way to disk, or every record changes its bytes."""
    below = np.array([0.5, math.nan, 0.25])
    share = Reading("share", SAMPLE, np.array([0.1, 0.2, 0.3]), denominators=below)
    record = of_readings(share, Reading("gap", SAMPLE, np.ones(3)))
    assert record.to_json().count("denominators") == 1
    back, second = Record.from_json(record.to_json()).to_readings()
    np.testing.assert_array_equal(back.denominators, below)
    assert second.denominators is None
    moved = Reading("share", SAMPLE, share.values, denominators=below + 0.125)
    other = of_readings(moved, Reading("gap", SAMPLE, np.ones(3)))
    assert largest_difference(record, other) == pytest.approx(0.125)


def test_an_infinite_value_is_none_and_says_so() -> None:
    record = of_readings(Reading("share", SAMPLE, np.array([1.0, math.inf, -math.inf])))
    assert record.readings[0].values == (1.0, None, None)
    assert record.readings[0].reasons == {"s1#b": "infinite value", "s2": "infinite value"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "damaged"),
        ("[]", "the whole"),
        (build_record().to_json()[:-40], "damaged"),
        (build_record().to_json().replace('"seconds":1.5', '"seconds":NaN'), "NaN"),
        (build_record().to_json().replace('"seconds":1.5', '"seconds":Infinity'), "Infinity"),
        (build_record().to_json().replace('"seconds":1.5', '"seconds":1e999'), "seconds"),
        (build_record().to_json().replace('"seconds":1.5', '"seconds":2.5'), "checksum"),
        ('{"state":"failed",' + build_record().to_json()[1:], "'state' stands twice"),
        (seal_again(lambda value: value.update(colour="red")), "colour"),
        (seal_again(lambda value: value["provenance"].update(host="x")), "provenance.host"),
        (seal_again(lambda value: value.pop("reason")), "reason"),
        (seal_again(lambda value: value.update(schema_version=2)), "schema version 2"),
        (seal_again(lambda value: value.update(state="done")), "state"),
        (seal_again(lambda value: value["resources"].update(seconds="1")), "seconds"),
        (seal_again(lambda value: value.update(identity_sha256="0" * 64)), "identity_sha256"),
        (seal_again(lambda value: value.update(state="unsupported")), "only a scored record"),
        (seal_again(lambda value: value["readings"][0].update(sample=4)), "sample 4"),
        (seal_again(lambda value: value["readings"][0]["values"].pop()), "does not fit"),
        (seal_again(lambda value: value["samples"][0]["keys"].pop()), "differ in number"),
        (seal_again(lambda value: value["samples"][0]["groups"].__setitem__(0, 2)), "groups"),
    ],
)
def test_what_to_json_would_not_have_written_is_refused(text: str, told: str) -> None:
    """A board is made of records that strangers send."""
    with pytest.raises(StoreError) as caught:
        Record.from_json(text, "The record x.json")
    assert told in str(caught.value)
    assert str(caught.value).startswith("The record x.json")
    assert "\n" not in str(caught.value)


def test_a_single_changed_byte_anywhere_is_noticed() -> None:
    text = build_record().to_json()
    for place in range(0, len(text) - 1, 97):
        if text[place] in "0123456789abcdef":
            other = "1" if text[place] != "1" else "2"
            with pytest.raises(StoreError):
                Record.from_json(text[:place] + other + text[place + 1 :])


def test_canonical_json_is_one_text_per_value() -> None:
    assert canonical_json({"b": 1.0, "a": "µ"}) == '{"a":"µ","b":1.0}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": math.nan})


def test_content_is_what_was_measured_and_not_when_or_where() -> None:
    """Two machines that find the same must not look as if they disagreed."""
    record = build_record()
    other = Record.seal(
        record.identity,
        record.names,
        Outcome("scored", None, "pass", record.to_readings()),
        PROVENANCE.model_copy(update={"device": "H200", "batch_size": 8}),
        RESOURCES.model_copy(update={"seconds": 9.0}),
    )
    assert other.checksum != record.checksum
    assert other.content == record.content
    assert build_record(values=(0.1, 0.2, 0.3, 0.5)).content != record.content


def test_every_field_of_the_identity_moves_it() -> None:
    record = build_record()
    one = record.identity
    changed = [
        one.model_copy(update={"suite": "other"}),
        one.model_copy(update={"cohort_fingerprint": "b" * 64}),
        one.model_copy(update={"weights_sha256": "c" * 64}),
        one.model_copy(update={"seed": 1}),
    ]
    for part in ("explainer", "protocol"):
        plugin = getattr(one, part)
        for update in (
            {"name": "x"},
            {"version": "2.0"},
            {"config": {"n": 1}},
            {"source_sha256": "d" * 64},
        ):
            changed.append(one.model_copy(update={part: plugin.model_copy(update=update)}))
    hashes = {other.sha256 for other in changed}
    assert len(hashes) == len(changed)
    assert one.sha256 not in hashes


def test_a_renamed_record_is_sealed_anew() -> None:
    record = build_record()
    names = Names(cohort="exported", model="m", explainer="bright", protocol="loading")
    renamed = record.renamed(names)
    assert Record.from_json(renamed.to_json()).names == names
    assert renamed.content == record.content
    assert record.renamed(record.names) is record


def test_differences_are_measured_in_values_and_infinite_in_form() -> None:
    record = build_record(values=(0.1, 0.2, 0.3, 0.4))
    assert largest_difference(record, build_record(values=(0.1, 0.2, 0.3, 0.4))) == 0
    near = build_record(values=(0.1, 0.2, 0.3, 0.4 + 1e-7))
    assert largest_difference(record, near) == pytest.approx(1e-7, rel=1e-3)
    for other in (
        build_record(values=(0.1, 0.2, 0.3, math.nan)),
        build_record(values=(0.1, 0.2, 0.3)),
        build_record(statistics=("share",)),
        build_record(statistics=("share", "other")),
        build_record(outcome=Outcome("unsupported", "no")),
    ):
        assert largest_difference(record, other) == math.inf


def test_a_failed_record_needs_its_reason() -> None:
    with pytest.raises(ValidationError, match="needs a reason"):
        build_record(outcome=Outcome("failed"))
