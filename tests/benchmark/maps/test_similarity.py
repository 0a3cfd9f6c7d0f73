"""Ranking measures against SciPy and scikit-learn, tied volumes included."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import average_precision_score
from torch import Tensor

from benchmark.errors import InputError
from benchmark.maps import localisation, ranking, similarity

SHAPES = [(17, 12), (7, 9, 8)]
SIDE = 96
Measure = Callable[[Tensor, Tensor, Tensor], Tensor]


def pointing(importance: Tensor, truth: Tensor, foreground: Tensor) -> Tensor:
    spacing = (1.0,) * (importance.ndim - 2)
    return localisation.pointing(importance, truth, foreground, 1.0, spacing)


def second_map_spearman(importance: Tensor, truth: Tensor, foreground: Tensor) -> Tensor:
    return similarity.spearman(importance, importance.flip(-1) + 0.1 * truth, foreground)


def plain_leakage(importance: Tensor, truth: Tensor, foreground: Tensor) -> Tensor:
    return localisation.leakage(importance, foreground)


MEASURES: dict[str, Measure] = {
    "average_precision": localisation.average_precision,
    "mass": localisation.mass,
    "lift": localisation.lift,
    "rank_accuracy": localisation.rank_accuracy,
    "pointing": pointing,
    "spearman": second_map_spearman,
    "leakage": plain_leakage,
}


def sample(shape: tuple[int, ...], levels: int, batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return maps with few levels, hence many ties, with a truth and a foreground."""
    generator = torch.Generator().manual_seed(levels)
    size = (batch, 1, *shape)
    importance = torch.randint(0, levels, size, generator=generator).float() / levels
    truth = torch.rand(size, generator=generator) < 0.1
    return importance, truth, torch.rand(size, generator=generator) < 0.7


@pytest.fixture(scope="module")
def tied_volume() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two maps of 96³ voxels and 8 levels that agree in part, a truth and the foreground."""
    generator = torch.Generator().manual_seed(0)
    size = (1, 1, SIDE, SIDE, SIDE)
    first = torch.randint(0, 8, size, generator=generator).float()
    second = (first + torch.randint(0, 8, size, generator=generator)).div(2).floor()
    truth = torch.rand(size, generator=generator) < 0.02 * (1 + first)
    return first, second, truth, torch.ones(size, dtype=torch.bool)


def test_spearman_of_a_tied_volume_matches_scipy(
    tied_volume: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    """If it fails, rank sums overflow or lose digits, as they do in int32 and float32."""
    first, second, _, foreground = tied_volume
    expected = stats.spearmanr(first.flatten(), second.flatten()).statistic
    assert similarity.spearman(first, second, foreground).item() == pytest.approx(
        expected, abs=1e-10
    )


def test_average_precision_of_a_tied_volume_matches_scikit_learn(
    tied_volume: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    """If it fails, ties pass thresholds one by one, or counts overflow."""
    importance, _, truth, foreground = tied_volume
    labels, scores = truth.flatten().numpy(), importance.flatten().numpy()
    expected = average_precision_score(labels, scores)
    ap = localisation.average_precision(importance, truth, foreground).item()
    assert ap == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("levels", [2, 5, 100_000])
def test_only_the_foreground_is_ranked(shape: tuple[int, ...], levels: int) -> None:
    """If it fails, the background moves a score."""
    importance, truth, foreground = sample(shape, levels)
    other = importance.flip(-1)
    results = {
        "ap": localisation.average_precision(importance, truth, foreground),
        "spearman": similarity.spearman(importance, other, foreground),
    }
    for image in range(len(importance)):
        inside = foreground[image].numpy()
        labels, values = truth[image].numpy()[inside], importance[image].numpy()[inside]
        expected = {
            "ap": average_precision_score(labels, values),
            "spearman": stats.spearmanr(values, other[image].numpy()[inside]).statistic,
        }
        assert {name: scores[image].item() for name, scores in results.items()} == pytest.approx(
            expected
        )
        np.testing.assert_array_equal(
            ranking.ranks(importance, foreground)[image].numpy()[inside], stats.rankdata(values)
        )


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_score_belongs_to_its_image_alone(name: str, shape: tuple[int, ...]) -> None:
    """If it fails, batch size, neighbours, the map's scale or the background change a score."""
    importance, truth, foreground = sample(shape, 50)
    measure = MEASURES[name]
    together = measure(importance, truth, foreground)
    assert together.dtype == torch.float64
    assert together.isfinite().all()
    alone = [
        measure(importance[[row]], truth[[row]], foreground[[row]]) for row in reversed(range(3))
    ]
    assert torch.equal(together.flip(0), torch.cat(alone))
    if name != "spearman":
        torch.testing.assert_close(measure(4 * importance, truth, foreground), together)
    if name not in {"leakage", "spearman"}:
        elsewhere = torch.where(foreground, importance, 9.0)
        assert torch.equal(measure(elsewhere, truth | ~foreground, foreground), together)


@pytest.mark.parametrize("name", MEASURES)
def test_unrankable_maps_are_nan_never_a_hit(name: str) -> None:
    """If it fails, a constant or broken map scores."""
    importance, truth, foreground = sample(SHAPES[0], 50, batch=5)
    importance[0] = 0.3
    importance[1][foreground[1]] = 0.3
    importance[2, 0, foreground[2, 0].nonzero()[0, 0], foreground[2, 0].nonzero()[0, 1]] = math.nan
    importance[3, 0, foreground[3, 0].nonzero()[0, 0], foreground[3, 0].nonzero()[0, 1]] = math.inf
    scores = MEASURES[name](importance, truth, foreground)
    assert scores.isnan().tolist() == [True, True, True, True, False]
    reasons = ranking.reason_unrankable(importance, foreground)
    assert reasons == ["constant map"] * 2 + ["non-finite map"] * 2 + [None]


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"leakage", "spearman"}))
def test_a_truth_outside_the_foreground_is_nan(name: str) -> None:
    """If it fails, a region that the image does not show is missed or hit."""
    importance, truth, foreground = sample(SHAPES[0], 50)
    assert MEASURES[name](importance, truth & ~foreground, foreground).isnan().all()


def test_an_empty_foreground_is_named() -> None:
    """If it fails, an image without an organ is blamed on the map."""
    importance, _, foreground = sample(SHAPES[0], 50, batch=1)
    nothing = torch.zeros_like(foreground)
    assert ranking.reason_unrankable(importance, nothing) == ["empty foreground"]
    assert localisation.leakage(importance, nothing).isnan().all()


def test_sums_split_as_by_hand() -> None:
    """If it fails, mass, lift or leakage divide by the wrong whole."""
    importance = torch.tensor([[[[1.0, 3.0, 4.0, 8.0]]]])
    foreground = torch.tensor([[[[True, True, True, False]]]])
    truth = torch.tensor([[[[False, False, True, True]]]])
    assert localisation.mass(importance, truth, foreground).item() == 0.5
    assert localisation.lift(importance, truth, foreground).item() == 1.5
    assert localisation.leakage(importance, foreground).item() == 0.5


def test_ties_at_the_cut_count_by_their_share() -> None:
    """If it fails, index order decides who is among the top."""
    importance = torch.tensor([[[[5.0, 2.0, 2.0, 2.0, 1.0]]]])
    foreground = torch.ones(1, 1, 1, 5, dtype=torch.bool)
    for truth, expected in (
        ([True, True, False, False, False], (1 + 1 / 3) / 2),
        ([False, True, True, False, False], (2 / 3) / 2),
        ([True, True, True, True, False], 1.0),
    ):
        score = localisation.rank_accuracy(importance, torch.tensor([[[truth]]]), foreground)
        assert score.item() == pytest.approx(expected)


def test_pointing_counts_tied_maxima_by_their_share() -> None:
    """If it fails, a plateau points wherever the first index lies."""
    importance = torch.tensor([[[[7.0, 7.0, 7.0, 7.0, 1.0]]]])
    foreground = torch.ones(1, 1, 1, 5, dtype=torch.bool)
    truth = torch.tensor([[[[True, False, False, False, False]]]])
    hits = [
        localisation.pointing(importance, truth, foreground, tolerance, (1.0, 1.5)).item()
        for tolerance in (0.0, 1.4, 1.5, 3.0)
    ]
    assert hits == [0.25, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("shape", "spacing"), [((20, 14), (1.5, 0.7)), ((9, 11, 6), (1.0, 1.5, 3.0))]
)
@pytest.mark.parametrize("radius", [0.0, 1.5, 3.0, 100.0])
def test_tolerance_is_a_ball_in_millimetres(
    shape: tuple[int, ...], spacing: tuple[float, ...], radius: float
) -> None:
    """If it fails, thick slices or rounding stretch the tolerance."""
    masks = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)) < 0.01
    dilated = localisation.dilate(masks, radius, spacing)
    for mask, result in zip(masks[:, 0].numpy(), dilated[:, 0].numpy(), strict=True):
        distance = distance_transform_edt(~mask, sampling=spacing)
        np.testing.assert_array_equal(result, distance <= radius + 1e-6)


def test_overlaps_match_by_hand_and_two_empty_masks_have_none() -> None:
    """If it fails, overlap is miscounted, or nothing agrees perfectly with nothing."""
    first = torch.tensor([[[[True, True, False]]], [[[False, False, False]]]])
    second = torch.tensor([[[[False, True, True]]], [[[False, False, False]]]])
    assert similarity.iou(first, second)[0].item() == pytest.approx(1 / 3)
    assert similarity.iou(first, second)[1].isnan()


def test_misfits_are_refused() -> None:
    """If it fails, maps of another size or a spacing of another dimension are broadcast."""
    importance, truth, foreground = sample(SHAPES[0], 5)
    with pytest.raises(InputError, match="foreground's shape"):
        localisation.average_precision(importance[..., :-1], truth, foreground)
    with pytest.raises(InputError, match="2 positive voxel sizes"):
        localisation.pointing(importance, truth, foreground, 3.0, (1.0, 1.0, 1.0))


def test_the_expected_ap_of_noise_is_what_noise_scores() -> None:
    """If it fails, noise counts as better or worse than chance."""
    rng, pixels, positives = np.random.default_rng(0), 60, 5
    truth = np.arange(pixels) < positives
    scores = [average_precision_score(truth, rng.random(pixels)) for _ in range(4_000)]
    error = np.std(scores) / np.sqrt(len(scores))
    masks = torch.from_numpy(np.stack([truth, np.zeros_like(truth)]))[:, None]
    expected = localisation.expected_average_precision(masks, torch.ones_like(masks))
    assert float(expected[0]) == pytest.approx(np.mean(scores), abs=4 * error)
    assert expected[1].isnan()


def test_hits_are_the_expectation_over_random_ties() -> None:
    """If it fails, a map with ties, such as any ReLU'd one, gains or loses by index order."""
    rng = np.random.default_rng(1)
    values = rng.integers(0, 3, 40).astype(np.float64)
    truth, inside = rng.random(40) < 0.3, rng.random(40) < 0.8
    for count in (1, 5, 13, int(inside.sum())):
        drawn = []
        for _ in range(3_000):
            order = np.lexsort((rng.random(40), -np.where(inside, values, -1)))
            drawn.append((truth & inside)[order[:count]].sum())
        importance, mask, foreground = (
            torch.from_numpy(array)[None, None] for array in (values, truth, inside)
        )
        taken = torch.tensor([count])
        hits = float(localisation.hits(importance, mask, foreground, taken))
        assert hits == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 50 + 1e-9)
        union = count + (truth & inside).sum() - hits
        overlap = localisation.top_overlap(importance, mask, foreground, taken)
        assert float(overlap) == pytest.approx(hits / union)
