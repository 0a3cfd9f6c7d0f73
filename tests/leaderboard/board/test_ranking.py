"""Ranks, totals and tie groups, against what they are by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmark.reading import Direction, Reading, Sample, Statistic
from benchmark.results.scores import Score, Scores, Scoring
from leaderboard.board import ranking

N = 40


def sample_of(count: int = N, prefix: str = "s") -> Sample:
    keys = tuple(f"{prefix}{row:03}" for row in range(count))
    return Sample(keys, keys, tuple(row % 2 for row in range(count)))


def scores(
    values: dict[str, npt.NDArray[np.float64]],
    sample: Sample | None = None,
    direction: Direction = "higher",
) -> Scores:
    where = sample or sample_of(len(next(iter(values.values()))))
    scoring = Scoring(Statistic("share", "", direction), None, 0.02, truth_leads=True, gate=False)
    entries = [
        Score(name, Reading("share", where, column), None, name == "random")
        for name, column in values.items()
    ]
    return Scores(scoring, tuple(entries), None)


def draws(seed: int, spread: float = 0.1, **means: float) -> dict[str, npt.NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    easy = generator.normal(0, 0.3, N)
    return {
        name: mean + easy * (name != "random") + generator.normal(0, spread, N)
        for name, mean in means.items()
    }


def stand(*protocols: Scores, explainers: tuple[str, ...]) -> ranking.Ranking:
    measured, bootstrap = ranking.measure(dict(zip("abcdef", protocols, strict=False)))
    assert bootstrap is not None
    return ranking.rank(measured, explainers, bootstrap)


def test_totals_are_means_of_scores_between_noise_and_truth() -> None:
    """If it fails, protocols are averaged in different units."""
    first = draws(0, oracle=1.0, random=0.0, x=0.6, y=0.4)
    second = draws(1, oracle=5.0, random=1.0, x=2.0, y=4.0)
    found = stand(scores(first), scores(second), explainers=("x", "y"))
    for name in ("x", "y"):
        shares = [
            (one[name].mean() - one["random"].mean())
            / (one["oracle"].mean() - one["random"].mean())
            for one in (first, second)
        ]
        total = found.standings[name].total
        assert total.estimate == pytest.approx(np.mean(shares), abs=5e-5)
        assert total.low < total.estimate < total.high


def test_without_a_truth_the_unit_is_the_protocols_own() -> None:
    """If it fails, a protocol without an oracle is divided by nothing."""
    values = draws(0, random=0.1, x=0.6, y=0.4)
    found = stand(scores(values), explainers=("x", "y"))
    expected = values["x"].mean() - values["random"].mean()
    assert found.standings["x"].total.estimate == pytest.approx(expected, abs=5e-5)
    lower = {name: -column for name, column in values.items()}
    turned = stand(scores(lower, direction="lower"), explainers=("x", "y"))
    assert turned.standings["x"].total.estimate == pytest.approx(expected, abs=5e-5)


def test_clear_differences_give_ranks_of_their_own() -> None:
    """If it fails, the best method is not first."""
    found = stand(
        scores(draws(0, oracle=1, random=0, x=0.8, y=0.5, z=0.2)), explainers=("z", "y", "x")
    )
    assert [(name, one.rank, one.group) for name, one in found.standings.items()] == [
        ("x", 1, 1),
        ("y", 2, 2),
        ("z", 3, 3),
    ]
    assert all(one.low == one.high == one.rank for one in found.standings.values())
    assert found.tau == 1.0


def test_equal_methods_share_a_rank_and_the_next_is_counted_on() -> None:
    """If it fails, a tie moves everyone below it."""
    values = draws(0, oracle=1, random=0, x=0.8, z=0.2)
    values["y"] = values["x"].copy()
    found = stand(scores(values), explainers=("x", "y", "z"))
    assert {name: one.rank for name, one in found.standings.items()} == {"x": 1, "y": 1, "z": 3}
    assert {name: one.rank_by_mean_rank for name, one in found.standings.items()} == {
        "x": 1,
        "y": 1,
        "z": 3,
    }


def test_the_two_ways_to_rank_can_differ() -> None:
    """If it fails, τ says nothing: x is far ahead once and just behind twice."""
    near = [draws(seed, 0.01, oracle=1, random=0, x=0.49, y=0.52) for seed in (0, 1)]
    far = draws(2, 0.01, oracle=1, random=0, x=0.9, y=0.3)
    found = stand(*map(scores, (*near, far)), explainers=("x", "y"))
    assert found.standings["x"].rank == 1
    assert found.standings["y"].rank_by_mean_rank == 1
    assert found.tau == -1.0


def test_tie_groups_follow_holm_over_all_pairs() -> None:
    """If it fails, groups are split by p-values that are not those of the paired differences."""
    names = ("v", "w", "x", "y", "z")
    values = draws(3, 0.3, oracle=1, random=0, v=0.62, w=0.6, x=0.5, y=0.45, z=0.2)
    measured, bootstrap = ranking.measure({"a": scores(values)})
    assert bootstrap is not None
    estimates = np.array([measured["a"].calibrated[name].estimate for name in names])
    replicates = np.stack([measured["a"].replicates[name] for name in names], 1)
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    raw = [
        2
        * stats.norm.sf(
            abs(estimates[i] - estimates[j]) / np.std(replicates[:, i] - replicates[:, j])
        )
        for i, j in pairs
    ]
    adjusted = dict(zip(pairs, multipletests(raw, method="holm")[1], strict=True))
    found = ranking.rank(measured, names, bootstrap)
    order = sorted(range(5), key=lambda one: -estimates[one])
    head, group = order[0], 1
    for place in order:
        if place != head and adjusted[min(head, place), max(head, place)] < 0.05:
            head, group = place, group + 1
        assert found.standings[names[place]].group == group
    assert 1 < group < 5


def test_equal_methods_are_seldom_split() -> None:
    """If it fails, tie groups claim differences that are not there."""
    split = 0
    for seed in range(120):
        found = stand(
            scores(draws(seed, 0.3, oracle=1, random=0, v=0.5, w=0.5, x=0.5, y=0.5)),
            explainers=("v", "w", "x", "y"),
        )
        split += max(one.group for one in found.standings.values()) > 1
    assert split <= 12  # 5 % of 120, and three standard errors


def test_protocols_with_other_subjects_share_one_bootstrap() -> None:
    """If it fails, totals over protocols of different samples cannot be formed."""
    few = Sample(
        *(one[::2] for one in (sample_of().keys, sample_of().subjects, sample_of().groups))
    )
    values = draws(0, oracle=1, random=0, x=0.6, y=0.5)
    half = {name: column[::2] for name, column in values.items()}
    measured, bootstrap = ranking.measure({"a": scores(values), "b": scores(half, few)})
    assert bootstrap is not None
    assert bootstrap.n_subjects == N
    assert measured["b"].calibrated["x"].n_subjects == N // 2
    assert measured["b"].replicates["x"].shape == measured["a"].replicates["x"].shape


def test_nothing_ranked_is_no_error() -> None:
    """If it fails, a board of controls alone cannot be built."""
    measured, bootstrap = ranking.measure({"a": scores(draws(0, oracle=1, random=0))})
    assert bootstrap is not None
    found = ranking.rank(measured, (), bootstrap)
    assert not found.standings
    assert math.isnan(found.tau)
    assert ranking.measure({}) == ({}, None)
