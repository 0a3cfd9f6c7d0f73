"""Max pooling with channels last gives the values of torch's own, and hides how."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.classifier.batch_norm import has_hooks
from benchmark.classifier.layers import pool_channels_last

POOLS = {
    2: (nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, dilation=2)),
    3: (nn.MaxPool3d(3, 2, 1), nn.MaxPool3d(2)),
}
CASES = [(dimensions, pool) for dimensions, pools in POOLS.items() for pool in pools]


def _maps(dimensions: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return maps with ties, both zeros, and what is not finite."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 5, *(13,) * dimensions, generator=generator, dtype=torch.float64)
    maps = maps.round(decimals=1).clamp_min(0).to(dtype)
    maps[0, 0] = -0.0
    maps[0, 1].view(-1)[:3] = torch.tensor([math.nan, math.inf, -math.inf])
    return maps


def _pooled(pool: nn.Module, maps: Tensor) -> tuple[Tensor, bool]:
    """Return what a pool gives, and whether it was given another memory order."""
    orders = []
    handle = pool.register_forward_pre_hook(
        lambda _, inputs: orders.append(inputs[0].stride() != maps.stride())
    )
    output = pool(maps)
    handle.remove()
    return output, orders[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("dimensions", "plain"), CASES)
def test_values_and_memory_order_are_torchs_own(
    dimensions: int, plain: nn.Module, dtype: torch.dtype
) -> None:
    """If it fails, maps and scores of networks with max pooling move."""
    maps = _maps(dimensions, dtype)
    pool = type(plain)(**{name: getattr(plain, name) for name in plain.__constants__})
    pool_channels_last(pool)
    pooled, is_reordered = _pooled(pool, maps)
    expected = plain(maps)
    assert is_reordered
    whole = torch.int32 if dtype == torch.float32 else torch.int64
    assert torch.equal(pooled.view(whole), expected.view(whole))
    assert pooled.stride() == expected.stride()


def test_what_gains_nothing_or_is_watched_stays_as_it_is() -> None:
    """If it fails, methods that ask for gradients or indices meet a pass that is not torch's."""
    maps, last = _maps(2), torch.channels_last
    pool = nn.MaxPool2d(2)
    pool_channels_last(pool)
    turned = maps.contiguous(memory_format=last)
    assert not _pooled(pool, turned)[1]
    assert pool(turned).is_contiguous(memory_format=last)
    assert not _pooled(pool, maps.clone().requires_grad_())[1]
    assert not _pooled(pool, maps.bfloat16())[1]
    with_indices = nn.MaxPool2d(2, return_indices=True)
    pool_channels_last(with_indices)
    assert not _pooled(with_indices, maps)[1]


def test_a_network_keeps_its_identity_and_counts_as_unwatched() -> None:
    """If it fails, records of networks with max pooling are measured anew, or run slowly."""

    def build(*layers: nn.Module) -> Classifier:
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Conv2d(1, 4, 3), *layers)
        return Classifier("pooled", trunk, nn.Linear(4, 2), (16, 16))

    pool = nn.MaxPool2d(2)
    model = build(pool)
    identity = model.architecture_sha256
    assert len(pool._forward_pre_hooks) == 1
    assert not has_hooks(model)
    pool._forward_pre_hooks.clear()
    pool._forward_hooks.clear()
    assert model.architecture_sha256 == identity
    pool.register_forward_hook(lambda *_: None)
    assert has_hooks(model)
    assert model.architecture_sha256 != identity
