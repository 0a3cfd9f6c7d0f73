"""What works on pixels works on the device of its images, 2-D and 3-D, and gives the same there.

The device is ``absent_gpu``, which refuses what a GPU refuses and computes on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from absent_gpu import DEVICE, AbsentGpu
from torch import Tensor

from benchmark.maps import localisation, ranking, similarity
from benchmark.maps.blurring import gaussian_blur
from benchmark.maps.imputers import Blur, CohortMean, Exchange, NoisyLinear
from benchmark.maps.masks import descending_order, iid_masks, shape_matched, top_masks
from benchmark.maps.rings import permute, ring_permutations

SHAPES = [(24, 20), (8, 10, 9)]
SUBJECTS = ("a", "b", "c")

Parts = tuple[Tensor, Tensor, Tensor]


def _parts(shape: Sequence[int]) -> Parts:
    """Return images, other images and a foreground, [3, 1, *S]."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, len(SUBJECTS), 1, *shape, generator=generator)
    inside = torch.zeros_like(first, dtype=torch.bool)
    inside[..., 2:-2] = True
    return first, second, inside


def _streams() -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(len(SUBJECTS))]


def _tops(parts: Parts) -> Tensor:
    """Return masks of the top tenth and the top third, [3, 2, *S]."""
    first, _, inside = parts
    return top_masks(descending_order(first, inside, _streams()), inside, (0.1, 0.3))


def _rings(parts: Parts) -> Tensor:
    inside = parts[2]
    drawn = [
        ring_permutations(organ[0].cpu().numpy(), [stream])
        for organ, stream in zip(inside, _streams(), strict=True)
    ]
    return permute(_tops(parts), torch.from_numpy(np.stack(drawn)).to(inside.device))


def _exchange(parts: Parts) -> Tensor:
    first, second, inside = parts
    imputer = Exchange(lambda _: second.cpu())  # partners lie with the cohort, on the host
    return imputer.prepare(first, inside, SUBJECTS)(_tops(parts))


FUNCTIONS: dict[str, Callable[[Parts], Tensor]] = {
    "ranks": lambda parts: ranking.ranks(parts[0], parts[2]),
    "order": lambda parts: ranking.rank_pixels(parts[0], parts[2]).order,
    "reasons": lambda parts: torch.tensor(
        [reason is None for reason in ranking.reason_unrankable(parts[0], parts[2])]
    ),
    "spearman": lambda parts: similarity.spearman(*parts),
    "ssim": lambda parts: similarity.ssim(*parts),
    "entropy": lambda parts: similarity.entropy(parts[0], parts[2]),
    "gini": lambda parts: similarity.gini(parts[0], parts[2]),
    "rising shares": lambda parts: similarity.rising_shares(parts[0], parts[2]),
    "average precision": lambda parts: localisation.average_precision(
        parts[0], parts[1] > 0.7, parts[2]
    ),
    "lift": lambda parts: localisation.lift(parts[0], parts[1] > 0.7, parts[2]),
    "leakage": lambda parts: localisation.leakage(parts[0], parts[2]),
    "pointing": lambda parts: localisation.pointing(
        parts[0], parts[1] > 0.7, parts[2], 2.0, (1.0,) * (parts[0].ndim - 2)
    ),
    "tops": _tops,
    "shape-matched": lambda parts: shape_matched(_tops(parts), parts[2], _streams(), 2),
    "independent": lambda parts: iid_masks(_tops(parts), parts[2], _streams(), 2),
    "rings": _rings,
    "blurring": lambda parts: gaussian_blur(parts[0], parts[0].ndim - 2, 1.5, 3),
    "cohort mean": lambda parts: CohortMean(parts[1][0, 0].cpu()).prepare(
        parts[0], parts[2], SUBJECTS
    )(_tops(parts)),
    "blur": lambda parts: Blur().prepare(parts[0], parts[2], SUBJECTS)(_tops(parts)),
    "noisy linear": lambda parts: NoisyLinear(0).prepare(parts[0], parts[2], SUBJECTS)(
        _tops(parts)
    ),
    "exchange": _exchange,
}


@pytest.mark.parametrize("shape", SHAPES, ids=["2-D", "3-D"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_computed_stays_on_the_device(name: str, shape: tuple[int, ...]) -> None:
    """If it fails, runs on a GPU end with an error, or go by way of the host."""
    parts = _parts(shape)
    expected = FUNCTIONS[name](parts)
    with AbsentGpu():
        first, second, inside = (part.to(DEVICE) for part in parts)
        values = FUNCTIONS[name]((first, second, inside))
        assert values.device == DEVICE or name == "reasons"
        torch.testing.assert_close(values.cpu(), expected, equal_nan=True)


def test_hog_features_stay_on_the_device() -> None:
    """If it fails, `randomization` ends with an error on a GPU; volumes have no such features."""
    first, _, inside = _parts(SHAPES[0])
    expected = similarity.hog_features(first, inside)
    with AbsentGpu():
        features = similarity.hog_features(first.to(DEVICE), inside.to(DEVICE))
        assert features.device == DEVICE
        torch.testing.assert_close(features.cpu(), expected)


def test_the_absent_device_refuses_what_a_gpu_refuses() -> None:
    """If it fails, the other tests of devices pass whatever the code does."""
    here = torch.rand(3, 2)
    with AbsentGpu():
        there = here.to(DEVICE)
        assert torch.zeros(2, device=DEVICE).device == DEVICE
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            _ = there + here
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            _ = there.where(here > 0, there)
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            there[there[:, 0] > 0] = here[here[:, 0] > 0]
        with pytest.raises(RuntimeError, match="not supported"):
            there.numpy()
        with pytest.raises(RuntimeError, match="not supported"):
            np.asarray(there)
        assert torch.equal((2 * there + here.sum())[here[:, 0] > 0].cpu(), 2 * here + here.sum())
        leaf = there.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(leaf.square().sum(), leaf)
        assert torch.equal(gradient.cpu(), 2 * here)
