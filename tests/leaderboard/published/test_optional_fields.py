"""Fields that a record has where there is something to tell, and that older records lack."""

from __future__ import annotations

import pytest
from owed import SCALE, owed_record
from publications import published

from benchmark.plugins.catalogue import Catalogue
from leaderboard.published.fault import FaultError
from leaderboard.published.record import PublishedRecord
from leaderboard.submission.from_plugins import scale_of

NEW = ("joins", "by_group", "faults", "chance", "owed", "counts")


def test_a_record_tells_what_is_new_and_an_older_one_keeps_its_bytes() -> None:
    """If it fails, records of suite v1 are refused, or those of v2 lose what a board needs."""
    plain = published()
    for name in NEW:
        assert f'"{name}"' not in plain.to_json()
    told = owed_record("saliency", "known_source", by_group=(0.1, 0.4))
    assert (told.joins, told.by_group) == ("phantom2", (0.1, 0.4))
    faulty = told.resealed({"faults": ("blur is unfit",)})
    for record in (plain, told, faulty):
        assert PublishedRecord.from_json(record.to_json().encode(), record.path) == record


@pytest.mark.parametrize(
    ("old", "new"), [('"owed":true', '"owed":false'), ('"statistic"', '"counts":false,"statistic"')]
)
def test_a_field_that_says_nothing_is_not_written(old: str, new: str) -> None:
    """If it fails, one record has two texts, and two checksums."""
    record = owed_record("saliency", "delta_t")
    with pytest.raises(FaultError):
        PublishedRecord.from_json(record.to_json().replace(old, new).encode(), record.path)


def test_a_gate_that_counts_enters_the_total() -> None:
    """If it fails, what a gate found is left out of the mean that ranks methods."""
    gate = SCALE.model_copy(update={"gate": True})
    assert SCALE.averaged
    assert not gate.averaged
    assert gate.model_copy(update={"counts": True}).averaged


def test_the_scales_of_suite_v1_are_those_of_its_records() -> None:
    """If it fails, submissions to suite v1 are refused for a scale that nobody changed."""
    for name in ("agreement", "delta_t", "positive_control", "randomization", "roi_pointing"):
        scale = scale_of(Catalogue().protocols.find(name).plugin)
        assert (scale.chance, scale.owed, scale.counts) == (None, False, False)
