"""Bounds within which claimed scores must lie: blind to luck, and sensitive to a lookup."""

from __future__ import annotations

from pathlib import Path

import draw_simulations
import numpy as np
import pytest
from publications import published

from benchmark.reading import Reading, Sample
from leaderboard.published.fault import Fault
from leaderboard.published.folder import read_record
from leaderboard.submission.checks import cell_key
from leaderboard.submission.draw.bounds import DrawnCell, Pair, compare, without_gaps
from leaderboard.submission.draw.judgement import judge

RECORDS = draw_simulations.RECORDS


def test_an_honest_submission_is_rarely_beyond_and_a_lookup_nearly_always() -> None:
    """If it fails, honest authors are called cheats, or whoever looks up the truth is not.

    ``draw_simulations.print_table`` simulates the same at full size.
    """
    assert draw_simulations.share_beyond("gradcam", 0.0, 150, 500) <= 0.08
    assert draw_simulations.share_beyond("gradcam", 0.2, 20, 500, lifted=1) >= 0.8
    assert draw_simulations.share_beyond("gradcam", 0.4, 20, 500, lifted=1) == 1.0


def reading(values: np.ndarray, side: str) -> Reading:
    names = tuple(f"{side}{number:03d}" for number in range(len(values)))
    return Reading("score", Sample(names, names, (0, 1) * (len(values) // 2)), values)


def test_a_harder_draw_is_not_held_against_a_method_that_goes_along_with_others() -> None:
    """If it fails, a draw of hard images makes an honest method a cheat."""
    generator = np.random.default_rng(0)
    easy, hard = generator.normal(0.6, 0.1, 64), generator.normal(0.5, 0.1, 64)
    method = Pair(
        reading(easy + generator.normal(0, 0.02, 64), "a"),
        reading(hard + generator.normal(0, 0.02, 64), "b"),
    )
    reference = Pair(reading(easy, "a"), reading(hard, "b"))
    (alone,) = compare([DrawnCell("it", "it", "cohort", method, ())])
    (together,) = compare([DrawnCell("it", "it", "cohort", method, (reference,))])
    assert alone.is_beyond
    assert not together.is_beyond
    assert together.width < alone.width
    assert together.expected == pytest.approx(together.published, abs=0.02)


def test_a_fault_tells_cell_and_numbers() -> None:
    """If it fails, an author cannot see what is held against them."""
    generator = np.random.default_rng(1)
    method = Pair(
        reading(generator.normal(0.9, 0.1, 64), "a"), reading(generator.normal(0.3, 0.1, 64), "b")
    )
    (difference,) = compare([DrawnCell("smallresnet × roi", "records/x.json", "c", method, ())])
    fault = difference.fault
    assert (fault.name, fault.location) == ("draw-differs", "records/x.json")
    assert f"{difference.published:.3f} on the published subjects" in fault.detail
    assert f"{difference.fresh:.3f} on fresh ones" in fault.detail


def test_images_without_a_value_count_as_on_the_board() -> None:
    """If it fails, a method gains or loses against a draw by refusing its worst subjects."""
    record = published(values=[0.2, None, 0.4, 0.6])
    left_out = without_gaps(record)
    assert left_out is not None
    assert sorted(left_out.values) == pytest.approx([0.2, 0.4, 0.4, 0.6])
    owed = record.model_copy(update={"scale": record.scale.model_copy(update={"owed": True})})
    counted = without_gaps(owed)
    assert counted is not None
    assert sorted(counted.values) == [0.0, 0.2, 0.4, 0.6]


def test_a_method_that_gives_up_on_new_subjects_differs() -> None:
    """If it fails, a table of known images that raises an error on others is not found out."""
    path = "phantom/smallresnet/gradcam/roi_pointing.json"
    claimed = read_record(Path(RECORDS), path)
    nothing = {"state": "unsupported", "reason": "I do not know it", "scores": (), "verdict": None}
    judged = judge([claimed], {cell_key(claimed): claimed.model_copy(update=nothing)}, [])
    assert [fault.name for fault in judged.faults] == ["draw-differs"]
    assert "I do not know it" in judged.faults[0].detail
    stopped = Fault("rerun-timeout", "source/x.py", "too long")
    assert judge([claimed], {cell_key(claimed): stopped}, []).faults == (stopped,)
    unclear = claimed.model_copy(update=nothing | {"state": "not assessable"})
    judged = judge([claimed], {cell_key(claimed): unclear}, [])
    assert (judged.faults, len(judged.notes)) == ((), 1)
