"""Records changed at random; tests/support/mutated_records.py reads a hundred thousand of them."""

from __future__ import annotations

from collections import Counter

from mutated_records import judge, mutants


def test_a_changed_record_is_refused_by_name_or_says_what_its_file_says() -> None:
    """If it fails, a damaged or forged record is read as another one, or stops the reader."""
    counts = Counter(judge(content, expected) for content, expected in mutants(300, seed=1))
    assert len(counts) >= 10
    # Some changes change nothing, and some are sealed again and are records of their own.
    assert 0 < counts["accepted"] < 60
