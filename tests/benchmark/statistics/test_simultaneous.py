"""Comparing all explainers at once: what is decided is true, and depends on nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import simulations
from simulations import names_of

from benchmark.errors import InputError
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.simultaneous import Block, compare, simultaneous_widths, total_intervals
from benchmark.statistics.studentised import studentised_intervals

RESAMPLES = 2000
SHIFTS = (0.6, 0.3, 0.25, 0.0, 0.0)


def block(name: str = "phantom2", subjects: int = 64) -> Block:
    """Return skewed values of five explainers, the last two of them equal in every subject."""
    generator = stream("test_simultaneous", name)
    values = generator.lognormal(size=(subjects, 1)) + 0.3 * generator.normal(size=(subjects, 5))
    values[:, 4] = values[:, 3]
    return Block(name, values + SHIFTS, names_of(subjects), (0, 1) * (subjects // 2))


@pytest.mark.parametrize("noise", simulations.NOISES)
@pytest.mark.parametrize("subjects", [20, 64, 136])
def test_claims_are_false_and_rank_sets_miss_no_more_often_than_they_say(
    noise: str, subjects: int
) -> None:
    """If it fails, a board calls methods better or worse that are equal."""
    for totals in simulations.TOTALS.values():
        false_splits, covered = simulations.ranking_errors(noise, subjects, totals, 150, 1000)
        # Three standard errors of 150 data sets at 5 % are .05; the full size has narrower bounds.
        assert false_splits <= 0.06 + 0.02
        assert covered >= 0.94 - 0.02


def test_clear_differences_are_decided() -> None:
    """If it fails, every claim is true because none is made."""
    ranking = compare([block()], RESAMPLES)
    assert ranking.is_better[0, 1:].all()
    assert ranking.is_better[1, 3:].all()
    assert (ranking.ranks[0], ranking.low[0], ranking.high[0]) == (1, 1, 1)


def test_step_down_decides_what_one_step_leaves_open() -> None:
    """If it fails, pairs that are decided already keep others from being decided."""
    generator = stream("test_simultaneous", "step")
    values = generator.normal(size=(64, 6)) + np.array([30.0, 24.0, 18.0, 12.0, 0.33, 0.0])
    many = Block("many", values, names_of(64), (0, 1) * 32)
    last = Block("many", values[:, 4:], names_of(64), (0, 1) * 32)
    assert compare([many], RESAMPLES).is_better[4, 5] == compare([last], RESAMPLES).is_better[0, 1]


def test_methods_that_hardly_differ_leave_the_others_decided() -> None:
    """If it fails, whoever submits nearly the same method twice leaves all others undecided."""
    generator = stream("test_simultaneous", "twins")
    levels = np.array([0.9, 0.6, 0.3, 0.0, 0.0])
    values = levels + generator.normal(size=(64, 1)) + 0.4 * generator.normal(size=(64, 5))
    values[:, 4] = values[:, 3] + 0.002 * generator.normal(size=64)
    values[7, 4] += 0.5
    # Resamples without this subject put the difference of both many errors away from its mean.
    alone = compare([Block("phantom2", values[:, :4], names_of(64), (0, 1) * 32)], RESAMPLES)
    beside = compare([Block("phantom2", values, names_of(64), (0, 1) * 32)], RESAMPLES)
    assert alone.is_better[np.triu_indices(4, 1)].all()
    np.testing.assert_array_equal(beside.is_better[:4, :4], alone.is_better)
    assert not beside.is_better[3:, 3:].any()


def test_a_total_that_hangs_on_one_subject_widens_no_other() -> None:
    """If it fails, a submission with one odd score hides all others from a draw of new subjects."""
    generator = stream("test_simultaneous", "widths")
    values = generator.normal(size=(64, 3))
    values[:, 2] *= 0.002
    values[7, 2] = 0.5
    together, alone = (
        simultaneous_widths([Block("phantom2", chosen, names_of(64), (0, 1) * 32)], RESAMPLES)[1]
        for chosen in (values, values[:, :2])
    )
    assert (together[:2] < 1.15 * alone).all()


def test_every_rank_lies_in_its_interval_and_equal_columns_share_theirs() -> None:
    """If it fails, a board prints a rank that its own interval excludes."""
    for subjects in (20, 64):
        ranking = compare([block(subjects=subjects)], RESAMPLES)
        limits = list(zip(ranking.low, ranking.high, strict=True))
        for rank, (low, high) in zip(ranking.ranks, limits, strict=True):
            assert low <= rank <= high
        assert limits[3] == limits[4]
        assert ranking.ranks[3] == ranking.ranks[4]
        assert not ranking.is_better[3:, 3:].any()
        is_tied = [[a == b for b in ranking.groups] for a in ranking.groups]
        assert is_tied == [[a == b for b in limits] for a in limits]


def test_order_of_methods_subjects_and_cohorts_plays_no_part() -> None:
    """If it fails, whoever is named first has an advantage."""
    blocks = [block(), block("sources", 40)]
    ranking, intervals = compare(blocks, RESAMPLES), total_intervals(blocks, RESAMPLES)
    columns = [3, 0, 4, 2, 1]
    turned = [
        Block(own.name, own.values[::-1, columns], own.subjects[::-1], own.groups[::-1])
        for own in reversed(blocks)
    ]
    again = compare(turned, RESAMPLES)
    assert again.low == tuple(ranking.low[column] for column in columns)
    assert again.high == tuple(ranking.high[column] for column in columns)
    assert again.groups == tuple(ranking.groups[column] for column in columns)
    assert (again.is_better == ranking.is_better[np.ix_(columns, columns)]).all()
    assert total_intervals(turned, RESAMPLES) == [intervals[column] for column in columns]


def test_what_one_method_lacks_changes_no_bit_of_the_others() -> None:
    """If it fails, a method that abstains moves the intervals and ranks of everybody else.

    What it lacks is chance before it is compared; that it is compared at all widens nothing here.
    """
    whole = block()
    lacking = whole.values.copy()
    lacking[:7, 2] = 0.0
    lacking[:, 2] = np.minimum(lacking[:, 2], 2.0)
    part = replace(whole, values=lacking)
    others = [0, 1, 3, 4]
    before, after = total_intervals([whole], RESAMPLES), total_intervals([part], RESAMPLES)
    assert [before[other] for other in others] == [after[other] for other in others]
    assert after[2].estimate < before[2].estimate
    without = replace(whole, values=np.delete(whole.values, 2, axis=1))
    alone = compare([without], RESAMPLES).is_better
    for own in (whole, part):
        assert (compare([own], RESAMPLES).is_better[np.ix_(others, others)] == alone).all()


def test_errors_of_cohorts_add_in_variance() -> None:
    """If it fails, subjects of another cohort count as the same people."""
    first, second = block(), block("sources")
    one, two, both = (
        np.array([own.high - own.low for own in total_intervals(blocks, RESAMPLES)])
        for blocks in ([first], [second], [first, second])
    )
    np.testing.assert_allclose(both, np.sqrt(one**2 + two**2), rtol=0.15)


def test_a_total_of_one_cohort_has_the_interval_of_a_mean() -> None:
    """If it fails, a board and a run give the same score two intervals."""
    own = block()
    of_mean = studentised_intervals(SubjectBootstrap(own.subjects), own.values)
    for total, mean in zip(total_intervals([own]), of_mean, strict=True):
        assert total.estimate == pytest.approx(mean.estimate)
        assert total.low == pytest.approx(mean.low, abs=0.1 * (mean.high - mean.low))
        assert total.high == pytest.approx(mean.high, abs=0.1 * (mean.high - mean.low))


def test_what_is_the_same_in_every_subject_is_certain() -> None:
    """If it fails, methods that owe exactly nothing tie with those that lead in every subject."""
    values = np.column_stack([np.full(64, 0.2), np.zeros(64), np.full(64, 1e-17)])
    ranking = compare([Block("flat", values, names_of(64), (0, 1) * 32)], RESAMPLES)
    assert ranking.low == (1, 2, 2)
    assert ranking.high == (1, 3, 3)
    intervals = total_intervals([Block("flat", values, names_of(64), (0, 1) * 32)], RESAMPLES)
    assert (intervals[0].low, intervals[0].high) == pytest.approx((0.2, 0.2))
    assert [(own.low, own.high) for own in intervals[1:]] == [(0, 0), (0, 0)]


def test_below_20_subjects_nothing_is_decided() -> None:
    """If it fails, a handful of subjects orders a board."""
    few = block(subjects=18)
    assert not compare([few], RESAMPLES).is_better.any()
    assert all(math.isnan(own.low) for own in total_intervals([few], RESAMPLES))


def test_blocks_that_do_not_fit_are_refused() -> None:
    """If it fails, a missing value turns a whole board into no number."""
    own = block()
    missing = own.values.copy()
    missing[0, 0] = np.nan
    for blocks, message in (
        ([], "of the same K"),
        ([own, own], "different names"),
        ([replace(own, values=missing)], "finite value"),
        ([replace(own, subjects=("s",) * 64)], "one row"),
    ):
        with pytest.raises(InputError, match=message):
            compare(blocks)
